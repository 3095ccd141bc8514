//! Random schedules: whatever calls ask for, and however attempts end, the promises of [`Call`] hold.
//!
//! Not here: that the choices are good ones (`simulation`).

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use rialto_channels::Amount;

use super::{scene::candidate, *};

/// A call, and what is known of it from outside.
struct Watched {
    call: Call,
    spec: CallSpec,
    running: BTreeMap<AttemptId, Attempt>,
    sent_to: BTreeMap<ProviderId, Amount>,
    in_doubt: BTreeSet<ProviderId>,
    attempts: u32,
    hedges: u32,
    over: Option<Action>,
}

struct World {
    router: Router,
    config: Config,
    now: Millis,
    candidates: Vec<Candidate>,
    calls: Vec<Watched>,
    /// When calls began, and when retries were sent.
    begun: Vec<Millis>,
    retried: Vec<Millis>,
    hedged: usize,
    probes: BTreeMap<AttemptId, Attempt>,
}

const HISTORY: u64 = 40;

/// One step: what to do, and numbers to do it with.
type Step = (u8, u16, u64);

impl World {
    fn new(config: Config) -> Self {
        let prices = [0, 1, 10, 10, 10, 1_000, u128::MAX];
        let candidates = prices.iter().enumerate();
        let candidates = candidates.map(|(n, price)| candidate(&format!("p{n}"), *price));
        let candidates: Vec<_> = candidates.collect();
        let mut router = Router::new(config.clone());
        // Answers enough to know what is late, so that hedges go out.
        for random in 0..HISTORY {
            let spec = CallSpec::new("only".parse().unwrap(), Millis(1_000));
            let mut call = router.begin(spec, &candidates, Millis(0), random);
            if let Action::Try(attempt) = call.poll(&mut router, Millis(0)) {
                call.on_result(&mut router, attempt.id, Outcome::Answered, Millis(50));
            }
        }
        let begun = (0..HISTORY).map(|_| Millis(0)).collect();
        Self {
            router,
            config,
            now: Millis(50),
            candidates,
            calls: Vec::new(),
            begun,
            retried: Vec::new(),
            hedged: 0,
            probes: BTreeMap::new(),
        }
    }

    fn step(&mut self, (kind, number, random): Step) -> Result<(), TestCaseError> {
        let chosen = usize::from(number) % self.calls.len().max(1);
        match kind % 8 {
            0 => self.begin(number, random),
            1 => self.now = self.now.plus(Millis(u64::from(number) % 300)),
            2 => self.now = self.now.plus(Millis(number.into())),
            3..=5 if chosen < self.calls.len() => self.poll(chosen)?,
            6 if number % 16 == 0 && chosen < self.calls.len() => self.cancel(chosen)?,
            _ if chosen < self.calls.len() => self.end(chosen, random)?,
            _ => {}
        }
        let (providers, services) = self.router.remembered();
        prop_assert!(providers <= self.config.providers_max.max(1));
        prop_assert!(services <= self.config.services_max.max(1));
        Ok(())
    }

    fn begin(&mut self, number: u16, random: u64) {
        let bit = |n: u16| number >> n & 1 == 1;
        let amounts = [0, 10, 25, u128::MAX];
        let amount = |n: u16| Amount::new(amounts[usize::from(number >> n & 3)]);
        let spec = CallSpec {
            service: "only".parse().unwrap(),
            idempotent: bit(0),
            deadline: self.now.plus(Millis(random % 20_000)),
            price_max: bit(1).then(|| amount(2)),
            region: None,
            needs: Capabilities::NONE,
            abandon: if bit(4) {
                Abandon::UpTo(amount(5))
            } else {
                Abandon::Never
            },
            hedge: if bit(7) {
                Hedge::Allowed {
                    extra_max: amount(8),
                }
            } else {
                Hedge::Never
            },
            attempt_max: bit(10).then_some(Millis(random % 997)),
        };
        let few = 1 + usize::from(number >> 11) % self.candidates.len();
        let call = self
            .router
            .begin(spec.clone(), &self.candidates[..few], self.now, random);
        self.begun.push(self.now);
        self.calls.push(Watched {
            call,
            spec,
            running: BTreeMap::new(),
            sent_to: BTreeMap::new(),
            in_doubt: BTreeSet::new(),
            attempts: 0,
            hedges: 0,
            over: None,
        });
    }

    fn poll(&mut self, index: usize) -> Result<(), TestCaseError> {
        let now = self.now;
        let watched = &mut self.calls[index];
        let unreported: BTreeSet<_> = watched.running.keys().copied().collect();
        watched.expire(now);
        let action = watched.call.poll(&mut self.router, now);
        if let Some(over) = &watched.over {
            prop_assert_eq!(over, &action);
            return Ok(());
        }
        if watched.attempts > 0 && matches!(action, Action::Try(_) | Action::Repeat(_)) {
            self.retried.push(now);
        }
        match &action {
            Action::Try(attempt) => watched.check_try(attempt, now)?,
            Action::Repeat(attempt) => watched.check_repeat(attempt, now)?,
            Action::Hedge(attempt) => {
                self.hedged += 1;
                watched.check_hedge(attempt, now)?;
            }
            Action::Wait { until } => {
                prop_assert!(now < *until && *until <= watched.spec.deadline);
            }
            Action::Done(report) => {
                let stopped: BTreeSet<_> = report.stop.iter().copied().collect();
                prop_assert!(watched.running.keys().all(|id| stopped.contains(id)));
                prop_assert!(stopped.is_subset(&unreported));
                watched.check_report(report)?;
                watched.over = Some(action.clone());
            }
            Action::Refuse(_) => {
                prop_assert_eq!(watched.attempts, 0);
                watched.over = Some(action.clone());
            }
        }
        let limit = self.config.providers_per_call_max.max(1);
        let limit = limit.saturating_add(self.config.repeats_per_call_max);
        prop_assert!(watched.attempts <= limit);
        self.check_probes(&action)
    }

    fn check_probes(&mut self, action: &Action) -> Result<(), TestCaseError> {
        let (now, calls) = (self.now, &self.calls);
        let in_flight = |id: &AttemptId| calls.iter().any(|call| call.running.contains_key(id));
        self.probes
            .retain(|id, probe| in_flight(id) && now < probe.timeout_at);
        if let Action::Try(attempt) | Action::Hedge(attempt) = action
            && attempt.why == Why::Probe
        {
            let twice = self.probes.values().any(|p| p.provider == attempt.provider);
            prop_assert!(!twice, "two probes in flight at {}", attempt.provider);
            self.probes.insert(attempt.id, attempt.clone());
        }
        Ok(())
    }

    fn end(&mut self, index: usize, random: u64) -> Result<(), TestCaseError> {
        let watched = &mut self.calls[index];
        let Some((&id, attempt)) = watched.running.iter().next() else {
            let known = watched.call.on_result(
                &mut self.router,
                AttemptId(random),
                Outcome::Answered,
                self.now,
            );
            prop_assert!(!known, "took a result that is not its own");
            return Ok(());
        };
        let retry_after = (random & 64 == 0).then_some(Millis(random >> 7));
        let outcome = match random % 7 {
            0 => Outcome::Answered,
            1 => Outcome::CallerFault,
            2 => Outcome::NotStarted(NotStarted::Unreachable),
            3 => Outcome::NotStarted(NotStarted::Refused { retry_after }),
            4 => Outcome::ServiceFault {
                executed: random & 64 == 0,
            },
            _ => Outcome::Unknown,
        };
        match outcome {
            Outcome::Answered => {
                watched.in_doubt.remove(&attempt.provider);
            }
            Outcome::Unknown => {
                watched.in_doubt.insert(attempt.provider.clone());
            }
            Outcome::CallerFault | Outcome::NotStarted(_) | Outcome::ServiceFault { .. } => {}
        }
        watched.running.remove(&id);
        prop_assert!(
            watched
                .call
                .on_result(&mut self.router, id, outcome, self.now)
        );
        if matches!(outcome, Outcome::Answered | Outcome::CallerFault) {
            self.poll(index)?;
        }
        Ok(())
    }

    fn cancel(&mut self, index: usize) -> Result<(), TestCaseError> {
        self.calls[index].call.cancel(&mut self.router, self.now);
        self.poll(index)
    }

    /// Every call ends at its deadline; and over all spans the budgets were kept.
    fn finish(mut self) -> Result<(), TestCaseError> {
        self.now = Millis::MAX;
        for index in 0..self.calls.len() {
            self.poll(index)?;
            prop_assert!(self.calls[index].over.is_some(), "outlives its deadline");
        }
        let config = &self.config;
        let mille = |tokens: u64, count: usize| u128::from(tokens) * count as u128;
        for (n, from) in self.retried.iter().enumerate() {
            for (count, to) in self.retried[n..].iter().enumerate() {
                let calls = self
                    .begun
                    .iter()
                    .filter(|at| *at >= from && *at <= to)
                    .count();
                let earned = mille(config.retries_saved_max, 1_000)
                    + mille(config.retry_permille, calls)
                    + u128::from(config.retries_per_second) * u128::from(to.since(*from).0);
                prop_assert!(mille(1_000, count + 1) <= earned);
            }
        }
        let earned = mille(config.hedge_permille, self.begun.len());
        prop_assert!(mille(1_000, self.hedged) <= earned);
        Ok(())
    }
}

impl Watched {
    /// The call takes attempts past their time-out for unknown.
    fn expire(&mut self, now: Millis) {
        let in_doubt = &mut self.in_doubt;
        self.running.retain(|_, attempt| {
            let late = attempt.timeout_at <= now;
            if late {
                in_doubt.insert(attempt.provider.clone());
            }
            !late
        });
    }

    fn sent(&mut self, attempt: &Attempt, now: Millis) -> Result<(), TestCaseError> {
        prop_assert!(now < attempt.timeout_at && attempt.timeout_at <= self.spec.deadline);
        prop_assert!(attempt.price <= self.spec.price_max.unwrap_or(Amount::MAX));
        self.attempts += 1;
        self.sent_to.insert(attempt.provider.clone(), attempt.price);
        prop_assert!(self.running.insert(attempt.id, attempt.clone()).is_none());
        Ok(())
    }

    fn check_try(&mut self, attempt: &Attempt, now: Millis) -> Result<(), TestCaseError> {
        prop_assert!(self.running.is_empty(), "two in flight without a hedge");
        prop_assert!(!self.sent_to.contains_key(&attempt.provider), "paid twice");
        if !self.in_doubt.is_empty() {
            prop_assert!(self.spec.idempotent, "may execute twice");
            let left = self.in_doubt.iter().map(|p| self.sent_to[p].get());
            let left = left.fold(0_u128, u128::saturating_add);
            prop_assert!(
                left <= self.spec.abandon.limit().get(),
                "left too much behind"
            );
        }
        self.sent(attempt, now)
    }

    fn check_repeat(&mut self, attempt: &Attempt, now: Millis) -> Result<(), TestCaseError> {
        prop_assert!(self.running.is_empty(), "two in flight without a hedge");
        prop_assert_eq!(attempt.why, Why::Again);
        prop_assert_eq!(self.sent_to.get(&attempt.provider), Some(&attempt.price));
        if !self.spec.idempotent && !self.in_doubt.is_empty() {
            prop_assert!(
                self.in_doubt.contains(&attempt.provider),
                "may execute twice"
            );
        }
        self.sent(attempt, now)
    }

    fn check_hedge(&mut self, attempt: &Attempt, now: Millis) -> Result<(), TestCaseError> {
        self.hedges += 1;
        prop_assert_eq!((self.hedges, self.running.len()), (1, 1));
        prop_assert!(self.spec.idempotent && self.in_doubt.is_empty());
        prop_assert!(!self.sent_to.contains_key(&attempt.provider));
        prop_assert_eq!(attempt.why, Why::Chosen);
        let Hedge::Allowed { extra_max } = self.spec.hedge else {
            return Err(TestCaseError::fail("a hedge that nobody allowed"));
        };
        prop_assert!(attempt.price <= extra_max);
        self.sent(attempt, now)
    }

    /// What is reported as exposed is what is in doubt, whoever's.
    fn check_report(&mut self, report: &Report) -> Result<(), TestCaseError> {
        let stopped = std::mem::take(&mut self.running);
        let stopped = stopped.into_values().map(|attempt| attempt.provider);
        self.in_doubt.extend(stopped);
        let paid = |provider: &&ProviderId| !self.sent_to[*provider].is_zero();
        let expected: BTreeSet<_> = self.in_doubt.iter().filter(paid).collect();
        let exposed: BTreeSet<_> = report.exposure.iter().map(|e| &e.provider).collect();
        prop_assert_eq!(exposed, expected);
        prop_assert_eq!(report.attempts, self.attempts);
        if let Outcome::NotStarted(_) = report.outcome {
            prop_assert!(
                self.in_doubt.is_empty(),
                "hides that it may have been executed"
            );
        }
        Ok(())
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(any::<Step>(), 1..400)
}

fn any_config() -> impl Strategy<Value = Config> {
    let times = (any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>());
    let counts = (0_u32..6, 0_u32..70, any::<u32>(), 0_u32..4);
    let budgets = (0_u64..5, 0_u64..2_000, 0_u64..50, 0_u64..2_000);
    let memory = (0_usize..5, 0_usize..3, 0_usize..9, 0_u64..40_000);
    let all = (times, counts, budgets, memory, any::<[u32; 5]>());
    all.prop_map(|(times, counts, budgets, memory, weights)| Config {
        weights: Weights {
            price_permille: weights[0],
            reputation_permille: weights[1],
            no_channel_permille: weights[2],
            relayed_permille: weights[3],
        },
        breaker: BreakerConfig {
            failures_max: counts.0,
            window: counts.1,
            success_min_permille: counts.2,
            backoff_min: Millis(times.0),
            backoff_max: Millis(memory.3),
            calm_after: counts.3,
            ejected_max_permille: weights[4],
        },
        latency_prior: Millis(times.1),
        latency_half_life: Millis(memory.3),
        failure_latency: Millis(times.2),
        rest_max: Millis(times.3),
        retries_saved_max: budgets.0,
        retry_permille: budgets.1,
        retries_per_second: budgets.2,
        hedge_permille: budgets.3,
        providers_per_call_max: counts.0,
        repeats_per_call_max: counts.1,
        repeats_before_leaving: counts.3,
        repeat_pause_min: Millis(times.0),
        repeat_pause_max: Millis(memory.3),
        attempt_min: Millis(memory.3 / 100),
        providers_max: memory.0,
        services_max: memory.1,
        candidates_per_call_max: memory.2,
        ..Config::default()
    })
}

proptest! {
    #[test]
    fn promises_hold_with_the_defaults(steps in steps()) {
        let mut world = World::new(Config::default());
        for step in steps {
            world.step(step)?;
        }
        world.finish()?;
    }

    #[test]
    fn promises_hold_with_small_budgets(steps in steps()) {
        let mut world = World::new(Config {
            retries_saved_max: 2,
            hedge_permille: 300,
            ..Config::default()
        });
        for step in steps {
            world.step(step)?;
        }
        world.finish()?;
    }

    #[test]
    fn promises_hold_with_any_configuration(config in any_config(), steps in steps()) {
        // Forgotten budgets begin anew, and so do forgotten probes: then only the rest is promised.
        let remembers = config.providers_max > 7 && config.services_max > 0;
        let config = if remembers { config } else { Config { providers_max: 8, services_max: 1, ..config } };
        let mut world = World::new(config);
        for step in steps {
            world.step(step)?;
        }
        world.finish()?;
    }

    #[test]
    fn nothing_panics_when_memory_is_tiny(config in any_config(), steps in steps()) {
        let mut router = Router::new(config);
        let candidates = [candidate("a", 1), candidate("b", 2), candidate("c", 3)];
        for (kind, number, random) in steps {
            let now = Millis(random);
            let service = (number % 5).to_string().parse().unwrap();
            let spec = CallSpec { idempotent: kind % 2 == 0, ..CallSpec::new(service, now.plus(Millis(500))) };
            let mut call = router.begin(spec, &candidates, now, random);
            for _ in 0..3 {
                if let Action::Try(attempt) | Action::Repeat(attempt) = call.poll(&mut router, now) {
                    let outcome = Outcome::NotStarted(NotStarted::Unreachable);
                    prop_assert!(call.on_result(&mut router, attempt.id, outcome, now));
                }
            }
            call.cancel(&mut router, now);
            let (providers, services) = router.remembered();
            prop_assert!(providers <= 5 && services <= 3);
        }
    }
}
