//! The tables of the file, and its format's version.

use alloy_primitives::Address;
use redb::{ReadableDatabase, TableDefinition, TableHandle};

use crate::{ExactNonce, Movement, error::OpenError};

/// Version of the tables and encodings below. A file with another is refused, not guessed at.
pub(crate) const FORMAT: u64 = 1;

/// Facts about the file: `format`.
pub(crate) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// Channel id to channel state.
pub(crate) const CHANNELS: TableDefinition<'_, [u8; 32], &[u8]> = TableDefinition::new("channels");
/// Payment key to receipt id and answer number.
pub(crate) const PAYMENTS: TableDefinition<'_, [u8; 32], &[u8]> = TableDefinition::new("payments");
/// Receipt id to signed receipt.
pub(crate) const RECEIPTS: TableDefinition<'_, [u8; 32], &[u8]> = TableDefinition::new("receipts");
/// Answer number, in order of arrival, to answer.
pub(crate) const ANSWERS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("answers");
/// Token, payer and nonce of used `exact` authorizations.
pub(crate) const NONCES: TableDefinition<'_, &[u8], ()> = TableDefinition::new("nonces");
/// Kind, transaction, receiver and token to amount.
pub(crate) const MOVEMENTS: TableDefinition<'_, &[u8], u128> = TableDefinition::new("movements");
/// Receiver and token to sums.
pub(crate) const TOTALS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("totals");

const FORMAT_KEY: &str = "format";

/// Makes the tables of a new file, or checks that an old one is of this format.
pub(crate) fn prepare(db: &redb::Database) -> Result<(), OpenError> {
    if is_new(db).map_err(storage)? {
        return create(db).map_err(storage);
    }
    match format(db).map_err(storage)? {
        Some(FORMAT) => Ok(()),
        Some(found) => Err(OpenError::UnknownFormat {
            found,
            supported: FORMAT,
        }),
        None => Err(OpenError::NotALedger),
    }
}

/// Key of a used authorization: token, payer, nonce.
pub(crate) fn nonce_key(nonce: &ExactNonce) -> Vec<u8> {
    [
        nonce.token.as_slice(),
        nonce.payer.as_slice(),
        nonce.nonce.as_slice(),
    ]
    .concat()
}

/// Key of a movement: kind, transaction, receiver, token.
pub(crate) fn movement_key(kind: u8, movement: &Movement) -> Vec<u8> {
    let Movement {
        transaction,
        receiver,
        token,
        ..
    } = movement;
    [
        &[kind],
        transaction.as_slice(),
        receiver.as_slice(),
        token.as_slice(),
    ]
    .concat()
}

/// Key of a sum: receiver, token.
pub(crate) fn totals_key(receiver: Address, token: Address) -> Vec<u8> {
    [receiver.as_slice(), token.as_slice()].concat()
}

fn is_new(db: &redb::Database) -> Result<bool, redb::Error> {
    Ok(db.begin_read()?.list_tables()?.next().is_none())
}

fn format(db: &redb::Database) -> Result<Option<u64>, redb::Error> {
    let transaction = db.begin_read()?;
    if !transaction
        .list_tables()?
        .any(|table| table.name() == META.name())
    {
        return Ok(None);
    }
    let table = transaction.open_table(META)?;
    Ok(table.get(FORMAT_KEY)?.map(|value| value.value()))
}

fn create(db: &redb::Database) -> Result<(), redb::Error> {
    let transaction = db.begin_write()?;
    transaction.open_table(META)?.insert(FORMAT_KEY, FORMAT)?;
    transaction.open_table(CHANNELS)?;
    transaction.open_table(PAYMENTS)?;
    transaction.open_table(RECEIPTS)?;
    transaction.open_table(ANSWERS)?;
    transaction.open_table(NONCES)?;
    transaction.open_table(MOVEMENTS)?;
    transaction.open_table(TOTALS)?;
    Ok(transaction.commit()?)
}

fn storage(error: redb::Error) -> OpenError {
    OpenError::Storage(Box::new(error))
}
