//! What the router remembers of one provider, and of one service.
//!
//! Not here: reputation, which outlives a process and comes in with each candidate.

use super::{
    attempt::{AttemptId, NotStarted, Outcome},
    breaker::Breaker,
    budget::Bucket,
    config::Config,
    latency::{Latencies, PeakEwma},
    units::Millis,
};

/// What a provider's past attempts say of it.
#[derive(Clone, Debug)]
pub(super) struct Health {
    pub(super) latency: PeakEwma,
    pub(super) breaker: Breaker,
    /// Its own refusals keep it out until then.
    pub(super) resting_until: Millis,
    /// Answers so far: few make it a newcomer.
    pub(super) answers: u32,
    in_flight: u32,
    /// Attempts that began earlier are no longer counted in `in_flight`.
    counted_from: AttemptId,
    /// By then every counted attempt has ended, reported or not.
    in_flight_until: Millis,
}

/// An attempt as health sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begun {
    pub(super) attempt: AttemptId,
    pub(super) at: Millis,
    pub(super) timeout_at: Millis,
}

impl Health {
    pub(super) fn new(config: &Config, first: AttemptId) -> Self {
        Self {
            latency: PeakEwma::default(),
            breaker: Breaker::new(&config.breaker),
            resting_until: Millis::ZERO,
            answers: 0,
            in_flight: 0,
            counted_from: first,
            in_flight_until: Millis::ZERO,
        }
    }

    /// Attempts in flight. One that nobody reports, its call having been dropped, ends with its time-out,
    /// so a forgotten attempt does not burden its provider for ever.
    pub(super) fn in_flight(&self, now: Millis) -> u32 {
        if now > self.in_flight_until {
            0
        } else {
            self.in_flight
        }
    }

    pub(super) fn begin(&mut self, begun: &Begun, probe: bool) {
        if self.in_flight(begun.at) == 0 {
            self.in_flight = 0;
            self.counted_from = begun.attempt;
            self.in_flight_until = Millis::ZERO;
        }
        self.in_flight = self.in_flight.saturating_add(1);
        self.in_flight_until = self.in_flight_until.max(begun.timeout_at);
        if probe {
            self.breaker.begin_probe(begun.attempt, begun.timeout_at);
        }
    }

    /// Takes in how an attempt ended. Failures count as slow answers; a wrong request says nothing of the
    /// provider's speed; a refusal for load is no failure, but keeps the provider out for a while.
    pub(super) fn end(
        &mut self,
        begun: &Begun,
        outcome: Outcome,
        now: Millis,
        jitter: Millis,
        config: &Config,
    ) {
        self.land(begun);
        let took = now.since(begun.at);
        match outcome {
            Outcome::Answered => {
                self.succeed(begun, config);
                self.latency.observe(took, config.latency_half_life, now);
                self.answers = self.answers.saturating_add(1);
            }
            Outcome::CallerFault => self.succeed(begun, config),
            Outcome::NotStarted(NotStarted::Refused { retry_after }) => {
                let rest = retry_after.unwrap_or(config.rest_default);
                let until = now.plus(rest.min(config.rest_max));
                self.resting_until = self.resting_until.max(until);
                self.breaker.release(begun.attempt);
            }
            Outcome::NotStarted(NotStarted::Unreachable)
            | Outcome::ServiceFault { .. }
            | Outcome::Unknown => {
                let penalty = took.max(config.failure_latency);
                self.latency.observe(penalty, config.latency_half_life, now);
                self.breaker
                    .failure(begun.attempt, now, jitter, &config.breaker);
            }
        }
    }

    /// Takes in that an attempt was given up for another's sake: it would have taken longer than this.
    pub(super) fn give_up(&mut self, begun: &Begun, now: Millis, config: &Config) {
        self.land(begun);
        let took = now.since(begun.at);
        self.latency
            .observe_at_least(took, config.latency_half_life, now);
        self.breaker.release(begun.attempt);
    }

    /// A provider whose breaker closes starts as a newcomer, a few calls at once: its failures' penalty
    /// would keep it idle long after it works again, and all its share at once could fell it.
    fn succeed(&mut self, begun: &Begun, config: &Config) {
        if self
            .breaker
            .success(begun.attempt, begun.at, &config.breaker)
        {
            self.latency = PeakEwma::default();
            self.answers = 0;
        }
    }

    fn land(&mut self, begun: &Begun) {
        if begun.attempt >= self.counted_from {
            self.in_flight = self.in_flight.saturating_sub(1);
        }
    }
}

/// What calls of one service share.
#[derive(Clone, Debug)]
pub(super) struct Service {
    pub(super) retries: Bucket,
    pub(super) hedges: Bucket,
    pub(super) latencies: Latencies,
}

impl Service {
    pub(super) fn new(config: &Config, now: Millis) -> Self {
        let retries = Bucket::new(
            config.retries_saved_max,
            config.retry_permille,
            config.retries_per_second,
            now,
        );
        Self {
            retries: retries.full(),
            hedges: Bucket::new(config.hedges_saved_max, config.hedge_permille, 0, now),
            latencies: Latencies::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(attempt: u64, at: u64) -> Begun {
        Begun {
            attempt: AttemptId(attempt),
            at: Millis(at),
            timeout_at: Millis(at + 1_000),
        }
    }

    #[test]
    fn every_outcome_leaves_its_mark() {
        let refused = |retry_after| Outcome::NotStarted(NotStarted::Refused { retry_after });
        let unreachable = Outcome::NotStarted(NotStarted::Unreachable);
        let faulted = Outcome::ServiceFault { executed: true };
        let check = |outcome, latency_us, resting_until, answers| {
            let config = Config::default();
            let mut health = Health::new(&config, AttemptId(0));
            health.begin(&begun(0, 100), false);
            assert_eq!(health.in_flight(Millis(150)), 1);
            health.end(&begun(0, 100), outcome, Millis(150), Millis(0), &config);
            let estimate = health.latency.at(Millis(150), Millis(1), Millis(1_000));
            assert_eq!(estimate, latency_us, "{outcome:?}");
            assert_eq!(health.resting_until, Millis(resting_until), "{outcome:?}");
            assert_eq!(health.answers, answers, "{outcome:?}");
            assert_eq!(health.in_flight(Millis(150)), 0);
        };
        check(Outcome::Answered, 50_000, 0, 1);
        check(Outcome::CallerFault, 1_000, 0, 0);
        check(unreachable, 1_000_000, 0, 0);
        check(faulted, 1_000_000, 0, 0);
        check(Outcome::Unknown, 1_000_000, 0, 0);
        check(refused(None), 1_000, 5_150, 0);
        check(refused(Some(Millis(200))), 1_000, 350, 0);
        check(refused(Some(Millis::MAX)), 1_000, 60_150, 0);
    }

    #[test]
    fn forgotten_attempts_end_and_late_reports_do_not_count_twice() {
        let config = Config::default();
        let mut health = Health::new(&config, AttemptId(0));
        health.begin(&begun(0, 0), false);
        health.begin(&begun(1, 10), false);
        assert_eq!(health.in_flight(Millis(1_010)), 2);
        assert_eq!(health.in_flight(Millis(1_011)), 0);
        health.begin(&begun(2, 2_000), false);
        health.end(
            &begun(0, 0),
            Outcome::Unknown,
            Millis(2_001),
            Millis(0),
            &config,
        );
        assert_eq!(health.in_flight(Millis(2_001)), 1);
        health.give_up(&begun(2, 2_000), Millis(2_002), &config);
        assert_eq!(health.in_flight(Millis(2_002)), 0);
    }

    #[test]
    fn whoever_comes_back_starts_as_a_newcomer() {
        let config = Config::default();
        let mut health = Health::new(&config, AttemptId(0));
        let mut end = |n, at, outcome| {
            health.begin(&begun(n, at), false);
            health.end(&begun(n, at), outcome, Millis(at + 20), Millis(0), &config);
            let latency = health
                .latency
                .at(Millis(at + 20), Millis(250), Millis(5_000));
            (health.answers, latency)
        };
        for n in 0..9 {
            end(n, 0, Outcome::Answered);
        }
        for n in 10..15 {
            assert_eq!(end(n, 100, Outcome::Unknown), (9, 1_000_000));
        }
        assert_eq!(end(20, 200, Outcome::Answered), (1, 20_000));
    }

    #[test]
    fn a_refused_probe_may_be_sent_again() {
        let config = Config::default();
        let mut health = Health::new(&config, AttemptId(0));
        for n in 0..5 {
            health.begin(&begun(n, 0), false);
            health.end(
                &begun(n, 0),
                Outcome::Unknown,
                Millis(0),
                Millis(0),
                &config,
            );
        }
        health.begin(&begun(9, 1_000), true);
        assert!(!health.breaker.wants_probe(Millis(1_500), true));
        let refused = Outcome::NotStarted(NotStarted::Refused { retry_after: None });
        health.end(&begun(9, 1_000), refused, Millis(1_500), Millis(0), &config);
        assert!(health.breaker.wants_probe(Millis(1_500), true));
    }
}
