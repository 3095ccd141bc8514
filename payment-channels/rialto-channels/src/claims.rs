//! When which channels are claimed, and when a receiver is paid out: gas against waiting.
//!
//! A claim costs gas, mostly for each row. A row is claimed when its gas is a small part of what it
//! brings, when it has waited long enough, or at once when its payer is withdrawing.
//! Non-goals: making rows, submitting them, and knowing prices; all numbers come in.

use crate::{Amount, ChainTime, ChannelId};

/// What gas costs and how much of it is acceptable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// A row is due when it brings at least this many times its gas: 100 means 1%.
    pub gas_multiple: u32,
    /// A row is due when it has been owed for so many seconds, whatever its gas.
    pub age_secs_max: u64,
    /// Rows in one transaction; at least 1.
    pub rows_max: usize,
    /// Gas of one more row.
    pub row_gas: u64,
    /// Gas of a transaction besides its rows.
    pub claim_gas: u64,
    /// Gas of paying out to a receiver.
    pub settle_gas: u64,
    /// A receiver with less than this to come is paid out only when it has waited.
    pub settle_min: Amount,
}

impl Default for Policy {
    /// At most 1% for gas, a day at most, a hundred rows; the gas of the canonical contract
    /// (docs/gas.md).
    fn default() -> Self {
        Self {
            gas_multiple: 100,
            age_secs_max: 86_400,
            rows_max: 100,
            row_gas: 17_000,
            claim_gas: 24_000,
            settle_gas: 31_000,
            settle_min: Amount::ZERO,
        }
    }
}

/// What gas costs now, in the token's base units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GasPrice {
    /// Wei for one unit of gas.
    pub wei: u128,
    /// Base units of the token that 10^18 wei are worth; zero means that gas costs nothing.
    pub token_per_ether: Amount,
}

impl GasPrice {
    /// What so much gas costs, in base units, rounded up; the largest amount if it is out of range.
    #[must_use]
    pub fn of(&self, gas: u64) -> Amount {
        let wei = self.wei.checked_mul(u128::from(gas));
        let scaled = wei.and_then(|wei| wei.checked_mul(self.token_per_ether.get()));
        scaled.map_or(Amount::MAX, |scaled| {
            Amount::new(scaled.div_ceil(WEI_PER_ETHER))
        })
    }
}

/// A channel that owes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owing {
    /// Which.
    pub channel: ChannelId,
    /// Charged and not claimed, in base units.
    pub amount: Amount,
    /// Since when something is owed, as far as is known.
    pub since: ChainTime,
    /// A withdrawal is under way: later there may be less to claim from.
    pub at_risk: bool,
}

/// The channels to claim now, by transaction: those at risk first, then the largest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// One inner list a transaction.
    pub batches: Vec<Vec<ChannelId>>,
    /// How many channels wait for more, or for their time.
    pub waiting: usize,
}

impl Policy {
    /// Chooses what to claim now. Takes time in proportion to n log n.
    #[must_use]
    pub fn plan(&self, owing: &[Owing], gas: GasPrice, now: ChainTime) -> Plan {
        let row_due = self.worth(gas.of(self.row_gas));
        let mut due: Vec<Owing> = owing
            .iter()
            .filter(|one| !one.amount.is_zero() && (self.must(one, now) || one.amount >= row_due))
            .copied()
            .collect();
        due.sort_unstable_by(|left, right| {
            let by_urgency = self.must(right, now).cmp(&self.must(left, now));
            let by_risk = right.at_risk.cmp(&left.at_risk).then(by_urgency);
            let by_amount = by_risk.then(right.amount.cmp(&left.amount));
            by_amount.then(left.channel.cmp(&right.channel))
        });
        let batches: Vec<Vec<ChannelId>> = due
            .chunks(self.rows_max.max(1))
            .filter(|batch| self.batch_due(batch, gas, now))
            .map(|batch| batch.iter().map(|one| one.channel).collect())
            .collect();
        let claimed = batches.iter().map(Vec::len).sum();
        let waiting = owing.iter().filter(|one| !one.amount.is_zero()).count();
        Plan {
            waiting: waiting.saturating_sub(claimed),
            batches,
        }
    }

    /// Whether a receiver to whom `amount` is due, the oldest part of it for `waited_secs`, is paid
    /// out now.
    #[must_use]
    pub fn settles(&self, amount: Amount, waited_secs: u64, gas: GasPrice) -> bool {
        if amount.is_zero() {
            return false;
        }
        let worth_it = amount >= self.settle_min.max(self.worth(gas.of(self.settle_gas)));
        worth_it || waited_secs >= self.age_secs_max
    }

    /// Whether a row goes now whatever it costs.
    fn must(&self, one: &Owing, now: ChainTime) -> bool {
        one.at_risk || now.secs_since(one.since) >= self.age_secs_max
    }

    /// The transaction's own gas has to be worth it, too, unless a row must go.
    fn batch_due(&self, batch: &[Owing], gas: GasPrice, now: ChainTime) -> bool {
        if batch.iter().any(|one| self.must(one, now)) {
            return true;
        }
        let rows = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        let gas_used = self
            .row_gas
            .saturating_mul(rows)
            .saturating_add(self.claim_gas);
        let sum = batch
            .iter()
            .try_fold(Amount::ZERO, |sum, one| sum.checked_add(one.amount));
        // A sum beyond what the contract can hold is worth any gas.
        sum.is_ok_and(|sum| sum >= self.worth(gas.of(gas_used))) || sum.is_err()
    }

    /// How much must come in for gas of this cost to be acceptable.
    fn worth(&self, cost: Amount) -> Amount {
        let multiple = u128::from(self.gas_multiple);
        cost.checked_mul(multiple).unwrap_or(Amount::MAX)
    }
}

const WEI_PER_ETHER: u128 = 1_000_000_000_000_000_000;

#[cfg(test)]
mod tests {
    use alloy_primitives::{B256, U256};

    use super::*;

    const NOW: ChainTime = ChainTime::new(1_000_000);
    /// A gwei a gas, and 4,000 units of 6 decimals for an ether: a row costs 68,000 base units.
    const GAS: GasPrice = GasPrice {
        wei: 1_000_000_000,
        token_per_ether: Amount::new(4_000_000_000),
    };

    fn owing(id: u64, amount: u128) -> Owing {
        Owing {
            channel: ChannelId(B256::from(U256::from(id))),
            amount: Amount::new(amount),
            since: NOW,
            at_risk: false,
        }
    }

    fn ids(plan: &Plan) -> Vec<Vec<u64>> {
        let id = |channel: &ChannelId| U256::from_be_bytes(channel.0.0).to::<u64>();
        let batch = |batch: &Vec<ChannelId>| batch.iter().map(id).collect();
        plan.batches.iter().map(batch).collect()
    }

    #[test]
    fn gas_is_priced_in_the_token_and_rounded_up() {
        assert_eq!(GAS.of(17_000), Amount::new(68_000));
        let cheap = GasPrice { wei: 1, ..GAS };
        assert_eq!(cheap.of(1), Amount::new(1));
        assert_eq!(GasPrice::default().of(u64::MAX), Amount::ZERO);
        let dear = GasPrice {
            wei: u128::MAX,
            ..GAS
        };
        assert_eq!(dear.of(2), Amount::MAX);
    }

    #[test]
    fn a_row_goes_when_its_gas_is_a_hundredth_of_it() {
        let policy = Policy::default();
        // A row must bring 6,800,000; the transaction 24,000 gas more: 9,600,000.
        let plan = policy.plan(&[owing(1, 6_799_999)], GAS, NOW);
        assert_eq!((ids(&plan), plan.waiting), (vec![], 1));
        let plan = policy.plan(&[owing(1, 16_399_999)], GAS, NOW);
        assert_eq!(plan.waiting, 1, "good for the row, not for the transaction");
        let both = [owing(1, 16_000_000), owing(2, 8_000_000), owing(3, 1)];
        let plan = policy.plan(&both, GAS, NOW);
        assert_eq!((ids(&plan), plan.waiting), (vec![vec![1, 2]], 1));
    }

    #[test]
    fn age_and_risk_override_gas() {
        let policy = Policy::default();
        let mut old = owing(1, 5);
        old.since = ChainTime::new(NOW.get() - policy.age_secs_max);
        let mut at_risk = owing(2, 1);
        at_risk.at_risk = true;
        let rows = [owing(3, 6), old, at_risk, owing(4, 0)];
        let plan = policy.plan(&rows, GAS, NOW);
        assert_eq!((ids(&plan), plan.waiting), (vec![vec![2, 1]], 1));
        let mut gone = old;
        gone.amount = Amount::ZERO;
        assert_eq!(policy.plan(&[gone], GAS, NOW), Plan::default());
    }

    #[test]
    fn batches_are_filled_with_what_must_go_first() {
        let policy = Policy {
            rows_max: 2,
            ..Policy::default()
        };
        let mut rows: Vec<_> = (1..=4).map(|id| owing(id, 1_000_000_000)).collect();
        rows[3].at_risk = true;
        rows[1].amount = Amount::new(2_000_000_000);
        let plan = policy.plan(&rows, GAS, NOW);
        assert_eq!(ids(&plan), vec![vec![4, 2], vec![1, 3]]);
    }

    #[test]
    fn a_receiver_is_paid_out_by_worth_or_age() {
        let policy = Policy {
            settle_min: Amount::new(20_000_000),
            ..Policy::default()
        };
        let check = |amount, waited, expected| {
            let settles = policy.settles(Amount::new(amount), waited, GAS);
            assert_eq!(settles, expected, "{amount} after {waited} s");
        };
        check(0, u64::MAX, false);
        check(19_999_999, 0, false);
        check(20_000_000, 0, true);
        check(1, policy.age_secs_max, true);
        let free = GasPrice::default();
        assert!(Policy::default().settles(Amount::new(1), 0, free));
    }

    #[test]
    fn a_hundred_thousand_channels_are_planned() {
        let rows: Vec<_> = (0..100_000)
            .map(|id| Owing {
                at_risk: id % 1_000 == 0,
                ..owing(id, u128::from(id * 7_919 % 100_003) * 1_000)
            })
            .collect();
        let plan = Policy::default().plan(&rows, GAS, NOW);
        assert!(plan.batches.len() > 900 && plan.waiting > 5_000);
    }

    proptest::proptest! {
        /// No channel twice, none that owes nothing, none at risk left out.
        #[test]
        fn plans_hold_every_channel_at_risk_once(amounts: Vec<(u64, bool)>, rows_max in 1_usize..9) {
            let policy = Policy { rows_max, ..Policy::default() };
            let rows: Vec<_> = (0..).zip(&amounts).map(|(id, (amount, at_risk))| Owing {
                at_risk: *at_risk,
                ..owing(id, u128::from(*amount))
            }).collect();
            let plan = policy.plan(&rows, GAS, NOW);
            let mut seen = std::collections::BTreeSet::new();
            for batch in &plan.batches {
                proptest::prop_assert!(!batch.is_empty() && batch.len() <= rows_max);
                for id in batch {
                    proptest::prop_assert!(seen.insert(*id));
                }
            }
            for row in rows {
                if row.amount.is_zero() {
                    proptest::prop_assert!(!seen.contains(&row.channel));
                } else if row.at_risk {
                    proptest::prop_assert!(seen.contains(&row.channel));
                }
            }
        }
    }
}
