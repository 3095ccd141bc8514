//! What came of our own calls: counted by half-life, so that what is long ago counts little and the order
//! of arrival does not matter.
//!
//! Not here: what others say.

use serde::{Deserialize, Serialize};

use super::{ReputationConfig, Weighed, millicalls};
use crate::fixed::halved;

/// What came of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// A good answer in the time that was hoped for.
    InTime,
    /// A good answer, later than that.
    Late,
    /// No answer, or one that says it failed by the provider's fault.
    Failed,
    /// An answer whose receipt is wrong or missing.
    BadReceipt,
}

/// How many calls came to what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Calls {
    /// Good answers in time.
    pub in_time: u64,
    /// Good answers that were late.
    pub late: u64,
    /// Failed calls.
    pub failed: u64,
    /// Answers with a bad receipt.
    pub bad_receipts: u64,
}

/// Our own calls of one provider.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Record {
    /// The latest half-life with a call, and those before it, latest first.
    latest: u64,
    periods: [Period; PERIODS],
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Period {
    in_time: u32,
    late: u32,
    failed: u32,
    bad_receipts: u32,
}

impl Record {
    pub(super) const fn latest(&self) -> u64 {
        self.latest
    }

    /// Counts a call in its half-life. One from before all that are kept changes nothing.
    pub(super) fn add(&mut self, outcome: Outcome, period: u64) {
        let newer = period.saturating_sub(self.latest);
        if newer > 0 {
            let shift = usize::try_from(newer).map_or(PERIODS, |newer| newer.min(PERIODS));
            self.periods.rotate_right(shift);
            self.periods
                .iter_mut()
                .take(shift)
                .for_each(|period| *period = Period::default());
            self.latest = period;
        }
        let age = usize::try_from(self.latest.saturating_sub(period)).unwrap_or(PERIODS);
        if let Some(period) = self.periods.get_mut(age) {
            let count = match outcome {
                Outcome::InTime => &mut period.in_time,
                Outcome::Late => &mut period.late,
                Outcome::Failed => &mut period.failed,
                Outcome::BadReceipt => &mut period.bad_receipts,
            };
            *count = count.saturating_add(1);
        }
    }

    /// What the calls count in the half-life `now`. Calls from days that are yet to come count as today's.
    pub(super) fn weighed(&self, config: &ReputationConfig, now: u64) -> Weighed {
        let mut sum = Weighed::default();
        for (age, period) in self.aged(now) {
            let aged = |calls: u32| halved(millicalls(calls), age);
            sum.add(aged(period.in_time), 1_000);
            sum.add(aged(period.late), config.late_permille.min(1_000));
            sum.add(aged(period.failed), 0);
            let bad = u64::from(config.bad_receipt_calls);
            sum.add(aged(period.bad_receipts).saturating_mul(bad), 0);
        }
        sum
    }

    /// The calls that still count.
    pub(super) fn calls(&self, now: u64) -> Calls {
        let mut calls = Calls::default();
        let counting = self.aged(now).filter(|(age, _)| *age < u64::from(AGE_MAX));
        for (_, period) in counting {
            let sum = |calls: u64, more: u32| calls.saturating_add(u64::from(more));
            calls = Calls {
                in_time: sum(calls.in_time, period.in_time),
                late: sum(calls.late, period.late),
                failed: sum(calls.failed, period.failed),
                bad_receipts: sum(calls.bad_receipts, period.bad_receipts),
            };
        }
        calls
    }

    /// Each half-life with its age.
    fn aged(&self, now: u64) -> impl Iterator<Item = (u64, &Period)> {
        let since = now.saturating_sub(self.latest);
        (since..).zip(&self.periods)
    }
}

/// How many half-lives are kept: of the last one a call counts a two-hundredth.
const PERIODS: usize = 8;

/// After so many half-lives less than a thousandth of a call is left.
const AGE_MAX: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CONFIG: ReputationConfig = ReputationConfig::DEFAULT;

    fn record(calls: &[(Outcome, u64)]) -> Record {
        let mut record = Record::default();
        for (outcome, period) in calls {
            record.add(*outcome, *period);
        }
        record
    }

    #[test]
    fn calls_count_half_after_each_half_life() {
        let record = record(&[(Outcome::InTime, 10), (Outcome::Failed, 9)]);
        let check = |now, millicalls, worth| {
            let expected = Weighed { millicalls, worth };
            assert_eq!(record.weighed(&CONFIG, now), expected, "{now}");
        };
        check(9, 1_500, 1_000_000);
        check(10, 1_500, 1_000_000);
        check(11, 750, 500_000);
        check(12, 375, 250_000);
        check(20, 0, 0);
        check(u64::MAX, 0, 0);
        assert_eq!(record.calls(19).in_time, 1);
        assert_eq!(record.calls(20), Calls::default());
    }

    #[test]
    fn outcomes_have_their_worth() {
        let check = |outcome, millicalls, worth| {
            let expected = Weighed { millicalls, worth };
            assert_eq!(record(&[(outcome, 0)]).weighed(&CONFIG, 0), expected);
        };
        check(Outcome::InTime, 1_000, 1_000_000);
        check(Outcome::Late, 1_000, 600_000);
        check(Outcome::Failed, 1_000, 0);
        check(Outcome::BadReceipt, 10_000, 0);
    }

    #[test]
    fn what_is_too_old_is_forgotten() {
        let mut record = record(&[(Outcome::Failed, 0), (Outcome::InTime, 7)]);
        assert_eq!(record.calls(7).failed, 1);
        record.add(Outcome::InTime, 8);
        assert_eq!(record.calls(8).failed, 0);
        record.add(Outcome::Failed, 0);
        assert_eq!(record.calls(8).failed, 0, "nor does it come back");
        record.add(Outcome::Late, u64::MAX);
        assert_eq!(record.calls(u64::MAX).in_time, 0);
        assert_eq!(record.calls(u64::MAX).late, 1);
    }

    #[test]
    fn counts_stop_at_their_ends() {
        let mut full = record(&[(Outcome::BadReceipt, 1)]);
        full.periods[0].bad_receipts = u32::MAX;
        full.add(Outcome::BadReceipt, 1);
        assert_eq!(full.calls(1).bad_receipts, u64::from(u32::MAX));
        assert!(full.weighed(&CONFIG, 1).millicalls > 0);
    }

    proptest! {
        #[test]
        fn order_of_arrival_does_not_matter(periods in prop::collection::vec(0u64..8, 0..20)) {
            let calls: Vec<_> = periods.iter().map(|it| (Outcome::InTime, *it)).collect();
            let mut other = calls.clone();
            other.reverse();
            prop_assert_eq!(record(&calls).weighed(&CONFIG, 8), record(&other).weighed(&CONFIG, 8));
        }
    }
}
