//! The journal and the accounts: what moved, summed by day and channel, written in the same
//! transaction as the entries it comes from.

use std::collections::BTreeMap;

use alloy_primitives::{Address, U256};
use redb::{ReadableTable, Table, WriteTransaction};

use super::super::{generation::Moved, tables};
use crate::{
    codec::{self, AccountRow, FlowsRow},
    journal::Flows,
};

/// Adds what moved to the books.
pub(in crate::embedded) fn write(
    transaction: &WriteTransaction,
    moved: &[Moved],
) -> Result<(), redb::Error> {
    if moved.is_empty() {
        return Ok(());
    }
    let mut lines = BTreeMap::<_, (Address, Address, Flows)>::new();
    let mut accounts = BTreeMap::<_, (U256, U256)>::new();
    for it in moved {
        let amount = it.amount.to_u256();
        let key = (it.day, it.channel, it.receiver, it.token);
        let (.., flows) = lines
            .entry(key)
            .or_insert((it.receiver, it.token, Flows::default()));
        add(flows.get_mut(it.flow), amount)?;
        // M6: the sum over all accounts is constant: what leaves one enters another.
        let account = |account| tables::account_key(it.receiver, it.token, account);
        let (_, credit) = accounts.entry(account(it.flow.from().tag())).or_default();
        add(credit, amount)?;
        let (debit, _) = accounts.entry(account(it.flow.to().tag())).or_default();
        add(debit, amount)?;
    }
    let mut journal = transaction.open_table(tables::JOURNAL)?;
    for ((day, channel, ..), (receiver, token, flows)) in lines {
        let key = tables::journal_key(day, channel, receiver, token);
        add_line(&mut journal, &key, receiver, token, &flows)?;
    }
    let mut table = transaction.open_table(tables::ACCOUNTS)?;
    for (key, sums) in accounts {
        add_account(&mut table, &key, sums)?;
    }
    Ok(())
}

type Bytes = &'static [u8];

fn add_line(
    journal: &mut Table<'_, Bytes, Bytes>,
    key: &[u8],
    receiver: Address,
    token: Address,
    more: &Flows,
) -> Result<(), redb::Error> {
    let mut flows = match journal.get(key)? {
        Some(bytes) => codec::decode::<FlowsRow>(bytes.value())?.into_parts().2,
        None => Flows::default(),
    };
    flows.add(more).map_err(|_| overflow())?;
    let row = codec::encode(&FlowsRow::new(receiver, token, &flows))?;
    journal.insert(key, row.as_slice())?;
    Ok(())
}

fn add_account(
    accounts: &mut Table<'_, Bytes, Bytes>,
    key: &[u8],
    (more_debit, more_credit): (U256, U256),
) -> Result<(), redb::Error> {
    let (mut debit, mut credit) = match accounts.get(key)? {
        Some(bytes) => codec::decode::<AccountRow>(bytes.value())?.into_parts(),
        None => (U256::ZERO, U256::ZERO),
    };
    add(&mut debit, more_debit)?;
    add(&mut credit, more_credit)?;
    let row = codec::encode(&AccountRow::new(debit, credit))?;
    accounts.insert(key, row.as_slice())?;
    Ok(())
}

fn add(sum: &mut U256, more: U256) -> Result<(), redb::Error> {
    *sum = sum.checked_add(more).ok_or_else(overflow)?;
    Ok(())
}

/// Takes more amounts than a file can hold.
fn overflow() -> redb::Error {
    redb::Error::Corrupted("a sum of the books left 256 bits".into())
}
