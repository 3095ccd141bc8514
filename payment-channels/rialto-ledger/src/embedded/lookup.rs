//! Exact lookups in the tables, all in one state of them. It is opened only when the first is
//! needed.

use std::cell::OnceCell;

use redb::{Database, ReadTransaction, ReadableDatabase};
use rialto_channels::{ChannelId, payee::ChannelSnapshot, receipt::SignedReceipt};

use super::{logged::NonceKey, tables};
use crate::{
    codec::{self, ChannelRow, RecordRow},
    embedded::logged::MovementKey,
    head::Head,
};

/// One state of the tables.
#[derive(Debug)]
pub(super) struct Lookup<'d> {
    db: &'d Database,
    transaction: OnceCell<ReadTransaction>,
}

/// A payment as it is stored.
#[derive(Debug)]
pub(super) struct StoredRecord {
    pub(super) number: u64,
    pub(super) key: [u8; 32],
    pub(super) receipt: SignedReceipt,
}

impl<'d> Lookup<'d> {
    pub(super) fn new(db: &'d Database) -> Self {
        Self {
            db,
            transaction: OnceCell::new(),
        }
    }

    pub(super) fn transaction(&self) -> Result<&ReadTransaction, redb::Error> {
        if let Some(transaction) = self.transaction.get() {
            return Ok(transaction);
        }
        let transaction = self.db.begin_read()?;
        Ok(self.transaction.get_or_init(|| transaction))
    }

    pub(super) fn has_payment(&self, key: &[u8; 32]) -> Result<bool, redb::Error> {
        Ok(self.payment(key)?.is_some())
    }

    pub(super) fn has_receipt(&self, id: &[u8; 32]) -> Result<bool, redb::Error> {
        Ok(self.receipt(id)?.is_some())
    }

    /// The record of a payment key.
    pub(super) fn payment(&self, key: &[u8; 32]) -> Result<Option<StoredRecord>, redb::Error> {
        self.record(key, |record| record.key == *key)
    }

    /// The record of a receipt's id.
    pub(super) fn receipt(&self, id: &[u8; 32]) -> Result<Option<StoredRecord>, redb::Error> {
        self.record(id, |record| record.receipt.receipt.id.0 == *id)
    }

    fn record(
        &self,
        hash: &[u8; 32],
        is_it: impl Fn(&StoredRecord) -> bool,
    ) -> Result<Option<StoredRecord>, redb::Error> {
        let transaction = self.transaction()?;
        let short = tables::short(hash);
        let mut records = None;
        for row in transaction
            .open_table(tables::INDEX)?
            .range((short, 0)..=(short, u64::MAX))?
        {
            let (_, number) = row?.0.value();
            let records = match &mut records {
                Some(records) => records,
                none => none.insert(transaction.open_table(tables::RECORDS)?),
            };
            let Some(bytes) = records.get(number)? else {
                continue;
            };
            let row: RecordRow = codec::decode(bytes.value())?;
            let record = StoredRecord {
                number,
                key: row.key,
                receipt: row.into_receipt()?,
            };
            if is_it(&record) {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    pub(super) fn channel(&self, id: &ChannelId) -> Result<Option<ChannelSnapshot>, redb::Error> {
        let table = self.transaction()?.open_table(tables::CHANNELS)?;
        let Some(bytes) = table.get(id.0.0)? else {
            return Ok(None);
        };
        Ok(Some(
            codec::decode::<ChannelRow>(bytes.value())?.try_into()?,
        ))
    }

    pub(super) fn head(&self, id: &ChannelId) -> Result<Option<Head>, redb::Error> {
        Ok(self.channel(id)?.as_ref().map(Head::from))
    }

    pub(super) fn has_nonce(&self, key: &NonceKey) -> Result<bool, redb::Error> {
        let table = self.transaction()?.open_table(tables::NONCES)?;
        Ok(table.get(key.as_slice())?.is_some())
    }

    pub(super) fn has_movement(&self, key: &MovementKey) -> Result<bool, redb::Error> {
        let table = self.transaction()?.open_table(tables::MOVEMENTS)?;
        Ok(table.get(key.as_slice())?.is_some())
    }

    /// The bytes of a record's answer, if it was not dropped.
    pub(super) fn answer(&self, number: u64) -> Result<Option<Vec<u8>>, redb::Error> {
        let table = self.transaction()?.open_table(tables::ANSWERS)?;
        Ok(table.get(number)?.map(|bytes| bytes.value().to_vec()))
    }
}
