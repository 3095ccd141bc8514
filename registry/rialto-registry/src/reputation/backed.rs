//! Feedback that a receipt backs: what an entry of the chain's reputation registry says, held against the
//! receipt that it commits to.
//!
//! Not here: reading the chain and fetching the receipt; who the host is among peers.

use alloy_primitives::{Address, B256, keccak256};
use rialto_channels::receipt::{DOCUMENT_BYTES_MAX, DocumentError, ReceiptError, SignedReceipt};
use rialto_channels::{
    Amount, CONFIG_BYTES, ChannelConfig, SettlementDomain, SignatureError, recover,
};

use crate::{AgentId, Digest, Name};

/// The first tag of feedback on a call.
pub const FEEDBACK_TAG: &str = "rialto.call";

/// How the URI of feedback begins whose receipt is an artifact; its digest follows.
pub const FEEDBACK_URI: &str = "rialto:receipt:";

/// The most bytes of what feedback rests on.
pub const EVIDENCE_BYTES_MAX: usize = CONFIG_BYTES + DOCUMENT_BYTES_MAX;

/// What feedback rests on: the receipt of a call, and the terms of the channel that paid for it, by which
/// everybody can ask the chain for the money.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// The terms.
    pub channel: ChannelConfig,
    /// The receipt.
    pub receipt: SignedReceipt,
}

impl Evidence {
    /// As bytes, of which feedback has the digests: the terms, then the receipt.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.channel.to_bytes().to_vec();
        bytes.extend(self.receipt.to_bytes());
        bytes
    }

    /// Reads [`to_bytes`](Self::to_bytes).
    ///
    /// # Errors
    /// [`DocumentError`]; bytes that would not be written so are refused.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DocumentError> {
        let (terms, receipt) = bytes
            .split_first_chunk()
            .ok_or(DocumentError::Length(bytes.len()))?;
        Ok(Self {
            channel: ChannelConfig::from_bytes(terms).ok_or(DocumentError::Form)?,
            receipt: SignedReceipt::from_bytes(receipt)?,
        })
    }
}

/// What somebody said on the chain about a service's call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The service's agent.
    pub agent: AgentId,
    /// Who says it.
    pub rater: Address,
    /// From -100, useless, to 100, perfect, with `decimals` digits behind the point.
    pub value: i128,
    /// At most 18.
    pub decimals: u8,
    /// The keccak-256 digest of the receipt.
    pub hash: B256,
}

/// Feedback that counts once the chain has the money.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backed {
    /// The channel that paid.
    pub channel: ChannelConfig,
    /// What the channel must have held, or have paid out, for the call to be paid for.
    pub held_least: Amount,
    /// The key of the host that answered the call.
    pub host: Address,
    /// What is said of it, from -100 to 100.
    pub value: i16,
    /// What was paid, in base units.
    pub paid: Amount,
    /// The receipt's day, since the Unix epoch.
    pub day: u64,
}

impl Backed {
    /// Whether a channel that holds so much, or of which so much was claimed, has paid for the call.
    #[must_use]
    pub fn is_paid_by(&self, balance: Amount, claimed: Amount) -> bool {
        balance.max(claimed) >= self.held_least
    }
}

/// Why feedback does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotBacked {
    /// The document is not the one that the feedback commits to.
    #[error("the document is not the one that the feedback commits to")]
    Hash,
    /// It is no receipt.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// Its signature is none.
    #[error("the receipt's signature is no good")]
    Signature(#[from] SignatureError),
    /// It is a bad receipt.
    #[error(transparent)]
    Receipt(#[from] ReceiptError),
    /// The rater did not make the call.
    #[error("{rater} did not pay for the call, {payer} did")]
    NotThePayer {
        /// Who says it.
        rater: Address,
        /// Who paid.
        payer: Address,
    },
    /// It is of a payment outside channels, or of another channel than that whose terms are shown.
    #[error("the receipt is of no payment channel, or not of the one that is shown")]
    NoChannel,
    /// The channel is somebody else's, or pays with something else.
    #[error("the channel is not the rater's with the receipt's host, or of another token")]
    NotTheChannel,
    /// The channel pays the rater.
    #[error("the rater paid itself")]
    Itself,
    /// The call was free, so anybody could say anything of it.
    #[error("the call was free: only what was paid for counts")]
    Free,
    /// It is about another service or chain.
    #[error("the receipt is of {0} on another chain or of another name")]
    Elsewhere(String),
}

/// Where feedback says that its receipt is; nothing for feedback of another kind.
#[must_use]
pub fn receipt_of(tag: &str, uri: &str) -> Option<Digest> {
    let digest = uri.strip_prefix(FEEDBACK_URI)?;
    (tag == FEEDBACK_TAG).then(|| digest.parse().ok()).flatten()
}

/// Checks what is claimed about a call of `service` against the receipt of it and the terms of its channel.
/// That the channel was ever funded only the chain can say: [`Backed::held_least`].
///
/// # Errors
/// [`NotBacked`].
pub fn backed(
    claim: &Claim,
    document: &[u8],
    service: &Name,
    domain: &SettlementDomain,
) -> Result<Backed, NotBacked> {
    if keccak256(document) != claim.hash {
        return Err(NotBacked::Hash);
    }
    let Evidence {
        channel,
        receipt: signed,
    } = Evidence::from_bytes(document)?;
    let receipt = &signed.receipt;
    let host = recover(receipt.digest(), &signed.signature)?;
    signed.verify(host)?;
    if receipt.payer != claim.rater {
        let (rater, payer) = (claim.rater, receipt.payer);
        return Err(NotBacked::NotThePayer { rater, payer });
    }
    if receipt.service != service.as_str() || receipt.chain_id != claim.agent.registry.chain_id {
        return Err(NotBacked::Elsewhere(receipt.service.clone()));
    }
    if receipt.channel != Some(channel.id(domain)) {
        return Err(NotBacked::NoChannel);
    }
    // The receiver may be a splitter, which shares with others; whose channel it is its authorizer says.
    let theirs = (channel.payer, channel.receiver_authorizer, channel.token);
    if theirs != (receipt.payer, host, receipt.token) {
        return Err(NotBacked::NotTheChannel);
    }
    if channel.receiver == claim.rater || receipt.provider == claim.rater {
        return Err(NotBacked::Itself);
    }
    if receipt.charged.is_zero() {
        return Err(NotBacked::Free);
    }
    Ok(Backed {
        channel,
        held_least: receipt.after,
        host,
        value: value(claim.value, claim.decimals),
        paid: receipt.charged.min(PAID_MAX),
        day: receipt.issued_at / DAY_SECS,
    })
}

/// The whole part, within bounds.
fn value(value: i128, decimals: u8) -> i16 {
    let scale = 10_i128.checked_pow(decimals.into()).unwrap_or(i128::MAX);
    let whole = value.checked_div(scale).unwrap_or(0).clamp(-100, 100);
    i16::try_from(whole).unwrap_or(0)
}

/// What counts of a payment at most, one dollar: who lends itself a large sum gets it back.
const PAID_MAX: Amount = Amount::new(1_000_000);
const DAY_SECS: u64 = 86_400;

#[cfg(test)]
mod tests {
    use alloy_primitives::U256;
    use rialto_channels::SigningKey;
    use rialto_channels::receipt::{Receipt, Usage};

    use super::*;
    use crate::erc8004::Registries;

    const RATER: Address = Address::repeat_byte(7);

    fn host() -> SigningKey {
        SigningKey::from_bytes(&[3; 32]).unwrap()
    }

    fn domain() -> SettlementDomain {
        SettlementDomain {
            chain_id: 84_532,
            contract: Address::repeat_byte(10),
        }
    }

    fn channel() -> ChannelConfig {
        ChannelConfig {
            payer: RATER,
            payer_authorizer: Address::repeat_byte(11),
            receiver: Address::repeat_byte(8),
            receiver_authorizer: host().address(),
            token: Address::repeat_byte(9),
            withdraw_delay: 900,
            salt: B256::repeat_byte(2),
        }
    }

    fn document(change: impl FnOnce(&mut Receipt)) -> Vec<u8> {
        let mut receipt = Receipt {
            id: B256::repeat_byte(1),
            channel: Some(channel().id(&domain())),
            payer: RATER,
            provider: Address::repeat_byte(8),
            chain_id: 84_532,
            token: Address::repeat_byte(9),
            service: "embed".to_owned(),
            version: "1.0.0".to_owned(),
            component: B256::ZERO,
            models: Vec::new(),
            method: "embed".to_owned(),
            request: B256::ZERO,
            response: B256::ZERO,
            usage: Usage::default(),
            price: Amount::new(200),
            before: Amount::new(0),
            charged: Amount::new(150),
            after: Amount::new(150),
            issued_at: 20_000 * DAY_SECS + 5,
            engine: "e".to_owned(),
            deterministic: false,
            previous: B256::ZERO,
            parent: None,
        };
        change(&mut receipt);
        evidence(channel(), receipt)
    }

    fn evidence(channel: ChannelConfig, receipt: Receipt) -> Vec<u8> {
        let receipt = receipt.sign(&host());
        Evidence { channel, receipt }.to_bytes()
    }

    fn claim(document: &[u8]) -> Claim {
        Claim {
            agent: Registries::canonical(84_532).unwrap().agent(U256::from(5)),
            rater: RATER,
            value: 9_050,
            decimals: 2,
            hash: keccak256(document),
        }
    }

    fn judge(document: &[u8]) -> Result<Backed, NotBacked> {
        let embed = "embed".parse().unwrap();
        backed(&claim(document), document, &embed, &domain())
    }

    #[test]
    fn a_receipt_backs_what_its_payer_says() {
        let found = judge(&document(|_| {})).unwrap();
        assert_eq!(found.host, host().address());
        assert_eq!((found.value, found.day), (90, 20_000));
        assert_eq!(found.paid, Amount::new(150));
    }

    #[test]
    fn nothing_else_does() {
        let good = document(|_| {});
        let other = document(|receipt| receipt.price = Amount::new(201));
        let embed = "embed".parse().unwrap();
        assert_eq!(
            backed(&claim(&good), &other, &embed, &domain()),
            Err(NotBacked::Hash)
        );
        let payer = document(|receipt| receipt.payer = Address::repeat_byte(6));
        assert!(matches!(judge(&payer), Err(NotBacked::NotThePayer { .. })));
        let bare = document(|receipt| receipt.channel = None);
        assert_eq!(judge(&bare), Err(NotBacked::NoChannel));
        let service = document(|receipt| receipt.service = "chat".to_owned());
        assert_eq!(
            judge(&service),
            Err(NotBacked::Elsewhere("chat".to_owned()))
        );
        let chain = document(|receipt| receipt.chain_id = 1);
        assert!(matches!(judge(&chain), Err(NotBacked::Elsewhere(_))));
        let free = document(|receipt| {
            receipt.charged = Amount::ZERO;
            receipt.after = receipt.before;
        });
        assert_eq!(judge(&free), Err(NotBacked::Free));
        let dear = document(|receipt| receipt.charged = Amount::new(201));
        assert!(matches!(judge(&dear), Err(NotBacked::Receipt(_))));
        assert!(matches!(judge(&good[1..]), Err(NotBacked::Document(_))));
        assert!(matches!(judge(&good[..9]), Err(NotBacked::Document(_))));
    }

    #[test]
    fn the_channel_is_the_raters_with_the_host() {
        let found = judge(&document(|_| {})).unwrap();
        assert_eq!(found.channel, channel());
        for (balance, claimed, is_paid) in [
            (0, 0, false),
            (149, 149, false),
            (150, 0, true),
            (0, 150, true),
        ] {
            let paid = found.is_paid_by(Amount::new(balance), Amount::new(claimed));
            assert_eq!(paid, is_paid, "{balance} {claimed}");
        }
        type Change = fn(&mut ChannelConfig);
        let others: [Change; 3] = [
            |channel| channel.payer = Address::repeat_byte(6),
            |channel| channel.receiver_authorizer = Address::repeat_byte(6),
            |channel| channel.token = Address::repeat_byte(6),
        ];
        for change in others {
            let mut other = channel();
            change(&mut other);
            let signed = SignedReceipt::from_bytes(&document(|_| {})[CONFIG_BYTES..]).unwrap();
            let mut receipt = signed.receipt;
            // Somebody else's channel, as it is on the chain.
            assert_eq!(
                judge(&evidence(other, receipt.clone())),
                Err(NotBacked::NoChannel)
            );
            receipt.channel = Some(other.id(&domain()));
            assert_eq!(
                judge(&evidence(other, receipt)),
                Err(NotBacked::NotTheChannel)
            );
        }
    }

    #[test]
    fn a_channel_may_pay_a_splitter_but_not_the_rater() {
        let paid_by = |receiver: Address| {
            let channel = ChannelConfig {
                receiver,
                ..channel()
            };
            let signed = SignedReceipt::from_bytes(&document(|_| {})[CONFIG_BYTES..]).unwrap();
            let mut receipt = signed.receipt;
            receipt.channel = Some(channel.id(&domain()));
            judge(&evidence(channel, receipt))
        };
        assert_eq!(
            paid_by(Address::repeat_byte(13)).unwrap().host,
            host().address()
        );
        assert_eq!(paid_by(RATER), Err(NotBacked::Itself));
        let own = document(|receipt| receipt.provider = RATER);
        assert_eq!(judge(&own), Err(NotBacked::Itself));
    }

    #[test]
    fn values_stay_within_bounds() {
        for (given, decimals, read) in [
            (100, 0, 100),
            (101, 0, 100),
            (-5_000, 1, -100),
            (99_999, 3, 99),
            (i128::MIN, 0, -100),
            (1, 255, 0),
        ] {
            assert_eq!(value(given, decimals), read, "{given} {decimals}");
        }
    }

    #[test]
    fn feedback_of_other_kinds_is_none_of_ours() {
        let uri = format!("{FEEDBACK_URI}{}", Digest::new([1; 32]));
        assert_eq!(receipt_of(FEEDBACK_TAG, &uri), Some(Digest::new([1; 32])));
        assert_eq!(receipt_of("starred", &uri), None);
        assert_eq!(receipt_of(FEEDBACK_TAG, "ipfs://x"), None);
    }
}
