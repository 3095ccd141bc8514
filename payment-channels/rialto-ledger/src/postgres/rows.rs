//! Between the database's values and the ledger's.

use rialto_channels::{Address, Amount, B256, payee::ChannelSnapshot, receipt::SignedReceipt};
use sqlx::{Row, postgres::PgRow};

use super::SharedError;
use crate::{
    StoredAnswer,
    codec::{self, AnswerRow, ChannelRow, Malformed, ReceiptRow},
};

impl From<Malformed> for SharedError {
    fn from(error: Malformed) -> Self {
        Self::Malformed(error.0)
    }
}

pub(super) fn snapshot(bytes: &[u8]) -> Result<ChannelSnapshot, SharedError> {
    Ok(codec::decode::<ChannelRow>(bytes)?.try_into()?)
}

pub(super) fn snapshot_bytes(snapshot: &ChannelSnapshot) -> Result<Vec<u8>, SharedError> {
    Ok(codec::encode(&ChannelRow::from(snapshot))?)
}

pub(super) fn receipt(bytes: &[u8]) -> Result<SignedReceipt, SharedError> {
    Ok(codec::decode::<ReceiptRow>(bytes)?.try_into()?)
}

pub(super) fn receipt_bytes(receipt: &SignedReceipt) -> Result<Vec<u8>, SharedError> {
    Ok(codec::encode(&ReceiptRow::from(receipt))?)
}

pub(super) fn answer(bytes: &[u8]) -> Result<StoredAnswer, SharedError> {
    Ok(codec::decode::<AnswerRow>(bytes)?.into())
}

pub(super) fn answer_bytes(answer: &StoredAnswer) -> Result<Vec<u8>, SharedError> {
    Ok(codec::encode(&AnswerRow::from(answer))?)
}

/// A number that is stored as the database's widest integer.
pub(super) fn stored(number: u64, what: &'static str) -> Result<i64, SharedError> {
    i64::try_from(number).map_err(|_| SharedError::Malformed(what))
}

pub(super) fn number(row: &PgRow, column: &str) -> Result<u64, super::fault::Failure> {
    let number: i64 = row.try_get(column)?;
    let number = u64::try_from(number).map_err(|_| SharedError::Malformed("number"))?;
    Ok(number)
}

/// An amount; the statement casts it to text, since no integer of the database's is wide enough.
pub(super) fn amount(row: &PgRow, column: &str) -> Result<Amount, super::fault::Failure> {
    let text: &str = row.try_get(column)?;
    let amount = text.parse().map_err(|_| SharedError::Malformed("amount"))?;
    Ok(amount)
}

pub(super) fn address(row: &PgRow, column: &str) -> Result<Address, super::fault::Failure> {
    let bytes: &[u8] = row.try_get(column)?;
    let address = Address::try_from(bytes).map_err(|_| SharedError::Malformed("address"))?;
    Ok(address)
}

pub(super) fn hash(row: &PgRow, column: &str) -> Result<B256, super::fault::Failure> {
    let bytes: &[u8] = row.try_get(column)?;
    let hash = B256::try_from(bytes).map_err(|_| SharedError::Malformed("hash"))?;
    Ok(hash)
}
