//! Who a peer is, and where it listens: the two types of the network that others see.
//!
//! Not here: accounts on a chain. A peer's key says nothing about who is paid.

use std::{fmt, str::FromStr};

use libp2p::identity::{Keypair, PublicKey};
use libp2p::{Multiaddr, PeerId};

/// A peer's name: the multihash of its public key, as every libp2p implementation writes it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerKey(PeerId);

impl PeerKey {
    pub(crate) const fn new(peer: PeerId) -> Self {
        Self(peer)
    }

    pub(crate) const fn id(self) -> PeerId {
        self.0
    }

    /// Reads a peer's name from its bytes.
    ///
    /// # Errors
    /// They are no multihash that may name a peer.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ParsePeerError> {
        PeerId::from_bytes(bytes)
            .map(Self)
            .map_err(|_| ParsePeerError)
    }

    /// The name's bytes: a multihash.
    #[must_use]
    pub fn to_bytes(self) -> Vec<u8> {
        self.0.to_bytes()
    }

    /// The peer's Ed25519 public key, which such a peer's name contains whole. Nothing for other keys.
    #[must_use]
    pub fn ed25519(self) -> Option<[u8; 32]> {
        let key = self.public()?.try_into_ed25519().ok()?;
        Some(key.to_bytes())
    }

    /// Returns whether this peer signed `message`. False too for a peer whose name does not contain
    /// its key.
    #[must_use]
    pub fn signed(self, message: &[u8], signature: &[u8]) -> bool {
        self.public()
            .is_some_and(|key| key.verify(message, signature))
    }

    fn public(self) -> Option<PublicKey> {
        let hash = self.0.as_ref();
        if hash.code() == CODE_IDENTITY {
            PublicKey::try_decode_protobuf(hash.digest()).ok()
        } else {
            None
        }
    }
}

impl fmt::Display for PeerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for PeerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerKey({})", self.0)
    }
}

impl FromStr for PeerKey {
    type Err = ParsePeerError;

    fn from_str(text: &str) -> Result<Self, ParsePeerError> {
        text.parse().map(Self).map_err(|_| ParsePeerError)
    }
}

/// A text or bytes that name no peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this names no peer; a peer's name looks like 12D3KooW..")]
pub struct ParsePeerError;

/// This node's own key, by which it is known and signs.
#[derive(Clone)]
pub struct Identity(Keypair);

impl Identity {
    /// Makes the Ed25519 key of a 32-byte seed, which must come from a good source of randomness.
    ///
    /// # Panics
    /// Never: every 32 bytes are a seed.
    #[must_use]
    #[expect(clippy::expect_used, reason = "any 32 bytes are an Ed25519 seed")]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(Keypair::ed25519_from_bytes(seed).expect("any 32 bytes are an Ed25519 seed"))
    }

    /// The name that goes with the key.
    #[must_use]
    pub fn peer(&self) -> PeerKey {
        PeerKey(self.0.public().to_peer_id())
    }

    /// Signs with the key: 64 bytes.
    #[must_use]
    #[expect(clippy::expect_used, reason = "only RSA keys can fail to sign")]
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign(message).expect("Ed25519 always signs")
    }

    pub(crate) const fn keypair(&self) -> &Keypair {
        &self.0
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.peer())
    }
}

/// Where a peer listens, as a multiaddr: `/ip4/192.0.2.7/tcp/4001`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(Multiaddr);

impl Address {
    pub(crate) const fn new(address: Multiaddr) -> Self {
        Self(address)
    }

    pub(crate) const fn multiaddr(&self) -> &Multiaddr {
        &self.0
    }

    pub(crate) fn into_multiaddr(self) -> Multiaddr {
        self.0
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({})", self.0)
    }
}

impl FromStr for Address {
    type Err = ParseAddressError;

    fn from_str(text: &str) -> Result<Self, ParseAddressError> {
        text.parse().map(Self).map_err(|_| ParseAddressError)
    }
}

/// A text that is no multiaddr.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no multiaddr; one looks like /ip4/192.0.2.7/tcp/4001/p2p/12D3KooW..")]
pub struct ParseAddressError;

/// The multihash code of bytes that stand for themselves.
const CODE_IDENTITY: u64 = 0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_back_and_checks_signatures() {
        let identity = Identity::from_seed([7; 32]);
        let peer = identity.peer();
        assert_eq!(peer.to_string().parse(), Ok(peer));
        assert_eq!(PeerKey::from_bytes(&peer.to_bytes()), Ok(peer));
        let signature = identity.sign(b"offer");
        assert!(peer.signed(b"offer", &signature));
        assert!(!peer.signed(b"other", &signature));
        assert!(
            !Identity::from_seed([8; 32])
                .peer()
                .signed(b"offer", &signature)
        );
        assert!(peer.ed25519().is_some());
    }

    #[test]
    fn nonsense_is_refused() {
        assert_eq!("12D3".parse::<PeerKey>(), Err(ParsePeerError));
        assert_eq!(PeerKey::from_bytes(&[1, 2, 3]), Err(ParsePeerError));
        assert_eq!("tcp".parse::<Address>(), Err(ParseAddressError));
        assert!(!format!("{:?}", Identity::from_seed([7; 32])).contains("07, 07"));
    }
}
