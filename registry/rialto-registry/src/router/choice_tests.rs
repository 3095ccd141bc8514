//! Whom calls go to: cost, ejection, probes, panic and newcomers, seen from outside.
//!
//! Not here: what follows a failure (`call_tests`).

use std::collections::BTreeMap;

use super::{scene::*, *};

/// How many of so many calls, each answered after 10 ms, go to whom.
fn shares(scene: &mut Scene, calls: usize) -> BTreeMap<String, usize> {
    let mut shares = BTreeMap::new();
    for _ in 0..calls {
        let provider = scene.call(plain(), 10, Outcome::Answered);
        *shares.entry(provider.to_string()).or_default() += 1;
    }
    shares
}

#[test]
fn equals_share_evenly_and_the_same_chance_chooses_the_same() {
    let run = || shares(&mut Scene::of("abcde"), 1_000);
    let first = run();
    assert!(first.values().all(|n| (150..250).contains(n)), "{first:?}");
    assert_eq!(first, run());
}

#[test]
fn whoever_costs_less_wins() {
    let check = |change: &dyn Fn(&mut Candidate)| {
        let mut scene = Scene::of("ab");
        shares(&mut scene, 20);
        change(&mut scene.candidates[0]);
        let found = shares(&mut scene, 20);
        assert_eq!(found.get("b"), Some(&20), "{:?}", scene.candidates[0]);
    };
    check(&|c| c.price = rialto_channels::Amount::new(1_000));
    check(&|c| c.reputation = Permille::clamped(100));
    check(&|c| c.load_permille = 1_000);
    check(&|c| c.channel_open = false);
    check(&|c| c.reach = Reach::Relayed);
    check(&|c| c.expires = Millis(0));
}

#[test]
fn the_crowded_lose_to_the_slower() {
    let mut scene = Scene::of("ab");
    shares(&mut scene, 40);
    let deadline = scene.now.plus(Millis(10_000));
    let mut counts = BTreeMap::<ProviderId, u32>::new();
    for _ in 0..20 {
        let mut call = scene.begin(CallSpec {
            deadline,
            ..plain()
        });
        *counts.entry(scene.tried(&mut call).provider).or_default() += 1;
    }
    assert!(counts.values().all(|n| *n == 10), "{counts:?}");
}

#[test]
fn the_failing_are_left_alone_and_probed_by_one() {
    let mut scene = Scene::of("abcd");
    scene.eject("a");
    assert!(!shares(&mut scene, 50).contains_key("a"));
    scene.now = scene.probe_at("a").unwrap();

    let deadline = scene.now.plus(Millis(10_000));
    // A call that could not go elsewhere after a doubt lets others probe.
    let mut cautious = scene.begin(CallSpec {
        deadline,
        ..plain()
    });
    assert_eq!(scene.tried(&mut cautious).why, Why::Chosen);
    let mut call = scene.begin(CallSpec {
        deadline,
        ..idempotent()
    });
    let probe = scene.tried(&mut call);
    assert_eq!((probe.why, probe.provider.as_str()), (Why::Probe, "a"));
    for _ in 0..20 {
        let mut other = scene.begin(CallSpec {
            deadline,
            ..idempotent()
        });
        let other = scene.tried(&mut other);
        assert_eq!(other.why, Why::Chosen);
        assert_ne!(other.provider, probe.provider);
    }
    scene.result(&mut call, &probe, Outcome::Answered);
    assert_eq!(scene.probe_at("a"), None);
}

#[test]
fn a_failed_probe_goes_on_elsewhere() {
    let mut scene = Scene::of("abcd");
    scene.eject("a");
    scene.now = scene.probe_at("a").unwrap();
    let deadline = scene.now.plus(Millis(10_000));
    let mut call = scene.begin(CallSpec {
        deadline,
        ..idempotent()
    });
    let probe = scene.tried(&mut call);
    scene.result(&mut call, &probe, UNREACHABLE);
    let wait = scene.probe_at("a").unwrap().since(scene.now);
    assert!(wait >= Millis(2_000), "the backoff grows: {wait}");
    let other = scene.tried(&mut call);
    assert_eq!(other.why, Why::Chosen);
    scene.result(&mut call, &other, Outcome::Answered);
    assert_eq!(scene.done(&mut call).outcome, Outcome::Answered);
}

#[test]
fn even_those_that_fail_are_asked_when_all_do() {
    // One of one.
    let mut scene = Scene::of("a");
    scene.eject("a");
    let mut call = scene.begin(plain());
    assert_eq!(scene.tried(&mut call).why, Why::Panic);

    // Half of four are left alone, whoever comes back last.
    let mut scene = Scene::of("abcd");
    for name in ["a", "b", "c", "d"] {
        // Further apart than the jitter of their probes.
        scene.pass(300);
        scene.eject(name);
    }
    let mut asked = BTreeMap::<String, u32>::new();
    for _ in 0..50 {
        let mut call = scene.begin(plain());
        let attempt = scene.tried(&mut call);
        assert_eq!(attempt.why, Why::Panic);
        *asked.entry(attempt.provider.to_string()).or_default() += 1;
    }
    assert_eq!(asked.keys().collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn never_all_are_left_alone_whatever_the_configuration() {
    let mut config = Config::default();
    config.breaker.ejected_max_permille = 5_000;
    let mut scene = Scene::with("abc", config);
    for name in ["a", "b", "c"] {
        scene.eject(name);
        scene.pass(300);
    }
    let mut call = scene.begin(plain());
    let attempt = scene.tried(&mut call);
    assert_eq!((attempt.why, attempt.provider.as_str()), (Why::Panic, "a"));
}

#[test]
fn one_healthy_among_many_dead_takes_all() {
    let mut scene = Scene::of("abcdefghij");
    for name in ["a", "b", "c", "d", "e", "f", "g", "h", "i"] {
        scene.eject(name);
    }
    let found = shares(&mut scene, 50);
    assert_eq!(found.get("j"), Some(&50), "{found:?}");
}

#[test]
fn the_resting_and_the_failing_together_leave_somebody() {
    let mut scene = Scene::of("abcd");
    scene.eject("a");
    scene.pass(300);
    scene.eject("b");
    let all = scene.candidates.clone();
    for name in ["c", "d"] {
        scene.candidates = vec![candidate(name, 10)];
        scene.call(plain(), 0, REFUSED);
    }
    scene.candidates = all;
    let mut call = scene.begin(plain());
    let attempt = scene.tried(&mut call);
    assert_eq!((attempt.why, attempt.provider.as_str()), (Why::Panic, "a"));
}

#[test]
fn newcomers_are_tried_but_not_flooded() {
    let mut scene = Scene::of("ab");
    shares(&mut scene, 40);
    scene.candidates.push(candidate("n", 10));
    let deadline = scene.now.plus(Millis(10_000));
    let mut newcomers = 0;
    for _ in 0..60 {
        let mut call = scene.begin(CallSpec {
            deadline,
            ..plain()
        });
        newcomers += usize::from(scene.tried(&mut call).provider.as_str() == "n");
    }
    assert_eq!(newcomers, 2);

    // Once it has answered, it takes its share.
    let mut scene = Scene::of("ab");
    shares(&mut scene, 40);
    scene.candidates.push(candidate("n", 10));
    let found = shares(&mut scene, 300);
    assert!((60..140).contains(found.get("n").unwrap()), "{found:?}");
}

#[test]
fn memory_is_bounded() {
    let config = Config {
        providers_max: 50,
        services_max: 10,
        ..Config::default()
    };
    let mut scene = Scene::with("", config);
    for n in 0..500 {
        scene.candidates = vec![candidate(&n.to_string(), 10)];
        let spec = CallSpec {
            service: n.to_string().parse().unwrap(),
            ..plain()
        };
        scene.call(spec, 0, Outcome::Answered);
        let (providers, services) = scene.router.remembered();
        assert!(providers <= 50 && services <= 10);
    }
    // Just seen is not asked: only attempts are remembered.
    scene.candidates = (0..5_000)
        .map(|n| candidate(&format!("x{n}"), 10))
        .collect();
    let before = scene.router.remembered();
    scene.begin(plain());
    assert_eq!(scene.router.remembered().0, before.0);
}
