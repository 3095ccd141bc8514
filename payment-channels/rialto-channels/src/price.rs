//! Prices of methods: what a call costs at most, quoted before it runs, and what it costs by the
//! meter, charged after.
//!
//! The ceiling follows from the price list, the size of the request and the limits of the call,
//! or is stated in the list. The charge is the meter's sum and never above the ceiling.
//!
//! Not here: where prices come from (the manifest) and exchange rates (nowhere).

use crate::{
    Amount, AmountOverflow,
    receipt::{DeviceUsage, Usage},
};

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
    /// For each run of a model or of recorded tensor operations.
    pub per_tensor_run: Amount,
    /// For each started millisecond on a device, beside `per_host_ms`.
    pub per_device_ms: Amount,
    /// For each started thousand million multiplications with addition.
    pub per_giga_multiply_adds: Amount,
    /// For each started MiB (1,048,576 bytes) of tensors moved between guest and device.
    pub per_moved_mib: Amount,
    /// For each token that a language model reads.
    pub per_token_read: Amount,
    /// For each token that a language model writes.
    pub per_token_written: Amount,
    /// The most that a call costs whatever the meter says, other services left out; if absent, what the limits
    /// allow.
    pub max: Option<Amount>,
    /// The most that a call spends on other services, which is charged as it was spent, beside all the rest.
    pub spend_max: Amount,
}

/// What bounds the meter of one call; the ceiling is quoted for a call that uses all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Most bytes of the answer.
    pub output_bytes_max: u64,
    /// Most milliseconds that the call may take, in guest and host together.
    pub time_ms_max: u64,
    /// Most runs of a model or of recorded tensor operations.
    pub tensor_runs_max: u64,
    /// Most multiplications with addition.
    pub multiply_adds_max: u64,
    /// Most bytes of tensors moved between guest and device.
    pub moved_bytes_max: u64,
    /// Most tokens that language models read, and most that they write.
    pub tokens_max: u64,
}

impl MethodPrice {
    /// The ceiling: the most that a call with so many bytes of input costs within `bounds`.
    ///
    /// # Errors
    /// [`AmountOverflow`] if the price list is absurd and states no maximum (M1).
    pub fn ceiling(&self, input_bytes: u64, bounds: &Bounds) -> Result<Amount, AmountOverflow> {
        let worst = self.worst(input_bytes, bounds);
        let own = match self.max {
            Some(max) => worst.map_or(max, |worst| worst.min(max)),
            None => worst?,
        };
        own.checked_add(self.spend_max)
    }

    /// What a call costs by the meter that uses all of `bounds`.
    fn worst(&self, input_bytes: u64, bounds: &Bounds) -> Result<Amount, AmountOverflow> {
        let most = Usage {
            // A guest and its host functions take turns, so only the dearer of the two counts.
            guest_time_us: bounds.time_ms_max.saturating_mul(MS_US),
            input_bytes,
            output_bytes: bounds.output_bytes_max,
            tensor_runs: bounds.tensor_runs_max,
            device: DeviceUsage {
                multiply_adds: bounds.multiply_adds_max,
                moved_bytes: bounds.moved_bytes_max,
                tokens_read: bounds.tokens_max,
                tokens_written: bounds.tokens_max,
                ..DeviceUsage::default()
            },
            ..Usage::default()
        };
        // Time on a device is time inside a host function.
        let in_host = self.per_host_ms.checked_add(self.per_device_ms)?;
        let dearer = Self {
            per_guest_ms: self.per_guest_ms.max(in_host),
            ..*self
        };
        // All times are counted in started milliseconds, so one more of each may be started.
        let started = self.per_guest_ms.checked_add(in_host)?;
        dearer.metered(&most)?.checked_add(started)
    }

    /// The charge for a call that used so much: the meter's sum, or the ceiling if that is less; what was spent on
    /// other services comes first.
    #[must_use]
    pub fn charge(&self, usage: &Usage, ceiling: Amount) -> Amount {
        let spent = usage.hires.spent.min(self.spend_max).min(ceiling);
        // What is kept for other services is nothing that the meter may count.
        let kept = self.spend_max.min(ceiling);
        let own = ceiling.checked_sub(kept).unwrap_or(Amount::ZERO);
        // A sum that is no amount is above every ceiling.
        let metered = self.metered(usage).map_or(own, |metered| metered.min(own));
        spent.checked_add(metered).unwrap_or(ceiling)
    }

    /// The price list of what the meter counts: for an answer that came in part, because the service
    /// failed.
    #[must_use]
    pub const fn without_call(&self) -> Self {
        Self {
            call: Amount::ZERO,
            ..*self
        }
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
            self.per_device_ms,
            self.spend_max,
        ]
        .iter()
        .chain(&self.unbounded_parts())
        .any(|part| !part.is_zero())
    }

    /// True if a part of the price is for something that no limit of a call bounds, so that only
    /// [`max`](Self::max) makes a useful ceiling.
    #[must_use]
    pub fn needs_max(&self) -> bool {
        !self.per_tensor_run.is_zero() || self.unbounded_parts().iter().any(|part| !part.is_zero())
    }

    const fn unbounded_parts(&self) -> [Amount; 4] {
        [
            self.per_giga_multiply_adds,
            self.per_moved_mib,
            self.per_token_read,
            self.per_token_written,
        ]
    }

    fn metered(&self, usage: &Usage) -> Result<Amount, AmountOverflow> {
        let parts = [
            (self.per_input_kib, usage.input_bytes.div_ceil(KIB_BYTES)),
            (self.per_output_kib, usage.output_bytes.div_ceil(KIB_BYTES)),
            (self.per_guest_ms, usage.guest_time_us.div_ceil(MS_US)),
            (self.per_host_ms, usage.host_time_us.div_ceil(MS_US)),
            (self.per_tensor_run, usage.tensor_runs),
            (self.per_device_ms, usage.device.time_us.div_ceil(MS_US)),
            (
                self.per_giga_multiply_adds,
                usage.device.multiply_adds.div_ceil(GIGA),
            ),
            (
                self.per_moved_mib,
                usage.device.moved_bytes.div_ceil(MIB_BYTES),
            ),
            (self.per_token_read, usage.device.tokens_read),
            (self.per_token_written, usage.device.tokens_written),
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
const MIB_BYTES: u64 = 1 << 20;
const GIGA: u64 = 1_000_000_000;
const MS_US: u64 = 1000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::receipt::HireUsage;

    const BOUNDS: Bounds = Bounds {
        output_bytes_max: 10 << 10,
        time_ms_max: 50,
        tensor_runs_max: 4,
        multiply_adds_max: 3_000_000_000,
        moved_bytes_max: 2 << 20,
        tokens_max: 5,
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
    fn other_services_are_charged_as_they_were_spent_and_beside_the_rest() {
        let price = MethodPrice {
            call: amount(100),
            per_guest_ms: amount(1),
            max: Some(amount(120)),
            spend_max: amount(1_000),
            ..MethodPrice::default()
        };
        let ceiling = price.ceiling(0, &BOUNDS).unwrap();
        assert_eq!(ceiling, amount(1_120));
        let charged = |spent, guest_time_us| {
            let usage = Usage {
                guest_time_us,
                hires: HireUsage {
                    calls: 1,
                    spent: amount(spent),
                },
                ..Usage::default()
            };
            price.charge(&usage, ceiling).get()
        };
        assert_eq!(charged(0, 5_000), 105);
        assert_eq!(charged(700, 5_000), 805);
        // The meter takes nothing of what is kept for others, and they nothing of its part.
        assert_eq!(charged(0, 900_000), 120);
        assert_eq!(charged(u128::MAX, 900_000), 1_120);
        assert!(price.is_metered() && !price.needs_max());
    }

    #[test]
    fn every_part_of_a_device_is_charged_by_itself() {
        let check = |price: MethodPrice, device: DeviceUsage, expected, ceiling, bounded: bool| {
            let usage = Usage {
                device,
                ..Usage::default()
            };
            assert_eq!(price.charge(&usage, Amount::MAX), amount(expected));
            assert_eq!(price.ceiling(0, &BOUNDS), Ok(amount(ceiling)));
            assert!(price.is_metered() && !price.is_free());
            assert_eq!(price.needs_max(), !bounded);
        };
        let (price, used, one) = (
            MethodPrice::default(),
            DeviceUsage {
                time_us: 2_001,
                multiply_adds: 1_000_000_001,
                moved_bytes: (1 << 20) + 1,
                tokens_read: 4,
                tokens_written: 3,
            },
            amount(1),
        );
        let mut part = price;
        part.per_device_ms = one;
        check(part, used, 3, 51, true);
        part = price;
        part.per_giga_multiply_adds = one;
        check(part, used, 2, 3, false);
        part = price;
        part.per_moved_mib = one;
        check(part, used, 2, 2, false);
        part = price;
        part.per_token_read = one;
        check(part, used, 4, 5, false);
        part = price;
        part.per_token_written = one;
        check(part, used, 3, 5, false);
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
            parts in prop::array::uniform11(0..1_000_000_u128),
            input in 0..100_000_u64, output in 0..=BOUNDS.output_bytes_max,
            time_us in 0..=BOUNDS.time_ms_max * 1000, share in 0.0..=1.0_f64,
            runs in 0..=BOUNDS.tensor_runs_max, adds in 0..=BOUNDS.multiply_adds_max,
            moved in 0..=BOUNDS.moved_bytes_max, tokens in 0..=BOUNDS.tokens_max, max in prop::option::of(0..2_000_000_u128),
        ) {
            let [
                call, per_input_kib, per_output_kib, per_guest_ms, per_host_ms, per_tensor_run,
                per_device_ms, per_giga_multiply_adds, per_moved_mib, per_token_read, per_token_written,
            ] = parts.map(Amount::new);
            let price = MethodPrice {
                call, per_input_kib, per_output_kib, per_guest_ms, per_host_ms, per_tensor_run,
                per_device_ms, per_giga_multiply_adds, per_moved_mib, per_token_read, per_token_written,
                max: max.map(Amount::new), spend_max: Amount::ZERO,
            };
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a share of a small number")]
            let guest_time_us = (time_us as f64 * share) as u64;
            let usage = Usage {
                guest_time_us, host_time_us: time_us - guest_time_us.min(time_us),
                device: DeviceUsage {
                    time_us: time_us - guest_time_us.min(time_us), multiply_adds: adds,
                    moved_bytes: moved, tokens_read: tokens, tokens_written: tokens,
                },
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
