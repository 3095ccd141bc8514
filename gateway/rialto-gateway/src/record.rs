//! Receipts and channels as JSON: what `/receipts/{id}`, `/channels/{id}` and the
//! `RIALTO-RECEIPT` header say. A receipt survives the way out and back without loss, so that
//! its signature can be checked by anyone who has the JSON.

mod usage;

use alloy_primitives::{Address, B256, keccak256};
use rialto_channels::receipt::{Receipt, SignedReceipt};
use rialto_channels::{Amount, ChannelId, ParseAmountError, Signature, SignatureError};
use rialto_node::ChannelView;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub use usage::{DeviceRecord, HireRecord, LimitRecord, UsageRecord};

/// A signed receipt as JSON. Amounts are strings of decimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptRecord {
    /// The call.
    pub id: B256,
    /// The channel charged; absent outside channels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<B256>,
    /// Who paid.
    pub payer: Address,
    /// Who is paid.
    pub provider: Address,
    /// The chain that the money is on.
    pub chain_id: u64,
    /// The token that the amounts count.
    pub token: Address,
    /// The service.
    pub service: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of the component that ran.
    pub component: B256,
    /// SHA-256 of each model, in the manifest's order.
    pub models: Vec<B256>,
    /// The method.
    pub method: String,
    /// What was asked: see [`request_digest`].
    pub request: B256,
    /// SHA-256 of the answer's body.
    pub response: B256,
    /// What the call used.
    pub usage: UsageRecord,
    /// The most that the call could have cost.
    pub price: String,
    /// The channel's cumulative charge before.
    pub before: String,
    /// What the call cost.
    pub charged: String,
    /// The channel's cumulative charge after.
    pub after: String,
    /// Seconds since the Unix epoch.
    pub issued_at: u64,
    /// What ran it.
    pub engine: String,
    /// Whether running it again must give the same answer.
    pub deterministic: bool,
    /// The digest of the channel's receipt before this one; zero for the first.
    pub previous: B256,
    /// The call for which this one was made; absent if for nobody else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<B256>,
    /// The EIP-712 digest that is signed; informative, since anyone can compute it.
    pub digest: B256,
    /// The host's signature.
    pub signature: String,
}

/// Names what was asked, as receipts do: the service, the method in snake_case, and the SHA-256
/// of the request's body as it was sent.
#[must_use]
pub fn request_digest(service: &str, method: &str, body: &[u8]) -> B256 {
    let body: [u8; 32] = Sha256::digest(body).into();
    let parts: [&[u8]; 6] = [
        b"rialto request v1\0",
        service.as_bytes(),
        b"\0",
        method.as_bytes(),
        b"\0",
        &body,
    ];
    keccak256(parts.concat())
}

impl From<&SignedReceipt> for ReceiptRecord {
    fn from(signed: &SignedReceipt) -> Self {
        let receipt = &signed.receipt;
        Self {
            id: receipt.id,
            channel: receipt.channel.map(|channel| channel.0),
            payer: receipt.payer,
            provider: receipt.provider,
            chain_id: receipt.chain_id,
            token: receipt.token,
            service: receipt.service.clone(),
            version: receipt.version.clone(),
            component: receipt.component,
            models: receipt.models.clone(),
            method: receipt.method.clone(),
            request: receipt.request,
            response: receipt.response,
            usage: receipt.usage.into(),
            price: receipt.price.to_string(),
            before: receipt.before.to_string(),
            charged: receipt.charged.to_string(),
            after: receipt.after.to_string(),
            issued_at: receipt.issued_at,
            engine: receipt.engine.clone(),
            deterministic: receipt.deterministic,
            previous: receipt.previous,
            parent: receipt.parent,
            digest: receipt.digest(),
            signature: signed.signature.to_hex(),
        }
    }
}

impl TryFrom<ReceiptRecord> for SignedReceipt {
    type Error = RecordError;

    /// Reads a receipt. Its signature is not checked here; [`SignedReceipt::verify`] does that.
    fn try_from(record: ReceiptRecord) -> Result<Self, RecordError> {
        let signature: Signature = record.signature.parse()?;
        Ok(Self {
            receipt: Receipt {
                id: record.id,
                channel: record.channel.map(ChannelId),
                payer: record.payer,
                provider: record.provider,
                chain_id: record.chain_id,
                token: record.token,
                service: record.service,
                version: record.version,
                component: record.component,
                models: record.models,
                method: record.method,
                request: record.request,
                response: record.response,
                usage: record.usage.into(),
                price: record.price.parse()?,
                before: record.before.parse()?,
                charged: record.charged.parse()?,
                after: record.after.parse()?,
                issued_at: record.issued_at,
                engine: record.engine,
                deterministic: record.deterministic,
                previous: record.previous,
                parent: record.parent,
            },
            signature,
        })
    }
}

/// A channel as JSON, without the payer's signature: a channel's id is public on the chain, so
/// anyone may ask. A payer gets the signature back in a corrective 402.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelRecord {
    /// The channel.
    pub id: B256,
    /// Who funds it.
    pub payer: Address,
    /// Who is paid.
    pub receiver: Address,
    /// In which token.
    pub token: Address,
    /// Seconds between a withdrawal's start and its end.
    pub withdraw_delay: u64,
    /// On the chain, in token base units.
    pub balance: String,
    /// Claimed on the chain.
    pub claimed: String,
    /// Charged so far, claimed or not.
    pub charged: String,
    /// Reserved for calls in progress.
    pub in_flight: String,
    /// Not charged and not reserved.
    pub available: String,
    /// The highest ceiling signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ceiling: Option<String>,
    /// When a withdrawal that was started can be finished, by the chain's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withdrawal_finalizes_at: Option<u64>,
    /// The next refund's nonce.
    pub refund_nonce: String,
}

impl From<&ChannelView> for ChannelRecord {
    fn from(view: &ChannelView) -> Self {
        let spent = view.charged.checked_add(view.in_flight);
        let available = spent.and_then(|spent| view.balance.checked_sub(spent));
        Self {
            id: view.id.0,
            payer: view.config.payer,
            receiver: view.config.receiver,
            token: view.config.token,
            withdraw_delay: view.config.withdraw_delay,
            balance: view.balance.to_string(),
            claimed: view.claimed.to_string(),
            charged: view.charged.to_string(),
            in_flight: view.in_flight.to_string(),
            // After a withdrawal the balance can be below what was charged before it.
            available: available.unwrap_or(Amount::ZERO).to_string(),
            ceiling: view.ceiling.map(|(ceiling, _)| ceiling.to_string()),
            withdrawal_finalizes_at: view.withdrawal_finalizes_at.map(|at| at.get()),
            refund_nonce: view.refund_nonce.to_string(),
        }
    }
}

/// Why JSON is no receipt.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// A number of base units is not one.
    #[error("an amount in the receipt is not a number")]
    Amount(#[from] ParseAmountError),
    /// The signature cannot be one.
    #[error("the receipt's signature is not a signature")]
    Signature(#[from] SignatureError),
}

#[cfg(test)]
mod tests {
    use rialto_channels::SigningKey;
    use rialto_channels::receipt::Usage;

    use super::*;
    use crate::x402::header;

    fn receipt() -> Receipt {
        Receipt {
            id: B256::repeat_byte(1),
            channel: Some(ChannelId(B256::repeat_byte(2))),
            payer: Address::repeat_byte(3),
            provider: Address::repeat_byte(4),
            chain_id: 84532,
            token: Address::repeat_byte(5),
            service: "embed".to_owned(),
            version: "0.1.0".to_owned(),
            component: B256::repeat_byte(6),
            models: vec![B256::repeat_byte(7)],
            method: "embed".to_owned(),
            request: B256::repeat_byte(8),
            response: B256::repeat_byte(9),
            usage: Usage {
                guest_time_us: 12,
                ..Usage::default()
            },
            price: Amount::new(100),
            before: Amount::new(300),
            charged: Amount::new(100),
            after: Amount::new(400),
            issued_at: 1_795_000_000,
            engine: "wasmtime 48".to_owned(),
            deterministic: true,
            previous: B256::ZERO,
            parent: None,
        }
    }

    #[test]
    fn a_receipt_survives_the_header_and_still_verifies() {
        let mut with_device = receipt();
        with_device.usage.device.multiply_adds = 1 << 60;
        let mut metered = with_device.clone();
        metered.usage.limits.log_lines = u64::MAX;
        survives(receipt());
        survives(with_device);
        let mut linked = metered.clone();
        linked.parent = Some(B256::repeat_byte(10));
        linked.usage.hires.spent = Amount::new(9);
        survives(metered);
        survives(linked);
        let json = serde_json::to_value(UsageRecord::from(receipt().usage)).unwrap();
        assert_eq!(json.get("device"), None, "as release 0.1 wrote it");
        assert_eq!(json.get("limits"), None, "as release 0.1 wrote it");
    }

    fn survives(receipt: Receipt) {
        let host = SigningKey::from_bytes(&[7; 32]).unwrap();
        let signed = receipt.sign(&host);
        let header = header::encode(&ReceiptRecord::from(&signed)).unwrap();
        let record: ReceiptRecord = header::decode(header.as_bytes()).unwrap();
        assert_eq!(record.digest, signed.receipt.digest());
        let back = SignedReceipt::try_from(record.clone()).unwrap();
        assert_eq!(back, signed);
        assert!(back.verify(host.address()).is_ok());

        let mut changed = record;
        changed.response = B256::repeat_byte(0xee);
        let changed = SignedReceipt::try_from(changed).unwrap();
        assert!(changed.verify(host.address()).is_err());
    }
}
