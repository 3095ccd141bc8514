//! How records are written: a version byte, then postcard of a structure of the ledger's own.
//!
//! The structures are spelled out here and not derived on the cores' types, so that a change of
//! a core's internals cannot silently change the file.

mod channel;
mod flows;
mod payment;
mod receipt;
mod record;
mod usage;

use std::{mem, ops::Range};

use serde::{Serialize, de::DeserializeOwned};

pub(crate) use channel::ChannelRow;
pub(crate) use flows::{AccountRow, FlowsRow};
pub(crate) use payment::{AnswerRow, PaymentRow, TotalsRow};
pub(crate) use receipt::ReceiptRow;
pub(crate) use record::RecordRow;

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
    /// First byte of the record: the newest version that is written.
    const VERSION: u8;

    /// The version in which this record is written.
    fn version(&self) -> u8 {
        Self::VERSION
    }

    /// Reads a record of a version, without its first byte.
    fn read(version: u8, bytes: &[u8]) -> Result<Self, Malformed> {
        if version == Self::VERSION {
            whole(bytes, Self::NAME)
        } else {
            Err(Malformed(Self::NAME))
        }
    }
}

/// All of these bytes as one structure.
fn whole<T: DeserializeOwned>(bytes: &[u8], name: &'static str) -> Result<T, Malformed> {
    match postcard::take_from_bytes(bytes) {
        Ok((row, [])) => Ok(row),
        Ok(_) | Err(_) => Err(Malformed(name)),
    }
}

/// The bytes of a record.
pub(crate) fn encode<R: Row>(row: &R) -> Result<Vec<u8>, Malformed> {
    postcard::to_extend(row, vec![row.version()]).map_err(|_| Malformed(R::NAME))
}

/// Writes a record at the end of `buffer`, after its length; returns where it is.
pub(crate) fn append<R: Row>(buffer: &mut Vec<u8>, row: &R) -> Result<Range<usize>, Malformed> {
    let len_at = buffer.len();
    buffer.extend([0; LEN_BYTES]);
    let start = buffer.len();
    buffer.push(row.version());
    *buffer = postcard::to_extend(row, mem::take(buffer)).map_err(|_| Malformed(R::NAME))?;
    let end = buffer.len();
    let len = u32::try_from(end - start).map_err(|_| Malformed(R::NAME))?;
    buffer
        .get_mut(len_at..start)
        .ok_or(Malformed(R::NAME))?
        .copy_from_slice(&len.to_le_bytes());
    Ok(start..end)
}

/// The record of these bytes; nothing may follow it.
pub(crate) fn decode<R: Row>(bytes: &[u8]) -> Result<R, Malformed> {
    let (version, rest) = bytes.split_first().ok_or(Malformed(R::NAME))?;
    R::read(*version, rest)
}

/// Bytes of the length before a record that [`append`] writes.
pub(crate) const LEN_BYTES: usize = 4;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_record_of_another_version_or_length_is_malformed() {
        let row = PaymentRow {
            receipt: [7; 32],
            answer: Some(9),
        };
        let bytes = encode(&row).unwrap();
        assert!(decode::<PaymentRow>(&bytes).is_ok());
        let refused = |bytes: &[u8]| {
            assert_eq!(
                decode::<PaymentRow>(bytes).unwrap_err(),
                Malformed("payment")
            );
        };
        refused(&[]);
        refused(&bytes[..bytes.len() - 1]);
        refused(&[&bytes[..], &[0]].concat());
        refused(&[&[2], &bytes[1..]].concat());
    }

    proptest! {
        /// Whatever the disk returns, reading it is an error and never a panic.
        #[test]
        fn arbitrary_bytes_do_not_panic(bytes: Vec<u8>) {
            for version in [0, 1, 2] {
                let bytes = [&[version], bytes.as_slice()].concat();
                let _ = decode::<ChannelRow>(&bytes);
                let _ = decode::<ReceiptRow>(&bytes);
                let _ = decode::<PaymentRow>(&bytes);
                let _ = decode::<AnswerRow>(&bytes);
                let _ = decode::<TotalsRow>(&bytes);
            }
        }
    }
}
