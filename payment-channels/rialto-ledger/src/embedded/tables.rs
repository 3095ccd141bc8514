//! The tables of the file, and its format's version.

use alloy_primitives::{Address, B256};
use redb::{Database, ReadableDatabase, TableDefinition, TableHandle};
use rialto_channels::ChannelId;

use super::{
    logged::{MovementKey, NonceKey},
    upgrade,
};
use crate::{ExactNonce, Movement, error::OpenError, journal::Day};

/// Version of the tables and encodings below. A file with a later one is refused, not guessed at;
/// one with an earlier one is upgraded.
pub(crate) const FORMAT: u64 = 2;

/// Facts about the file: `format`, and what the keys below name.
pub(crate) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// Channel id to channel state.
pub(crate) const CHANNELS: TableDefinition<'_, [u8; 32], &[u8]> = TableDefinition::new("channels");
/// Number of the entry, in the order of acceptance, to payment key and signed receipt. Only ever
/// appended to, unlike tables that are sorted by a hash.
pub(crate) const RECORDS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("records");
/// Of each record, the first eight bytes of its payment key and of its receipt's id, with its
/// number. Short keys, so that many lie on one page; which record is meant, the record tells.
pub(crate) const INDEX: TableDefinition<'_, (u64, u64), ()> = TableDefinition::new("index");
/// Number of the record to its answer, and what the answers before add up to.
pub(crate) const ANSWERS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("answers2");
/// Token, payer and nonce of used `exact` authorizations.
pub(crate) const NONCES: TableDefinition<'_, &[u8], ()> = TableDefinition::new("nonces");
/// Kind, transaction, receiver and token to amount.
pub(crate) const MOVEMENTS: TableDefinition<'_, &[u8], u128> = TableDefinition::new("movements");
/// Receiver and token to sums.
pub(crate) const TOTALS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("totals");
/// Day, kind, and channel or receiver and token, to what moved.
pub(crate) const JOURNAL: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("journal");
/// Receiver, token and account to sums.
pub(crate) const ACCOUNTS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("accounts");

/// Key of the format's version.
pub(super) const FORMAT_KEY: &str = "format";
/// Key of the number of the last entry in the tables.
pub(super) const APPLIED_KEY: &str = "applied";
/// Key of the count of answers ever stored.
pub(super) const ANSWERS_COUNT_KEY: &str = "answers_count";
/// Key of the bytes of answers ever stored.
pub(super) const ANSWERS_BYTES_KEY: &str = "answers_sum";

/// Makes the tables of a new file, or checks that an old one is of this format, or upgrades it.
pub(crate) fn prepare(db: &Database) -> Result<(), OpenError> {
    if is_new(db)? {
        return Ok(create(db)?);
    }
    match format(db)? {
        Some(FORMAT) => Ok(()),
        Some(1) => Ok(upgrade::from_format_1(db)?),
        Some(found) => Err(OpenError::UnknownFormat {
            found,
            supported: FORMAT,
        }),
        None => Err(OpenError::NotALedger),
    }
}

/// The part of a payment key or receipt id that is in the index.
pub(super) fn short(hash: &[u8; 32]) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *hash;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// Key of a used authorization: token, payer, nonce.
pub(super) fn nonce_key(nonce: &ExactNonce) -> NonceKey {
    let mut key = [0; 72];
    fill(
        &mut key,
        &[
            nonce.token.as_slice(),
            nonce.payer.as_slice(),
            nonce.nonce.as_slice(),
        ],
    );
    key
}

/// Key of a movement: kind, transaction, receiver, token.
pub(super) fn movement_key(kind: u8, movement: &Movement) -> MovementKey {
    let mut key = [0; 73];
    fill(
        &mut key,
        &[
            &[kind],
            movement.transaction.as_slice(),
            movement.receiver.as_slice(),
            movement.token.as_slice(),
        ],
    );
    key
}

/// The kind and the movement that a key and an amount stand for.
pub(super) fn movement(key: &MovementKey) -> (u8, B256, Address, Address) {
    let [kind, rest @ ..] = key;
    let (transaction, rest) = rest.split_at(32);
    let (receiver, token) = rest.split_at(20);
    (
        *kind,
        B256::from_slice(transaction),
        Address::from_slice(receiver),
        Address::from_slice(token),
    )
}

/// Key of a sum: receiver, token.
pub(super) fn totals_key(receiver: Address, token: Address) -> [u8; 40] {
    let mut key = [0; 40];
    fill(&mut key, &[receiver.as_slice(), token.as_slice()]);
    key
}

/// Key of a journal line: day, then channels before what belongs to none.
pub(super) fn journal_key(
    day: Day,
    channel: Option<ChannelId>,
    receiver: Address,
    token: Address,
) -> Vec<u8> {
    let day = day.0.to_be_bytes();
    match channel {
        Some(channel) => [&day[..], &[1], channel.0.as_slice()].concat(),
        None => [&day[..], &[2], receiver.as_slice(), token.as_slice()].concat(),
    }
}

/// Day and channel of a journal line's key.
pub(super) fn journal_place(key: &[u8]) -> Option<(Day, Option<ChannelId>)> {
    let (day, rest) = key.split_first_chunk()?;
    let day = Day(u32::from_be_bytes(*day));
    match rest {
        [1, channel @ ..] => Some((day, Some(ChannelId(B256::try_from(channel).ok()?)))),
        [2, ..] => Some((day, None)),
        _ => None,
    }
}

/// Key of an account: receiver, token, account.
pub(super) fn account_key(receiver: Address, token: Address, account: u8) -> [u8; 41] {
    let mut key = [0; 41];
    fill(
        &mut key,
        &[receiver.as_slice(), token.as_slice(), &[account]],
    );
    key
}

fn fill(key: &mut [u8], parts: &[&[u8]]) {
    let bytes = parts.iter().copied().flatten();
    for (to, from) in key.iter_mut().zip(bytes) {
        *to = *from;
    }
}

fn is_new(db: &Database) -> Result<bool, redb::Error> {
    Ok(db.begin_read()?.list_tables()?.next().is_none())
}

fn format(db: &Database) -> Result<Option<u64>, redb::Error> {
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

fn create(db: &Database) -> Result<(), redb::Error> {
    let transaction = db.begin_write()?;
    open_all(&transaction)?;
    Ok(transaction.commit()?)
}

/// Makes the tables that are missing, and says that they are of this format.
pub(super) fn open_all(transaction: &redb::WriteTransaction) -> Result<(), redb::Error> {
    transaction.open_table(META)?.insert(FORMAT_KEY, FORMAT)?;
    transaction.open_table(CHANNELS)?;
    transaction.open_table(RECORDS)?;
    transaction.open_table(INDEX)?;
    transaction.open_table(ANSWERS)?;
    transaction.open_table(NONCES)?;
    transaction.open_table(MOVEMENTS)?;
    transaction.open_table(TOTALS)?;
    transaction.open_table(JOURNAL)?;
    transaction.open_table(ACCOUNTS)?;
    Ok(())
}
