//! Stored answers: kept for callers that ask again, within bounds, the oldest dropped first.

use redb::{Database, ReadableDatabase, ReadableTableMetadata, Table, WriteTransaction};

use crate::{
    Config, StoredAnswer,
    codec::{self, AnswerRow},
    tables,
};

/// What is known about the stored answers without looking at them.
#[derive(Debug)]
pub(crate) struct Answers {
    next: u64,
    count: u64,
    bytes: u64,
}

impl Answers {
    pub(crate) fn load(db: &Database) -> Result<Self, redb::Error> {
        let transaction = db.begin_read()?;
        let meta = transaction.open_table(tables::META)?;
        let number = |key| -> Result<u64, redb::Error> {
            Ok(meta.get(key)?.map_or(0, |value| value.value()))
        };
        Ok(Self {
            next: number(NEXT_KEY)?,
            bytes: number(BYTES_KEY)?,
            count: transaction.open_table(tables::ANSWERS)?.len()?,
        })
    }
}

/// The answers' tables in one group.
pub(super) struct Open<'t> {
    known: &'t mut Answers,
    config: Config,
    answers: Table<'t, u64, &'static [u8]>,
    meta: Table<'t, &'static str, u64>,
    changed: bool,
}

impl<'t> Open<'t> {
    pub(super) fn new(
        transaction: &'t WriteTransaction,
        config: &Config,
        known: &'t mut Answers,
    ) -> Result<Self, redb::Error> {
        Ok(Self {
            known,
            config: *config,
            answers: transaction.open_table(tables::ANSWERS)?,
            meta: transaction.open_table(tables::META)?,
            changed: false,
        })
    }

    /// Stores an answer and returns its number, or `None` if it is too large to be kept.
    pub(super) fn put(&mut self, answer: &StoredAnswer) -> Result<Option<u64>, redb::Error> {
        if answer.body.len() > self.config.answer_bytes_max {
            return Ok(None);
        }
        let bytes = codec::encode(&AnswerRow::from(answer))?;
        let number = self.known.next;
        self.answers.insert(number, bytes.as_slice())?;
        self.known.next = number.saturating_add(1);
        self.known.count = self.known.count.saturating_add(1);
        self.known.bytes = self.known.bytes.saturating_add(size(&bytes));
        self.changed = true;
        Ok(Some(number))
    }

    pub(super) fn finish(mut self) -> Result<(), redb::Error> {
        if !self.changed {
            return Ok(());
        }
        while self.known.count > self.config.answers_max
            || self.known.bytes > self.config.answers_bytes_max
        {
            let Some((_, oldest)) = self.answers.pop_first()? else {
                break;
            };
            self.known.count = self.known.count.saturating_sub(1);
            self.known.bytes = self.known.bytes.saturating_sub(size(oldest.value()));
        }
        self.meta.insert(NEXT_KEY, self.known.next)?;
        self.meta.insert(BYTES_KEY, self.known.bytes)?;
        Ok(())
    }
}

fn size(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

const NEXT_KEY: &str = "answers_next";
const BYTES_KEY: &str = "answers_bytes";
