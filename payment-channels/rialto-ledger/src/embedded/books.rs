//! Reading the books. They are written when entries get into the tables, so everything
//! acknowledged is moved there first.

use std::ops::{Bound, RangeInclusive};

use alloy_primitives::Address;
use redb::{ReadableDatabase, ReadableTable};

use super::{state::Stopped, tables};
use crate::{
    Ledger,
    codec::{self, AccountRow, FlowsRow, Malformed},
    error::ReadError,
    journal::{Account, AccountBalance, Day, JournalLine, TrialBalance},
};

impl Ledger {
    /// Up to `count_max` lines of the journal on these days, by day and then by channel, from the
    /// one after `after` on. A run of days may have many lines: ask again with the last one.
    ///
    /// # Errors
    /// [`ReadError`]; the operator's to solve.
    pub fn journal(
        &self,
        days: RangeInclusive<Day>,
        after: Option<&JournalLine>,
        count_max: usize,
    ) -> Result<Vec<JournalLine>, ReadError> {
        self.shared().flush()?;
        let first = days.start().0.to_be_bytes().to_vec();
        let start = match after.map(key_of) {
            Some(key) if key >= first => Bound::Excluded(key),
            Some(_) | None => Bound::Included(first),
        };
        let table = self.shared().db.begin_read()?.open_table(tables::JOURNAL)?;
        let bounds = (as_slice(&start), Bound::Unbounded);
        let mut lines = Vec::new();
        for row in table.range::<&[u8]>(bounds)? {
            if lines.len() >= count_max {
                break;
            }
            let (key, bytes) = row?;
            let line = line(key.value(), bytes.value())?;
            if line.day > *days.end() {
                break;
            }
            lines.push(line);
        }
        Ok(lines)
    }

    /// What entered and left every account since the ledger's beginning.
    ///
    /// # Errors
    /// [`ReadError`]; the operator's to solve.
    pub fn trial_balance(&self) -> Result<TrialBalance, ReadError> {
        self.shared().flush()?;
        let table = self
            .shared()
            .db
            .begin_read()?
            .open_table(tables::ACCOUNTS)?;
        let mut accounts = Vec::new();
        for row in table.iter()? {
            let (key, bytes) = row?;
            accounts.push(account(key.value(), bytes.value())?);
        }
        Ok(TrialBalance { accounts })
    }
}

fn key_of(line: &JournalLine) -> Vec<u8> {
    tables::journal_key(line.day, line.channel, line.receiver, line.token)
}

fn as_slice(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    match bound {
        Bound::Included(key) => Bound::Included(key),
        Bound::Excluded(key) => Bound::Excluded(key),
        Bound::Unbounded => Bound::Unbounded,
    }
}

fn line(key: &[u8], bytes: &[u8]) -> Result<JournalLine, Malformed> {
    let (day, channel) = tables::journal_place(key).ok_or(Malformed("journal line"))?;
    let (receiver, token, flows) = codec::decode::<FlowsRow>(bytes)?.into_parts();
    Ok(JournalLine {
        day,
        channel,
        receiver,
        token,
        flows,
    })
}

fn account(key: &[u8], bytes: &[u8]) -> Result<AccountBalance, Malformed> {
    let none = Malformed("account");
    let (receiver, rest) = key.split_first_chunk::<ADDRESS>().ok_or(none)?;
    let (token, tag) = rest.split_first_chunk::<ADDRESS>().ok_or(none)?;
    let account = Account::ALL
        .into_iter()
        .find(|account| [account.tag()] == tag)
        .ok_or(none)?;
    let (debit, credit) = codec::decode::<AccountRow>(bytes)?.into_parts();
    Ok(AccountBalance {
        receiver: Address::from(*receiver),
        token: Address::from(*token),
        account,
        debit,
        credit,
    })
}

impl From<Stopped> for ReadError {
    fn from(Stopped: Stopped) -> Self {
        Self::Stopped
    }
}

const ADDRESS: usize = 20;
