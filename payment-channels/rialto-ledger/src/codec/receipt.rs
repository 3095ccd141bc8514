//! The record of a signed receipt.

use alloy_primitives::{Address, B256};
use rialto_channels::{
    Amount, ChannelId, Signature,
    receipt::{Receipt, SignedReceipt},
};
use serde::{Deserialize, Serialize};

use super::usage::{DeviceUsageRow, MeteredUsageRow, PlainUsageRow, UsageRow};
use super::{Malformed, Row, whole};

/// A receipt's record. Fields are never reordered; a new layout is a new version.
///
/// Version 1 ends its usage with the runs; version 2 goes on with what was used of a device, version 3
/// with what limits bound, version 4 with what it has to do with other calls. A record is of the lowest version that tells all there is.
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

impl Row for ReceiptRow {
    const NAME: &'static str = "receipt";
    const VERSION: u8 = 4;

    fn version(&self) -> u8 {
        self.usage.version()
    }

    fn read(version: u8, bytes: &[u8]) -> Result<Self, Malformed> {
        match version {
            1 => whole::<ReceiptRow<PlainUsageRow>>(bytes, Self::NAME).map(Self::of_earlier),
            2 => whole::<ReceiptRow<DeviceUsageRow>>(bytes, Self::NAME).map(Self::of_earlier),
            3 => whole::<ReceiptRow<MeteredUsageRow>>(bytes, Self::NAME).map(Self::of_earlier),
            4 => whole(bytes, Self::NAME),
            _ => Err(Malformed(Self::NAME)),
        }
    }
}

impl ReceiptRow {
    /// The same receipt; of what earlier versions did not know nothing was used.
    pub(crate) fn of_earlier<U: Into<UsageRow>>(row: ReceiptRow<U>) -> Self {
        Self {
            usage: row.usage.into(),
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
            usage: UsageRow::from(&receipt.usage).made_for(receipt.parent.map(|parent| parent.0)),
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
            parent: row.usage.parent().map(B256::from),
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

#[cfg(test)]
mod tests {
    use rialto_channels::receipt::{DeviceUsage, HireUsage, LimitUsage, Usage};

    use super::*;
    use crate::codec::{RecordRow, decode, encode};

    fn row(usage: Usage) -> ReceiptRow {
        ReceiptRow {
            usage: UsageRow::from(&usage),
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

    fn plain() -> Usage {
        Usage {
            guest_time_us: 1,
            tensor_runs: 7,
            ..Usage::default()
        }
    }

    fn with_device() -> Usage {
        let device = DeviceUsage {
            time_us: 1,
            multiply_adds: u64::MAX,
            moved_bytes: 3,
            tokens_read: 4,
            tokens_written: 5,
        };
        Usage { device, ..plain() }
    }

    fn metered(device: DeviceUsage) -> Usage {
        let limits = LimitUsage {
            wall_time_us: 1,
            log_lines: u64::MAX,
            ..LimitUsage::default()
        };
        Usage {
            device,
            limits,
            ..plain()
        }
    }

    fn linked(usage: Usage) -> Usage {
        let hires = HireUsage {
            calls: 1,
            spent: Amount::MAX,
        };
        Usage { hires, ..usage }
    }

    #[test]
    fn a_record_is_of_the_lowest_version_that_tells_all_and_reads_back() {
        let kinds = [
            (plain(), 1),
            (with_device(), 2),
            (metered(DeviceUsage::default()), 3),
            (metered(with_device().device), 3),
            (linked(plain()), 4),
            (linked(metered(with_device().device)), 4),
        ];
        for (usage, version) in kinds {
            let record = RecordRow {
                key: [1; 32],
                receipt: row(usage),
            };
            let written = encode(&record).unwrap();
            assert_eq!(written.first(), Some(&version));
            let read: RecordRow = decode(&written).unwrap();
            assert_eq!(encode(&read).unwrap(), written);
            assert_eq!(Usage::from(read.receipt.usage), usage);
            for other in (1..=4).filter(|other| *other != version) {
                let forged = [&[other], &written[1..]].concat();
                assert!(
                    decode::<RecordRow>(&forged).is_err(),
                    "{version} as {other}"
                );
            }
        }
    }

    #[test]
    fn version_1_is_written_as_the_first_release_did() {
        let written = encode(&row(plain())).unwrap();
        let old: ReceiptRow<PlainUsageRow> = whole(&written[1..], "receipt").unwrap();
        assert_eq!(Usage::from(UsageRow::from(old.usage)), plain());
        assert_eq!(decode::<ReceiptRow>(&written).unwrap().price, 9);
    }
}
