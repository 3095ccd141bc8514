//! Units of the router: moments and spans in milliseconds, shares in thousandths, and chance.
//!
//! Not here: clocks and entropy. Both come in as values, so one seed replays a day of calls.

use std::fmt;

/// Milliseconds: a moment on the caller's monotonic clock, or a span between two such moments.
///
/// Never wall-clock time: an offer's expiry in Unix seconds is moved onto this clock by whoever reads both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

impl Millis {
    /// The clock's beginning, or no time at all.
    pub const ZERO: Self = Self(0);
    /// Later than anything.
    pub const MAX: Self = Self(u64::MAX);

    /// This much later, at most [`Millis::MAX`].
    #[must_use]
    pub const fn plus(self, span: Self) -> Self {
        Self(self.0.saturating_add(span.0))
    }

    /// The span from `earlier` until now; nothing if the clock says it lies ahead.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self(self.0.saturating_sub(earlier.0))
    }

    /// So many thousandths of this span.
    #[must_use]
    pub fn share(self, permille: u64) -> Self {
        Self(scaled(self.0, permille, 1000))
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}

/// A share in thousandths, 1 to 1,000. Never nothing, so that it may stand below a fraction line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Permille(u16);

impl Permille {
    /// The whole.
    pub const FULL: Self = Self(1000);

    /// The nearest share to so many thousandths: 0 becomes 1, and more than 1,000 becomes 1,000.
    #[must_use]
    pub fn clamped(thousandths: u64) -> Self {
        Self(u16::try_from(thousandths.clamp(1, 1000)).unwrap_or(1000))
    }

    /// The thousandths.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

/// Random numbers of one call, all drawn from the one that it was begun with (SplitMix64).
#[derive(Clone, Debug)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One of `0..count`, each as likely as the others to within 2^-64 x `count`; 0 of none.
    pub(super) fn below(&mut self, count: usize) -> usize {
        let count = u128::try_from(count).unwrap_or(0);
        let scaled = u128::from(self.next()).wrapping_mul(count) >> 64;
        usize::try_from(scaled).unwrap_or(0)
    }

    /// Some part of `span`, up to the whole.
    pub(super) fn part_of(&mut self, span: Millis) -> Millis {
        span.share(u64::try_from(self.below(1001)).unwrap_or(0))
    }
}

/// `value x of / whole`, without overflow; a `whole` of nothing counts as one.
pub(super) fn scaled(value: u64, of: u64, whole: u64) -> u64 {
    let product = u128::from(value).saturating_mul(u128::from(of));
    let quotient = product.checked_div(u128::from(whole)).unwrap_or(product);
    u64::try_from(quotient).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_never_wraps() {
        assert_eq!(Millis::MAX.plus(Millis(1)), Millis::MAX);
        assert_eq!(Millis(1).since(Millis(2)), Millis::ZERO);
        assert_eq!(Millis(200).share(250), Millis(50));
        assert_eq!(Millis::MAX.share(5_000), Millis::MAX);
        assert_eq!(scaled(7, 3, 0), 21);
    }

    #[test]
    fn shares_stay_above_nothing() {
        let check = |given, expected| assert_eq!(Permille::clamped(given).get(), expected);
        check(0, 1);
        check(1, 1);
        check(1000, 1000);
        check(u64::MAX, 1000);
    }

    #[test]
    fn chance_stays_below_and_is_even() {
        let mut chance = Chance::new(7);
        assert_eq!(chance.below(0), 0);
        let mut seen = [0_u32; 10];
        for _ in 0..10_000 {
            seen[chance.below(10)] += 1;
        }
        assert!(seen.iter().all(|n| (850..1150).contains(n)), "{seen:?}");
        assert!(chance.part_of(Millis(10)) <= Millis(10));
        assert_eq!(Chance::new(9).next(), Chance::new(9).next());
    }
}
