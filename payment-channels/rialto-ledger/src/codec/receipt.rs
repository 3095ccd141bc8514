//! The record of a signed receipt.

use alloy_primitives::{Address, B256};
use rialto_channels::{
    Amount, ChannelId, Signature,
    receipt::{DeviceUsage, Receipt, SignedReceipt, Usage},
};
use serde::{Deserialize, Serialize};

use super::{Malformed, Row, whole};

/// A receipt's record. Fields are never reordered; a new layout is a new version.
///
/// Version 1 ends its usage with the runs; version 2 goes on with what was used of a device, and is
/// written only if that is anything.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ReceiptRow<U = UsageRow> {
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
    usage: U,
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

/// Usage as version 1 has it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PlainUsageRow {
    guest_time_us: u64,
    host_time_us: u64,
    memory_peak_bytes: u64,
    host_calls: u64,
    input_bytes: u64,
    output_bytes: u64,
    tensor_runs: u64,
}

/// Usage as version 2 has it; without a device it is written as version 1 has it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct UsageRow {
    plain: PlainUsageRow,
    #[serde(skip_serializing_if = "DeviceRow::is_none")]
    device: DeviceRow,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct DeviceRow {
    time_us: u64,
    multiply_adds: u64,
    moved_bytes: u64,
    tokens_read: u64,
    tokens_written: u64,
}

impl DeviceRow {
    fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

impl Row for ReceiptRow {
    const NAME: &'static str = "receipt";
    const VERSION: u8 = 2;

    fn version(&self) -> u8 {
        if self.usage.device.is_none() { 1 } else { 2 }
    }

    fn read(version: u8, bytes: &[u8]) -> Result<Self, Malformed> {
        match version {
            1 => whole::<ReceiptRow<PlainUsageRow>>(bytes, Self::NAME).map(Into::into),
            2 => whole(bytes, Self::NAME),
            _ => Err(Malformed(Self::NAME)),
        }
    }
}

impl From<ReceiptRow<PlainUsageRow>> for ReceiptRow {
    fn from(row: ReceiptRow<PlainUsageRow>) -> Self {
        Self {
            usage: UsageRow {
                plain: row.usage,
                device: DeviceRow::default(),
            },
            id: row.id,
            channel: row.channel,
            payer: row.payer,
            provider: row.provider,
            chain_id: row.chain_id,
            token: row.token,
            service: row.service,
            version: row.version,
            component: row.component,
            models: row.models,
            method: row.method,
            request: row.request,
            response: row.response,
            price: row.price,
            before: row.before,
            charged: row.charged,
            after: row.after,
            issued_at: row.issued_at,
            engine: row.engine,
            deterministic: row.deterministic,
            previous: row.previous,
            signature: row.signature,
        }
    }
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
            plain: PlainUsageRow {
                guest_time_us: usage.guest_time_us,
                host_time_us: usage.host_time_us,
                memory_peak_bytes: usage.memory_peak_bytes,
                host_calls: usage.host_calls,
                input_bytes: usage.input_bytes,
                output_bytes: usage.output_bytes,
                tensor_runs: usage.tensor_runs,
            },
            device: DeviceRow {
                time_us: usage.device.time_us,
                multiply_adds: usage.device.multiply_adds,
                moved_bytes: usage.device.moved_bytes,
                tokens_read: usage.device.tokens_read,
                tokens_written: usage.device.tokens_written,
            },
        }
    }
}

impl From<UsageRow> for Usage {
    fn from(row: UsageRow) -> Self {
        let (plain, device) = (row.plain, row.device);
        Self {
            guest_time_us: plain.guest_time_us,
            host_time_us: plain.host_time_us,
            memory_peak_bytes: plain.memory_peak_bytes,
            host_calls: plain.host_calls,
            input_bytes: plain.input_bytes,
            output_bytes: plain.output_bytes,
            tensor_runs: plain.tensor_runs,
            device: DeviceUsage {
                time_us: device.time_us,
                multiply_adds: device.multiply_adds,
                moved_bytes: device.moved_bytes,
                tokens_read: device.tokens_read,
                tokens_written: device.tokens_written,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{RecordRow, decode, encode};

    fn row(device: DeviceRow) -> ReceiptRow {
        let usage = UsageRow {
            plain: PlainUsageRow {
                guest_time_us: 1,
                host_time_us: 2,
                memory_peak_bytes: 3,
                host_calls: 4,
                input_bytes: 5,
                output_bytes: 6,
                tensor_runs: 7,
            },
            device,
        };
        ReceiptRow {
            id: [1; 32],
            channel: None,
            payer: [2; 20],
            provider: [3; 20],
            chain_id: 4,
            token: [5; 20],
            service: "a".to_owned(),
            version: "b".to_owned(),
            component: [6; 32],
            models: Vec::new(),
            method: "c".to_owned(),
            request: [7; 32],
            response: [8; 32],
            usage,
            price: 9,
            before: 10,
            charged: 11,
            after: 12,
            issued_at: 13,
            engine: "d".to_owned(),
            deterministic: true,
            previous: [9; 32],
            signature: vec![1; 65],
        }
    }

    #[test]
    fn a_receipt_without_a_device_is_written_as_version_1() {
        let written = encode(&row(DeviceRow::default())).unwrap();
        assert_eq!(written.first(), Some(&1));
        let old: ReceiptRow<PlainUsageRow> = whole(&written[1..], "receipt").unwrap();
        assert_eq!(old.usage.tensor_runs, 7);
        assert_eq!(decode::<ReceiptRow>(&written).unwrap().price, 9);
        let newer = [&[2], &written[1..]].concat();
        assert!(
            decode::<ReceiptRow>(&newer).is_err(),
            "the device is missing"
        );
    }

    #[test]
    fn what_was_used_of_a_device_is_kept() {
        let device = DeviceRow {
            time_us: 1,
            multiply_adds: u64::MAX,
            moved_bytes: 3,
            tokens_read: 4,
            tokens_written: 5,
        };
        let record = RecordRow {
            key: [1; 32],
            receipt: row(device),
        };
        let written = encode(&record).unwrap();
        assert_eq!(written.first(), Some(&2));
        let read: RecordRow = decode(&written).unwrap();
        assert_eq!(read.receipt.usage.device, record.receipt.usage.device);
        assert_eq!(encode(&read).unwrap(), written);
        assert!(decode::<RecordRow>(&[&[1], &written[1..]].concat()).is_err());
    }
}
