//! Fixed-point arithmetic for ranking and reputation: logarithms and halving, exact and the same on
//! every machine.
//!
//! Non-goals: money, which is never rounded (M1), and anything with a sign.

/// What stands for one in a logarithm of this module.
pub(crate) const LOG_ONE: u64 = 1 << LOG_BITS;

/// The logarithm of `value` to base two in 1/1024ths, rounded down; 0 for 0 and for 1. Never falls as
/// `value` grows.
pub(crate) fn log2(value: u128) -> u64 {
    let Some(whole) = value.checked_ilog2() else {
        return 0;
    };
    // The mantissa with 31 bits after the point: from one to just below two.
    let shifted = match whole.checked_sub(MANTISSA_BITS) {
        Some(down) => value.checked_shr(down),
        None => value.checked_shl(MANTISSA_BITS.saturating_sub(whole)),
    };
    let mut mantissa = u64::try_from(shifted.unwrap_or(0)).unwrap_or(0);
    let mut log = u64::from(whole);
    for _ in 0..LOG_BITS {
        mantissa = mantissa.saturating_mul(mantissa) >> MANTISSA_BITS;
        let bit = mantissa >> MANTISSA_BITS.saturating_add(1);
        mantissa = mantissa.checked_shr(u32::from(bit != 0)).unwrap_or(0);
        log = log.saturating_mul(2).saturating_add(bit);
    }
    log
}

/// `value` halved so many times.
pub(crate) fn halved(value: u64, times: u64) -> u64 {
    let times = u32::try_from(times).unwrap_or(u32::MAX);
    value.checked_shr(times).unwrap_or(0)
}

/// `value x of / whole`, rounded down, at most `u64::MAX`; a `whole` of nothing counts as one.
pub(crate) fn scaled(value: u64, of: u64, whole: u64) -> u64 {
    let product = u128::from(value).saturating_mul(u128::from(of));
    let quotient = product.checked_div(u128::from(whole)).unwrap_or(product);
    u64::try_from(quotient).unwrap_or(u64::MAX)
}

const LOG_BITS: u32 = 10;
const MANTISSA_BITS: u32 = 31;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn logarithms() {
        let check = |value: u128, expected: u64| assert_eq!(log2(value), expected, "{value}");
        check(0, 0);
        check(1, 0);
        check(2, 1_024);
        // 1.58496 x 1024 = 1623.0; 3.32193 x 1024 = 3401.7.
        check(3, 1_623);
        check(10, 3_401);
        check(1 << 40, 40 * 1_024);
        check(1 << 127, 127 * 1_024);
        // All but 128.
        check(u128::MAX, 128 * 1_024 - 1);
    }

    #[test]
    fn halving_ends_at_nothing() {
        let check = |value, times, expected| assert_eq!(halved(value, times), expected);
        check(9, 0, 9);
        check(9, 1, 4);
        check(u64::MAX, 63, 1);
        check(u64::MAX, 64, 0);
        check(u64::MAX, u64::MAX, 0);
    }

    #[test]
    fn scaling_never_overflows() {
        assert_eq!(scaled(7, 3, 2), 10);
        assert_eq!(scaled(u64::MAX, 1_000, 1_000), u64::MAX);
        assert_eq!(scaled(u64::MAX, 2, 1), u64::MAX);
        assert_eq!(scaled(7, 3, 0), 21);
    }

    proptest! {
        #[test]
        fn logarithms_never_fall(one: u128, other: u128, near in 0u128..1_000) {
            let (less, more) = (one.min(other), one.max(other));
            prop_assert!(log2(less) <= log2(more));
            prop_assert!(log2(less) <= log2(less.saturating_add(near)));
        }
    }
}
