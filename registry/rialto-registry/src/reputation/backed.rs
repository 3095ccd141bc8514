//! Feedback that a receipt backs: what an entry of the chain's reputation registry says, held against the
//! receipt that it commits to.
//!
//! Not here: reading the chain and fetching the receipt; who the host is among peers.

use alloy_primitives::{Address, B256, keccak256};
use rialto_channels::receipt::{DocumentError, ReceiptError, SignedReceipt};
use rialto_channels::{Amount, SignatureError, recover};

use crate::{AgentId, Digest, Name};

/// The first tag of feedback on a call.
pub const FEEDBACK_TAG: &str = "rialto.call";

/// How the URI of feedback begins whose receipt is an artifact; its digest follows.
pub const FEEDBACK_URI: &str = "rialto:receipt:";

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

/// Feedback that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backed {
    /// The key of the host that answered the call.
    pub host: Address,
    /// Who was paid.
    pub payout: Address,
    /// What is said of it, from -100 to 100.
    pub value: i16,
    /// What was paid, in base units.
    pub paid: Amount,
    /// The receipt's day, since the Unix epoch.
    pub day: u64,
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
    /// It is of a payment outside channels.
    #[error("the receipt is of no payment channel")]
    NoChannel,
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

/// Checks what is claimed about a call of `service` against the receipt of it.
///
/// # Errors
/// [`NotBacked`].
pub fn backed(claim: &Claim, document: &[u8], service: &Name) -> Result<Backed, NotBacked> {
    if keccak256(document) != claim.hash {
        return Err(NotBacked::Hash);
    }
    let signed = SignedReceipt::from_bytes(document)?;
    let receipt = &signed.receipt;
    let host = recover(receipt.digest(), &signed.signature)?;
    signed.verify(host)?;
    if receipt.payer != claim.rater {
        let (rater, payer) = (claim.rater, receipt.payer);
        return Err(NotBacked::NotThePayer { rater, payer });
    }
    if receipt.channel.is_none() {
        return Err(NotBacked::NoChannel);
    }
    if receipt.service != service.as_str() || receipt.chain_id != claim.agent.registry.chain_id {
        return Err(NotBacked::Elsewhere(receipt.service.clone()));
    }
    Ok(Backed {
        host,
        payout: receipt.provider,
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

/// What counts of a payment at most, one dollar: hosts can sign receipts of more than was ever paid.
const PAID_MAX: Amount = Amount::new(1_000_000);
const DAY_SECS: u64 = 86_400;

#[cfg(test)]
mod tests {
    use alloy_primitives::U256;
    use rialto_channels::receipt::{Receipt, Usage};
    use rialto_channels::{ChannelId, SigningKey};

    use super::*;
    use crate::erc8004::Registries;

    const RATER: Address = Address::repeat_byte(7);

    fn host() -> SigningKey {
        SigningKey::from_bytes(&[3; 32]).unwrap()
    }

    fn document(change: impl FnOnce(&mut Receipt)) -> Vec<u8> {
        let mut receipt = Receipt {
            id: B256::repeat_byte(1),
            channel: Some(ChannelId(B256::repeat_byte(2))),
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
        };
        change(&mut receipt);
        receipt.sign(&host()).to_bytes()
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
        backed(&claim(document), document, &"embed".parse().unwrap())
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
        assert_eq!(backed(&claim(&good), &other, &embed), Err(NotBacked::Hash));
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
        let dear = document(|receipt| receipt.charged = Amount::new(201));
        assert!(matches!(judge(&dear), Err(NotBacked::Receipt(_))));
        assert!(matches!(judge(&good[1..]), Err(NotBacked::Document(_))));
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
