//! How much device time a tenant may use, whatever the others leave.
//!
//! A bucket of nanoseconds that fills with time. Work is paid after it is done, when its length is
//! known, so a bucket may be overdrawn once; it then has to fill before more is done.

use std::time::Duration;

/// Device time that a tenant may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Device time that comes in every second.
    pub per_second: Duration,
    /// The most that is saved up for a burst.
    pub burst: Duration,
}

/// What is left of a quota.
#[derive(Debug, Clone)]
pub(crate) struct Bucket {
    quota: Quota,
    /// Nanoseconds; negative when overdrawn.
    level: i128,
    /// When `level` was right.
    at: Duration,
}

impl Bucket {
    /// A full bucket.
    pub(crate) fn full(quota: Quota, now: Duration) -> Self {
        Self {
            quota,
            level: nanos(quota.burst),
            at: now,
        }
    }

    /// Whether work may begin.
    pub(crate) fn is_open(&self, now: Duration) -> bool {
        self.opens_at() <= now
    }

    /// From when on work may begin; for ever shut if nothing comes in.
    pub(crate) fn opens_at(&self) -> Duration {
        if self.level > 0 {
            return self.at;
        }
        let rate = nanos(self.quota.per_second);
        // One nanosecond above empty is open.
        let missing = 1_i128.saturating_sub(self.level);
        let wait = missing
            .saturating_mul(NANOS)
            .checked_div(rate)
            .map_or(u64::MAX, |wait| {
                u64::try_from(wait.saturating_add(1)).unwrap_or(u64::MAX)
            });
        self.at.saturating_add(Duration::from_nanos(wait))
    }

    /// Whether the bucket will be full at `now`: then nothing of it needs remembering.
    pub(crate) fn is_full(&self, now: Duration) -> bool {
        self.level_at(now) >= nanos(self.quota.burst)
    }

    /// Takes the time that work took.
    pub(crate) fn pay(&mut self, now: Duration, took: Duration) {
        self.level = self.level_at(now).saturating_sub(nanos(took));
        self.at = now;
    }

    /// Another quota from now on; what was overdrawn stays so.
    pub(crate) fn change(&mut self, quota: Quota, now: Duration) {
        self.level = self.level_at(now).min(nanos(quota.burst));
        self.at = now;
        self.quota = quota;
    }

    fn level_at(&self, now: Duration) -> i128 {
        let passed = nanos(now.saturating_sub(self.at));
        let came = passed.saturating_mul(nanos(self.quota.per_second)) / NANOS;
        self.level.saturating_add(came).min(nanos(self.quota.burst))
    }
}

const NANOS: i128 = 1_000_000_000;

fn nanos(time: Duration) -> i128 {
    i128::try_from(time.as_nanos()).unwrap_or(i128::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_burst_then_the_rate() {
        let quota = Quota {
            per_second: 100 * MS,
            burst: 50 * MS,
        };
        let mut bucket = Bucket::full(quota, Duration::ZERO);
        assert!(bucket.is_open(Duration::ZERO));
        bucket.pay(Duration::ZERO, 60 * MS);
        assert!(!bucket.is_open(Duration::ZERO));
        // Ten milliseconds are owed, a tenth of a second's income.
        assert!(!bucket.is_open(99 * MS));
        assert!(bucket.is_open(101 * MS));
        assert!(bucket.opens_at() > 100 * MS && bucket.opens_at() < 101 * MS);
        assert!(!bucket.is_full(599 * MS));
        assert!(bucket.is_full(601 * MS));
    }

    #[test]
    fn nothing_coming_in_is_shut_for_ever_once_empty() {
        let quota = Quota {
            per_second: Duration::ZERO,
            burst: MS,
        };
        let mut bucket = Bucket::full(quota, Duration::ZERO);
        assert!(bucket.is_open(Duration::ZERO));
        bucket.pay(Duration::ZERO, MS);
        assert!(!bucket.is_open(Duration::from_secs(1_000_000)));
    }

    #[test]
    fn a_smaller_quota_counts_at_once() {
        let large = Quota {
            per_second: MS,
            burst: 100 * MS,
        };
        let mut bucket = Bucket::full(large, Duration::ZERO);
        let small = Quota {
            per_second: MS,
            burst: MS,
        };
        bucket.change(small, Duration::ZERO);
        bucket.pay(Duration::ZERO, 2 * MS);
        assert!(!bucket.is_open(Duration::ZERO));
    }
}
