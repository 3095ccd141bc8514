//! What asking a provider costs, all in all: latency, crowd, price, load, reputation and reach in one number.
//!
//! The cost is a product of powers, `latency x (in flight + 1) x (price + 1)^w x load / reputation^r`, and
//! its logarithm is a sum. So the router adds base-2 logarithms in 65,536ths: whole numbers, any weight in
//! thousandths without roots, and no overflow however dear or slow. Only the order of costs matters, and
//! logarithms keep it.

use super::{
    candidate::{Candidate, Reach},
    config::Weights,
};

/// The logarithm of a cost; less is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cost(i64);

/// What the router knows of a provider by its own calls.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) latency_us: u64,
    pub(super) in_flight: u32,
}

impl Cost {
    pub(super) fn of(candidate: &Candidate, seen: Seen, weights: &Weights) -> Self {
        let price = log2(candidate.price.get().saturating_add(1));
        let reputation = log2(candidate.reputation.get().into());
        let load = u128::from(candidate.load_permille.min(1000)).saturating_add(1000);
        let no_channel = match candidate.channel_open {
            true => 0,
            false => log2_permille(weights.no_channel_permille),
        };
        let relayed = match candidate.reach {
            Reach::Direct => 0,
            Reach::Relayed => log2_permille(weights.relayed_permille),
        };
        let sum = log2(seen.latency_us.into())
            .saturating_add(log2(u128::from(seen.in_flight).saturating_add(1)))
            .saturating_add(weighed(price, weights.price_permille))
            .saturating_add(log2(load))
            .saturating_sub(weighed(reputation, weights.reputation_permille))
            .saturating_add(no_channel)
            .saturating_add(relayed);
        Self(sum)
    }
}

fn weighed(logarithm: i64, permille: u32) -> i64 {
    logarithm.saturating_mul(permille.into()) / 1000
}

/// The logarithm of a factor in thousandths.
fn log2_permille(permille: u32) -> i64 {
    log2(permille.into()).saturating_sub(log2(1000))
}

/// The base-2 logarithm in 65,536ths, rounded down; 0 for 0 as for 1.
///
/// The whole part is the position of the highest bit. Squaring what is left, a number from one to two,
/// doubles its logarithm: a square of two or more gives the next binary digit.
fn log2(number: u128) -> i64 {
    let whole = number.checked_ilog2().unwrap_or(0);
    let left = number.checked_shl(u128::BITS.saturating_sub(1).saturating_sub(whole));
    // One to two, with 31 binary digits behind the point.
    let mut rest = u64::try_from(left.unwrap_or(0) >> 96).unwrap_or(0);
    let mut logarithm = i64::from(whole);
    for _ in 0..FRACTION_BITS {
        rest = rest.saturating_mul(rest) >> 31;
        let digit = rest >> 32;
        rest = if digit == 0 { rest } else { rest >> 1 };
        logarithm = (logarithm << 1) | i64::from(digit != 0);
    }
    logarithm
}

const FRACTION_BITS: u32 = 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rialto_channels::Amount;

    use super::*;
    use crate::router::{Capabilities, Millis, Permille};

    fn plain() -> Candidate {
        Candidate {
            provider: "p".parse().unwrap(),
            price: Amount::new(999),
            load_permille: 0,
            region: None,
            capabilities: Capabilities::NONE,
            reputation: Permille::FULL,
            channel_open: true,
            reach: Reach::Direct,
            expires: Millis::MAX,
        }
    }

    fn cost(change: impl Fn(&mut Candidate), latency_us: u64, in_flight: u32) -> Cost {
        let mut candidate = plain();
        change(&mut candidate);
        let seen = Seen {
            latency_us,
            in_flight,
        };
        Cost::of(&candidate, seen, &Weights::default())
    }

    #[test]
    fn logarithms_are_true() {
        for number in [
            1_u128,
            2,
            3,
            10,
            999,
            65_537,
            u128::from(u64::MAX),
            u128::MAX,
        ] {
            #[expect(clippy::cast_precision_loss, reason = "the reference is a float")]
            let expected = (number as f64).log2() * 65_536.0;
            #[expect(clippy::cast_precision_loss, reason = "the reference is a float")]
            let found = log2(number) as f64;
            assert!(
                (expected - found).abs() <= 2.0,
                "{number}: {found} {expected}"
            );
        }
        assert_eq!(log2(0), 0);
        assert_eq!(log2(1 << 127), 127 << 16);
    }

    #[test]
    fn factors_weigh_as_documented() {
        let base = cost(|_| {}, 10_000, 0);
        let near = |a: Cost, b: Cost| assert!((a.0 - b.0).abs() < 16, "{a:?} {b:?}");
        // Twice the latency, one more in flight, four times the price at an exponent of a half, half the
        // reputation and full load weigh the same: a factor of two.
        near(cost(|_| {}, 20_000, 0), cost(|_| {}, 10_000, 1));
        near(
            cost(|_| {}, 20_000, 0),
            cost(|c| c.price = Amount::new(3_999), 10_000, 0),
        );
        near(
            cost(|_| {}, 20_000, 0),
            cost(|c| c.reputation = Permille::clamped(500), 10_000, 0),
        );
        near(
            cost(|_| {}, 20_000, 0),
            cost(|c| c.load_permille = u16::MAX, 10_000, 0),
        );
        near(
            cost(|_| {}, 15_000, 0),
            cost(|c| c.channel_open = false, 10_000, 0),
        );
        near(
            cost(|_| {}, 15_000, 0),
            cost(|c| c.reach = Reach::Relayed, 10_000, 0),
        );
        assert!(cost(|c| c.price = Amount::ZERO, 10_000, 0) < base);
    }

    proptest! {
        #[test]
        fn more_of_anything_bad_never_costs_less(
            latency: u64, in_flight: u32, price: u128, load: u16, more: u64, permille: u32,
        ) {
            let weights = Weights { price_permille: permille, ..Weights::default() };
            let of = |latency_us, in_flight, price, load_permille| {
                let candidate = Candidate { price: Amount::new(price), load_permille, ..plain() };
                Cost::of(&candidate, Seen { latency_us, in_flight }, &weights)
            };
            let base = of(latency, in_flight, price, load);
            prop_assert!(of(latency.saturating_add(more), in_flight, price, load) >= base);
            prop_assert!(of(latency, in_flight.saturating_add(1), price, load) >= base);
            prop_assert!(of(latency, in_flight, price.saturating_add(more.into()), load) >= base);
            prop_assert!(of(latency, in_flight, price, load.saturating_add(1)) >= base);
        }
    }
}
