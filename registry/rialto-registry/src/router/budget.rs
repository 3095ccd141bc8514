//! Retry and hedge budgets: token buckets in whole thousandths.
//!
//! Why budgets, not counts: three attempts a call turn an outage into three times the load. A budget lets
//! every call of a healthy service retry, and almost none of a dead one. Over any span it holds that
//! `retries <= saved + share x calls + rate x seconds`.

use super::units::{Millis, scaled};

/// Tokens that calls and time earn and that retries spend.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    /// Thousandths of a token.
    level: u64,
    max: u64,
    per_call: u64,
    /// Tokens a second are thousandths of a token a millisecond.
    per_milli: u64,
    filled_at: Millis,
}

impl Bucket {
    /// A bucket of at most `max` tokens that earns thousandths of a token a call, and tokens a second.
    pub(super) fn new(max: u64, per_call_permille: u64, per_second: u64, now: Millis) -> Self {
        Self {
            level: 0,
            max: max.saturating_mul(TOKEN),
            per_call: per_call_permille,
            per_milli: per_second,
            filled_at: now,
        }
    }

    /// The same bucket, full.
    pub(super) fn full(mut self) -> Self {
        self.level = self.max;
        self
    }

    /// Earns a call's share.
    pub(super) fn earn(&mut self) {
        self.level = self.level.saturating_add(self.per_call).min(self.max);
    }

    /// Spends one token, if there is one.
    pub(super) fn spend(&mut self, now: Millis) -> bool {
        let earned = now.since(self.filled_at).0.saturating_mul(self.per_milli);
        self.level = self.level.saturating_add(earned).min(self.max);
        self.filled_at = now.max(self.filled_at);
        match self.level.checked_sub(TOKEN) {
            Some(left) => {
                self.level = left;
                true
            }
            None => false,
        }
    }

    /// How long until time alone has earned the next token; `None` if it never will.
    pub(super) fn wait(&self) -> Option<Millis> {
        if self.per_milli == 0 || self.max < TOKEN {
            return None;
        }
        let missing = TOKEN.saturating_sub(self.level);
        Some(Millis(scaled(missing, 1, self.per_milli).saturating_add(1)))
    }
}

const TOKEN: u64 = 1000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn earns_from_calls_and_time() {
        let mut bucket = Bucket::new(2, 200, 10, Millis(0));
        assert!(!bucket.spend(Millis(0)));
        for _ in 0..5 {
            bucket.earn();
        }
        assert!(bucket.spend(Millis(0)));
        assert!(!bucket.spend(Millis(99)));
        assert!(bucket.spend(Millis(100)));
        assert_eq!(bucket.wait(), Some(Millis(101)));
        // Saved up: two, whatever the time.
        assert!(bucket.spend(Millis(1 << 50)));
        assert!(bucket.spend(Millis(1 << 50)));
        assert!(!bucket.spend(Millis(1 << 50)));
        // A clock that steps back earns nothing twice.
        assert!(!bucket.spend(Millis(0)));
        assert!(!bucket.spend(Millis(1 << 50)));
    }

    #[test]
    fn a_bucket_without_a_rate_never_fills_by_waiting() {
        assert_eq!(Bucket::new(10, 50, 0, Millis(0)).wait(), None);
        assert_eq!(Bucket::new(0, 50, 10, Millis(0)).wait(), None);
        assert!(Bucket::new(1, 0, 0, Millis(0)).full().spend(Millis(0)));
    }

    proptest! {
        #[test]
        fn spends_no_more_than_it_earned_in_any_span(
            steps in prop::collection::vec((0_u64..500, 0_u64..5, 0_u64..5), 1..80),
        ) {
            let mut bucket = Bucket::new(3, 200, 10, Millis(0)).full();
            let mut now = Millis(0);
            let mut history = Vec::new();
            for (wait, calls, tries) in steps {
                now = now.plus(Millis(wait));
                (0..calls).for_each(|_| bucket.earn());
                let spent = (0..tries).filter(|_| bucket.spend(now)).count() as u64;
                history.push((now, calls, spent));
            }
            for from in 0..history.len() {
                let (mut calls, mut spent) = (0, 0);
                for (at, c, s) in &history[from..] {
                    calls += c;
                    spent += s;
                    let earned = 3_000 + 200 * calls + 10 * at.since(history[from].0).0;
                    prop_assert!(spent * 1_000 <= earned);
                }
            }
        }
    }
}
