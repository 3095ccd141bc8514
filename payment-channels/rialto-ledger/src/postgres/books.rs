//! The books in the database: written in the transaction of what they tell, added up when they are
//! read.
//!
//! A row is one flow of one journal line. A channel's rows change only under the channel's lock;
//! what belongs to no channel is spread over several rows, so that payments do not wait for each
//! other. An amount is stored once and read as both of its sides, so the books balance by their form
//! (M6: the sum over all accounts is constant); that they are right, the audit checks.
//!
//! Non-goals: rows of sums that every charge would have to lock.

use std::{collections::BTreeMap, ops::RangeInclusive};

use alloy_primitives::{Address, B256, U256};
use rialto_channels::{Amount, ChannelId, payee::ChannelSnapshot};
use sqlx::{PgConnection, Row, postgres::PgRow};

use super::{
    SharedError, SharedLedger,
    fault::{Failure, Patience},
    read::reading,
    rows,
};
use crate::{
    head::{Head, flows},
    journal::{Account, AccountBalance, Day, Flow, Flows, JournalLine, TrialBalance},
};

impl SharedLedger {
    /// Up to `count_max` lines of the journal on these days, by day and then by channel, from the
    /// one after `after` on. A run of days may have many lines: ask again with the last one.
    ///
    /// # Errors
    /// [`SharedError`].
    pub async fn journal(
        &self,
        days: RangeInclusive<Day>,
        after: Option<&JournalLine>,
        count_max: usize,
    ) -> Result<Vec<JournalLine>, SharedError> {
        let start = Start::after(*days.start(), after);
        let count_max = i64::try_from(count_max).unwrap_or(i64::MAX);
        reading!(self, |connection| {
            let found = sqlx::query(JOURNAL)
                .bind(i64::from(start.day.0))
                .bind(start.outside)
                .bind(&start.channel)
                .bind(&start.receiver)
                .bind(&start.token)
                .bind(i64::from(days.end().0))
                .bind(count_max)
                .fetch_all(&mut *connection)
                .await?;
            found
                .iter()
                .map(line)
                .collect::<Result<Vec<_>, Failure>>()?
        })
    }

    /// What entered and left every account since the ledger's beginning.
    ///
    /// # Errors
    /// [`SharedError`].
    pub async fn trial_balance(&self) -> Result<TrialBalance, SharedError> {
        reading!(self, |connection| {
            let found = sqlx::query(SUMS).fetch_all(&mut *connection).await?;
            let mut accounts = BTreeMap::new();
            for row in &found {
                let receiver = rows::address(row, "receiver")?;
                let token = rows::address(row, "token")?;
                post(&mut accounts, receiver, token, &sums(row)?)?;
            }
            let accounts = accounts.into_iter();
            TrialBalance {
                accounts: accounts
                    .map(
                        |((receiver, token, account), (debit, credit))| AccountBalance {
                            receiver,
                            token,
                            account,
                            debit,
                            credit,
                        },
                    )
                    .collect(),
            }
        })
    }
}

type Sums = BTreeMap<(Address, Address, Account), (U256, U256)>;

/// Enters both sides of each flow.
fn post(
    accounts: &mut Sums,
    receiver: Address,
    token: Address,
    flows: &Flows,
) -> Result<(), SharedError> {
    let none = SharedError::Malformed("journal");
    for flow in Flow::ALL {
        let amount = flows.get(flow);
        if amount.is_zero() {
            continue;
        }
        let (_, credit) = accounts.entry((receiver, token, flow.from())).or_default();
        let Some(sum) = credit.checked_add(amount) else {
            return Err(none);
        };
        *credit = sum;
        let (debit, _) = accounts.entry((receiver, token, flow.to())).or_default();
        let Some(sum) = debit.checked_add(amount) else {
            return Err(none);
        };
        *debit = sum;
    }
    Ok(())
}

/// Where a page of the journal starts: behind this place.
struct Start {
    day: Day,
    outside: bool,
    channel: Vec<u8>,
    receiver: Vec<u8>,
    token: Vec<u8>,
}

impl Start {
    fn after(first: Day, line: Option<&JournalLine>) -> Self {
        match line.filter(|line| line.day >= first) {
            Some(line) => Self {
                day: line.day,
                outside: line.channel.is_none(),
                channel: line.channel.map_or_else(Vec::new, |id| id.0.to_vec()),
                receiver: line.receiver.to_vec(),
                token: line.token.to_vec(),
            },
            // No line has an empty receiver, so this is before the day's first.
            None => Self {
                day: first,
                outside: false,
                channel: Vec::new(),
                receiver: Vec::new(),
                token: Vec::new(),
            },
        }
    }
}

/// Enters what moved between two states of a channel; charges on `charged_on`, everything else, and
/// all of it if that is absent, today. The caller holds the channel's lock.
pub(super) async fn moved(
    transaction: &mut PgConnection,
    old: &Head,
    new: &ChannelSnapshot,
    charged_on: Option<Day>,
) -> Result<(), Failure> {
    for (flow, amount) in flows(old, &Head::from(new)) {
        let day = charged_on.filter(|_| flow == Flow::Charged);
        add_on_channel(transaction, new, day, flow, amount).await?;
    }
    Ok(())
}

/// Adds to one flow of a channel, today if no day is given.
pub(super) async fn add_on_channel(
    transaction: &mut PgConnection,
    channel: &ChannelSnapshot,
    day: Option<Day>,
    flow: Flow,
    amount: Amount,
) -> Result<(), Failure> {
    let line = Line {
        day,
        channel: Some(channel.id),
        receiver: channel.config.receiver,
        token: channel.config.token,
        part: 0,
    };
    line.add(transaction, flow, amount).await
}

/// Adds to one flow of what belongs to no channel, today if no day is given. `because` is the hash
/// of the receipt or transaction; it only spreads the rows.
pub(super) async fn add_outside(
    transaction: &mut PgConnection,
    (receiver, token): (Address, Address),
    day: Option<Day>,
    because: &B256,
    flow: Flow,
    amount: Amount,
) -> Result<(), Failure> {
    if amount.is_zero() {
        return Ok(());
    }
    let line = Line {
        day,
        channel: None,
        receiver,
        token,
        part: part(because),
    };
    line.add(transaction, flow, amount).await
}

/// One of the rows that what belongs to no channel is spread over.
pub(super) fn part(because: &B256) -> i16 {
    let [first, ..] = because.0;
    i16::from(first) % PARTS
}

/// A flow as it is stored.
pub(super) fn tag(flow: Flow) -> i16 {
    i16::from(flow.tag())
}

struct Line {
    day: Option<Day>,
    channel: Option<ChannelId>,
    receiver: Address,
    token: Address,
    part: i16,
}

impl Line {
    async fn add(
        &self,
        transaction: &mut PgConnection,
        flow: Flow,
        amount: Amount,
    ) -> Result<(), Failure> {
        sqlx::query(ADD)
            .bind(self.day.map(|day| i64::from(day.0)))
            .bind(self.channel.is_none())
            .bind(self.channel.map_or_else(Vec::new, |id| id.0.to_vec()))
            .bind(self.receiver.as_slice())
            .bind(self.token.as_slice())
            .bind(tag(flow))
            .bind(self.part)
            .bind(amount.to_string())
            .execute(transaction)
            .await?;
        Ok(())
    }
}

fn line(row: &PgRow) -> Result<JournalLine, Failure> {
    let day = u32::try_from(rows::number(row, "day")?);
    let outside: bool = row.try_get("outside")?;
    let channel = if outside {
        None
    } else {
        let bytes: &[u8] = row.try_get("channel")?;
        let id = B256::try_from(bytes).map_err(|_| SharedError::Malformed("journal line"))?;
        Some(ChannelId(id))
    };
    Ok(JournalLine {
        day: Day(day.map_err(|_| SharedError::Malformed("journal line"))?),
        channel,
        receiver: rows::address(row, "receiver")?,
        token: rows::address(row, "token")?,
        flows: sums(row)?,
    })
}

/// The columns of [`JOURNAL`] and [`SUMS`] that are named after the flows.
fn sums(row: &PgRow) -> Result<Flows, Failure> {
    let mut flows = Flows::default();
    for (flow, column) in COLUMNS {
        let text: &str = row.try_get(column)?;
        *flows.get_mut(flow) = text
            .parse()
            .map_err(|_| SharedError::Malformed("journal line"))?;
    }
    Ok(flows)
}

const COLUMNS: [(Flow, &str); 10] = [
    (Flow::Deposited, "deposited"),
    (Flow::Charged, "charged"),
    (Flow::Claimed, "claimed"),
    (Flow::Unclaimed, "unclaimed"),
    (Flow::Refunded, "refunded"),
    (Flow::Withdrawn, "withdrawn"),
    (Flow::Settled, "settled"),
    (Flow::Exact, "exact"),
    (Flow::Uncharged, "uncharged"),
    (Flow::Unpaid, "unpaid"),
];

const PARTS: i16 = 16;

/// Days are counted from 1 January 1970, by UTC.
const ADD: &str = "
INSERT INTO rialto_journal (day, outside, channel, receiver, token, flow, part, amount)
VALUES (COALESCE($1, CAST(FLOOR(EXTRACT(EPOCH FROM clock_timestamp()) / 86400) AS bigint)),
        $2, $3, $4, $5, $6, $7, CAST($8 AS numeric))
ON CONFLICT (day, outside, channel, receiver, token, flow, part)
DO UPDATE SET amount = rialto_journal.amount + excluded.amount";

/// What each flow comes to; the numbers are those of `Flow::tag`.
macro_rules! sums_of_flows {
    () => {
        "CAST(SUM(CASE WHEN flow = 1 THEN amount ELSE 0 END) AS text) AS deposited,
       CAST(SUM(CASE WHEN flow = 2 THEN amount ELSE 0 END) AS text) AS charged,
       CAST(SUM(CASE WHEN flow = 3 THEN amount ELSE 0 END) AS text) AS claimed,
       CAST(SUM(CASE WHEN flow = 4 THEN amount ELSE 0 END) AS text) AS unclaimed,
       CAST(SUM(CASE WHEN flow = 5 THEN amount ELSE 0 END) AS text) AS refunded,
       CAST(SUM(CASE WHEN flow = 6 THEN amount ELSE 0 END) AS text) AS withdrawn,
       CAST(SUM(CASE WHEN flow = 7 THEN amount ELSE 0 END) AS text) AS settled,
       CAST(SUM(CASE WHEN flow = 8 THEN amount ELSE 0 END) AS text) AS exact,
       CAST(SUM(CASE WHEN flow = 9 THEN amount ELSE 0 END) AS text) AS uncharged,
       CAST(SUM(CASE WHEN flow = 10 THEN amount ELSE 0 END) AS text) AS unpaid"
    };
}

const JOURNAL: &str = concat!(
    "SELECT day, outside, channel, receiver, token, ",
    sums_of_flows!(),
    "
FROM rialto_journal
WHERE (day, outside, channel, receiver, token) > ($1, $2, $3, $4, $5) AND day <= $6
GROUP BY day, outside, channel, receiver, token
ORDER BY day, outside, channel, receiver, token LIMIT $7"
);

const SUMS: &str = concat!(
    "SELECT receiver, token, ",
    sums_of_flows!(),
    " FROM rialto_journal GROUP BY receiver, token"
);
