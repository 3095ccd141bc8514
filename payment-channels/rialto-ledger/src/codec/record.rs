//! The record of a payment: its key and its receipt, kept in the order of acceptance.

use rialto_channels::receipt::SignedReceipt;
use serde::{Deserialize, Serialize};

use super::{Malformed, ReceiptRow, Row};

/// Version 1 of a payment's record. A new layout of a receipt is a new version here too.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RecordRow {
    pub(crate) key: [u8; 32],
    pub(crate) receipt: ReceiptRow,
}

impl Row for RecordRow {
    const NAME: &'static str = "payment's record";
    const VERSION: u8 = 1;
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
