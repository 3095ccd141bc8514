//! How a run of entries gets into the tables: in one transaction, everything sorted by key, so
//! that neighbours share pages; with the number of its last entry, so that it never gets there
//! twice.

pub(super) mod books;

use redb::{Database, Durability, ReadableTable, WriteTransaction};

use super::{
    generation::{Generation, Record},
    logged, tables,
};
use crate::{
    Config,
    codec::{self, TotalsRow},
};

/// Writes everything of `run` and makes it durable.
pub(super) fn apply(db: &Database, run: &Generation, config: &Config) -> Result<(), redb::Error> {
    let mut transaction = db.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    // A start after a crash then takes no time in proportion to the file's size.
    transaction.set_quick_repair(true);
    records(&transaction, run)?;
    answers(&transaction, run, config)?;
    channels(&transaction, run)?;
    exact(&transaction, run)?;
    books::write(&transaction, &run.moved)?;
    let mut meta = transaction.open_table(tables::META)?;
    meta.insert(tables::APPLIED_KEY, run.last)?;
    meta.insert(tables::ANSWERS_COUNT_KEY, run.answers.count)?;
    meta.insert(tables::ANSWERS_BYTES_KEY, run.answers.bytes)?;
    drop(meta);
    Ok(transaction.commit()?)
}

fn records(transaction: &WriteTransaction, run: &Generation) -> Result<(), redb::Error> {
    let mut records = transaction.open_table(tables::RECORDS)?;
    for record in &run.records {
        records.insert(record.number, run.bytes_at(&record.row))?;
    }
    let mut index = transaction.open_table(tables::INDEX)?;
    let mut keys: Vec<_> = run.records.iter().flat_map(index_keys).collect();
    keys.sort_unstable();
    for key in keys {
        index.insert(key, ())?;
    }
    Ok(())
}

/// What finds a record: by its payment key and by its receipt's id.
pub(super) fn index_keys(record: &Record) -> [(u64, u64); 2] {
    [
        (tables::short(&record.key), record.number),
        (tables::short(&record.receipt), record.number),
    ]
}

/// Stores answers and drops the oldest above the limits.
fn answers(
    transaction: &WriteTransaction,
    run: &Generation,
    config: &Config,
) -> Result<(), redb::Error> {
    let mut answers = transaction.open_table(tables::ANSWERS)?;
    let kept = |bytes: &[u8]| -> Result<bool, redb::Error> {
        let before = logged::answer_mark(bytes)?;
        Ok(run.answers.keeps(before, config))
    };
    for record in &run.records {
        if let Some(place) = &record.answer {
            let bytes = run.bytes_at(place);
            if kept(bytes)? {
                answers.insert(record.number, bytes)?;
            }
        }
    }
    loop {
        let oldest = match answers.first()? {
            Some((number, bytes)) if !kept(bytes.value())? => number.value(),
            Some(_) | None => return Ok(()),
        };
        answers.remove(oldest)?;
    }
}

fn channels(transaction: &WriteTransaction, run: &Generation) -> Result<(), redb::Error> {
    let mut channels = transaction.open_table(tables::CHANNELS)?;
    let mut changed: Vec<_> = run.channels.iter().collect();
    changed.sort_unstable_by_key(|(id, _)| **id);
    for (id, place) in changed {
        channels.insert(id.0.0, run.bytes_at(place))?;
    }
    Ok(())
}

fn exact(transaction: &WriteTransaction, run: &Generation) -> Result<(), redb::Error> {
    let mut nonces = transaction.open_table(tables::NONCES)?;
    for key in &run.nonces {
        nonces.insert(key.as_slice(), ())?;
    }
    let mut movements = transaction.open_table(tables::MOVEMENTS)?;
    for (key, amount) in &run.movements {
        movements.insert(key.as_slice(), amount)?;
    }
    let mut totals = transaction.open_table(tables::TOTALS)?;
    for ((receiver, token), sums) in &run.totals {
        let row = codec::encode(&TotalsRow::from(sums))?;
        totals.insert(
            tables::totals_key(*receiver, *token).as_slice(),
            row.as_slice(),
        )?;
    }
    Ok(())
}
