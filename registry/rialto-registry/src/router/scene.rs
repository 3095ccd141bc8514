//! For the router's tests: candidates, calls and a router with a clock.
//!
//! Not here: anything that the tests assert.

use rialto_channels::Amount;

use super::{
    Abandon, Action, Attempt, Call, CallSpec, Candidate, Capabilities, Config, Hedge, Millis,
    NotStarted, Outcome, Permille, ProviderId, Reach, Report, Router,
};

pub(super) const REFUSED: Outcome = Outcome::NotStarted(NotStarted::Refused { retry_after: None });
pub(super) const UNREACHABLE: Outcome = Outcome::NotStarted(NotStarted::Unreachable);

pub(super) struct Scene {
    pub(super) router: Router,
    pub(super) now: Millis,
    pub(super) random: u64,
    pub(super) candidates: Vec<Candidate>,
}

pub(super) fn provider(name: &str) -> ProviderId {
    name.parse().unwrap()
}

pub(super) fn candidate(name: &str, price: u128) -> Candidate {
    Candidate {
        provider: provider(name),
        price: Amount::new(price),
        load_permille: 0,
        region: None,
        capabilities: Capabilities::NONE,
        reputation: Permille::FULL,
        channel_open: true,
        reach: Reach::Direct,
        expires: Millis::MAX,
    }
}

/// A call with ten seconds left at the clock's beginning.
pub(super) fn plain() -> CallSpec {
    CallSpec::new("echo".parse().unwrap(), Millis(10_000))
}

pub(super) fn idempotent() -> CallSpec {
    CallSpec {
        idempotent: true,
        ..plain()
    }
}

/// An idempotent call that may leave so much behind.
pub(super) fn leaving(base_units: u128) -> CallSpec {
    CallSpec {
        abandon: Abandon::UpTo(Amount::new(base_units)),
        ..idempotent()
    }
}

pub(super) fn hedged(extra_max: u128) -> CallSpec {
    CallSpec {
        hedge: Hedge::Allowed {
            extra_max: Amount::new(extra_max),
        },
        ..idempotent()
    }
}

impl Scene {
    /// Providers `a`, `b`, `c`.. of price 10.
    pub(super) fn of(names: &str) -> Self {
        Self::with(names, Config::default())
    }

    pub(super) fn with(names: &str, config: Config) -> Self {
        Self {
            router: Router::new(config),
            now: Millis(0),
            random: 0,
            candidates: names
                .chars()
                .map(|c| candidate(&c.to_string(), 10))
                .collect(),
        }
    }

    pub(super) fn begin(&mut self, spec: CallSpec) -> Call {
        self.random += 1;
        self.router
            .begin(spec, &self.candidates, self.now, self.random)
    }

    pub(super) fn poll(&mut self, call: &mut Call) -> Action {
        call.poll(&mut self.router, self.now)
    }

    pub(super) fn result(&mut self, call: &mut Call, attempt: &Attempt, outcome: Outcome) {
        assert!(call.on_result(&mut self.router, attempt.id, outcome, self.now));
    }

    pub(super) fn pass(&mut self, ms: u64) {
        self.now = self.now.plus(Millis(ms));
    }

    /// Polls for a first attempt at a provider.
    pub(super) fn tried(&mut self, call: &mut Call) -> Attempt {
        let action = self.poll(call);
        let Action::Try(attempt) = &action else {
            panic!("expected a try, not {action:?}");
        };
        attempt.clone()
    }

    /// Waits as told, then polls for a repeat.
    pub(super) fn repeated(&mut self, call: &mut Call) -> Attempt {
        self.wait(call);
        let action = self.poll(call);
        let Action::Repeat(attempt) = &action else {
            panic!("expected a repeat, not {action:?}");
        };
        attempt.clone()
    }

    /// Lets the time pass that the call wants to wait.
    pub(super) fn wait(&mut self, call: &mut Call) {
        let action = self.poll(call);
        let Action::Wait { until } = action else {
            panic!("expected a wait, not {action:?}");
        };
        assert!(until > self.now, "a wait must be in the future");
        self.now = until;
    }

    pub(super) fn done(&mut self, call: &mut Call) -> Report {
        let action = self.poll(call);
        let Action::Done(report) = &action else {
            panic!("expected the end, not {action:?}");
        };
        report.clone()
    }

    /// A whole call that is answered, or whatever else, after `ms`.
    pub(super) fn call(&mut self, spec: CallSpec, ms: u64, outcome: Outcome) -> ProviderId {
        let deadline = self.now.plus(Millis(10_000));
        let mut call = self.begin(CallSpec { deadline, ..spec });
        let attempt = self.tried(&mut call);
        self.pass(ms);
        self.result(&mut call, &attempt, outcome);
        call.cancel(&mut self.router, self.now);
        attempt.provider
    }

    /// Calls that end so until the provider named is left alone.
    pub(super) fn eject(&mut self, name: &str) {
        let all = std::mem::replace(&mut self.candidates, vec![candidate(name, 10)]);
        for _ in 0..5 {
            self.call(plain(), 0, UNREACHABLE);
        }
        self.candidates = all;
        assert!(self.probe_at(name).is_some());
    }

    pub(super) fn probe_at(&self, name: &str) -> Option<Millis> {
        let health = self.router.health(&provider(name), self.now);
        health.and_then(|health| health.probe_at)
    }
}
