//! Offers: a provider's signed and expiring statement that it runs a service, at what price, and where it
//! is reached.
//!
//! An offer travels in a signed [`envelope`] of at most 4 KiB: the peer signs the offer,
//! and inside it the host's key signs the peer, so that nobody offers in another host's name.
//!
//! Not here: whether the offered manifest is the one that the name's owner published, and whether
//! anybody answers at the addresses.

mod document;

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::{Eip712Domain, SolStruct};
use rialto_channels::{Amount, SigningKey, recover};
use semver::Version;

use crate::{
    Digest, MethodName, Name, PeerId, PeerKey, RegistryId,
    envelope::{self, EnvelopeError},
};

/// The most bytes of a signed offer.
pub const OFFER_BYTES_MAX: usize = 4 << 10;

/// The longest an offer may be good for, in seconds.
pub const OFFER_SECS_MAX: u64 = 2 * 3600;

/// How far two machines' clocks may differ, in seconds.
pub const SKEW_SECS_MAX: u64 = 60;

/// What a provider offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The service's name.
    pub service: Name,
    /// Its signed manifest.
    pub manifest: Digest,
    /// Its version.
    pub version: Version,
    /// Where its name is registered.
    pub registry: RegistryId,
    /// The interfaces that it exports.
    pub interfaces: Vec<String>,
    /// Words to be found by.
    pub tags: Vec<Name>,
    /// Where the host is, as its operator says: a lowercase word such as `eu-west`.
    pub region: Option<Name>,
    /// What it computes on, as its operator says.
    pub hardware: Vec<Name>,
    /// For each method the least that a call costs, in base units of the token.
    pub prices: BTreeMap<MethodName, Amount>,
    /// Who is paid, and how.
    pub payee: Payee,
    /// Gateways, as base URLs; none where the host is reached through libp2p alone.
    pub gateways: Vec<String>,
    /// The peer's multiaddresses.
    pub addresses: Vec<String>,
    /// Calls that the host runs at the same time, at most.
    pub capacity: u32,
    /// How much of the capacity is in use, in thousandths.
    pub load: u16,
    /// Grows with each offer of one service by one peer.
    pub seq: u64,
    /// When it was signed, in seconds since the Unix epoch.
    pub issued: u64,
    /// When it ends, in seconds since the Unix epoch.
    pub expires: u64,
}

/// Who is paid for calls, and in what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payee {
    /// The chain of the channels.
    pub chain_id: u64,
    /// The token.
    pub token: Address,
    /// The provider's payout address.
    pub payout: Address,
    /// Whom channels pay: the payout address, or the splitter of the service's royalty.
    pub receiver: Address,
    /// The account of the host's key, which signs receipts and claims.
    pub host: Address,
}

/// An offer whose signatures were checked, and the bytes that carry them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedOffer {
    offer: Offer,
    peer: PeerId,
    bytes: Vec<u8>,
}

/// Why bytes are no offer, or none that is good now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OfferError {
    /// More than [`OFFER_BYTES_MAX`].
    #[error("the offer has {0} bytes, more than {OFFER_BYTES_MAX}")]
    TooLong(usize),
    /// The envelope is none, or its signature does not fit.
    #[error("the offer {0}")]
    Envelope(#[from] EnvelopeError),
    /// No JSON, or of another shape.
    #[error("the offer cannot be read: {0}")]
    Form(String),
    /// A field that is out of its bounds.
    #[error("the offer's `{field}` {problem}")]
    Field {
        /// Its name.
        field: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// The host that it names has not signed the peer.
    #[error("the offer names the host {0}, which has not signed this peer")]
    Host(Address),
    /// It is over, or its clock is ahead.
    #[error("the offer is good from {issued} to {expires}, and it is {now} (seconds since 1970)")]
    NotNow {
        /// When it was signed.
        issued: u64,
        /// When it ends.
        expires: u64,
        /// The time that was given.
        now: u64,
    },
}

impl SignedOffer {
    /// Signs an offer: the host's key signs for the peer, the peer's for the offer.
    ///
    /// # Errors
    /// [`OfferError`] if the offer is out of its bounds or names another host than the key's.
    pub fn sign(offer: Offer, peer: &PeerKey, host: &SigningKey) -> Result<Self, OfferError> {
        let signature = host.sign(peer_digest(&offer.payee, peer.peer()));
        let payload = document::write(&offer, signature);
        let bytes = envelope::seal(peer, DOMAIN, KIND, payload.as_bytes());
        Self::parse(&bytes)
    }

    /// Reads an offer and checks its signatures. Whether it is good now, [`check_time`](Self::check_time)
    /// says.
    ///
    /// # Errors
    /// [`OfferError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, OfferError> {
        if bytes.len() > OFFER_BYTES_MAX {
            return Err(OfferError::TooLong(bytes.len()));
        }
        let opened = envelope::open(bytes, DOMAIN, KIND)?;
        let (offer, signature) = document::read(&opened.payload)?;
        let digest = peer_digest(&offer.payee, opened.signer);
        if recover(digest, &signature) != Ok(offer.payee.host) {
            return Err(OfferError::Host(offer.payee.host));
        }
        Ok(Self {
            offer,
            peer: opened.signer,
            bytes: bytes.to_vec(),
        })
    }

    /// Checks that the offer is good at `now`, in seconds since the Unix epoch, by a clock that may be
    /// [`SKEW_SECS_MAX`] behind the peer's.
    ///
    /// # Errors
    /// [`OfferError::NotNow`].
    pub fn check_time(&self, now: u64) -> Result<(), OfferError> {
        let Offer {
            issued, expires, ..
        } = self.offer;
        if issued > now.saturating_add(SKEW_SECS_MAX) || expires <= now {
            return Err(OfferError::NotNow {
                issued,
                expires,
                now,
            });
        }
        Ok(())
    }

    /// What is offered.
    #[must_use]
    pub const fn offer(&self) -> &Offer {
        &self.offer
    }

    /// Who offers.
    #[must_use]
    pub const fn peer(&self) -> PeerId {
        self.peer
    }

    /// The offer as it travels.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Reads what stands below an offer's signatures, and checks none of them.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn read_unsigned(payload: &[u8]) -> Result<Offer, OfferError> {
    document::read(payload).map(|(offer, _)| offer)
}

/// What the host's key signs: this peer speaks for it, on the chain where it is paid.
fn peer_digest(payee: &Payee, peer: PeerId) -> B256 {
    let domain = Eip712Domain::new(
        Some("Rialto Peer".into()),
        Some("1".into()),
        Some(U256::from(payee.chain_id)),
        None,
        None,
    );
    typed::Peer {
        key: B256::from(*peer.key()),
        payout: payee.payout,
    }
    .eip712_signing_hash(&domain)
}

mod typed {
    alloy_sol_types::sol! {
        struct Peer {
            bytes32 key;
            address payout;
        }
    }
}

/// Signatures below offers hold for nothing else.
const DOMAIN: &str = "rialto-offer";
const KIND: &[u8] = b"/rialto/offer/1";

#[cfg(test)]
mod tests;
