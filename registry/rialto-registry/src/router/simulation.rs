//! A seeded mesh in memory: providers with latencies, faults and deaths, under a steady load of calls.
//!
//! Asserts that traffic goes where it should, that no call is lost that could be answered, and that none
//! is executed or paid twice. Not here: networks and real time; a minute takes a fraction of a second.

use std::collections::{BTreeMap, BTreeSet};

use super::{scene::*, units::Chance, *};

struct Provider {
    latency_ms: u64,
    always_fails: bool,
    /// Gone from the first moment until the second.
    down: (Millis, Millis),
    /// Calls it has executed and may charge, each under its one payment.
    executed: BTreeSet<usize>,
    asked: usize,
}

enum Event {
    Arrive,
    Poll(usize),
    End(usize, AttemptId, Outcome),
}

struct Mesh {
    router: Router,
    chance: Chance,
    now: Millis,
    candidates: Vec<Candidate>,
    providers: BTreeMap<ProviderId, Provider>,
    spec: CallSpec,
    calls: Vec<(Call, Millis)>,
    events: BTreeMap<(Millis, u64), Event>,
    scheduled: u64,
    reports: BTreeMap<usize, (Report, Millis)>,
    executions: BTreeMap<usize, u32>,
}

const NEVER: (Millis, Millis) = (Millis::MAX, Millis::MAX);

impl Mesh {
    /// Ten providers of 30 to 50 ms and price 10, `p0` to `p9`.
    fn new(seed: u64, spec: CallSpec) -> Self {
        let candidates: Vec<_> = (0..10).map(|n| candidate(&format!("p{n}"), 10)).collect();
        let provider = || Provider {
            latency_ms: 30,
            always_fails: false,
            down: NEVER,
            executed: BTreeSet::new(),
            asked: 0,
        };
        Self {
            router: Router::new(Config::default()),
            chance: Chance::new(seed),
            now: Millis(0),
            providers: candidates
                .iter()
                .map(|c| (c.provider.clone(), provider()))
                .collect(),
            candidates,
            spec,
            calls: Vec::new(),
            events: BTreeMap::new(),
            scheduled: 0,
            reports: BTreeMap::new(),
            executions: BTreeMap::new(),
        }
    }

    fn provider(&mut self, name: &str) -> &mut Provider {
        self.providers.get_mut(&provider(name)).unwrap()
    }

    fn schedule(&mut self, at: Millis, event: Event) {
        self.scheduled += 1;
        self.events.insert((at, self.scheduled), event);
    }

    /// So many calls, one every `every_ms`.
    fn run(&mut self, calls: u64, every_ms: u64) {
        for n in 0..calls {
            self.schedule(Millis(n * every_ms), Event::Arrive);
        }
        while let Some(((at, _), event)) = self.events.pop_first() {
            self.now = at;
            match event {
                Event::Arrive => {
                    let deadline = at.plus(Millis(30_000));
                    let spec = CallSpec {
                        deadline,
                        ..self.spec.clone()
                    };
                    let random = self.chance.next();
                    let call = self.router.begin(spec, &self.candidates, at, random);
                    self.calls.push((call, at));
                    self.drive(self.calls.len() - 1);
                }
                Event::Poll(call) => self.drive(call),
                Event::End(call, attempt, outcome) => {
                    self.calls[call]
                        .0
                        .on_result(&mut self.router, attempt, outcome, at);
                    self.drive(call);
                }
            }
        }
        assert_eq!(self.reports.len(), self.calls.len(), "every call ends");
    }

    fn drive(&mut self, index: usize) {
        loop {
            match self.calls[index].0.poll(&mut self.router, self.now) {
                Action::Try(a) | Action::Repeat(a) | Action::Hedge(a) => self.send(index, &a),
                Action::Wait { until } => return self.schedule(until, Event::Poll(index)),
                Action::Done(report) => {
                    let took = self.now.since(self.calls[index].1);
                    self.reports.entry(index).or_insert((report, took));
                    return;
                }
                Action::Refuse(refusal) => panic!("{refusal}"),
            }
        }
    }

    fn send(&mut self, call: usize, attempt: &Attempt) {
        let (now, coin) = (self.now, self.chance.below(2) == 0);
        let jitter = self.chance.part_of(Millis(20));
        let provider = self.providers.get_mut(&attempt.provider).unwrap();
        provider.asked += 1;
        let (from, until) = provider.down;
        let finished = now.plus(Millis(provider.latency_ms)).plus(jitter);
        let (at, outcome, executes) = if now >= from && now < until {
            (now.plus(Millis(1)), UNREACHABLE, false)
        } else if provider.executed.contains(&call) {
            (now.plus(Millis(2)), Outcome::Answered, false)
        } else if provider.always_fails {
            (
                now.plus(Millis(3)),
                Outcome::ServiceFault { executed: true },
                false,
            )
        } else if now < from && finished >= from {
            // Cut off in the middle: it may or may not have got to the end of the work.
            (from, Outcome::Unknown, coin)
        } else {
            (finished, Outcome::Answered, true)
        };
        if executes {
            provider.executed.insert(call);
            *self.executions.entry(call).or_default() += 1;
        }
        self.schedule(at, Event::End(call, attempt.id, outcome));
    }

    fn answered(&self) -> usize {
        let answered = |(report, _): &&(Report, Millis)| report.outcome == Outcome::Answered;
        self.reports.values().filter(answered).count()
    }

    fn attempts(&self) -> usize {
        self.providers.values().map(|provider| provider.asked).sum()
    }

    /// How long all but so many calls took at most.
    fn slowest_but(&self, count: usize) -> Millis {
        let mut took: Vec<_> = self.reports.values().map(|(_, took)| *took).collect();
        took.sort_unstable();
        took[took.len() - 1 - count]
    }
}

#[test]
fn traffic_goes_where_it_should() {
    for seed in 0..4 {
        let mut mesh = Mesh::new(seed, idempotent());
        mesh.provider("p0").latency_ms = 600;
        mesh.provider("p1").always_fails = true;
        mesh.candidates[2] = candidate("p2", 100_000);
        mesh.run(6_000, 5);
        assert_eq!(mesh.answered(), 6_000);
        // Drawn against one another, one of the three must win: a 45th of all draws for each pair.
        let share = |name: &str| mesh.providers[&provider(name)].asked * 1_000 / 6_000;
        assert!(share("p0") < 40, "slow: {}", share("p0"));
        assert!(share("p1") < 40, "failing: {}", share("p1"));
        assert!(share("p2") < 40, "dear: {}", share("p2"));
        for name in ["p3", "p4", "p5", "p6", "p7", "p8", "p9"] {
            assert!((100..190).contains(&share(name)), "{name}: {}", share(name));
        }
        assert!(mesh.attempts() < 6_120, "{} attempts", mesh.attempts());
    }
}

#[test]
fn a_provider_killed_under_load_loses_no_call_that_may_go_elsewhere() {
    for seed in 0..4 {
        let mut mesh = Mesh::new(seed, leaving(10));
        mesh.provider("p4").down = (Millis(8_000), Millis::MAX);
        mesh.run(10_000, 2);
        assert_eq!(mesh.answered(), 10_000);
        // Two payments at most for any call, and those left behind all at the dead.
        let mut left = 0;
        for (report, _) in mesh.reports.values() {
            for exposure in &report.exposure {
                assert_eq!(exposure.provider, provider("p4"));
                left += 1;
            }
        }
        // As many as were in flight there: 500 calls a second, a tenth of them, for 40 ms.
        assert!(left <= 8, "{left}");
        assert!(mesh.executions.values().all(|n| *n <= 2));
        let slowest = mesh.slowest_but(0);
        assert!(slowest < Millis(250), "recovered after {slowest}");
    }
}

#[test]
fn a_partition_in_mid_call_executes_nothing_twice_and_loses_nothing() {
    for seed in 0..4 {
        let mut mesh = Mesh::new(seed, plain());
        mesh.provider("p4").down = (Millis(8_000), Millis(11_000));
        mesh.provider("p5").down = (Millis(8_000), Millis(9_000));
        mesh.run(9_000, 3);
        assert_eq!(mesh.answered(), 9_000);
        for call in 0..9_000 {
            assert_eq!(mesh.executions[&call], 1, "call {call}");
            assert_eq!(mesh.reports[&call].0.exposure, []);
        }
        // Both came back into use.
        let late = |name: &str| {
            mesh.providers[&provider(name)]
                .executed
                .range(8_000..)
                .count()
        };
        assert!(
            late("p4") > 20 && late("p5") > 20,
            "{} {}",
            late("p4"),
            late("p5")
        );
    }
}

#[test]
fn most_of_a_service_may_die_and_calls_are_answered() {
    for seed in 0..4 {
        let mut mesh = Mesh::new(seed, leaving(10));
        for (n, name) in ["p1", "p2", "p3", "p4", "p5", "p6", "p7", "p8", "p9"]
            .iter()
            .enumerate()
        {
            mesh.provider(name).down = (Millis(3_000 + 2_000 * n as u64), Millis::MAX);
        }
        mesh.run(5_000, 5);
        assert_eq!(mesh.answered(), 5_000);
    }
}

#[test]
fn an_outage_is_not_made_worse_by_retries() {
    let mut mesh = Mesh::new(1, idempotent());
    for provider in mesh.providers.values_mut() {
        provider.always_fails = true;
    }
    mesh.run(20_000, 1);
    assert_eq!(mesh.answered(), 0);
    // A hundred saved, a fifth of the calls, and ten a second for twenty seconds.
    assert!(
        mesh.attempts() <= 20_000 + 100 + 4_000 + 201,
        "{}",
        mesh.attempts()
    );
}

#[test]
fn the_same_seed_plays_the_same_day() {
    let play = |seed| {
        let mut mesh = Mesh::new(seed, leaving(10));
        mesh.provider("p4").down = (Millis(1_000), Millis(2_000));
        mesh.run(1_000, 3);
        mesh.reports
    };
    assert_eq!(play(7), play(7));
    assert_ne!(play(7), play(8));
}
