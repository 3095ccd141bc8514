//! A payer and a payee on one fake clock and one fake chain, under random schedules: calls that
//! overlap, fail, are charged less than promised; requests repeated, answers lost; crashes of
//! either side, restored from what was durable; claims, refunds, withdrawals.
//!
//! Checked after every step: M2, M3, M5 and M6, from accounts that the test keeps itself.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod chain;
mod payee_side;
mod payer_side;
mod world;

use proptest::{collection::vec, prelude::*};

use world::{Step, World};

fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        8 => any::<bool>().prop_map(|explicit_count| Step::Call { explicit_count }),
        8 => index().prop_map(Step::Deliver),
        2 => index().prop_map(Step::Repeat),
        1 => index().prop_map(Step::LoseRequest),
        8 => (index(), 0..=100_u128).prop_map(|(call, actual)| Step::Succeed(call, actual)),
        2 => index().prop_map(Step::Fail),
        6 => Just(Step::Sync),
        8 => index().prop_map(Step::Answer),
        2 => index().prop_map(Step::LoseAnswer),
        1 => Just(Step::CrashPayee),
        1 => Just(Step::SavePayer),
        1 => Just(Step::CrashPayer),
        1 => Just(Step::ColdPayer),
        2 => Just(Step::Claim),
        1 => Just(Step::Settle),
        1 => any::<bool>().prop_map(Step::Refund),
        1 => any::<bool>().prop_map(Step::StartWithdrawal),
        1 => Just(Step::FinishWithdrawal),
        3 => (1..1000_u64).prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn money_is_kept_under_any_schedule(steps in vec(step(), 1..120)) {
        let mut world = World::new();
        for step in steps {
            world.take(&step);
            world.check();
        }
        world.close();
    }
}

/// The common case, step by step: eight calls at once on one channel, each charged less than
/// promised, none refused.
#[test]
fn eight_calls_at_once_are_all_served() {
    let mut world = World::new();
    for _round in 0..12 {
        for _ in 0..8 {
            world.take(&Step::Call {
                explicit_count: true,
            });
        }
        world.deliver_all();
        world.succeed_all(70);
        world.take(&Step::Sync);
        world.answer_all();
        world.check();
    }
    assert_eq!((world.refusals(), world.served()), (0, 96));
    world.close();
}

/// A payer without any memory of its channel is refused at most once.
#[test]
fn a_cold_payer_recovers_by_the_corrective_answer() {
    let mut world = World::new();
    world.call_and_finish(100);
    for round in 1..=20 {
        world.call_and_finish(90);
        world.take(&Step::ColdPayer);
        world.check();
        assert!(
            world.refusals() <= round,
            "one refusal for each loss of memory"
        );
    }
    world.close();
}
