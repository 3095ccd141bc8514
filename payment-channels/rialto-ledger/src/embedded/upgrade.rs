//! From format 1, where payments and receipts were sorted by their hashes, to format 2. In one
//! transaction: a process killed meanwhile leaves format 1.
//!
//! Format 1 did not keep the order of payments, but that of answers, so payments without an
//! answer come first. Nor did it keep a journal: what each channel and receiver came to is
//! entered on the day of the upgrade.

use std::{collections::BTreeMap, time::SystemTime};

use redb::{Database, Durability, ReadableTable, Table, TableDefinition, WriteTransaction};
use rialto_channels::{payee::ChannelSnapshot, receipt::SignedReceipt};

use super::{
    apply::books,
    generation::Moved,
    logged::{self, AnswersMark},
    tables,
};
use crate::{
    StoredAnswer, Totals,
    codec::{self, AnswerRow, ChannelRow, PaymentRow, ReceiptRow, RecordRow, TotalsRow},
    head::{Head, flows},
    journal::{Day, Flow},
};

type Hashed = TableDefinition<'static, [u8; 32], &'static [u8]>;

const PAYMENTS: Hashed = TableDefinition::new("payments");
const RECEIPTS: Hashed = TableDefinition::new("receipts");
const ANSWERS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("answers");

pub(super) fn from_format_1(db: &Database) -> Result<(), redb::Error> {
    tracing::info!("upgrading the ledger from format 1 to 2");
    let mut transaction = db.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    tables::open_all(&transaction)?;
    records(&transaction)?;
    let moved = opening(&transaction)?;
    books::write(&transaction, &moved)?;
    transaction.delete_table(PAYMENTS)?;
    transaction.delete_table(RECEIPTS)?;
    transaction.delete_table(ANSWERS)?;
    let mut meta = transaction.open_table(tables::META)?;
    meta.remove("answers_next")?;
    meta.remove("answers_bytes")?;
    drop(meta);
    Ok(transaction.commit()?)
}

fn records(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    let payments = transaction.open_table(PAYMENTS)?;
    let mut new = New::open(transaction)?;
    // Bounded as the stored answers are.
    let mut answered = BTreeMap::new();
    for row in payments.iter()? {
        let (key, bytes) = row?;
        let payment: PaymentRow = codec::decode(bytes.value())?;
        match payment.answer {
            Some(number) if new.old_answers.get(number)?.is_some() => {
                answered.insert(number, (key.value(), payment.receipt));
            }
            Some(_) | None => new.add(key.value(), payment.receipt, None)?,
        }
    }
    for (number, (key, receipt)) in answered {
        new.add(key, receipt, Some(number))?;
    }
    let (last, answers) = (new.last, new.mark);
    drop((new, payments));
    let mut meta = transaction.open_table(tables::META)?;
    meta.insert(tables::APPLIED_KEY, last)?;
    meta.insert(tables::ANSWERS_COUNT_KEY, answers.count)?;
    meta.insert(tables::ANSWERS_BYTES_KEY, answers.bytes)?;
    Ok(())
}

/// The new tables of payments, and what they are made from.
struct New<'t> {
    old_receipts: Table<'t, [u8; 32], &'static [u8]>,
    old_answers: Table<'t, u64, &'static [u8]>,
    records: Table<'t, u64, &'static [u8]>,
    index: Table<'t, (u64, u64), ()>,
    answers: Table<'t, u64, &'static [u8]>,
    last: u64,
    mark: AnswersMark,
}

impl<'t> New<'t> {
    fn open(transaction: &'t WriteTransaction) -> Result<Self, redb::Error> {
        Ok(Self {
            old_receipts: transaction.open_table(RECEIPTS)?,
            old_answers: transaction.open_table(ANSWERS)?,
            records: transaction.open_table(tables::RECORDS)?,
            index: transaction.open_table(tables::INDEX)?,
            answers: transaction.open_table(tables::ANSWERS)?,
            last: 0,
            mark: AnswersMark::default(),
        })
    }

    fn add(
        &mut self,
        key: [u8; 32],
        receipt: [u8; 32],
        answer: Option<u64>,
    ) -> Result<(), redb::Error> {
        self.last += 1;
        let signed: SignedReceipt = match self.old_receipts.get(receipt)? {
            Some(bytes) => codec::decode::<ReceiptRow>(bytes.value())?.try_into()?,
            None => return Err(codec::Malformed("payment without a receipt").into()),
        };
        let row = codec::encode(&RecordRow::new(key, &signed))?;
        self.records.insert(self.last, row.as_slice())?;
        for hash in [key, receipt] {
            self.index.insert((tables::short(&hash), self.last), ())?;
        }
        let Some(number) = answer else {
            return Ok(());
        };
        let answer: StoredAnswer = match self.old_answers.get(number)? {
            Some(bytes) => codec::decode::<AnswerRow>(bytes.value())?.into(),
            None => return Ok(()),
        };
        let bytes = logged::answer_bytes(&answer, &mut self.mark)?;
        self.answers.insert(self.last, bytes.as_slice())?;
        Ok(())
    }
}

/// What channels and sums come to, as if all of it had moved on the day of the upgrade.
fn opening(transaction: &WriteTransaction) -> Result<Vec<Moved>, redb::Error> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let day = Day::of_unix_secs(since.map_or(0, |since| since.as_secs()));
    let mut moved = Vec::new();
    for row in transaction.open_table(tables::CHANNELS)?.iter()? {
        let (_, bytes) = row?;
        let channel: ChannelSnapshot = codec::decode::<ChannelRow>(bytes.value())?.try_into()?;
        let moves = flows(&Head::default(), &Head::from(&channel));
        moved.extend(moves.map(|(flow, amount)| Moved {
            day,
            channel: Some(channel.id),
            receiver: channel.config.receiver,
            token: channel.config.token,
            flow,
            amount,
        }));
    }
    for row in transaction.open_table(tables::TOTALS)?.iter()? {
        let (_, bytes) = row?;
        let totals: Totals = codec::decode::<TotalsRow>(bytes.value())?.into();
        let sums = [(Flow::Settled, totals.settled), (Flow::Exact, totals.exact)];
        let sums = sums.into_iter().filter(|(_, amount)| !amount.is_zero());
        moved.extend(sums.map(|(flow, amount)| Moved {
            day,
            channel: None,
            receiver: totals.receiver,
            token: totals.token,
            flow,
            amount,
        }));
    }
    Ok(moved)
}
