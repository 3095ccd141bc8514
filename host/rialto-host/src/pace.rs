//! How long a model's runs take, learned from the runs before.
//!
//! Handing a run to another thread and back wakes two sleeping threads, which costs as much as a twentieth of a
//! small model's run. Runs that are known to be short stay on the guest's own thread instead; the price
//! is that a call past its deadline ends after such a run and not within it.
//!
//! Non-goals: exactness. Runs are told apart by the size of their inputs alone.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The longest run that a call may be late by.
const SHORT: Duration = Duration::from_millis(20);

/// The paces of one model, one for each power of two of input bytes, the last for all above. Shared by all
/// calls.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// Nanoseconds; 0 before the first run.
    classes: [AtomicU64; CLASSES],
}

const CLASSES: usize = 32;

impl Pace {
    /// Whether runs on inputs of `bytes` are known to be short.
    pub(crate) fn is_short(&self, bytes: u64) -> bool {
        self.of(bytes).is_some_and(|pace| pace <= SHORT)
    }

    /// How long runs on inputs of `bytes` take, if any were seen.
    pub(crate) fn of(&self, bytes: u64) -> Option<Duration> {
        let nanos = self.class(bytes).load(Ordering::Relaxed);
        (nanos != 0).then(|| Duration::from_nanos(nanos))
    }

    /// Learns from a run. A longer one counts at once, shorter ones slowly.
    pub(crate) fn learn(&self, bytes: u64, took: Duration) {
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX).max(1);
        let class = self.class(bytes);
        let before = class.load(Ordering::Relaxed);
        let slower = before.saturating_sub(before >> 3);
        class.store(took.max(slower), Ordering::Relaxed);
    }

    fn class(&self, bytes: u64) -> &AtomicU64 {
        let [smaller @ .., last] = &self.classes;
        let bits = usize::try_from(u64::BITS - bytes.leading_zeros()).unwrap_or(CLASSES);
        smaller.get(bits).unwrap_or(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_short_is_short() {
        let pace = Pace::default();
        assert!(!pace.is_short(100), "nothing is known");
        pace.learn(100, Duration::from_millis(5));
        assert!(pace.is_short(100) && pace.is_short(64) && pace.is_short(127));
        assert!(!pace.is_short(128) && !pace.is_short(63) && !pace.is_short(0));
        pace.learn(0, Duration::ZERO);
        pace.learn(u64::MAX, Duration::ZERO);
        assert!(pace.is_short(0) && pace.is_short(u64::MAX));
    }

    #[test]
    fn one_long_run_outweighs_several_short_ones() {
        let pace = Pace::default();
        pace.learn(1, Duration::from_millis(40));
        for _ in 0..5 {
            pace.learn(1, Duration::from_millis(1));
            assert!(!pace.is_short(1));
        }
        pace.learn(1, Duration::from_millis(1));
        assert!(
            pace.is_short(1),
            "40 ms less an eighth, six times, is 18 ms"
        );
    }
}
