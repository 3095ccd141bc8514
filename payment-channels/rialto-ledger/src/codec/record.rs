//! The record of a payment: its key and its receipt, kept in the order of acceptance.

use rialto_channels::receipt::SignedReceipt;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::usage::{DeviceUsageRow, MeteredUsageRow, PlainUsageRow, UsageRow};
use super::{Malformed, ReceiptRow, Row, whole};

/// A payment's record. Its version is the receipt's.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RecordRow<R = ReceiptRow> {
    pub(crate) key: [u8; 32],
    pub(crate) receipt: R,
}

impl Row for RecordRow {
    const NAME: &'static str = "payment's record";
    const VERSION: u8 = ReceiptRow::VERSION;

    fn version(&self) -> u8 {
        self.receipt.version()
    }

    fn read(version: u8, bytes: &[u8]) -> Result<Self, Malformed> {
        match version {
            1 => of_earlier::<PlainUsageRow>(bytes),
            2 => of_earlier::<DeviceUsageRow>(bytes),
            3 => of_earlier::<MeteredUsageRow>(bytes),
            4 => whole(bytes, Self::NAME),
            _ => Err(Malformed(Self::NAME)),
        }
    }
}

fn of_earlier<U: DeserializeOwned + Into<UsageRow>>(bytes: &[u8]) -> Result<RecordRow, Malformed> {
    let row: RecordRow<ReceiptRow<U>> = whole(bytes, RecordRow::<ReceiptRow>::NAME)?;
    Ok(RecordRow {
        key: row.key,
        receipt: ReceiptRow::of_earlier(row.receipt),
    })
}

impl RecordRow {
    pub(crate) fn new(key: [u8; 32], receipt: &SignedReceipt) -> Self {
        Self {
            key,
            receipt: receipt.into(),
        }
    }

    pub(crate) fn into_receipt(self) -> Result<SignedReceipt, Malformed> {
        self.receipt.try_into()
    }
}
