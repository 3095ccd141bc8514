//! The tables, and what a change does to them within one transaction.
//!
//! Values are stored behind the number of the change that wrote them, so that a swap notices every change
//! between, even one that put the same bytes back.

use std::collections::BTreeMap;

use redb::{
    Database, ReadableDatabase as _, ReadableTable, Table, TableDefinition, WriteTransaction,
};

use crate::error::{OpenError, StateError};
use crate::{Bucket, ENTRY_BYTES};

/// A change of one bucket: all of it happens, or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Writes keys; of one that is given twice, the last value counts.
    Set(Vec<(String, Vec<u8>)>),
    /// Removes keys; those that are not there are passed over.
    Delete(Vec<String>),
    /// Writes a key if nobody wrote or removed it since `revision`, where 0 is "it is not there".
    Swap {
        /// The key.
        key: String,
        /// What [`Entry::revision`] said.
        revision: u64,
        /// The new value.
        value: Vec<u8>,
    },
    /// Adds to the decimal number of a key, which is 0 where there is none.
    Increment {
        /// The key.
        key: String,
        /// What is added.
        delta: i128,
        /// The least sum.
        lowest: i128,
        /// The greatest sum.
        highest: i128,
    },
}

/// What became of a [`Change`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// It was made.
    Done,
    /// Somebody else changed the key first; nothing was done.
    Moved,
    /// The sum of an increment.
    Sum(i128),
}

/// A value as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The number of the change that wrote it, from 1.
    pub revision: u64,
    /// The value.
    pub value: Vec<u8>,
}

/// Service, payer, key.
pub(crate) type Key = (&'static str, &'static str, &'static str);

pub(crate) const ENTRIES: TableDefinition<'_, Key, &[u8]> = TableDefinition::new("entries");
/// Bytes of each bucket that has any.
const BUCKETS: TableDefinition<'_, (&str, &str), u64> = TableDefinition::new("buckets");
/// Payers' buckets of each service that has any.
const PAYERS: TableDefinition<'_, &str, u64> = TableDefinition::new("payers");
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

const FORMAT: &str = "format";
const FORMAT_KNOWN: u64 = 1;
/// The number of the last change.
const REVISION: &str = "revision";
/// Bytes of all buckets.
const BYTES: &str = "bytes";
const REVISION_BYTES: usize = size_of::<u64>();

/// What the tables may hold at most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) bytes_max: u64,
    pub(crate) payers_max: u64,
}

/// Makes the tables of an empty file, and refuses those of a later version.
pub(crate) fn prepare(transaction: &WriteTransaction) -> Result<(), OpenError> {
    let fail = |error: redb::Error| OpenError::Database(error.to_string());
    let make = || -> Result<u64, redb::Error> {
        transaction.open_table(ENTRIES)?;
        transaction.open_table(BUCKETS)?;
        transaction.open_table(PAYERS)?;
        let mut meta = transaction.open_table(META)?;
        let found = meta.get(FORMAT)?.map(|format| format.value());
        if found.is_none() {
            meta.insert(FORMAT, FORMAT_KNOWN)?;
        }
        Ok(found.unwrap_or(FORMAT_KNOWN))
    };
    let found = make().map_err(fail)?;
    if found == FORMAT_KNOWN {
        return Ok(());
    }
    Err(OpenError::Format {
        found,
        known: FORMAT_KNOWN,
    })
}

/// The bytes of all buckets together.
pub(crate) fn bytes(database: &Database) -> Result<u64, redb::Error> {
    let transaction = database.begin_read()?;
    let meta = transaction.open_table(META)?;
    let bytes = meta.get(BYTES)?;
    Ok(bytes.map_or(0, |bytes| bytes.value()))
}

/// A stored value with its revision.
pub(crate) fn entry(stored: &[u8]) -> Result<Entry, StateError> {
    let Some((revision, value)) = stored.split_first_chunk::<REVISION_BYTES>() else {
        return Err(StateError::Storage("an entry is damaged".to_owned()));
    };
    Ok(Entry {
        revision: u64::from_le_bytes(*revision),
        value: value.to_vec(),
    })
}

/// All tables of one transaction.
pub(crate) struct Tables<'t> {
    entries: Table<'t, Key, &'static [u8]>,
    buckets: Table<'t, (&'static str, &'static str), u64>,
    payers: Table<'t, &'static str, u64>,
    meta: Table<'t, &'static str, u64>,
    bounds: Bounds,
}

impl<'t> Tables<'t> {
    pub(crate) fn open(
        transaction: &'t WriteTransaction,
        bounds: Bounds,
    ) -> Result<Self, StateError> {
        Ok(Self {
            entries: transaction
                .open_table(ENTRIES)
                .map_err(StateError::storage)?,
            buckets: transaction
                .open_table(BUCKETS)
                .map_err(StateError::storage)?,
            payers: transaction
                .open_table(PAYERS)
                .map_err(StateError::storage)?,
            meta: transaction.open_table(META).map_err(StateError::storage)?,
            bounds,
        })
    }

    /// Makes a change, or refuses it and touches nothing.
    ///
    /// # Errors
    /// [`StateError::Storage`] ends the transaction; every other concerns this change alone.
    pub(crate) fn apply(
        &mut self,
        bucket: &Bucket,
        change: Change,
        quota: u64,
    ) -> Result<Changed, StateError> {
        match change {
            Change::Set(pairs) => {
                let pairs: BTreeMap<String, Vec<u8>> = pairs.into_iter().collect();
                let writes = pairs.into_iter().map(|(key, value)| (key, Some(value)));
                self.write(bucket, writes.collect(), quota)?;
                Ok(Changed::Done)
            }
            Change::Delete(keys) => {
                let writes = keys.into_iter().map(|key| (key, None));
                self.write(bucket, writes.collect(), quota)?;
                Ok(Changed::Done)
            }
            Change::Swap {
                key,
                revision,
                value,
            } => {
                let found = self.get(bucket, &key)?;
                if found.map_or(0, |entry| entry.revision) != revision {
                    return Ok(Changed::Moved);
                }
                self.write(bucket, BTreeMap::from([(key, Some(value))]), quota)?;
                Ok(Changed::Done)
            }
            Change::Increment {
                key,
                delta,
                lowest,
                highest,
            } => {
                let found = self.get(bucket, &key)?;
                let number = found.map_or(Ok(0), |entry| number(&entry.value))?;
                let sum = number.checked_add(delta);
                let sum = sum.filter(|sum| (lowest..=highest).contains(sum));
                let sum = sum.ok_or(StateError::OutOfRange)?;
                let value = sum.to_string().into_bytes();
                self.write(bucket, BTreeMap::from([(key, Some(value))]), quota)?;
                Ok(Changed::Sum(sum))
            }
        }
    }

    fn get(&self, bucket: &Bucket, key: &str) -> Result<Option<Entry>, StateError> {
        let found = self.entries.get(place(bucket, key));
        let found = found.map_err(StateError::storage)?;
        found.map(|stored| entry(stored.value())).transpose()
    }

    /// Writes and removes keys, if the bucket and the host have room for the outcome.
    fn write(
        &mut self,
        bucket: &Bucket,
        writes: BTreeMap<String, Option<Vec<u8>>>,
        quota: u64,
    ) -> Result<(), StateError> {
        let (mut more, mut less) = (0_u64, 0_u64);
        for (key, value) in &writes {
            let found = self.entries.get(place(bucket, key));
            if let Some(stored) = found.map_err(StateError::storage)? {
                let value = stored.value().len().saturating_sub(REVISION_BYTES);
                less = less.saturating_add(cost(key, value));
            }
            if let Some(value) = value {
                more = more.saturating_add(cost(key, value.len()));
            }
        }
        self.account(bucket, more, less, quota)?;
        let revision = self.number(REVISION)?.saturating_add(1);
        self.meta
            .insert(REVISION, revision)
            .map_err(StateError::storage)?;
        for (key, value) in writes {
            let place = place(bucket, &key);
            match value {
                Some(value) => {
                    let stored = [&revision.to_le_bytes(), value.as_slice()].concat();
                    let written = self.entries.insert(place, stored.as_slice());
                    written.map_err(StateError::storage)?;
                }
                None => {
                    self.entries.remove(place).map_err(StateError::storage)?;
                }
            }
        }
        Ok(())
    }

    /// Books `more` bytes instead of `less`. What makes a bucket no larger is never refused: its quota may
    /// have been lowered since.
    fn account(
        &mut self,
        bucket: &Bucket,
        more: u64,
        less: u64,
        quota: u64,
    ) -> Result<(), StateError> {
        let place = (bucket.service.as_str(), bucket.payer.as_str());
        let before = self.buckets.get(place).map_err(StateError::storage)?;
        let before = before.map_or(0, |bytes| bytes.value());
        let after = before.saturating_sub(less).saturating_add(more);
        let total = self.number(BYTES)?;
        let total_after = total.saturating_sub(less).saturating_add(more);
        if after > before && after > quota {
            return Err(StateError::Quota {
                bytes: after,
                bytes_max: quota,
            });
        }
        let bytes_max = self.bounds.bytes_max;
        if total_after > total && total_after > bytes_max {
            return Err(StateError::Full { bytes_max });
        }
        if !bucket.payer.is_empty() && (before == 0) != (after == 0) {
            self.count_payer(&bucket.service, after > 0)?;
        }
        if after == 0 {
            self.buckets.remove(place).map_err(StateError::storage)?;
        } else {
            let written = self.buckets.insert(place, after);
            written.map_err(StateError::storage)?;
        }
        let written = self.meta.insert(BYTES, total_after);
        written.map_err(StateError::storage)?;
        Ok(())
    }

    fn count_payer(&mut self, service: &str, comes: bool) -> Result<(), StateError> {
        let count = self.payers.get(service).map_err(StateError::storage)?;
        let count = count.map_or(0, |count| count.value());
        let payers_max = self.bounds.payers_max;
        let count = match comes {
            true if count >= payers_max => return Err(StateError::Payers { payers_max }),
            true => count.saturating_add(1),
            false => count.saturating_sub(1),
        };
        let written = self.payers.insert(service, count);
        written.map_err(StateError::storage)?;
        Ok(())
    }

    fn number(&self, name: &str) -> Result<u64, StateError> {
        let found = self.meta.get(name).map_err(StateError::storage)?;
        Ok(found.map_or(0, |number| number.value()))
    }
}

pub(crate) fn place<'a>(bucket: &'a Bucket, key: &'a str) -> (&'a str, &'a str, &'a str) {
    (&bucket.service, &bucket.payer, key)
}

/// What an entry counts.
fn cost(key: &str, value_bytes: usize) -> u64 {
    let bytes = key.len().saturating_add(value_bytes);
    u64::try_from(bytes)
        .unwrap_or(u64::MAX)
        .saturating_add(ENTRY_BYTES)
}

fn number(value: &[u8]) -> Result<i128, StateError> {
    let text = std::str::from_utf8(value).map_err(|_| StateError::NotANumber)?;
    text.parse().map_err(|_| StateError::NotANumber)
}
