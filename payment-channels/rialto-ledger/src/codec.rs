//! How records are written: a version byte, then postcard of a structure of the ledger's own.
//!
//! The structures are spelled out here and not derived on the cores' types, so that a change of
//! a core's internals cannot silently change the file.

mod channel;
mod payment;
mod receipt;

use serde::{Serialize, de::DeserializeOwned};

pub(crate) use channel::ChannelRow;
pub(crate) use payment::{AnswerRow, PaymentRow, TotalsRow};
pub(crate) use receipt::ReceiptRow;

/// A record that this version does not write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

impl From<Malformed> for redb::Error {
    fn from(error: Malformed) -> Self {
        Self::Corrupted(format!("malformed {}", error.0))
    }
}

/// A kind of record and its version.
pub(crate) trait Row: Serialize + DeserializeOwned {
    /// Name for messages.
    const NAME: &'static str;
    /// First byte of the record.
    const VERSION: u8;
}

/// The bytes of a record.
pub(crate) fn encode<R: Row>(row: &R) -> Result<Vec<u8>, Malformed> {
    postcard::to_extend(row, vec![R::VERSION]).map_err(|_| Malformed(R::NAME))
}

/// The record of these bytes; nothing may follow it.
pub(crate) fn decode<R: Row>(bytes: &[u8]) -> Result<R, Malformed> {
    let (version, rest) = bytes.split_first().ok_or(Malformed(R::NAME))?;
    if *version != R::VERSION {
        return Err(Malformed(R::NAME));
    }
    match postcard::take_from_bytes(rest) {
        Ok((row, [])) => Ok(row),
        Ok(_) | Err(_) => Err(Malformed(R::NAME)),
    }
}
