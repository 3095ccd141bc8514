use proptest::prelude::*;

use super::*;

const TODAY: u64 = 1_000;

fn provider(byte: u8) -> PeerId {
    PeerId::from_key([byte; 32])
}

fn account(number: u16) -> Address {
    let mut bytes = [0; 20];
    bytes[..2].copy_from_slice(&number.to_be_bytes());
    Address::new(bytes)
}

fn said(rater: u16, about: u8, value: i16, paid: u128) -> Feedback {
    Feedback {
        rater: account(rater),
        provider: provider(about),
        value,
        paid: Amount::new(paid),
        day: TODAY,
    }
}

/// Knows the accounts 9000 and above of provider 1, and of the others none.
fn reputation() -> Reputation {
    with(ReputationConfig::DEFAULT)
}

fn with(config: ReputationConfig) -> Reputation {
    let mut reputation = Reputation::new(config);
    for byte in 1..20 {
        reputation.link(provider(byte), BTreeSet::new());
    }
    let own = [9_000, 9_001, 9_002].map(account);
    reputation.link(provider(1), own.into());
    reputation
}

fn called(reputation: &mut Reputation, of: u8, outcome: Outcome, times: u32) {
    for _ in 0..times {
        reputation.record(provider(of), outcome, TODAY);
    }
}

fn permille(reputation: &Reputation, of: u8) -> u16 {
    reputation.score(provider(of), TODAY).permille
}

/// What one change may at most do that is worth so many calls: all of them, in a mean with those that stay.
fn most(score: &Score, calls: u32) -> u16 {
    let kept = score.own_millicalls + millicalls(ReputationConfig::DEFAULT.start_calls);
    let moved = millicalls(calls);
    u16::try_from(moved * 1_000 / (kept + moved) + 1).unwrap()
}

#[test]
fn strangers_start_in_the_middle() {
    let score = reputation().score(provider(1), TODAY);
    assert_eq!((score.permille, score.own_permille), (500, 500));
    assert_eq!((score.raters, score.others_permille), (0, None));
    assert_eq!(score.calls, Calls::default());
}

#[test]
fn own_calls_move_the_score() {
    let check = |outcome, times, expected| {
        let mut reputation = reputation();
        called(&mut reputation, 1, outcome, times);
        assert_eq!(permille(&reputation, 1), expected, "{outcome:?} x {times}");
    };
    check(Outcome::InTime, 1, 600);
    check(Outcome::InTime, 4, 750);
    check(Outcome::InTime, 96, 980);
    check(Outcome::Late, 96, 596);
    check(Outcome::Failed, 4, 250);
    check(Outcome::BadReceipt, 1, 142);
}

#[test]
fn what_is_recent_counts_more() {
    let mut reputation = reputation();
    for _ in 0..10 {
        reputation.record(provider(1), Outcome::InTime, TODAY - 40);
        reputation.record(provider(1), Outcome::Failed, TODAY);
        reputation.record(provider(2), Outcome::Failed, TODAY - 40);
        reputation.record(provider(2), Outcome::InTime, TODAY);
    }
    assert!(permille(&reputation, 1) < 200);
    assert!(permille(&reputation, 2) > 800);
    assert_eq!(reputation.score(provider(2), TODAY).calls.failed, 10);
    // And at last nothing is known of anybody.
    assert_eq!(reputation.score(provider(1), TODAY + 900).permille, 500);
}

#[test]
fn others_count_by_the_logarithm_of_what_they_paid() {
    let weight = |paid: u128| {
        let mut reputation = reputation();
        reputation.hear(said(1, 1, 100, paid), TODAY).unwrap();
        reputation.score(provider(1), TODAY).others_millicalls
    };
    let unit = ReputationConfig::DEFAULT.paid_unit.get();
    assert_eq!(weight(1), 250);
    assert_eq!(weight(unit), 500);
    assert_eq!(weight(3 * unit), 750);
    assert_eq!(weight(7 * unit), 1_000);
    assert_eq!(weight(u128::MAX), 2_000, "at most a rater's share");
}

#[test]
fn what_changes_nothing_is_refused() {
    let mut reputation = reputation();
    let mut check = |feedback: Feedback, expected| {
        assert_eq!(reputation.hear(feedback, TODAY), expected, "{feedback:?}");
    };
    let on = |day: u64, value: i16| Feedback {
        day,
        ..said(1, 1, value, 5)
    };
    check(said(1, 99, 100, 5), Err(FeedbackRefusal::Unlinked));
    check(said(9_000, 1, 100, 5), Err(FeedbackRefusal::Linked));
    check(said(1, 1, 100, 0), Err(FeedbackRefusal::Unpaid));
    check(on(TODAY + 2, 1), Err(FeedbackRefusal::FromTheFuture));
    check(on(TODAY - 181, 1), Err(FeedbackRefusal::TooOld));
    check(on(TODAY - 180, 1), Ok(()));
    check(on(TODAY, -100), Ok(()));
    check(on(TODAY - 1, 100), Err(FeedbackRefusal::Superseded));
    let score = reputation.score(provider(1), TODAY);
    assert_eq!((score.raters, score.others_permille), (1, Some(0)));
    assert_eq!(score.ignored.linked, 1);
    assert!(reputation.unhear(provider(1), account(1)));
    assert!(!reputation.unhear(provider(1), account(1)));
    assert_eq!(permille(&reputation, 1), 500);
}

#[test]
fn a_rater_counts_once() {
    let mut reputation = reputation();
    for _ in 0..50 {
        reputation.hear(said(1, 1, 100, 5), TODAY).unwrap();
    }
    let score = reputation.score(provider(1), TODAY);
    assert_eq!((score.raters, score.others_millicalls), (1, 250));
    let extreme = said(1, 1, i16::MAX, 5);
    reputation.hear(extreme, TODAY).unwrap();
    assert_eq!(reputation.score(provider(1), TODAY), score);
}

#[test]
fn accounts_linked_later_lose_their_word() {
    let mut reputation = reputation();
    reputation.hear(said(1, 1, 100, 5_000), TODAY).unwrap();
    reputation.hear(said(2, 1, 100, 5_000), TODAY).unwrap();
    reputation.link(provider(1), [account(1)].into());
    let score = reputation.score(provider(1), TODAY);
    assert_eq!((score.raters, score.ignored.linked), (1, 1));
    let many = (0..300).map(account).collect();
    reputation.link(provider(1), many);
    let score = reputation.score(provider(1), TODAY);
    assert_eq!((score.raters, score.permille), (0, 500));
    assert!(score.ignored.all_linked);
    let stranger = reputation.hear(said(999, 1, 100, 5), TODAY);
    assert_eq!(stranger, Err(FeedbackRefusal::Linked));
}

#[test]
fn raters_gain_and_lose_trust_by_our_own_receipts() {
    let mut reputation = reputation();
    for good in 2..8 {
        called(&mut reputation, good, Outcome::InTime, 9);
    }
    // One agrees with us, one contradicts, one has rated nobody that we know.
    for about in 2..8 {
        reputation.hear(said(1, about, 90, 5_000), TODAY).unwrap();
        reputation.hear(said(2, about, -90, 5_000), TODAY).unwrap();
        reputation
            .hear(said(3, about + 8, 90, 5_000), TODAY)
            .unwrap();
    }
    let alone = |rater: u16| {
        let mut copy = self::reputation();
        for (calls, value) in (2..8).map(|of| (of, if rater == 2 { -90 } else { 90 })) {
            called(&mut copy, calls, Outcome::InTime, 9);
            let about = if rater == 3 { calls + 8 } else { calls };
            copy.hear(said(rater, about, value, 5_000), TODAY).unwrap();
        }
        copy.hear(said(rater, 1, 100, 5_000), TODAY).unwrap();
        copy.score(provider(1), TODAY)
    };
    let (agreeing, contradicting, unknown) = (alone(1), alone(2), alone(3));
    assert_eq!((agreeing.raters, agreeing.raters_trusted), (1, 1));
    assert_eq!((unknown.raters, unknown.raters_trusted), (1, 0));
    assert_eq!(agreeing.others_millicalls, unknown.others_millicalls * 2);
    assert_eq!((contradicting.raters, contradicting.permille), (0, 500));
    assert_eq!(contradicting.ignored.contradicting, 1);
    // What somebody says about a provider is no reason to believe what they say about that provider.
    let score = reputation.score(provider(2), TODAY);
    assert_eq!((score.raters_trusted, score.ignored.contradicting), (1, 1));
}

#[test]
fn no_number_of_strangers_displaces_who_has_earned_trust() {
    let mut reputation = with(ReputationConfig {
        raters_max: 4,
        ..ReputationConfig::DEFAULT
    });
    for good in 2..6 {
        called(&mut reputation, good, Outcome::InTime, 9);
        reputation.hear(said(1, good, 100, 1), TODAY).unwrap();
    }
    reputation.hear(said(1, 1, 100, 1), TODAY).unwrap();
    for stranger in 100..200 {
        let rich = said(stranger, 1, -100, u128::MAX);
        let _ = reputation.hear(rich, TODAY);
    }
    let score = reputation.score(provider(1), TODAY);
    assert_eq!((score.raters, score.raters_trusted), (4, 1));
    let poor = reputation.hear(said(300, 1, 100, 1), TODAY);
    assert_eq!(poor, Err(FeedbackRefusal::Full));
}

#[test]
fn everything_is_bounded() {
    let config = ReputationConfig {
        providers_max: 3,
        raters_max: 4,
        ratings_max: 2,
        feedback_max: 6,
        linked_providers_max: 19,
        ..ReputationConfig::DEFAULT
    };
    let mut reputation = with(config);
    for of in 1..9 {
        reputation.record(provider(of), Outcome::Failed, TODAY + u64::from(of) * 7);
    }
    assert_eq!(reputation.own.len(), 3);
    assert_eq!(reputation.called.len(), 3);
    let kept: Vec<PeerId> = reputation.own.keys().copied().collect();
    assert_eq!(kept, [6, 7, 8].map(provider), "the latest stay");
    for rater in 0..30 {
        for about in 1..5 {
            let _ = reputation.hear(said(rater, about, 1, u128::from(rater) + 1), TODAY);
        }
    }
    let raters = |of: u8| reputation.score(provider(of), TODAY).raters;
    assert!((1..5).all(|of| raters(of) <= 4));
    assert!((1..5).map(raters).sum::<usize>() <= 6);
    // A provider more, and the one that was linked longest ago, the second, is unknown.
    reputation.link(provider(50), BTreeSet::new());
    let unknown = reputation.hear(said(1, 2, 1, 999), TODAY);
    assert_eq!(unknown, Err(FeedbackRefusal::Unlinked));
    assert_eq!(reputation.score(provider(2), TODAY).raters, 0);
    reputation.expire(TODAY + 181);
    assert!((1..20).all(|of| reputation.score(provider(of), TODAY).raters == 0));
}

#[test]
fn feedback_ages() {
    let mut reputation = reputation();
    reputation.hear(said(1, 1, 100, 7_000), TODAY).unwrap();
    let weight = |today| {
        let score = reputation.score(provider(1), today);
        (score.others_millicalls, score.raters, score.ignored.stale)
    };
    let half_life = ReputationConfig::DEFAULT.half_life_days;
    assert_eq!(weight(TODAY), (1_000, 1, 0));
    assert_eq!(weight(TODAY + half_life), (500, 1, 0));
    assert_eq!(weight(TODAY + 20 * half_life), (0, 0, 1));
}

/// Calls and feedback of the past.
fn any_past() -> impl Strategy<Value = Reputation> {
    let outcome = prop::sample::select(vec![
        Outcome::InTime,
        Outcome::Late,
        Outcome::Failed,
        Outcome::BadReceipt,
    ]);
    let call = (1u8..6, outcome, 0u64..40);
    let feedback = (0u16..12, 1u8..6, -100i16..=100, 1u128..1_000_000, 0u64..60);
    (
        prop::collection::vec(call, 0..60),
        prop::collection::vec(feedback, 0..40),
    )
        .prop_map(|(calls, feedback)| {
            let mut reputation = reputation();
            for (of, outcome, ago) in calls {
                reputation.record(provider(of), outcome, TODAY - ago);
            }
            for (rater, about, value, paid, ago) in feedback {
                let feedback = Feedback {
                    day: TODAY - ago,
                    ..said(rater, about, value, paid)
                };
                let _ = reputation.hear(feedback, TODAY);
            }
            reputation
        })
}

proptest! {
    #[test]
    fn nobody_raises_themselves(
        mut past in any_past(),
        more in prop::collection::vec((9_000u16..9_003, -100i16..=100, 0u128..u128::MAX), 0..40),
    ) {
        let before = past.score(provider(1), TODAY);
        for (rater, value, paid) in more {
            prop_assert!(past.hear(said(rater, 1, value, paid), TODAY).is_err());
        }
        let after = past.score(provider(1), TODAY);
        prop_assert_eq!(before.permille, after.permille);
        prop_assert_eq!(before.raters, after.raters);
    }

    #[test]
    fn fresh_raters_move_no_more_than_their_cap(
        mut past in any_past(),
        value in -100i16..=100,
        paid in 1u128..u128::MAX,
        count in 1u16..400,
    ) {
        let before = past.score(provider(1), TODAY);
        for rater in 1_000..1_000 + count {
            let _ = past.hear(said(rater, 1, value, paid), TODAY);
        }
        let after = past.score(provider(1), TODAY);
        let moved = before.permille.abs_diff(after.permille);
        prop_assert!(moved <= most(&before, ReputationConfig::DEFAULT.fresh_calls_max));
    }

    #[test]
    fn everybody_together_moves_no_more_than_the_crowd(past in any_past()) {
        for of in 1..6 {
            let score = past.score(provider(of), TODAY);
            let moved = score.permille.abs_diff(score.own_permille);
            prop_assert!(moved <= most(&score, ReputationConfig::DEFAULT.crowd_calls_max));
            prop_assert!(score.others_millicalls <= 20_000 && score.permille <= 1_000);
        }
    }

    #[test]
    fn a_good_answer_never_hurts_and_a_failure_never_helps(past in any_past(), ago in 0u64..60) {
        let before = permille(&past, 1);
        for (outcome, good) in [
            (Outcome::InTime, true),
            (Outcome::Failed, false),
            (Outcome::BadReceipt, false),
        ] {
            let mut copy = past.clone();
            copy.record(provider(1), outcome, TODAY - ago);
            let after = permille(&copy, 1);
            let (worse, better) = if good { (before, after) } else { (after, before) };
            prop_assert!(worse <= better);
        }
    }

    #[test]
    fn nothing_leaks(mut past in any_past()) {
        past.expire(TODAY + 1_000);
        let crowd = format!("{:?}", past.crowd);
        let empty = "by_provider: {}, by_rater: {}, cheapest: {}";
        prop_assert!(crowd.contains(empty), "{}", crowd);
    }
}
