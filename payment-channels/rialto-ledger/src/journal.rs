//! The double-entry journal: what every entry moved, from which account to which, by day.
//!
//! Each [`Flow`] credits the account that it leaves and debits the account that it enters, by the
//! same amount, so the sum over all accounts is always zero (M6: the sum over all accounts is
//! constant). Lines are sums: one for each channel and UTC day, and one for each receiver, token
//! and day of what belongs to no channel. Sums are 256-bit, so that no number of 128-bit amounts
//! overflows them.
//!
//! Non-goals: prices in other currencies, and what happened on chain but was never told here.

use std::fmt;

use alloy_primitives::{Address, U256};
use rialto_channels::{Amount, ChannelId, payee::ChannelSnapshot};

/// A day by UTC, counted from 1 January 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub u32);

impl Day {
    /// The first day that can be named.
    pub const MIN: Self = Self(0);
    /// The last day that can be named.
    pub const MAX: Self = Self(u32::MAX);

    /// The day of this many seconds since the Unix epoch.
    #[must_use]
    pub fn of_unix_secs(secs: u64) -> Self {
        Self(u32::try_from(secs / DAY_SECS).unwrap_or(u32::MAX))
    }

    /// Year, month (1 to 12) and day of the month, in the Gregorian calendar.
    #[must_use]
    pub fn date(self) -> (u64, u64, u64) {
        // Counted in 400-year eras that begin on 1 March of year 0, so that leap days end years.
        let days = u64::from(self.0) + DAYS_TO_EPOCH;
        let (era, of_era) = (days / ERA_DAYS, days % ERA_DAYS);
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * of_year + 2) / 153;
        let day = of_year - (153 * from_march + 2) / 5 + 1;
        let month = if from_march < 10 {
            from_march + 3
        } else {
            from_march - 9
        };
        let year = year_of_era + era * 400 + u64::from(month <= 2);
        (year, month, day)
    }
}

impl fmt::Display for Day {
    /// As `2026-11-22`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.date();
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

/// Where money can be, as far as the ledger knows. Each exists once for each receiver and token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Account {
    /// The payers' own wallets, outside the channels: never in debit.
    Wallets,
    /// In channels and not charged: the payers' still.
    Deposits,
    /// Charged and not claimed: the open exposure.
    Earned,
    /// Claimed on chain and not settled.
    Claimed,
    /// Settled to the receiver's wallet.
    Settled,
    /// Given back to payers by agreement.
    Refunded,
    /// Taken back by payers, or gone with a deposit that a reorganisation undid.
    Withdrawn,
    /// Earned outside channels (`exact`): what was booked, less what can never come.
    Exact,
}

impl Account {
    /// Every account, in the order of a trial balance.
    pub const ALL: [Self; 8] = [
        Self::Wallets,
        Self::Deposits,
        Self::Earned,
        Self::Claimed,
        Self::Settled,
        Self::Refunded,
        Self::Withdrawn,
        Self::Exact,
    ];

    /// Its name for people and tables: lower case, one word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Wallets => "wallets",
            Self::Deposits => "deposits",
            Self::Earned => "earned",
            Self::Claimed => "claimed",
            Self::Settled => "settled",
            Self::Refunded => "refunded",
            Self::Withdrawn => "withdrawn",
            Self::Exact => "exact",
        }
    }

    /// Part of stored keys: never changed.
    pub(crate) const fn tag(self) -> u8 {
        match self {
            Self::Wallets => 1,
            Self::Deposits => 2,
            Self::Earned => 3,
            Self::Claimed => 4,
            Self::Settled => 5,
            Self::Refunded => 6,
            Self::Withdrawn => 7,
            Self::Exact => 8,
        }
    }
}

/// What can happen to money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flow {
    /// A channel's balance grew.
    Deposited,
    /// A call was charged, or a channel was entered with charges that the chain proves.
    Charged,
    /// A channel's claimed amount grew.
    Claimed,
    /// A channel's claimed amount shrank: a reorganisation.
    Unclaimed,
    /// A channel's balance shrank with its refund nonce changed.
    Refunded,
    /// A channel's balance shrank otherwise.
    Withdrawn,
    /// Claimed money was paid out to its receiver.
    Settled,
    /// A payment outside channels.
    Exact,
    /// Charges that only a claim on the chain had proved, and that claim is gone: a reorganisation.
    Uncharged,
    /// A payment outside channels that was booked and can never come.
    Unpaid,
}

impl Flow {
    /// Every flow. Part of stored lines: only ever added to, at the end.
    pub const ALL: [Self; 10] = [
        Self::Deposited,
        Self::Charged,
        Self::Claimed,
        Self::Unclaimed,
        Self::Refunded,
        Self::Withdrawn,
        Self::Settled,
        Self::Exact,
        Self::Uncharged,
        Self::Unpaid,
    ];

    /// The account that it leaves (credited).
    #[must_use]
    pub const fn from(self) -> Account {
        match self {
            Self::Deposited | Self::Exact => Account::Wallets,
            Self::Charged | Self::Refunded | Self::Withdrawn => Account::Deposits,
            Self::Claimed | Self::Uncharged => Account::Earned,
            Self::Unclaimed | Self::Settled => Account::Claimed,
            Self::Unpaid => Account::Exact,
        }
    }

    /// The account that it enters (debited).
    #[must_use]
    pub const fn to(self) -> Account {
        match self {
            Self::Deposited | Self::Uncharged => Account::Deposits,
            Self::Charged | Self::Unclaimed => Account::Earned,
            Self::Claimed => Account::Claimed,
            Self::Refunded => Account::Refunded,
            Self::Withdrawn => Account::Withdrawn,
            Self::Settled => Account::Settled,
            Self::Exact => Account::Exact,
            Self::Unpaid => Account::Wallets,
        }
    }

    /// Part of stored rows: never changed.
    pub(crate) const fn tag(self) -> u8 {
        match self {
            Self::Deposited => 1,
            Self::Charged => 2,
            Self::Claimed => 3,
            Self::Unclaimed => 4,
            Self::Refunded => 5,
            Self::Withdrawn => 6,
            Self::Settled => 7,
            Self::Exact => 8,
            Self::Uncharged => 9,
            Self::Unpaid => 10,
        }
    }
}

/// Sums of each [`Flow`], in base units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flows {
    /// [`Flow::Deposited`].
    pub deposited: U256,
    /// [`Flow::Charged`].
    pub charged: U256,
    /// [`Flow::Claimed`].
    pub claimed: U256,
    /// [`Flow::Unclaimed`].
    pub unclaimed: U256,
    /// [`Flow::Refunded`].
    pub refunded: U256,
    /// [`Flow::Withdrawn`].
    pub withdrawn: U256,
    /// [`Flow::Settled`].
    pub settled: U256,
    /// [`Flow::Exact`].
    pub exact: U256,
    /// [`Flow::Uncharged`].
    pub uncharged: U256,
    /// [`Flow::Unpaid`].
    pub unpaid: U256,
}

impl Flows {
    /// The sum of one flow.
    #[must_use]
    pub fn get(&self, flow: Flow) -> U256 {
        match flow {
            Flow::Deposited => self.deposited,
            Flow::Charged => self.charged,
            Flow::Claimed => self.claimed,
            Flow::Unclaimed => self.unclaimed,
            Flow::Refunded => self.refunded,
            Flow::Withdrawn => self.withdrawn,
            Flow::Settled => self.settled,
            Flow::Exact => self.exact,
            Flow::Uncharged => self.uncharged,
            Flow::Unpaid => self.unpaid,
        }
    }

    /// The sum of one flow, to change.
    pub fn get_mut(&mut self, flow: Flow) -> &mut U256 {
        match flow {
            Flow::Deposited => &mut self.deposited,
            Flow::Charged => &mut self.charged,
            Flow::Claimed => &mut self.claimed,
            Flow::Unclaimed => &mut self.unclaimed,
            Flow::Refunded => &mut self.refunded,
            Flow::Withdrawn => &mut self.withdrawn,
            Flow::Settled => &mut self.settled,
            Flow::Exact => &mut self.exact,
            Flow::Uncharged => &mut self.uncharged,
            Flow::Unpaid => &mut self.unpaid,
        }
    }

    /// Adds another line's sums: for totals by day or by provider.
    ///
    /// # Errors
    /// [`SumOverflow`] above 256 bits, which no number of real amounts reaches (M1).
    pub fn add(&mut self, other: &Self) -> Result<(), SumOverflow> {
        for flow in Flow::ALL {
            let sum = self.get_mut(flow);
            *sum = sum.checked_add(other.get(flow)).ok_or(SumOverflow)?;
        }
        Ok(())
    }
}

/// A sum left 256 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("sum outside 0..2^256")]
pub struct SumOverflow;

/// One line of the journal: what moved on one UTC day for one channel, or outside channels.
///
/// A charge belongs to the day of its receipt's `issued_at`; everything else to the day on which
/// it was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalLine {
    /// The day.
    pub day: Day,
    /// The channel, or `None` for what belongs to none: settlements and `exact` payments.
    pub channel: Option<ChannelId>,
    /// Whose money.
    pub receiver: Address,
    /// In which token.
    pub token: Address,
    /// The day's sums.
    pub flows: Flows,
}

impl JournalLine {
    /// The line as postings, two for each flow that is not zero.
    pub fn postings(&self) -> impl Iterator<Item = Posting> + use<> {
        let flows = self.flows;
        Flow::ALL
            .into_iter()
            .filter(move |flow| !flows.get(*flow).is_zero())
            .flat_map(move |flow| {
                let amount = flows.get(flow);
                [
                    Posting {
                        account: flow.from(),
                        debit: U256::ZERO,
                        credit: amount,
                    },
                    Posting {
                        account: flow.to(),
                        debit: amount,
                        credit: U256::ZERO,
                    },
                ]
            })
    }
}

/// One side of a flow. Either `debit` or `credit` is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Posting {
    /// Which account.
    pub account: Account,
    /// What entered it, in base units.
    pub debit: U256,
    /// What left it, in base units.
    pub credit: U256,
}

/// Everything that ever entered and left one account of one receiver and token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountBalance {
    /// The receiver.
    pub receiver: Address,
    /// The token.
    pub token: Address,
    /// Which account.
    pub account: Account,
    /// What entered it, in base units.
    pub debit: U256,
    /// What left it, in base units.
    pub credit: U256,
}

/// Every account's sums at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrialBalance {
    /// By receiver, token and account; accounts that nothing touched are absent.
    pub accounts: Vec<AccountBalance>,
}

impl TrialBalance {
    /// Whether, for every receiver and token, debits and credits are equal (M6: the sum over all
    /// accounts is constant; it is zero).
    #[must_use]
    pub fn is_balanced(&self) -> bool {
        let mut sums = std::collections::BTreeMap::<_, (U256, U256)>::new();
        for line in &self.accounts {
            let (debit, credit) = sums.entry((line.receiver, line.token)).or_default();
            let sum = (
                debit.checked_add(line.debit),
                credit.checked_add(line.credit),
            );
            let (Some(more_debit), Some(more_credit)) = sum else {
                return false;
            };
            (*debit, *credit) = (more_debit, more_credit);
        }
        sums.values().all(|(debit, credit)| debit == credit)
    }

    /// What is in an account: debits less credits, or `None` where more left than entered.
    #[must_use]
    pub fn balance(&self, receiver: Address, token: Address, account: Account) -> Option<U256> {
        let line = self.account(receiver, token, account);
        line.debit.checked_sub(line.credit)
    }

    /// What entered and left an account; nothing, if nothing touched it.
    #[must_use]
    pub fn account(&self, receiver: Address, token: Address, account: Account) -> AccountBalance {
        let mut lines = self.accounts.iter();
        let line = lines
            .find(|line| (line.receiver, line.token, line.account) == (receiver, token, account));
        line.copied().unwrap_or(AccountBalance {
            receiver,
            token,
            account,
            debit: U256::ZERO,
            credit: U256::ZERO,
        })
    }
}

/// Charged, covered by the best voucher and by the balance, and not claimed: what a claim would
/// move now, in base units.
#[must_use]
pub fn claimable(channel: &ChannelSnapshot) -> Amount {
    let covered = channel.charged.min(channel.ceiling()).min(channel.balance);
    covered.saturating_sub(channel.claimed)
}

const DAY_SECS: u64 = 86_400;
/// From 1 March of year 0 to 1 January 1970.
const DAYS_TO_EPOCH: u64 = 719_468;
const ERA_DAYS: u64 = 146_097;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_dates() {
        let check = |secs, text: &str| assert_eq!(Day::of_unix_secs(secs).to_string(), text);
        check(0, "1970-01-01");
        check(86_399, "1970-01-01");
        check(951_782_400, "2000-02-29");
        check(951_868_800, "2000-03-01");
        check(1_700_000_000, "2023-11-14");
        check(4_107_542_400, "2100-03-01");
    }

    #[test]
    fn every_flow_moves_between_two_accounts() {
        for flow in Flow::ALL {
            assert_ne!(flow.from(), flow.to(), "{flow:?}");
        }
    }

    #[test]
    fn an_account_that_lost_its_other_side_is_noticed() {
        let line = |account, debit: u64, credit: u64| AccountBalance {
            receiver: Address::ZERO,
            token: Address::ZERO,
            account,
            debit: U256::from(debit),
            credit: U256::from(credit),
        };
        let mut balance = TrialBalance {
            accounts: vec![line(Account::Wallets, 0, 5), line(Account::Deposits, 5, 0)],
        };
        assert!(balance.is_balanced());
        balance.accounts.pop();
        assert!(!balance.is_balanced());
    }
}
