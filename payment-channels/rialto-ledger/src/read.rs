//! Reading: always the last durable state, never blocked by the writer.

use alloy_primitives::B256;
use redb::{ReadTransaction, ReadableDatabase, ReadableTable};
use rialto_channels::{ChannelId, payee::ChannelSnapshot, receipt::SignedReceipt};

use crate::{
    ExactNonce, Ledger, PaymentRecord, StoredAnswer, Totals,
    codec::{self, AnswerRow, ChannelRow, Malformed, PaymentRow, ReceiptRow, TotalsRow},
    error::ReadError,
    tables,
};

impl Ledger {
    /// Every channel, in the order of their ids.
    ///
    /// # Errors
    /// [`ReadError`]; the operator's to solve.
    pub fn channels(&self) -> Result<Vec<ChannelSnapshot>, ReadError> {
        let table = self.db().begin_read()?.open_table(tables::CHANNELS)?;
        table
            .iter()?
            .map(|row| {
                let (_, bytes) = row?;
                Ok(codec::decode::<ChannelRow>(bytes.value())?.try_into()?)
            })
            .collect()
    }

    /// One channel, or `None` if it is unknown.
    ///
    /// # Errors
    /// [`ReadError`]; the operator's to solve.
    pub fn channel(&self, id: &ChannelId) -> Result<Option<ChannelSnapshot>, ReadError> {
        let table = self.db().begin_read()?.open_table(tables::CHANNELS)?;
        match table.get(id.0.0)? {
            Some(bytes) => Ok(Some(
                codec::decode::<ChannelRow>(bytes.value())?.try_into()?,
            )),
            None => Ok(None),
        }
    }

    /// The payment executed under this key, or `None` if there was none (M5).
    ///
    /// # Errors
    /// [`ReadError`]; the operator's to solve.
    pub fn payment(&self, key: &[u8; 32]) -> Result<Option<PaymentRecord>, ReadError> {
        let transaction = self.db().begin_read()?;
        let Some(bytes) = transaction.open_table(tables::PAYMENTS)?.get(*key)? else {
            return Ok(None);
        };
        let row: PaymentRow = codec::decode(bytes.value())?;
        let receipt = read_receipt(&transaction, row.receipt)?
            .ok_or(ReadError::Malformed("payment without a receipt"))?;
        let answer = match row.answer {
            Some(number) => read_answer(&transaction, number)?,
            None => None,
        };
        Ok(Some(PaymentRecord {
            key: *key,
            receipt,
            answer,
        }))
    }

    /// The receipt of this id, or `None` if it is unknown.
    ///
    /// # Errors
    /// [`ReadError`]; the operator's to solve.
    pub fn receipt(&self, id: &B256) -> Result<Option<SignedReceipt>, ReadError> {
        read_receipt(&self.db().begin_read()?, id.0)
    }

    /// Shows every receipt to `visit`, in the order of their ids: for audits, which must not
    /// need the whole table in memory.
    ///
    /// # Errors
    /// [`ReadError`]; the operator's to solve.
    pub fn visit_receipts(&self, mut visit: impl FnMut(SignedReceipt)) -> Result<(), ReadError> {
        let table = self.db().begin_read()?.open_table(tables::RECEIPTS)?;
        for row in table.iter()? {
            let (_, bytes) = row?;
            visit(codec::decode::<ReceiptRow>(bytes.value())?.try_into()?);
        }
        Ok(())
    }

    /// Whether an `exact` authorization was used.
    ///
    /// # Errors
    /// [`ReadError`]; the operator's to solve.
    pub fn nonce_used(&self, nonce: &ExactNonce) -> Result<bool, ReadError> {
        let table = self.db().begin_read()?.open_table(tables::NONCES)?;
        Ok(table.get(tables::nonce_key(nonce).as_slice())?.is_some())
    }

    /// The sums for each receiver and token.
    ///
    /// # Errors
    /// [`ReadError`]; the operator's to solve.
    pub fn totals(&self) -> Result<Vec<Totals>, ReadError> {
        let table = self.db().begin_read()?.open_table(tables::TOTALS)?;
        table
            .iter()?
            .map(|row| {
                let (_, bytes) = row?;
                Ok(codec::decode::<TotalsRow>(bytes.value())?.into())
            })
            .collect()
    }
}

fn read_receipt(
    transaction: &ReadTransaction,
    id: [u8; 32],
) -> Result<Option<SignedReceipt>, ReadError> {
    match transaction.open_table(tables::RECEIPTS)?.get(id)? {
        Some(bytes) => Ok(Some(
            codec::decode::<ReceiptRow>(bytes.value())?.try_into()?,
        )),
        None => Ok(None),
    }
}

fn read_answer(
    transaction: &ReadTransaction,
    number: u64,
) -> Result<Option<StoredAnswer>, ReadError> {
    match transaction.open_table(tables::ANSWERS)?.get(number)? {
        Some(bytes) => Ok(Some(codec::decode::<AnswerRow>(bytes.value())?.into())),
        None => Ok(None),
    }
}

impl From<Malformed> for ReadError {
    fn from(error: Malformed) -> Self {
        Self::Malformed(error.0)
    }
}
