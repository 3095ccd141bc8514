//! How long things took, counted in buckets without a lock.
//!
//! An observation is two additions to atomic numbers. Bounds are the same everywhere, so that histograms
//! of several services can be added up.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The upper bounds of all buckets but the last, which has none.
pub const BOUNDS: [Duration; 18] = [
    Duration::from_micros(50),
    Duration::from_micros(100),
    Duration::from_micros(250),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2_500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_millis(2_500),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(60),
];

/// Counts durations. Observing takes no lock.
#[derive(Debug, Default)]
pub struct Histogram {
    counts: [AtomicU64; BOUNDS.len() + 1],
    /// Nanoseconds.
    sum: AtomicU64,
}

/// What a histogram held at some moment. Observations that are made meanwhile may be in it half.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistogramView {
    /// Observations in each bucket: those at most as long as its bound in [`BOUNDS`], and longer than the
    /// bound before; the last has all others.
    pub counts: Vec<u64>,
    /// Their sum.
    pub sum: Duration,
}

impl Histogram {
    /// Counts one.
    pub fn observe(&self, took: Duration) {
        let bucket = BOUNDS.partition_point(|bound| *bound < took);
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.sum.fetch_add(nanos, Ordering::Relaxed);
    }

    /// What it holds now.
    #[must_use]
    pub fn view(&self) -> HistogramView {
        HistogramView {
            counts: self
                .counts
                .iter()
                .map(|count| count.load(Ordering::Relaxed))
                .collect(),
            sum: Duration::from_nanos(self.sum.load(Ordering::Relaxed)),
        }
    }
}

impl HistogramView {
    /// Observations in all buckets.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts
            .iter()
            .fold(0, |sum, count| sum.saturating_add(*count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_goes_into_the_first_bucket_that_holds_it() {
        let histogram = Histogram::default();
        for micros in [0, 50, 51, 60_000_000, 60_000_001] {
            histogram.observe(Duration::from_micros(micros));
        }
        let view = histogram.view();
        assert_eq!(view.count(), 5);
        assert_eq!(view.counts[0], 2, "a bound is in its bucket");
        assert_eq!(view.counts[1], 1);
        assert_eq!(view.counts[17], 1);
        assert_eq!(view.counts[18], 1, "the last has no bound");
        assert_eq!(view.sum, Duration::from_micros(120_000_102));
    }

    #[test]
    fn bounds_grow() {
        assert!(BOUNDS.is_sorted_by(|a, b| a < b));
    }
}
