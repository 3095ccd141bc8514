//! What a call does after each outcome, and what it must not do.
//!
//! Not here: which provider is chosen (`choice_tests`), and random schedules (`properties`).

use rialto_channels::Amount;

use super::{scene::*, *};

fn exposure(attempt: &Attempt) -> Exposure {
    Exposure {
        provider: attempt.provider.clone(),
        price: attempt.price,
    }
}

#[test]
fn an_answer_ends_the_call_for_ever() {
    let mut scene = Scene::of("ab");
    for outcome in [Outcome::Answered, Outcome::CallerFault] {
        let mut call = scene.begin(idempotent());
        let attempt = scene.tried(&mut call);
        assert_eq!(attempt.why, Why::Chosen);
        let wait = Action::Wait {
            until: attempt.timeout_at,
        };
        assert_eq!(scene.poll(&mut call), wait);
        scene.result(&mut call, &attempt, outcome);
        let report = scene.done(&mut call);
        let expected = Report {
            attempt: attempt.id,
            outcome,
            attempts: 1,
            stop: vec![],
            exposure: vec![],
        };
        assert_eq!(report, expected);
        scene.pass(20_000);
        assert_eq!(scene.done(&mut call), expected);
        assert!(!call.on_result(&mut scene.router, attempt.id, Outcome::Unknown, scene.now));
        assert_eq!(scene.done(&mut call), expected);
        scene.now = Millis(0);
    }
}

#[test]
fn what_did_not_start_goes_to_three_providers_at_most() {
    let mut scene = Scene::of("abcdef");
    for outcome in [
        REFUSED,
        UNREACHABLE,
        Outcome::ServiceFault { executed: false },
    ] {
        let mut call = scene.begin(plain());
        let mut asked = std::collections::BTreeSet::new();
        for _ in 0..3 {
            let attempt = scene.tried(&mut call);
            assert!(asked.insert(attempt.provider.clone()), "asked twice");
            scene.result(&mut call, &attempt, outcome);
        }
        let report = scene.done(&mut call);
        assert_eq!((report.outcome, report.attempts), (outcome, 3));
        assert_eq!(report.exposure, []);
        scene.pass(5_000);
        scene.router = Router::new(Config::default());
        scene.now = Millis(0);
    }
}

#[test]
fn a_fault_goes_elsewhere_only_if_that_is_harmless() {
    let mut scene = Scene::of("ab");
    let fault = Outcome::ServiceFault { executed: true };
    let mut call = scene.begin(plain());
    let attempt = scene.tried(&mut call);
    scene.result(&mut call, &attempt, fault);
    assert_eq!(scene.done(&mut call).outcome, fault);

    let mut call = scene.begin(idempotent());
    let first = scene.tried(&mut call);
    scene.result(&mut call, &first, fault);
    let second = scene.tried(&mut call);
    assert_ne!(first.provider, second.provider);
    scene.result(&mut call, &second, Outcome::Answered);
    // The fault was not charged, so nothing is exposed.
    assert_eq!(scene.done(&mut call).exposure, []);
}

#[test]
fn a_doubt_is_settled_where_it_arose() {
    let mut scene = Scene::of("abc");
    let mut call = scene.begin(plain());
    let first = scene.tried(&mut call);
    scene.result(&mut call, &first, Outcome::Unknown);
    for outcome in [UNREACHABLE, REFUSED, Outcome::Unknown, UNREACHABLE] {
        let again = scene.repeated(&mut call);
        assert_eq!((&again.provider, again.why), (&first.provider, Why::Again));
        scene.result(&mut call, &again, outcome);
    }
    let again = scene.repeated(&mut call);
    assert_eq!(again.provider, first.provider);
    scene.result(&mut call, &again, Outcome::Answered);
    let report = scene.done(&mut call);
    assert_eq!((report.outcome, report.attempts), (Outcome::Answered, 6));
    assert_eq!(report.exposure, []);
}

#[test]
fn a_doubt_that_is_never_settled_is_told() {
    let mut scene = Scene::of("ab");
    let mut call = scene.begin(plain());
    let first = scene.tried(&mut call);
    scene.result(&mut call, &first, Outcome::Unknown);
    let report = loop {
        match scene.poll(&mut call) {
            Action::Wait { until } => scene.now = until,
            Action::Repeat(again) => {
                assert_eq!(again.provider, first.provider);
                assert!(scene.now < Millis(10_000));
                scene.result(&mut call, &again, UNREACHABLE);
            }
            Action::Done(report) => break report,
            action @ (Action::Try(_) | Action::Hedge(_) | Action::Refuse(_)) => {
                panic!("{action:?}")
            }
        }
    };
    // The last attempt did not start, but the first may have been executed.
    assert_eq!(report.outcome, Outcome::Unknown);
    assert_eq!(report.exposure, [exposure(&first)]);
    assert!(report.attempts <= 11);
}

#[test]
fn a_payment_is_left_behind_only_with_leave() {
    // Asked again once; then elsewhere, as far as the allowance goes.
    let mut scene = Scene::of("abc");
    let mut call = scene.begin(leaving(15));
    let first = scene.tried(&mut call);
    scene.result(&mut call, &first, Outcome::Unknown);
    let again = scene.repeated(&mut call);
    scene.result(&mut call, &again, Outcome::Unknown);
    let second = scene.tried(&mut call);
    assert_ne!(second.provider, first.provider);
    scene.result(&mut call, &second, Outcome::Unknown);
    for _ in 0..3 {
        // A second payment of 10 would exceed the 15.
        let again = scene.repeated(&mut call);
        assert_eq!(again.provider, second.provider);
        scene.result(&mut call, &again, UNREACHABLE);
    }
    let again = scene.repeated(&mut call);
    scene.result(&mut call, &again, Outcome::Answered);
    assert_eq!(scene.done(&mut call).exposure, [exposure(&first)]);

    // Gone at the first repeat: no need to ask again.
    let mut scene = Scene::of("abc");
    let mut call = scene.begin(leaving(10));
    let first = scene.tried(&mut call);
    scene.result(&mut call, &first, Outcome::Unknown);
    let again = scene.repeated(&mut call);
    scene.result(&mut call, &again, UNREACHABLE);
    assert_ne!(scene.tried(&mut call).provider, first.provider);

    // Not allowed: never.
    let mut scene = Scene::of("abc");
    let mut call = scene.begin(leaving(9));
    let first = scene.tried(&mut call);
    scene.result(&mut call, &first, Outcome::Unknown);
    for _ in 0..5 {
        let again = scene.repeated(&mut call);
        assert_eq!(again.provider, first.provider);
        scene.result(&mut call, &again, UNREACHABLE);
    }
}

#[test]
fn what_costs_nothing_leaves_at_once() {
    let mut scene = Scene::of("");
    scene.candidates = vec![candidate("a", 0), candidate("b", 0)];
    let mut call = scene.begin(idempotent());
    let first = scene.tried(&mut call);
    scene.result(&mut call, &first, Outcome::Unknown);
    let second = scene.tried(&mut call);
    assert_ne!(first.provider, second.provider);
    scene.result(&mut call, &second, Outcome::Answered);
    assert_eq!(scene.done(&mut call).exposure, []);
}

#[test]
fn silence_is_a_doubt() {
    let mut scene = Scene::of("ab");
    for (spec, timeout_at) in [(plain(), 8_750), (idempotent(), 5_000)] {
        let mut call = scene.begin(spec);
        let first = scene.tried(&mut call);
        assert_eq!(first.timeout_at, Millis(timeout_at));
        scene.now = first.timeout_at;
        let again = scene.repeated(&mut call);
        assert_eq!(again.provider, first.provider);
        assert!(again.timeout_at <= Millis(10_000));
        // Too late for the first attempt's answer: its payment is asked about again already.
        assert!(!call.on_result(&mut scene.router, first.id, Outcome::Answered, scene.now));
        call.cancel(&mut scene.router, scene.now);
        scene.now = Millis(0);
    }
    let attempt_max = Some(Millis(300));
    let mut call = scene.begin(CallSpec {
        attempt_max,
        ..plain()
    });
    assert_eq!(scene.tried(&mut call).timeout_at, Millis(300));
}

#[test]
fn nothing_is_sent_after_the_deadline() {
    let mut scene = Scene::of("ab");
    scene.now = Millis(10_000);
    let mut call = scene.begin(plain());
    assert_eq!(call.remaining(scene.now), Millis(0));
    let Action::Refuse(refusal) = scene.poll(&mut call) else {
        panic!("sent after the deadline");
    };
    assert!(refusal.too_late);

    scene.now = Millis(9_990);
    let mut call = scene.begin(plain());
    let attempt = scene.tried(&mut call);
    assert!(attempt.timeout_at <= Millis(10_000));
    scene.now = Millis(10_000);
    let report = scene.done(&mut call);
    assert_eq!(report.outcome, Outcome::Unknown);
    assert_eq!(report.exposure, [exposure(&attempt)]);
}

#[test]
fn a_refusal_keeps_the_provider_out_until_it_said() {
    let after = |ms| {
        Outcome::NotStarted(NotStarted::Refused {
            retry_after: Some(Millis(ms)),
        })
    };
    let mut scene = Scene::of("a");
    let mut call = scene.begin(plain());
    let first = scene.tried(&mut call);
    scene.result(&mut call, &first, after(700));
    // Nobody else: the same is asked again, after its rest.
    let again = scene.repeated(&mut call);
    assert!(scene.now >= Millis(700));
    scene.result(&mut call, &again, after(20_000));
    assert_eq!(scene.done(&mut call).outcome, after(20_000));

    // A new call cannot wait that long, and says so; one with more time waits.
    let until = scene.now.plus(Millis(20_000));
    let mut call = scene.begin(plain());
    let Action::Refuse(refusal) = scene.poll(&mut call) else {
        panic!("asked a provider that rests");
    };
    assert_eq!((refusal.resting, refusal.resting_until), (1, Some(until)));
    assert!(refusal.to_string().contains("1 too busy"), "{refusal}");
    let deadline = Millis(60_000);
    let mut call = scene.begin(CallSpec {
        deadline,
        ..plain()
    });
    scene.wait(&mut call);
    assert!(scene.now >= until && scene.now <= until.plus(Millis(2_000)));
    scene.tried(&mut call);
}

#[test]
fn nobody_is_refused_with_reasons() {
    let mut scene = Scene::of("");
    let mut call = scene.begin(plain());
    assert_eq!(scene.poll(&mut call), Action::Refuse(NoProvider::default()));

    scene.candidates = vec![candidate("a", 10), candidate("b", 7)];
    let price_max = Some(Amount::new(5));
    let mut call = scene.begin(CallSpec {
        price_max,
        ..plain()
    });
    let Action::Refuse(refusal) = scene.poll(&mut call) else {
        panic!("paid too much");
    };
    assert_eq!(
        (refusal.too_dear, refusal.cheapest),
        (2, Some(Amount::new(7)))
    );
}

#[test]
fn retries_end_with_the_budget_but_a_doubt_waits_for_it() {
    let config = Config {
        retries_saved_max: 1,
        retry_permille: 0,
        ..Config::default()
    };
    let mut scene = Scene::with("abcd", config);
    let mut call = scene.begin(plain());
    for _ in 0..2 {
        let attempt = scene.tried(&mut call);
        scene.result(&mut call, &attempt, UNREACHABLE);
    }
    assert_eq!(scene.done(&mut call).outcome, UNREACHABLE);

    let mut call = scene.begin(plain());
    let first = scene.tried(&mut call);
    scene.result(&mut call, &first, Outcome::Unknown);
    scene.wait(&mut call);
    assert!(scene.now < Millis(100));
    // Ten a second: the next after 100 ms.
    assert_eq!(scene.repeated(&mut call).provider, first.provider);
    assert!(scene.now >= Millis(100), "{}", scene.now);
}

#[test]
fn a_cancelled_call_burdens_nobody() {
    let mut scene = Scene::of("a");
    let mut call = scene.begin(plain());
    let attempt = scene.tried(&mut call);
    assert_eq!(
        scene
            .router
            .health(&attempt.provider, scene.now)
            .unwrap()
            .in_flight,
        1
    );
    let exposed = call.cancel(&mut scene.router, scene.now);
    assert_eq!(exposed, [exposure(&attempt)]);
    assert_eq!(call.cancel(&mut scene.router, scene.now), exposed);
    assert_eq!(
        scene
            .router
            .health(&attempt.provider, scene.now)
            .unwrap()
            .in_flight,
        0
    );
    assert_eq!(scene.done(&mut call).stop, [attempt.id]);

    let mut call = scene.begin(plain());
    assert_eq!(call.cancel(&mut scene.router, scene.now), []);
    assert!(matches!(scene.poll(&mut call), Action::Refuse(_)));
}

#[test]
fn a_hedge_goes_out_when_the_first_is_late() {
    let mut scene = Scene::of("abc");
    for _ in 0..30 {
        scene.call(plain(), 40, Outcome::Answered);
    }
    let start = scene.now;
    let deadline = start.plus(Millis(10_000));
    let mut call = scene.begin(CallSpec {
        deadline,
        ..hedged(10)
    });
    let first = scene.tried(&mut call);
    scene.wait(&mut call);
    assert_eq!(scene.now, start.plus(Millis(40)));
    let Action::Hedge(second) = scene.poll(&mut call) else {
        panic!("no hedge");
    };
    assert_ne!(first.provider, second.provider);
    // Never a third.
    assert!(matches!(scene.poll(&mut call), Action::Wait { .. }));
    scene.result(&mut call, &second, Outcome::Answered);
    let report = scene.done(&mut call);
    assert_eq!((report.attempt, report.stop), (second.id, vec![first.id]));
    assert_eq!(report.exposure, [exposure(&first)]);
    assert_eq!(
        scene
            .router
            .health(&first.provider, scene.now)
            .unwrap()
            .in_flight,
        0
    );
}

#[test]
fn a_hedge_that_fails_leaves_the_first_to_be_settled() {
    let mut scene = Scene::of("abc");
    for _ in 0..30 {
        scene.call(plain(), 40, Outcome::Answered);
    }
    let deadline = scene.now.plus(Millis(10_000));
    let mut call = scene.begin(CallSpec {
        deadline,
        ..hedged(10)
    });
    let first = scene.tried(&mut call);
    scene.wait(&mut call);
    let Action::Hedge(second) = scene.poll(&mut call) else {
        panic!("no hedge");
    };
    scene.result(&mut call, &first, Outcome::Unknown);
    // Nothing more is sent while the hedge may still bring the answer.
    let wait = Action::Wait {
        until: second.timeout_at,
    };
    assert_eq!(scene.poll(&mut call), wait);
    scene.result(&mut call, &second, UNREACHABLE);
    // The third provider must not get it: nothing may be left behind at the first.
    assert_eq!(scene.repeated(&mut call).provider, first.provider);
}

#[test]
fn no_hedge_without_leave_or_budget() {
    let late = |scene: &mut Scene, spec: CallSpec| {
        let deadline = scene.now.plus(Millis(10_000));
        let mut call = scene.begin(CallSpec { deadline, ..spec });
        let first = scene.tried(&mut call);
        scene.pass(1_000);
        let hedged = matches!(scene.poll(&mut call), Action::Hedge(_));
        if call.on_result(&mut scene.router, first.id, Outcome::Answered, scene.now) {
            scene.done(&mut call);
        }
        hedged
    };
    let mut scene = Scene::of("abc");
    assert!(!late(&mut scene, hedged(10)), "no latencies are known yet");
    for _ in 0..99 {
        scene.call(plain(), 40, Outcome::Answered);
    }
    assert!(!late(&mut scene, idempotent()), "not asked for");
    assert!(!late(&mut scene, hedged(9)), "too dear");
    let not_idempotent = CallSpec {
        idempotent: false,
        ..hedged(10)
    };
    assert!(!late(&mut scene, not_idempotent), "not harmless");
    // 103 calls and more earned five hedges, and twenty more earn one.
    let count = (0..20).filter(|_| late(&mut scene, hedged(10))).count();
    assert_eq!(count, 6);
}
