//! Prices of methods and what a call of one costs at most.
//!
//! Not here: where prices come from (the manifest) and exchange rates (nowhere).

use crate::{Amount, AmountOverflow};

/// The price of one method, in base units of the provider's token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MethodPrice {
    /// For each call.
    pub call: Amount,
    /// For each started KiB (1,024 bytes) of the request body.
    pub per_input_kib: Amount,
}

impl MethodPrice {
    /// The price of a call with so many bytes of input.
    ///
    /// # Errors
    /// [`AmountOverflow`] if the price list is absurd (M1).
    pub fn quote(&self, input_bytes: u64) -> Result<Amount, AmountOverflow> {
        let kib = u128::from(input_bytes.div_ceil(KIB_BYTES));
        self.call.checked_add(self.per_input_kib.checked_mul(kib)?)
    }

    /// True if no call of the method costs anything.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.call.is_zero() && self.per_input_kib.is_zero()
    }
}

/// What an offer asks a payer to sign for one call: `headroom` times the price.
///
/// The charge stays the price. The rest lets calls run at the same time on one channel: a client
/// that signs `charged + advertised` covers up to `headroom` calls in flight.
///
/// # Errors
/// [`AmountOverflow`] above `uint128`.
pub fn advertised(price: Amount, headroom: u32) -> Result<Amount, AmountOverflow> {
    price.checked_mul(u128::from(headroom.max(1)))
}

const KIB_BYTES: u64 = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn started_kibibytes_count() {
        let price = MethodPrice {
            call: Amount::new(100),
            per_input_kib: Amount::new(3),
        };
        let check = |bytes, expected| assert_eq!(price.quote(bytes), Ok(Amount::new(expected)));
        check(0, 100);
        check(1, 103);
        check(1024, 103);
        check(1025, 106);
        check(1 << 20, 100 + 3 * 1024);
    }

    #[test]
    fn an_absurd_price_is_an_error_not_a_bargain() {
        let price = MethodPrice {
            call: Amount::new(1),
            per_input_kib: Amount::MAX,
        };
        assert_eq!(price.quote(1), Err(AmountOverflow));
        assert_eq!(price.quote(4096), Err(AmountOverflow));
        assert_eq!(advertised(Amount::MAX, 2), Err(AmountOverflow));
    }

    #[test]
    fn headroom_multiplies_and_is_never_zero() {
        assert_eq!(advertised(Amount::new(100), 10), Ok(Amount::new(1000)));
        assert_eq!(advertised(Amount::new(100), 0), Ok(Amount::new(100)));
    }
}
