//! When a failing provider is left alone, and how it comes back.
//!
//! It opens after failures in a row, or when too few of the last outcomes were successes. Open, it lets
//! one probe through when its backoff has passed: a single real call. The probe's success closes it; its
//! failure doubles the backoff. Should a breaker open again soon after closing, it goes on with the
//! backoff that it had.
//!
//! Not here: how many providers of a service may be out at once ([`choice`](super::choice)); refusals
//! for load, which are no failures ([`health`](super::health)).

use super::{
    attempt::AttemptId,
    config::BreakerConfig,
    units::{Millis, scaled},
};

/// The breaker of one provider.
#[derive(Clone, Debug)]
pub(super) struct Breaker {
    state: State,
    /// The last outcomes, newest lowest: a set bit is a success.
    outcomes: u64,
    outcomes_seen: u32,
    successes_in_row: u32,
    /// The backoff of the next opening.
    backoff: Millis,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Closed { failures_in_row: u32 },
    Open(Open),
}

#[derive(Clone, Copy, Debug)]
struct Open {
    since: Millis,
    backoff: Millis,
    probe_at: Millis,
    /// The probe in flight, and when it has certainly ended.
    probe: Option<(AttemptId, Millis)>,
}

impl Breaker {
    pub(super) fn new(config: &BreakerConfig) -> Self {
        Self {
            state: State::Closed { failures_in_row: 0 },
            outcomes: 0,
            outcomes_seen: 0,
            successes_in_row: 0,
            backoff: config.backoff_min,
        }
    }

    /// When the next probe is due, if it is open.
    pub(super) fn probe_at(&self) -> Option<Millis> {
        match &self.state {
            State::Closed { .. } => None,
            State::Open(open) => Some(open.probe_at),
        }
    }

    /// True if a probe may go out now. A call that must not fail lightly lets others go first: for it,
    /// the backoff has to have passed twice.
    pub(super) fn wants_probe(&self, now: Millis, lightly: bool) -> bool {
        let State::Open(open) = &self.state else {
            return false;
        };
        let patience = if lightly { Millis::ZERO } else { open.backoff };
        let in_flight = open.probe.is_some_and(|(_, until)| now < until);
        !in_flight && now >= open.probe_at.plus(patience)
    }

    /// Takes `attempt` as the one probe in flight, at most until `until`.
    pub(super) fn begin_probe(&mut self, attempt: AttemptId, until: Millis) {
        if let State::Open(open) = &mut self.state {
            open.probe = Some((attempt, until));
        }
    }

    /// Takes in that `attempt`, begun at `begun`, succeeded. True if that closed it.
    ///
    /// An attempt from before the opening proves nothing; one that went out since closes as a probe does.
    pub(super) fn success(
        &mut self,
        attempt: AttemptId,
        begun: Millis,
        config: &BreakerConfig,
    ) -> bool {
        let was_open = self.probe_at().is_some();
        match &mut self.state {
            State::Closed { failures_in_row } => *failures_in_row = 0,
            State::Open(open) if is_probe(open, attempt) || begun > open.since => {
                self.state = State::Closed { failures_in_row: 0 };
                self.outcomes_seen = 0;
                self.successes_in_row = 0;
            }
            State::Open(_) => return false,
        }
        self.record(true);
        self.successes_in_row = self.successes_in_row.saturating_add(1);
        if self.successes_in_row >= config.calm_after {
            self.backoff = config.backoff_min;
        }
        was_open
    }

    /// Takes in that `attempt` failed. `jitter` is added to the next backoff, so that consumers that saw
    /// the same failure do not probe at once.
    pub(super) fn failure(
        &mut self,
        attempt: AttemptId,
        now: Millis,
        jitter: Millis,
        config: &BreakerConfig,
    ) {
        self.record(false);
        self.successes_in_row = 0;
        match &mut self.state {
            State::Closed { failures_in_row } => {
                *failures_in_row = failures_in_row.saturating_add(1);
                if *failures_in_row >= config.failures_max.max(1) || self.too_few(config) {
                    self.open(now, jitter, config);
                }
            }
            State::Open(open) if is_probe(open, attempt) => self.open(now, jitter, config),
            State::Open(_) => {}
        }
    }

    /// Takes in that `attempt` ended without showing anything.
    pub(super) fn release(&mut self, attempt: AttemptId) {
        if let State::Open(open) = &mut self.state
            && is_probe(open, attempt)
        {
            open.probe = None;
        }
    }

    fn open(&mut self, now: Millis, jitter: Millis, config: &BreakerConfig) {
        let least = config.backoff_min.max(Millis(1));
        let backoff = self.backoff.min(config.backoff_max).max(least);
        self.state = State::Open(Open {
            since: now,
            backoff,
            probe_at: now.plus(backoff).plus(jitter),
            probe: None,
        });
        self.backoff = backoff.plus(backoff).min(config.backoff_max).max(least);
    }

    fn record(&mut self, success: bool) {
        self.outcomes = (self.outcomes << 1) | u64::from(success);
        self.outcomes_seen = self.outcomes_seen.saturating_add(1);
    }

    fn too_few(&self, config: &BreakerConfig) -> bool {
        let window = config.window.clamp(1, u64::BITS);
        let mask = u64::MAX.checked_shr(u64::BITS.saturating_sub(window));
        let successes = (self.outcomes & mask.unwrap_or(u64::MAX)).count_ones();
        let permille = scaled(successes.into(), 1000, window.into());
        self.outcomes_seen >= window && permille < config.success_min_permille.into()
    }
}

fn is_probe(open: &Open, attempt: AttemptId) -> bool {
    open.probe.is_some_and(|(probe, _)| probe == attempt)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: BreakerConfig = BreakerConfig {
        failures_max: 5,
        window: 10,
        success_min_permille: 500,
        backoff_min: Millis(1_000),
        backoff_max: Millis(4_000),
        calm_after: 3,
        ejected_max_permille: 500,
    };

    fn opened(now: Millis) -> Breaker {
        let mut breaker = Breaker::new(&CONFIG);
        for n in 0..5 {
            assert_eq!(breaker.probe_at(), None);
            breaker.failure(AttemptId(n), now, Millis(0), &CONFIG);
        }
        breaker
    }

    #[test]
    fn opens_after_five_in_a_row_and_probes_once() {
        let mut breaker = opened(Millis(0));
        assert_eq!(breaker.probe_at(), Some(Millis(1_000)));
        assert!(!breaker.wants_probe(Millis(999), true));
        assert!(breaker.wants_probe(Millis(1_000), true));
        // A call that cannot go elsewhere lets others go first.
        assert!(!breaker.wants_probe(Millis(1_999), false));
        assert!(breaker.wants_probe(Millis(2_000), false));
        breaker.begin_probe(AttemptId(10), Millis(5_000));
        assert!(!breaker.wants_probe(Millis(4_999), true));
        // A probe that nobody reported has ended by its time-out.
        assert!(breaker.wants_probe(Millis(5_000), true));
        breaker.begin_probe(AttemptId(11), Millis(9_000));
        breaker.release(AttemptId(11));
        assert!(breaker.wants_probe(Millis(5_000), true));
    }

    #[test]
    fn backoff_grows_with_failed_probes_up_to_its_limit() {
        let mut breaker = opened(Millis(0));
        let mut now = Millis(0);
        for (n, backoff) in [(10, 1_000), (11, 2_000), (12, 4_000), (13, 4_000)] {
            assert_eq!(breaker.probe_at(), Some(now.plus(Millis(backoff))));
            now = now.plus(Millis(backoff));
            breaker.begin_probe(AttemptId(n), now.plus(Millis(100)));
            // Stragglers from before do not count as probes.
            breaker.failure(AttemptId(1), now, Millis(0), &CONFIG);
            breaker.failure(AttemptId(n), now, Millis(0), &CONFIG);
        }
    }

    #[test]
    fn closes_by_probe_and_by_newer_success_only() {
        let mut breaker = opened(Millis(100));
        assert!(!breaker.success(AttemptId(2), Millis(100), &CONFIG));
        assert!(breaker.probe_at().is_some());
        assert!(breaker.success(AttemptId(9), Millis(101), &CONFIG));
        assert_eq!(breaker.probe_at(), None);
        assert!(!breaker.success(AttemptId(10), Millis(102), &CONFIG));

        let mut breaker = opened(Millis(100));
        breaker.begin_probe(AttemptId(9), Millis(5_000));
        breaker.success(AttemptId(9), Millis(1_100), &CONFIG);
        assert_eq!(breaker.probe_at(), None);
        // Opening again at once goes on with the longer backoff, after calm with the shortest.
        for n in 10..15 {
            breaker.failure(AttemptId(n), Millis(2_000), Millis(7), &CONFIG);
        }
        assert_eq!(breaker.probe_at(), Some(Millis(4_007)));
        for n in 20..23 {
            breaker.success(AttemptId(n), Millis(5_000), &CONFIG);
        }
        for n in 30..35 {
            breaker.failure(AttemptId(n), Millis(6_000), Millis(0), &CONFIG);
        }
        assert_eq!(breaker.probe_at(), Some(Millis(7_000)));
    }

    #[test]
    fn opens_on_a_low_rate_without_a_row() {
        let mut breaker = Breaker::new(&CONFIG);
        let mut outcomes = [true, false, false].iter().cycle();
        let mut seen = 0;
        while breaker.probe_at().is_none() {
            match outcomes.next() {
                Some(true) => _ = breaker.success(AttemptId(seen), Millis(seen), &CONFIG),
                _ => breaker.failure(AttemptId(seen), Millis(seen), Millis(0), &CONFIG),
            }
            seen += 1;
        }
        assert!((10..=12).contains(&seen), "{seen}");

        // Half of them succeed: that is enough here.
        let mut breaker = Breaker::new(&CONFIG);
        for n in 0..100 {
            breaker.success(AttemptId(n), Millis(n), &CONFIG);
            breaker.failure(AttemptId(n), Millis(n), Millis(0), &CONFIG);
        }
        assert_eq!(breaker.probe_at(), None);
    }
}
