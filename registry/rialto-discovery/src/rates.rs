//! Token buckets by any key, in bounded memory.
//!
//! Not here: what happens to whoever asks too often.

use std::collections::HashMap;
use std::hash::Hash;

/// Limits how often each key may do something.
#[derive(Debug)]
pub(crate) struct Rates<K> {
    limit: Rate,
    keys_max: usize,
    buckets: HashMap<K, Bucket>,
    /// When full buckets were last forgotten, in milliseconds.
    swept_ms: u64,
}

/// How often: so many at once, and so many a minute in the long run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many at once.
    pub burst: u32,
    /// How many a minute in the long run; at least one.
    pub per_minute: u32,
}

#[derive(Debug)]
struct Bucket {
    /// Thousandths of a token.
    milli: u64,
    at_ms: u64,
}

impl<K: Eq + Hash> Rates<K> {
    /// Makes limits for up to `keys_max` keys at a time.
    pub(crate) fn new(limit: Rate, keys_max: usize) -> Self {
        Self {
            limit,
            keys_max,
            buckets: HashMap::new(),
            swept_ms: 0,
        }
    }

    /// Takes one token of `key`, or says in how many seconds there will be one.
    ///
    /// When there are too many keys a new one waits too: somebody is making them up.
    pub(crate) fn take(&mut self, key: K, now_ms: u64) -> Result<(), u32> {
        let full = u64::from(self.limit.burst) * 1000;
        let per_minute = u64::from(self.limit.per_minute.max(1));
        if !self.buckets.contains_key(&key) && self.buckets.len() >= self.keys_max {
            self.forget_full(now_ms);
            if self.buckets.len() >= self.keys_max {
                return Err(1);
            }
        }
        let bucket = self.buckets.entry(key).or_insert(Bucket {
            milli: full,
            at_ms: now_ms,
        });
        bucket.refill(now_ms, per_minute, full);
        if bucket.milli >= 1000 {
            bucket.milli -= 1000;
            return Ok(());
        }
        let wait_s = ((1000 - bucket.milli) * 60).div_ceil(per_minute * 1000);
        Err(u32::try_from(wait_s).unwrap_or(u32::MAX).max(1))
    }

    /// Returns whether a key has a bucket.
    pub(crate) fn knows(&self, key: &K) -> bool {
        self.buckets.contains_key(key)
    }

    /// How many keys are known.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.buckets.len()
    }

    fn forget_full(&mut self, now_ms: u64) {
        // At most once a second: looking through all of them is what a flood would buy.
        if now_ms < self.swept_ms.saturating_add(1000) && self.swept_ms != 0 {
            return;
        }
        self.swept_ms = now_ms;
        let full = u64::from(self.limit.burst) * 1000;
        let per_minute = u64::from(self.limit.per_minute.max(1));
        self.buckets.retain(|_, bucket| {
            bucket.refill(now_ms, per_minute, full);
            bucket.milli < full
        });
    }
}

impl Bucket {
    fn refill(&mut self, now_ms: u64, per_minute: u64, full: u64) {
        let passed = now_ms.saturating_sub(self.at_ms);
        // A token a minute is a thousandth of a token in 60 ms.
        let gained = passed.saturating_mul(per_minute) / 60;
        if gained > 0 {
            self.milli = self.milli.saturating_add(gained).min(full);
            self.at_ms = now_ms;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate {
        burst: 3,
        per_minute: 60,
    };

    #[test]
    fn a_burst_passes_and_then_one_a_second() {
        let mut rates = Rates::new(RATE, 8);
        for _ in 0..3 {
            assert_eq!(rates.take("a", 1000), Ok(()));
        }
        assert_eq!(rates.take("a", 1000), Err(1));
        assert_eq!(
            rates.take("b", 1000),
            Ok(()),
            "another key is not concerned"
        );
        assert_eq!(rates.take("a", 2000), Ok(()));
        assert_eq!(rates.take("a", 2001), Err(1));
    }

    #[test]
    fn asking_often_does_not_stop_the_refilling() {
        let mut rates = Rates::new(
            Rate {
                burst: 1,
                per_minute: 6,
            },
            8,
        );
        assert_eq!(rates.take("a", 0), Ok(()));
        assert_eq!(rates.take("a", 1), Err(10));
        let passed = (2..=10_100)
            .filter(|now| rates.take("a", *now).is_ok())
            .count();
        assert_eq!(passed, 1);
    }

    #[test]
    fn made_up_keys_take_no_more_memory() {
        let mut rates = Rates::new(RATE, 4);
        for key in 0..100 {
            let _ = rates.take(key, 10);
        }
        assert_eq!(rates.len(), 4);
        assert_eq!(rates.take(200, 20), Err(1));
        assert_eq!(
            rates.take(200, 5000),
            Ok(()),
            "who has been quiet is forgotten"
        );
    }
}
