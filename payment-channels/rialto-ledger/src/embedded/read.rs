//! Reading: always what is durable, whether in the tables yet or not; never blocked by a sync.
//!
//! First what the tables lack, then the tables: an entry leaves the former only once it is in the
//! latter.

use std::{collections::BTreeMap, ops::Bound};

use alloy_primitives::{Address, B256};
use redb::{ReadableDatabase, ReadableTable};
use rialto_channels::{Amount, ChannelId, payee::ChannelSnapshot, receipt::SignedReceipt};

use super::{
    generation::{Generation, Record},
    logged::{self, AnswersMark},
    lookup::Lookup,
    tables,
};
use crate::{
    ExactNonce, Ledger, PaymentRecord, StoredAnswer, Totals,
    codec::{self, ChannelRow, Malformed, RecordRow},
    error::ReadError,
};

impl Ledger {
    /// Every channel, in the order of their ids.
    ///
    /// # Errors
    /// [`ReadError`]; the operator's to solve.
    pub fn channels(&self) -> Result<Vec<ChannelSnapshot>, ReadError> {
        self.channels_after(None, usize::MAX)
    }

    /// Up to `count_max` channels in the order of their ids, from the one after `after` on: for
    /// those who do not want a million of them in memory at once.
    ///
    /// # Errors
    /// [`ReadError`]; the operator's to solve.
    pub fn channels_after(
        &self,
        after: Option<ChannelId>,
        count_max: usize,
    ) -> Result<Vec<ChannelSnapshot>, ReadError> {
        let state = self.shared().read();
        let table = self
            .shared()
            .db
            .begin_read()?
            .open_table(tables::CHANNELS)?;
        let mut waiting = BTreeMap::new();
        for generation in state.waiting() {
            let changed = generation
                .channels
                .iter()
                .filter(|(id, _)| after.is_none_or(|after| **id > after));
            for (id, place) in changed {
                // The newer generation is the first.
                let bytes = || generation.bytes_at(place).to_vec();
                waiting.entry(*id).or_insert_with(bytes);
            }
        }
        drop(state);
        let start = after.map_or(Bound::Unbounded, |after| Bound::Excluded(after.0.0));
        let mut stored = table.range::<[u8; 32]>((start, Bound::Unbounded))?;
        let mut next = next_stored(&mut stored)?;
        let mut channels = Vec::new();
        while channels.len() < count_max {
            // What waits is newer than what is stored under the same id.
            let first_waiting = waiting.first_key_value().map(|(id, _)| *id);
            let bytes = match (&next, first_waiting) {
                (Some((id, _)), Some(first)) if first <= *id => {
                    if first == *id {
                        next = next_stored(&mut stored)?;
                    }
                    waiting.pop_first().map(|(_, bytes)| bytes)
                }
                (None, Some(_)) => waiting.pop_first().map(|(_, bytes)| bytes),
                (Some(_), _) => {
                    let following = next_stored(&mut stored)?;
                    std::mem::replace(&mut next, following).map(|(_, bytes)| bytes)
                }
                (None, None) => None,
            };
            let Some(bytes) = bytes else {
                break;
            };
            channels.push(decode_channel(&bytes)?);
        }
        Ok(channels)
    }

    /// One channel, or `None` if it is unknown.
    ///
    /// # Errors
    /// [`ReadError`]; the operator's to solve.
    pub fn channel(&self, id: &ChannelId) -> Result<Option<ChannelSnapshot>, ReadError> {
        let state = self.shared().read();
        for generation in state.waiting() {
            if let Some(place) = generation.channels.get(id) {
                return Ok(Some(decode_channel(generation.bytes_at(place))?));
            }
        }
        drop(state);
        Ok(Lookup::new(&self.shared().db).channel(id)?)
    }

    /// The payment executed under this key, or `None` if there was none (M5). That there was
    /// none is nearly always found without asking the tables.
    ///
    /// # Errors
    /// [`ReadError`]; the operator's to solve.
    pub fn payment(&self, key: &[u8; 32]) -> Result<Option<PaymentRecord>, ReadError> {
        let state = self.shared().read();
        let waiting = state.waiting().find_map(|generation| {
            let record = generation.payment(key)?;
            Some(Waiting::copy(generation, record))
        });
        let answers = state.answers;
        drop(state);
        if let Some(waiting) = waiting {
            return waiting.into_payment(self, answers).map(Some);
        }
        // After what waits: what left it is in the filter and in the tables.
        if !self.shared().filter.may_hold(tables::short(key)) {
            return Ok(None);
        }
        let lookup = Lookup::new(&self.shared().db);
        let Some(record) = lookup.payment(key)? else {
            return Ok(None);
        };
        let answer = match lookup.answer(record.number)? {
            Some(bytes) => self.kept(&bytes, answers)?,
            None => None,
        };
        Ok(Some(PaymentRecord {
            key: record.key,
            receipt: record.receipt,
            answer,
        }))
    }

    /// The receipt of this id, or `None` if it is unknown.
    ///
    /// # Errors
    /// [`ReadError`]; the operator's to solve.
    pub fn receipt(&self, id: &B256) -> Result<Option<SignedReceipt>, ReadError> {
        let state = self.shared().read();
        for generation in state.waiting() {
            if let Some(record) = generation.receipt(&id.0) {
                return Ok(Some(decode_receipt(generation.bytes_at(&record.row))?));
            }
        }
        drop(state);
        let stored = Lookup::new(&self.shared().db).receipt(&id.0)?;
        Ok(stored.map(|record| record.receipt))
    }

    /// Shows every receipt to `visit`, in the order in which they were accepted: for audits,
    /// which must not need the whole table in memory.
    ///
    /// # Errors
    /// [`ReadError`]; the operator's to solve.
    pub fn visit_receipts(&self, mut visit: impl FnMut(SignedReceipt)) -> Result<(), ReadError> {
        let state = self.shared().read();
        let transaction = self.shared().db.begin_read()?;
        let mut waiting = BTreeMap::new();
        for generation in state.waiting() {
            for record in &generation.records {
                waiting.insert(record.number, generation.bytes_at(&record.row).to_vec());
            }
        }
        drop(state);
        for row in transaction.open_table(tables::RECORDS)?.iter()? {
            let (number, bytes) = row?;
            // In both for a moment, between two steps of a checkpoint.
            waiting.remove(&number.value());
            visit(decode_receipt(bytes.value())?);
        }
        for bytes in waiting.values() {
            visit(decode_receipt(bytes)?);
        }
        Ok(())
    }

    /// Whether an `exact` authorization was used.
    ///
    /// # Errors
    /// [`ReadError`]; the operator's to solve.
    pub fn nonce_used(&self, nonce: &ExactNonce) -> Result<bool, ReadError> {
        let key = tables::nonce_key(nonce);
        let state = self.shared().read();
        if state.waiting().any(|it| it.nonces.contains(&key)) {
            return Ok(true);
        }
        drop(state);
        Ok(Lookup::new(&self.shared().db).has_nonce(&key)?)
    }

    /// The sums for each receiver and token, in the order of these.
    ///
    /// # Errors
    /// [`ReadError`]; the operator's to solve.
    pub fn totals(&self) -> Result<Vec<Totals>, ReadError> {
        let mut totals: Vec<_> = self.shared().read().totals.values().copied().collect();
        totals.sort_unstable_by_key(|sums| (sums.receiver, sums.token));
        Ok(totals)
    }

    /// What is recorded as settled to this receiver, in base units.
    #[must_use]
    pub fn settled(&self, receiver: Address, token: Address) -> Amount {
        let state = self.shared().read();
        let totals = state.totals.get(&(receiver, token));
        totals.map_or(Amount::ZERO, |totals| totals.settled)
    }

    fn kept(&self, bytes: &[u8], all: AnswersMark) -> Result<Option<StoredAnswer>, ReadError> {
        let (before, answer) = logged::read_answer(bytes)?;
        Ok(all.keeps(before, &self.shared().config).then_some(answer))
    }
}

/// A payment that the tables lack, copied out from under the lock.
struct Waiting {
    row: Vec<u8>,
    answer: Option<Vec<u8>>,
}

impl Waiting {
    fn copy(generation: &Generation, record: &Record) -> Self {
        let copy = |place| generation.bytes_at(place).to_vec();
        Self {
            row: copy(&record.row),
            answer: record.answer.as_ref().map(copy),
        }
    }

    fn into_payment(self, ledger: &Ledger, all: AnswersMark) -> Result<PaymentRecord, ReadError> {
        let row: RecordRow = codec::decode(&self.row)?;
        let answer = match self.answer {
            Some(bytes) => ledger.kept(&bytes, all)?,
            None => None,
        };
        Ok(PaymentRecord {
            key: row.key,
            receipt: row.into_receipt()?,
            answer,
        })
    }
}

type StoredChannels<'t> = redb::Range<'t, [u8; 32], &'static [u8]>;

fn next_stored(stored: &mut StoredChannels<'_>) -> Result<Option<(ChannelId, Vec<u8>)>, ReadError> {
    let Some(row) = stored.next() else {
        return Ok(None);
    };
    let (id, bytes) = row?;
    Ok(Some((
        ChannelId(B256::from(id.value())),
        bytes.value().to_vec(),
    )))
}

fn decode_channel(bytes: &[u8]) -> Result<ChannelSnapshot, Malformed> {
    codec::decode::<ChannelRow>(bytes)?.try_into()
}

fn decode_receipt(bytes: &[u8]) -> Result<SignedReceipt, Malformed> {
    codec::decode::<RecordRow>(bytes)?.into_receipt()
}

impl From<Malformed> for ReadError {
    fn from(error: Malformed) -> Self {
        Self::Malformed(error.0)
    }
}
