//! Prices of methods: what a call costs at most, quoted before it runs, and what it costs by the
//! meter, charged after.
//!
//! The ceiling follows from the price list, the size of the request and the limits of the call,
//! or is stated in the list. The charge is the meter's sum and never above the ceiling.
//!
//! Not here: where prices come from (the manifest) and exchange rates (nowhere).

use crate::{Amount, AmountOverflow, receipt::Usage};

/// The price list of one method, in base units of the provider's token. All parts add up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MethodPrice {
    /// For each call.
    pub call: Amount,
    /// For each started KiB (1,024 bytes) of the request body.
    pub per_input_kib: Amount,
    /// For each started KiB of the answer's body.
    pub per_output_kib: Amount,
    /// For each started millisecond inside the guest.
    pub per_guest_ms: Amount,
    /// For each started millisecond inside host functions, model runs above all.
    pub per_host_ms: Amount,
    /// For each run of a model.
    pub per_tensor_run: Amount,
    /// The most that a call costs whatever the meter says; if absent, what the limits allow.
    pub max: Option<Amount>,
}

/// What bounds the meter of one call; the ceiling is quoted for a call that uses all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Most bytes of the answer.
    pub output_bytes_max: u64,
    /// Most milliseconds that the call may take, in guest and host together.
    pub time_ms_max: u64,
    /// Most runs of a model.
    pub tensor_runs_max: u64,
}

impl MethodPrice {
    /// The ceiling: the most that a call with so many bytes of input costs within `bounds`.
    ///
    /// # Errors
    /// [`AmountOverflow`] if the price list is absurd and states no maximum (M1).
    pub fn ceiling(&self, input_bytes: u64, bounds: &Bounds) -> Result<Amount, AmountOverflow> {
        let most = Usage {
            // A guest and its host functions take turns, so only the dearer of the two counts.
            guest_time_us: bounds.time_ms_max.saturating_mul(MS_US),
            input_bytes,
            output_bytes: bounds.output_bytes_max,
            tensor_runs: bounds.tensor_runs_max,
            ..Usage::default()
        };
        let dearer = Self {
            per_guest_ms: self.per_guest_ms.max(self.per_host_ms),
            ..*self
        };
        // Both times are counted in started milliseconds, so one more may be started.
        let started = self.per_guest_ms.checked_add(self.per_host_ms);
        let worst = dearer
            .metered(&most)
            .and_then(|sum| sum.checked_add(started?));
        match self.max {
            Some(max) => Ok(worst.map_or(max, |worst| worst.min(max))),
            None => worst,
        }
    }

    /// The charge for a call that used so much: the meter's sum, or the ceiling if that is less.
    #[must_use]
    pub fn charge(&self, usage: &Usage, ceiling: Amount) -> Amount {
        // A sum that is no amount is above every ceiling.
        self.metered(usage)
            .map_or(ceiling, |metered| metered.min(ceiling))
    }

    /// True if no call of the method costs anything.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.call.is_zero() && self.per_input_kib.is_zero() && !self.is_metered()
    }

    /// True if the charge depends on what the call uses while it runs, so that it may be less
    /// than the ceiling.
    #[must_use]
    pub fn is_metered(&self) -> bool {
        [
            self.per_output_kib,
            self.per_guest_ms,
            self.per_host_ms,
            self.per_tensor_run,
        ]
        .iter()
        .any(|part| !part.is_zero())
    }

    fn metered(&self, usage: &Usage) -> Result<Amount, AmountOverflow> {
        let parts = [
            (self.per_input_kib, usage.input_bytes.div_ceil(KIB_BYTES)),
            (self.per_output_kib, usage.output_bytes.div_ceil(KIB_BYTES)),
            (self.per_guest_ms, usage.guest_time_us.div_ceil(MS_US)),
            (self.per_host_ms, usage.host_time_us.div_ceil(MS_US)),
            (self.per_tensor_run, usage.tensor_runs),
        ];
        parts
            .into_iter()
            .try_fold(self.call, |sum, (price, count)| {
                sum.checked_add(price.checked_mul(u128::from(count))?)
            })
    }
}

/// What an offer asks a payer to sign for one call: `headroom` times the ceiling.
///
/// The charge stays within the ceiling. The rest lets calls run at the same time on one channel:
/// a client that signs `charged + advertised` covers up to `headroom` calls in flight.
///
/// # Errors
/// [`AmountOverflow`] above `uint128`.
pub fn advertised(ceiling: Amount, headroom: u32) -> Result<Amount, AmountOverflow> {
    ceiling.checked_mul(u128::from(headroom.max(1)))
}

const KIB_BYTES: u64 = 1024;
const MS_US: u64 = 1000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOUNDS: Bounds = Bounds {
        output_bytes_max: 10 << 10,
        time_ms_max: 50,
        tensor_runs_max: 4,
    };

    fn amount(units: u128) -> Amount {
        Amount::new(units)
    }

    #[test]
    fn started_kibibytes_count() {
        let price = MethodPrice {
            call: amount(100),
            per_input_kib: amount(3),
            ..MethodPrice::default()
        };
        let check = |bytes, expected| {
            assert_eq!(price.ceiling(bytes, &BOUNDS), Ok(amount(expected)));
            let usage = Usage {
                input_bytes: bytes,
                guest_time_us: 5_000,
                output_bytes: 7_000,
                tensor_runs: 2,
                ..Usage::default()
            };
            assert_eq!(price.charge(&usage, Amount::MAX), amount(expected));
        };
        check(0, 100);
        check(1, 103);
        check(1024, 103);
        check(1025, 106);
        check(1 << 20, 100 + 3 * 1024);
        assert!(!price.is_metered() && !price.is_free());
    }

    #[test]
    fn every_part_of_the_meter_is_charged_by_itself() {
        let check = |price: MethodPrice, usage: Usage, expected, ceiling| {
            assert_eq!(price.charge(&usage, Amount::MAX), amount(expected));
            assert_eq!(price.ceiling(0, &BOUNDS), Ok(amount(ceiling)));
            assert!(price.is_metered() && !price.is_free());
        };
        let (price, usage) = (MethodPrice::default(), Usage::default());
        let per_output_kib = amount(2);
        check(
            MethodPrice {
                per_output_kib,
                ..price
            },
            Usage {
                output_bytes: 1025,
                ..usage
            },
            4,
            20,
        );
        let per_guest_ms = amount(3);
        check(
            MethodPrice {
                per_guest_ms,
                ..price
            },
            Usage {
                guest_time_us: 2_001,
                ..usage
            },
            9,
            153,
        );
        let per_host_ms = amount(5);
        check(
            MethodPrice {
                per_host_ms,
                ..price
            },
            Usage {
                host_time_us: 1,
                ..usage
            },
            5,
            255,
        );
        let per_tensor_run = amount(7);
        check(
            MethodPrice {
                per_tensor_run,
                ..price
            },
            Usage {
                tensor_runs: 3,
                ..usage
            },
            21,
            28,
        );
    }

    #[test]
    fn a_stated_maximum_is_the_ceiling() {
        let price = MethodPrice {
            call: amount(10),
            per_guest_ms: Amount::MAX,
            max: Some(amount(60)),
            ..MethodPrice::default()
        };
        assert_eq!(price.ceiling(0, &BOUNDS), Ok(amount(60)));
        let usage = Usage {
            guest_time_us: 9_000,
            ..Usage::default()
        };
        assert_eq!(price.charge(&usage, amount(60)), amount(60));
        let small = MethodPrice {
            per_guest_ms: amount(0),
            ..price
        };
        assert_eq!(small.ceiling(0, &BOUNDS), Ok(amount(10)));
    }

    #[test]
    fn an_absurd_price_is_an_error_not_a_bargain() {
        let price = MethodPrice {
            call: amount(1),
            per_input_kib: Amount::MAX,
            ..MethodPrice::default()
        };
        assert_eq!(price.ceiling(1, &BOUNDS), Err(AmountOverflow));
        assert_eq!(price.ceiling(4096, &BOUNDS), Err(AmountOverflow));
        assert_eq!(advertised(Amount::MAX, 2), Err(AmountOverflow));
    }

    #[test]
    fn headroom_multiplies_and_is_never_zero() {
        assert_eq!(advertised(amount(100), 10), Ok(amount(1000)));
        assert_eq!(advertised(amount(100), 0), Ok(amount(100)));
    }

    proptest! {
        /// Within the bounds the ceiling never cuts a charge that the meter alone would make.
        #[test]
        fn the_ceiling_covers_whatever_the_bounds_allow(
            parts in prop::array::uniform6(0..1_000_000_u128),
            input in 0..100_000_u64, output in 0..=BOUNDS.output_bytes_max,
            time_us in 0..=BOUNDS.time_ms_max * 1000, share in 0.0..=1.0_f64,
            runs in 0..=BOUNDS.tensor_runs_max, max in prop::option::of(0..2_000_000_u128),
        ) {
            let [call, per_input_kib, per_output_kib, per_guest_ms, per_host_ms, per_tensor_run] =
                parts.map(Amount::new);
            let price = MethodPrice {
                call, per_input_kib, per_output_kib, per_guest_ms, per_host_ms, per_tensor_run,
                max: max.map(Amount::new),
            };
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a share of a small number")]
            let guest_time_us = (time_us as f64 * share) as u64;
            let usage = Usage {
                guest_time_us, host_time_us: time_us - guest_time_us.min(time_us),
                input_bytes: input, output_bytes: output, tensor_runs: runs,
                ..Usage::default()
            };
            let ceiling = price.ceiling(input, &BOUNDS).unwrap();
            let free_of_limits = MethodPrice { max: None, ..price };
            let metered = free_of_limits.charge(&usage, Amount::MAX);
            prop_assert!(price.charge(&usage, ceiling) <= ceiling);
            prop_assert_eq!(price.charge(&usage, ceiling), metered.min(ceiling));
            if max.is_none() {
                prop_assert!(metered <= ceiling, "{} above {}", metered, ceiling);
            } else {
                prop_assert!(ceiling <= price.max.unwrap());
            }
        }
    }
}
