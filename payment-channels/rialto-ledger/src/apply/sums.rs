//! Sums of what was charged and what moved on chain, for each receiver and token.

use alloy_primitives::Address;
use redb::{ReadableTable, Table, WriteTransaction};
use rialto_channels::{Amount, receipt::Receipt};

use super::Outcome;
use crate::{
    Movement, Totals,
    codec::{self, TotalsRow},
    error::CommitError,
    tables,
};

/// Which way money moved on chain.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Claimed,
    Settled,
    Refunded,
}

impl Kind {
    /// Part of stored keys: never changed.
    fn tag(self) -> u8 {
        match self {
            Self::Claimed => 1,
            Self::Settled => 2,
            Self::Refunded => 3,
        }
    }

    fn sum(self, totals: &mut Totals) -> &mut Amount {
        match self {
            Self::Claimed => &mut totals.claimed,
            Self::Settled => &mut totals.settled,
            Self::Refunded => &mut totals.refunded,
        }
    }
}

/// The tables of sums and movements in one group.
pub(super) struct Sums<'t> {
    movements: Table<'t, &'static [u8], u128>,
    totals: Table<'t, &'static [u8], &'static [u8]>,
}

impl<'t> Sums<'t> {
    pub(super) fn open(transaction: &'t WriteTransaction) -> Result<Self, redb::Error> {
        Ok(Self {
            movements: transaction.open_table(tables::MOVEMENTS)?,
            totals: transaction.open_table(tables::TOTALS)?,
        })
    }

    /// Counts a charge; the last check before the rest of its entry is written.
    pub(super) fn add_charge(&mut self, receipt: &Receipt) -> Outcome {
        let on_channel = receipt.channel.is_some();
        self.add(receipt.provider, receipt.token, receipt.charged, |totals| {
            if on_channel {
                &mut totals.charged
            } else {
                &mut totals.exact
            }
        })
    }

    /// Counts a movement, once however often it is reported.
    pub(super) fn add_movement(&mut self, kind: Kind, movement: &Movement) -> Outcome {
        let key = tables::movement_key(kind.tag(), movement);
        if self.movements.get(key.as_slice())?.is_some() {
            return Ok(Ok(()));
        }
        let Movement {
            receiver,
            token,
            amount,
            ..
        } = *movement;
        let outcome = self.add(receiver, token, amount, |totals| kind.sum(totals))?;
        if outcome.is_ok() {
            self.movements.insert(key.as_slice(), amount.get())?;
        }
        Ok(outcome)
    }

    fn add(
        &mut self,
        receiver: Address,
        token: Address,
        amount: Amount,
        pick: impl Fn(&mut Totals) -> &mut Amount,
    ) -> Outcome {
        let key = tables::totals_key(receiver, token);
        let mut totals = match self.totals.get(key.as_slice())? {
            Some(bytes) => codec::decode::<TotalsRow>(bytes.value())?.into(),
            None => Totals::empty(receiver, token),
        };
        let sum = pick(&mut totals);
        let Ok(more) = sum.checked_add(amount) else {
            return Ok(Err(CommitError::Overflow));
        };
        *sum = more;
        let row = codec::encode(&TotalsRow::from(&totals))?;
        self.totals.insert(key.as_slice(), row.as_slice())?;
        Ok(Ok(()))
    }
}
