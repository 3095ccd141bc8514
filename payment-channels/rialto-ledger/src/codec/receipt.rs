//! The record of a signed receipt.

use alloy_primitives::{Address, B256};
use rialto_channels::{
    Amount, ChannelId, Signature,
    receipt::{Receipt, SignedReceipt, Usage},
};
use serde::{Deserialize, Serialize};

use super::{Malformed, Row};

/// Version 1 of a receipt's record. Fields are never reordered; a new layout is a new version.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ReceiptRow {
    id: [u8; 32],
    channel: Option<[u8; 32]>,
    payer: [u8; 20],
    provider: [u8; 20],
    chain_id: u64,
    token: [u8; 20],
    service: String,
    version: String,
    component: [u8; 32],
    models: Vec<[u8; 32]>,
    method: String,
    request: [u8; 32],
    response: [u8; 32],
    usage: UsageRow,
    price: u128,
    before: u128,
    charged: u128,
    after: u128,
    issued_at: u64,
    engine: String,
    deterministic: bool,
    previous: [u8; 32],
    signature: Vec<u8>,
}

#[derive(Debug, Serialize, Deserialize)]
struct UsageRow {
    guest_time_us: u64,
    host_time_us: u64,
    memory_peak_bytes: u64,
    host_calls: u64,
    input_bytes: u64,
    output_bytes: u64,
    tensor_runs: u64,
}

impl Row for ReceiptRow {
    const NAME: &'static str = "receipt";
    const VERSION: u8 = 1;
}

impl From<&SignedReceipt> for ReceiptRow {
    fn from(signed: &SignedReceipt) -> Self {
        let receipt = &signed.receipt;
        Self {
            id: receipt.id.0,
            channel: receipt.channel.map(|channel| channel.0.0),
            payer: receipt.payer.into(),
            provider: receipt.provider.into(),
            chain_id: receipt.chain_id,
            token: receipt.token.into(),
            service: receipt.service.clone(),
            version: receipt.version.clone(),
            component: receipt.component.0,
            models: receipt.models.iter().map(|model| model.0).collect(),
            method: receipt.method.clone(),
            request: receipt.request.0,
            response: receipt.response.0,
            usage: UsageRow::from(&receipt.usage),
            price: receipt.price.get(),
            before: receipt.before.get(),
            charged: receipt.charged.get(),
            after: receipt.after.get(),
            issued_at: receipt.issued_at,
            engine: receipt.engine.clone(),
            deterministic: receipt.deterministic,
            previous: receipt.previous.0,
            signature: signed.signature.to_bytes().to_vec(),
        }
    }
}

impl TryFrom<ReceiptRow> for SignedReceipt {
    type Error = Malformed;

    fn try_from(row: ReceiptRow) -> Result<Self, Malformed> {
        let signature =
            Signature::parse(&row.signature).map_err(|_| Malformed(ReceiptRow::NAME))?;
        let receipt = Receipt {
            id: B256::from(row.id),
            channel: row.channel.map(|channel| ChannelId(B256::from(channel))),
            payer: Address::from(row.payer),
            provider: Address::from(row.provider),
            chain_id: row.chain_id,
            token: Address::from(row.token),
            service: row.service,
            version: row.version,
            component: B256::from(row.component),
            models: row.models.into_iter().map(B256::from).collect(),
            method: row.method,
            request: B256::from(row.request),
            response: B256::from(row.response),
            usage: row.usage.into(),
            price: Amount::new(row.price),
            before: Amount::new(row.before),
            charged: Amount::new(row.charged),
            after: Amount::new(row.after),
            issued_at: row.issued_at,
            engine: row.engine,
            deterministic: row.deterministic,
            previous: B256::from(row.previous),
        };
        Ok(Self { receipt, signature })
    }
}

impl From<&Usage> for UsageRow {
    fn from(usage: &Usage) -> Self {
        Self {
            guest_time_us: usage.guest_time_us,
            host_time_us: usage.host_time_us,
            memory_peak_bytes: usage.memory_peak_bytes,
            host_calls: usage.host_calls,
            input_bytes: usage.input_bytes,
            output_bytes: usage.output_bytes,
            tensor_runs: usage.tensor_runs,
        }
    }
}

impl From<UsageRow> for Usage {
    fn from(row: UsageRow) -> Self {
        Self {
            guest_time_us: row.guest_time_us,
            host_time_us: row.host_time_us,
            memory_peak_bytes: row.memory_peak_bytes,
            host_calls: row.host_calls,
            input_bytes: row.input_bytes,
            output_bytes: row.output_bytes,
            tensor_runs: row.tensor_runs,
        }
    }
}
