//! What each entry does to the tables, inside one transaction. An entry is checked in full
//! before anything of it is written, so a refused one leaves no trace.

mod answers;
mod sums;

use redb::{ReadableTable, Table, WriteTransaction};
use rialto_channels::payee::ChannelSnapshot;

pub(crate) use answers::Answers;

use crate::{
    Config, Entry, ExactNonce, PaymentRecord,
    codec::{self, ChannelRow, PaymentRow, ReceiptRow},
    error::CommitError,
    tables,
};
use sums::Sums;

/// What came of one entry: the outer error ends the whole group, the inner is the entry's own.
pub(crate) type Outcome = Result<Result<(), CommitError>, redb::Error>;

/// The open tables of one group.
pub(crate) struct Group<'t> {
    answers: answers::Open<'t>,
    channels: Table<'t, [u8; 32], &'static [u8]>,
    payments: Table<'t, [u8; 32], &'static [u8]>,
    receipts: Table<'t, [u8; 32], &'static [u8]>,
    nonces: Table<'t, &'static [u8], ()>,
    sums: Sums<'t>,
}

impl<'t> Group<'t> {
    pub(crate) fn open(
        transaction: &'t WriteTransaction,
        config: &Config,
        answers: &'t mut Answers,
    ) -> Result<Self, redb::Error> {
        Ok(Self {
            answers: answers::Open::new(transaction, config, answers)?,
            channels: transaction.open_table(tables::CHANNELS)?,
            payments: transaction.open_table(tables::PAYMENTS)?,
            receipts: transaction.open_table(tables::RECEIPTS)?,
            nonces: transaction.open_table(tables::NONCES)?,
            sums: Sums::open(transaction)?,
        })
    }

    pub(crate) fn apply(&mut self, entry: &Entry) -> Outcome {
        match entry {
            Entry::Channel(snapshot) => match self.check_channel(snapshot)? {
                Ok(newer) => self.put_channel(snapshot, newer),
                Err(refused) => Ok(Err(refused)),
            },
            Entry::Charge { snapshot, payment } => self.charge(snapshot.as_ref(), payment),
            Entry::Nonce(nonce) => self.take_nonce(nonce),
            Entry::Claimed(movement) => self.sums.add_movement(sums::Kind::Claimed, movement),
            Entry::Settled(movement) => self.sums.add_movement(sums::Kind::Settled, movement),
            Entry::Refunded(movement) => self.sums.add_movement(sums::Kind::Refunded, movement),
        }
    }

    /// Removes the oldest answers above the limits; once for each group.
    pub(crate) fn finish(self) -> Result<(), redb::Error> {
        self.answers.finish()
    }

    fn charge(&mut self, snapshot: Option<&ChannelSnapshot>, payment: &PaymentRecord) -> Outcome {
        let receipt = &payment.receipt.receipt;
        // M5: one execution per payment id.
        if self.payments.get(payment.key)?.is_some() || self.receipts.get(receipt.id.0)?.is_some() {
            return Ok(Err(CommitError::DuplicatePayment));
        }
        let newer = match snapshot
            .map(|snapshot| self.check_channel(snapshot))
            .transpose()?
        {
            Some(Err(refused)) => return Ok(Err(refused)),
            Some(Ok(newer)) => newer,
            None => false,
        };
        if let Err(refused) = self.sums.add_charge(receipt)? {
            return Ok(Err(refused));
        }
        if let Some(snapshot) = snapshot {
            let _written = self.put_channel(snapshot, newer)?;
        }
        let answer = payment
            .answer
            .as_ref()
            .map(|answer| self.answers.put(answer))
            .transpose()?;
        let row = PaymentRow {
            receipt: receipt.id.0,
            answer: answer.flatten(),
        };
        self.payments
            .insert(payment.key, codec::encode(&row)?.as_slice())?;
        let row = ReceiptRow::from(&payment.receipt);
        self.receipts
            .insert(receipt.id.0, codec::encode(&row)?.as_slice())?;
        Ok(Ok(()))
    }

    /// Whether `snapshot` is newer than what is stored. An older one is already covered by the
    /// stored state and is skipped, unless it holds a charge that the stored state lacks.
    fn check_channel(
        &self,
        snapshot: &ChannelSnapshot,
    ) -> Result<Result<bool, CommitError>, redb::Error> {
        let Some(bytes) = self.channels.get(snapshot.id.0.0)? else {
            return Ok(Ok(true));
        };
        let stored = ChannelSnapshot::try_from(codec::decode::<ChannelRow>(bytes.value())?)?;
        let newer = snapshot.version > stored.version;
        // Charges only grow, so a version that loses one is not of the same history.
        let lost = if newer {
            snapshot.charged < stored.charged
        } else {
            snapshot.charged > stored.charged
        };
        Ok(if lost {
            Err(CommitError::Conflict(snapshot.id))
        } else {
            Ok(newer)
        })
    }

    fn put_channel(&mut self, snapshot: &ChannelSnapshot, newer: bool) -> Outcome {
        if newer {
            let row = codec::encode(&ChannelRow::from(snapshot))?;
            self.channels.insert(snapshot.id.0.0, row.as_slice())?;
        }
        Ok(Ok(()))
    }

    fn take_nonce(&mut self, nonce: &ExactNonce) -> Outcome {
        let key = tables::nonce_key(nonce);
        if self.nonces.get(key.as_slice())?.is_some() {
            return Ok(Err(CommitError::NonceUsed));
        }
        self.nonces.insert(key.as_slice(), ())?;
        Ok(Ok(()))
    }
}
