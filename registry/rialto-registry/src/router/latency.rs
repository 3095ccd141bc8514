//! How long providers take: a peak EWMA for each provider, and recent latencies of each service.
//!
//! Non-goals: what counts as a failure ([`health`](super::health) says), and clocks.

use std::collections::VecDeque;

use super::units::{Millis, scaled};

/// An estimate of latency that rises to a peak at once and falls with time.
///
/// It moves to each lower observation by half in every half-life, so one quick answer after a slow one
/// proves little. Unobserved, it falls the same way to the neutral prior, no lower: time makes a bad
/// memory neutral, never good. The half-life's power of two is interpolated linearly between whole
/// half-lives, at most 6% above the true curve.
#[derive(Clone, Debug, Default)]
pub(super) struct PeakEwma {
    /// Microseconds, for the sake of decay: latencies of few milliseconds would round away.
    estimate: Option<u64>,
    observed_at: Millis,
}

impl PeakEwma {
    /// Takes in that an attempt took `latency`.
    pub(super) fn observe(&mut self, latency: Millis, half_life: Millis, now: Millis) {
        let sample = micros(latency);
        let old = self.estimate.unwrap_or(sample);
        let faded = faded(
            old.saturating_sub(sample),
            now.since(self.observed_at),
            half_life,
        );
        self.estimate = Some(sample.saturating_add(faded));
        self.observed_at = now.max(self.observed_at);
    }

    /// Takes in that an attempt would have taken longer than `latency`.
    pub(super) fn observe_at_least(&mut self, latency: Millis, half_life: Millis, now: Millis) {
        if self.estimate.is_none_or(|old| old < micros(latency)) {
            self.observe(latency, half_life, now);
        }
    }

    /// The estimate in microseconds, at least one; `prior` while there is none.
    pub(super) fn at(&self, now: Millis, prior: Millis, half_life: Millis) -> u64 {
        let prior = micros(prior);
        let Some(estimate) = self.estimate else {
            return prior;
        };
        let above = estimate.saturating_sub(prior);
        let faded = faded(above, now.since(self.observed_at), half_life);
        estimate.min(prior).saturating_add(faded)
    }
}

/// The latest latencies of a service's answers, for its median and its slowest twentieth.
#[derive(Clone, Debug, Default)]
pub(super) struct Latencies(VecDeque<Millis>);

impl Latencies {
    pub(super) fn push(&mut self, latency: Millis) {
        if self.0.len() >= LATENCIES_MAX {
            self.0.pop_front();
        }
        self.0.push_back(latency);
    }

    /// The latency that so many thousandths of the answers did not exceed; `None` before there are 20.
    pub(super) fn quantile(&self, permille: u64) -> Option<Millis> {
        if self.0.len() < LATENCIES_MIN {
            return None;
        }
        let mut sorted: Vec<Millis> = self.0.iter().copied().collect();
        sorted.sort_unstable();
        let last = u64::try_from(sorted.len().saturating_sub(1)).unwrap_or(0);
        let at = usize::try_from(scaled(last, permille, 1000)).unwrap_or(0);
        sorted.get(at).copied()
    }
}

const LATENCIES_MAX: usize = 128;
const LATENCIES_MIN: usize = 20;

/// An answer within the clock's grain took half a grain, not nothing.
fn micros(latency: Millis) -> u64 {
    latency.0.saturating_mul(1000).max(500)
}

/// What is left of `excess` after `elapsed`.
fn faded(excess: u64, elapsed: Millis, half_life: Millis) -> u64 {
    let half_life = half_life.0.max(1);
    let halvings = elapsed.0.checked_div(half_life).unwrap_or(0);
    let within = elapsed.0.checked_rem(half_life).unwrap_or(0);
    let halved = u32::try_from(halvings)
        .ok()
        .and_then(|n| excess.checked_shr(n));
    let halved = halved.unwrap_or(0);
    halved.saturating_sub(scaled(halved / 2, within, half_life))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HALF: Millis = Millis(1_000);
    const PRIOR: Millis = Millis(100);

    #[test]
    fn rises_at_once_and_falls_by_half() {
        let mut ewma = PeakEwma::default();
        assert_eq!(ewma.at(Millis(0), PRIOR, HALF), 100_000);
        ewma.observe(Millis(20), HALF, Millis(0));
        assert_eq!(ewma.at(Millis(0), PRIOR, HALF), 20_000);
        ewma.observe(Millis(900), HALF, Millis(10));
        assert_eq!(ewma.at(Millis(10), PRIOR, HALF), 900_000);
        // Half of the 800 above the prior is forgotten, then half of that.
        assert_eq!(ewma.at(Millis(1_010), PRIOR, HALF), 500_000);
        assert_eq!(ewma.at(Millis(2_010), PRIOR, HALF), 300_000);
        assert_eq!(ewma.at(Millis(1_000_000), PRIOR, HALF), 100_000);
        // A quick answer after one half-life: half of the way down to it.
        ewma.observe(Millis(100), HALF, Millis(1_010));
        assert_eq!(ewma.at(Millis(1_010), PRIOR, HALF), 500_000);
    }

    #[test]
    fn time_alone_never_makes_it_better_than_neutral() {
        let mut ewma = PeakEwma::default();
        ewma.observe(Millis(20), HALF, Millis(0));
        assert_eq!(ewma.at(Millis(1 << 40), PRIOR, HALF), 20_000);
        ewma.observe_at_least(Millis(10), HALF, Millis(1));
        assert_eq!(ewma.at(Millis(1), PRIOR, HALF), 20_000);
        ewma.observe_at_least(Millis(50), HALF, Millis(1));
        assert_eq!(ewma.at(Millis(1), PRIOR, HALF), 50_000);
    }

    #[test]
    fn quantiles_need_twenty_and_forget_the_old() {
        let mut latencies = Latencies::default();
        for ms in 0..19 {
            latencies.push(Millis(ms));
            assert_eq!(latencies.quantile(950), None);
        }
        latencies.push(Millis(19));
        assert_eq!(latencies.quantile(500), Some(Millis(9)));
        assert_eq!(latencies.quantile(950), Some(Millis(18)));
        for _ in 0..1_000 {
            latencies.push(Millis(7));
        }
        assert_eq!(latencies.0.len(), LATENCIES_MAX);
        assert_eq!(latencies.quantile(1000), Some(Millis(7)));
    }

    proptest! {
        #[test]
        fn stays_between_sample_and_peak(
            samples in prop::collection::vec((any::<u32>(), any::<u32>()), 1..40), half: u64, late: u64,
        ) {
            let mut ewma = PeakEwma::default();
            let (mut now, mut peak) = (Millis(0), 0);
            for (wait, latency) in samples {
                now = now.plus(Millis(wait.into()));
                let sample = micros(Millis(latency.into()));
                peak = sample.max(peak);
                ewma.observe(Millis(latency.into()), Millis(half), now);
                let estimate = ewma.estimate.unwrap();
                prop_assert!(estimate >= sample && estimate <= peak);
                prop_assert!(ewma.at(Millis(late), PRIOR, Millis(half)) > 0);
            }
        }
    }
}
