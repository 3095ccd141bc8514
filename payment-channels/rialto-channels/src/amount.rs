//! Money: integers in the token's base units (M1). Display values and exchange rates are not here.

use std::{fmt, str::FromStr};

use alloy_primitives::U256;

/// Token base units; never a display value.
///
/// The on-chain type is `uint128`. Arithmetic is checked (M1: amounts are integers in base units,
/// checked arithmetic only), but for [`saturating_sub`](Self::saturating_sub), which answers another
/// question.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(u128);

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// The largest amount the contract can hold (`uint128`).
    pub const MAX: Self = Self(u128::MAX);

    /// An amount of so many base units.
    #[must_use]
    pub const fn new(base_units: u128) -> Self {
        Self(base_units)
    }

    /// The number of base units.
    #[must_use]
    pub const fn get(self) -> u128 {
        self.0
    }

    /// True for nothing.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The sum.
    ///
    /// # Errors
    /// [`AmountOverflow`] above `uint128`.
    pub fn checked_add(self, rhs: Self) -> Result<Self, AmountOverflow> {
        self.0.checked_add(rhs.0).map(Self).ok_or(AmountOverflow)
    }

    /// The difference.
    ///
    /// # Errors
    /// [`AmountOverflow`] below zero.
    pub fn checked_sub(self, rhs: Self) -> Result<Self, AmountOverflow> {
        self.0.checked_sub(rhs.0).map(Self).ok_or(AmountOverflow)
    }

    /// The difference, or nothing where there is none below zero: what is left, what is missing, how
    /// much more. For figures of different times or from different parties, where more may have been
    /// taken than there was and "nothing" is then the true answer. Where that would be a fault, as in
    /// every sum that is kept, [`checked_sub`](Self::checked_sub) says so (M1).
    #[must_use]
    pub fn saturating_sub(self, rhs: Self) -> Self {
        Self(self.0.saturating_sub(rhs.0))
    }

    /// The product with a plain count.
    ///
    /// # Errors
    /// [`AmountOverflow`] above `uint128`.
    pub fn checked_mul(self, count: u128) -> Result<Self, AmountOverflow> {
        self.0.checked_mul(count).map(Self).ok_or(AmountOverflow)
    }

    /// The same number as the chain's word.
    #[must_use]
    pub fn to_u256(self) -> U256 {
        U256::from(self.0)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Amount {
    type Err = ParseAmountError;

    /// Parses decimal digits alone: no sign, no space, no point, no exponent.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(ParseAmountError::NotDecimal);
        }
        text.parse()
            .map(Self)
            .map_err(|_| ParseAmountError::TooLarge)
    }
}

impl TryFrom<U256> for Amount {
    type Error = AmountOverflow;

    fn try_from(word: U256) -> Result<Self, Self::Error> {
        u128::try_from(word).map(Self).map_err(|_| AmountOverflow)
    }
}

impl From<u64> for Amount {
    fn from(base_units: u64) -> Self {
        Self(u128::from(base_units))
    }
}

/// An amount left the range of `uint128`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("amount outside 0..2^128")]
pub struct AmountOverflow;

/// A text that is not an amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseAmountError {
    /// Something other than decimal digits, or nothing at all.
    #[error("amount is not a string of decimal digits")]
    NotDecimal,
    /// More than `uint128` holds.
    #[error("amount is above 2^128 - 1")]
    TooLarge,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parsing_takes_digits_only() {
        let check = |text: &str, expected| assert_eq!(text.parse::<Amount>(), expected, "{text:?}");
        check("0", Ok(Amount::ZERO));
        check("1000", Ok(Amount::new(1000)));
        check("007", Ok(Amount::new(7)));
        check("340282366920938463463374607431768211455", Ok(Amount::MAX));
        check(
            "340282366920938463463374607431768211456",
            Err(ParseAmountError::TooLarge),
        );
        for bad in ["", " 1", "1 ", "+1", "-1", "1.0", "1e3", "0x10", "١"] {
            check(bad, Err(ParseAmountError::NotDecimal));
        }
    }

    #[test]
    fn arithmetic_never_wraps() {
        assert_eq!(Amount::MAX.checked_add(Amount::new(1)), Err(AmountOverflow));
        assert_eq!(
            Amount::ZERO.checked_sub(Amount::new(1)),
            Err(AmountOverflow)
        );
        assert_eq!(Amount::MAX.checked_mul(2), Err(AmountOverflow));
        let (some, more) = (Amount::new(4), Amount::new(6));
        assert_eq!(more.saturating_sub(some), Amount::new(2));
        assert_eq!(some.saturating_sub(more), Amount::ZERO);
        assert_eq!(Amount::new(6).checked_mul(7), Ok(Amount::new(42)));
        assert_eq!(Amount::try_from(U256::MAX), Err(AmountOverflow));
        assert_eq!(Amount::try_from(Amount::MAX.to_u256()), Ok(Amount::MAX));
    }
}
