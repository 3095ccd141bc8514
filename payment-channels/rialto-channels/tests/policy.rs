//! What a payer allows itself: budgets, top-ups, lanes, session keys.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::{collection::vec, prelude::*};
use rialto_channels::{
    Address, Amount, B256, ChannelConfig, OnChainView, SettlementDomain, SigningKey, U256,
    payer::{
        Limits, PayError, PayerChannel,
        lanes::{self, Choice, Lane, LaneLimits},
        policy::{OverBudget, Policy, Spending, TopUpError},
    },
};

const DOMAIN: SettlementDomain = SettlementDomain {
    chain_id: 84_532,
    contract: Address::repeat_byte(0x40),
};
const ANNA: Address = Address::repeat_byte(1);
const BELA: Address = Address::repeat_byte(2);

fn amount(units: u128) -> Amount {
    Amount::new(units)
}

fn policy() -> Policy {
    Policy {
        call_max: amount(100),
        offer_max: amount(1_000),
        day_max: amount(250),
        provider_day_max: amount(150),
        deposit_max: amount(2_000),
        deposit_day_max: amount(3_000),
    }
}

#[test]
fn each_limit_of_a_budget_is_its_own_refusal() {
    let policy = policy();
    let mut spending = Spending::new(7);
    assert_eq!(policy.check_offer(amount(100), amount(1_000)), Ok(()));
    assert!(matches!(
        policy.check_offer(amount(101), amount(101)),
        Err(OverBudget::Call { .. })
    ));
    assert!(matches!(
        policy.check_offer(amount(100), amount(1_001)),
        Err(OverBudget::Offer { .. })
    ));
    let mut hold = |provider, price, day| spending.hold(&policy, provider, amount(price), day);
    assert!(matches!(hold(ANNA, 101, 7), Err(OverBudget::Call { .. })));
    let first = hold(ANNA, 100, 7).unwrap();
    assert!(matches!(
        hold(ANNA, 51, 7),
        Err(OverBudget::Provider { .. })
    ));
    let second = hold(BELA, 100, 7).unwrap();
    assert!(matches!(hold(BELA, 51, 7), Err(OverBudget::Day { .. })));
    // What a call cost less is free again, and what failed altogether.
    spending.spent(first, amount(30));
    spending.free(second);
    assert_eq!(spending.total(), amount(30));
    assert!(spending.hold(&policy, ANNA, amount(100), 7).is_ok());
}

#[test]
fn a_new_day_starts_anew_and_a_clock_set_back_gives_nothing_back() {
    let policy = policy();
    let mut spending = Spending::new(7);
    let old = spending.hold(&policy, ANNA, amount(100), 7).unwrap();
    spending.deposit(amount(5), 7).unwrap();
    let new = spending.hold(&policy, ANNA, amount(90), 8).unwrap();
    assert_eq!(
        (spending.total(), spending.deposited()),
        (amount(90), Amount::ZERO)
    );
    // Yesterday's call does not lower today's sum.
    spending.free(old);
    assert_eq!(spending.total(), amount(90));
    assert!(matches!(
        spending.hold(&policy, ANNA, amount(90), 6),
        Err(OverBudget::Provider { .. })
    ));
    assert_eq!(spending.day(), 8);
    spending.spent(new, amount(90));
    let stored: Vec<_> = spending.entries().collect();
    let restored = Spending::restore(8, spending.deposited(), stored).unwrap();
    assert_eq!(restored, spending);
}

proptest! {
    /// Whatever is held, spent and freed: neither budget is ever exceeded, and in the end the sum
    /// is what was charged.
    #[test]
    fn a_budget_is_never_exceeded(
        calls in vec((any::<bool>(), 0..140_u128, 0..140_u128, any::<bool>()), 1..60)
    ) {
        let policy = policy();
        let mut spending = Spending::new(1);
        let (mut open, mut charged) = (Vec::new(), 0);
        for (anna, price, cost, close) in calls {
            let provider = if anna { ANNA } else { BELA };
            if let Ok(spend) = spending.hold(&policy, provider, amount(price), 1) {
                open.push((spend, cost.min(price)));
            }
            prop_assert!(spending.total() <= policy.day_max);
            for (_, sum) in spending.entries() {
                prop_assert!(sum <= policy.provider_day_max);
            }
            if close && let Some((spend, cost)) = open.pop() {
                charged += cost;
                spending.spent(spend, amount(cost));
            }
        }
        for (spend, _) in open {
            spending.free(spend);
        }
        prop_assert_eq!(spending.total(), amount(charged));
    }

    /// A lane is only used if it can serve, and opened only within the limit.
    #[test]
    fn a_lane_that_is_chosen_can_serve(
        seen in vec((0..4_usize, 0..300_u128, any::<bool>()), 0..6),
        lanes_max in 0..6_u32, calls_max in 0..4_usize,
    ) {
        let lanes: Vec<_> = (0..).zip(&seen).map(|(number, (open_calls, left, usable))| Lane {
            number, open_calls: *open_calls, left: amount(*left), usable: *usable,
        }).collect();
        let limits = LaneLimits { lanes_max, calls_max };
        let lane = |number: u32| lanes.iter().find(|lane| lane.number == number);
        match lanes::choose(&lanes, amount(100), &limits) {
            Choice::Use(number) => {
                let lane = lane(number).unwrap();
                prop_assert!(lane.usable && lane.left >= amount(100));
                prop_assert!(lane.open_calls < calls_max.max(1));
            }
            Choice::TopUp(number) => {
                let lane = lane(number).unwrap();
                prop_assert!(lane.usable && lane.open_calls == 0 && lane.left < amount(100));
            }
            Choice::Open(number) => {
                prop_assert!(lane(number).is_none() && number < lanes_max);
            }
            Choice::Wait => {
                let idle = |lane: &Lane| lane.usable && lane.open_calls == 0;
                prop_assert!(!lanes.iter().any(idle));
                prop_assert!(u32::try_from(lanes.len()).unwrap() >= lanes_max);
            }
        }
    }
}

#[test]
fn the_least_busy_lane_that_holds_enough_is_used() {
    let lane = |number, open_calls, left| Lane {
        number,
        open_calls,
        left: amount(left),
        usable: true,
    };
    let limits = LaneLimits {
        lanes_max: 3,
        calls_max: 2,
    };
    let check = |seen: &[Lane], expected| {
        assert_eq!(lanes::choose(seen, amount(10), &limits), expected);
    };
    check(&[], Choice::Open(0));
    check(&[lane(0, 1, 50), lane(1, 0, 50)], Choice::Use(1));
    check(&[lane(0, 1, 50), lane(1, 0, 5)], Choice::Use(0));
    check(&[lane(0, 2, 50), lane(1, 0, 5)], Choice::TopUp(1));
    check(&[lane(0, 2, 50), lane(2, 1, 5)], Choice::Open(1));
    let full = [lane(0, 2, 50), lane(1, 2, 50), lane(2, 1, 5)];
    check(&full, Choice::Wait);
}

fn config(lane: u32) -> ChannelConfig {
    let config = ChannelConfig {
        payer: key().address(),
        payer_authorizer: key().address(),
        receiver: ANNA,
        receiver_authorizer: BELA,
        token: Address::repeat_byte(4),
        withdraw_delay: 900,
        salt: B256::repeat_byte(9),
    };
    lanes::on_lane(config, lane)
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[1; 32]).unwrap()
}

#[test]
fn lanes_and_their_session_keys_are_told_apart() {
    assert_eq!(lanes::salt(0), B256::ZERO, "the channel of other clients");
    let session = |seed, receiver, lane| {
        let key = lanes::session_key(&[seed; 32], &DOMAIN, receiver, lane);
        key.unwrap().address()
    };
    let (mut ids, mut keys) = (Vec::new(), Vec::new());
    for lane in 0..20 {
        ids.push(config(lane).id(&DOMAIN));
        keys.push(session(1, ANNA, lane));
    }
    keys.extend([session(2, ANNA, 0), session(1, BELA, 0)]);
    assert_eq!(session(1, ANNA, 3), keys[3], "it need not be stored");
    let (ids_len, keys_len) = (ids.len(), keys.len());
    ids.sort();
    ids.dedup();
    keys.sort();
    keys.dedup();
    assert_eq!((ids.len(), keys.len()), (ids_len, keys_len));
}

#[test]
fn a_top_up_fits_the_limits_or_is_refused() {
    let limits = Limits {
        call_max: amount(1_000),
        deposit_max: amount(10_000),
        deposit_calls: 5,
    };
    let mut channel = PayerChannel::new(DOMAIN, config(0), limits);
    let mut spending = Spending::new(1);
    let policy = policy();
    let top_up = |channel: &PayerChannel, asked, min, spending: &Spending| {
        policy.top_up(channel, amount(asked), min, spending)
    };
    assert_eq!(
        top_up(&channel, 300, None, &spending),
        Ok(Some(amount(1_500)))
    );
    assert_eq!(
        top_up(&channel, 500, None, &spending),
        Ok(Some(amount(2_000))),
        "the usual amount is cut to one deposit's limit"
    );
    assert_eq!(
        top_up(&channel, 300, Some(amount(2_001)), &spending),
        Err(TopUpError::Limit {
            needed: amount(2_001),
            limit: amount(2_000)
        })
    );
    spending.deposit(amount(2_800), 1).unwrap();
    assert_eq!(
        top_up(&channel, 200, None, &spending),
        Ok(Some(amount(200))),
        "the smallest that serves, of what is left of the day"
    );
    assert!(matches!(
        top_up(&channel, 201, None, &spending),
        Err(TopUpError::Limit { .. })
    ));
    assert!(matches!(
        top_up(&channel, 1_001, None, &spending),
        Err(TopUpError::Channel(PayError::AboveLimit { .. }))
    ));
    channel.on_chain_view(&OnChainView {
        balance: amount(1_000),
        claimed: Amount::ZERO,
        refund_nonce: U256::ZERO,
        withdrawal: None,
        read_at: rialto_channels::ChainTime::new(1),
    });
    assert_eq!(top_up(&channel, 1_000, None, &spending), Ok(None));
}
