//! Ten thousand seeds, and proof that they find what they should.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicU64, Ordering};

use rialto_sim::{Failure, Options, Rule, Summary, run};

const SEEDS: u64 = 10_000;

/// Runs the seeds on two threads; each run is deterministic, so their order does not matter.
fn run_all(seeds: u64, options: &Options) -> Result<Summary, Failure> {
    let next = AtomicU64::new(0);
    let worker = || {
        let mut sum = Summary::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                return Ok(sum);
            }
            match run(seed, options) {
                Ok(summary) => sum = sum.plus(&summary),
                Err(failure) => {
                    next.store(seeds, Ordering::Relaxed);
                    return Err(failure);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(worker);
        let mine = worker();
        let theirs = other.join().unwrap();
        Ok(mine?.plus(&theirs?))
    })
}

#[test]
fn ten_thousand_seeds_keep_every_rule() {
    let summary = run_all(SEEDS, &Options::default()).unwrap_or_else(|failure| panic!("{failure}"));
    // Runs in which nothing happens would keep every rule, too.
    for (what, seen, least) in [
        ("served", summary.served, 10 * SEEDS),
        ("refusals", summary.refusals, SEEDS),
        ("replays", summary.replays, SEEDS / 2),
        ("crashes", summary.crashes, SEEDS),
        ("reorganisations", summary.reorganisations, SEEDS),
        ("claims", summary.claims, SEEDS),
        ("refunds", summary.refunds, SEEDS / 4),
        ("withdrawals", summary.withdrawals, SEEDS),
        ("cheats", summary.cheats, SEEDS),
        ("suspicions", summary.suspicions, SEEDS / 20),
        ("conflicts", summary.conflicts, SEEDS / 500),
        ("chains", summary.chains, SEEDS / 50),
    ] {
        assert!(
            seen >= least,
            "{what}: {seen} in {SEEDS} runs, {summary:#?}"
        );
    }
}

#[test]
fn every_known_bug_is_found() {
    for rule in Rule::ALL {
        let options = Options {
            broken: Some(rule),
            ..Options::default()
        };
        let failure = run_all(SEEDS, &options).map(|_| ()).unwrap_err();
        let text = failure.to_string();
        let seed = failure.seed;
        assert!(
            text.ends_with(&format!("--seed {seed} --break {rule} --trace")),
            "{text}"
        );
        assert_eq!(
            run(seed, &options).unwrap_err(),
            failure,
            "it can be replayed"
        );
    }
}

#[test]
fn a_seed_gives_the_same_run_every_time() {
    for seed in 0..50 {
        assert_eq!(
            run(seed, &Options::default()).unwrap(),
            run(seed, &Options::default()).unwrap()
        );
    }
}
