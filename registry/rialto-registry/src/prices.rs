//! The table `prices` of a manifest, checked.
//!
//! Non-goals: what a call costs, which `rialto_channels::price` computes.

use std::collections::BTreeMap;

use rialto_channels::{
    Amount,
    price::{Bounds, MethodPrice},
};

use crate::{
    Limits, MethodName,
    problem::{Problems, quoted, required},
    raw::{RawAmount, RawPrice},
};

impl Limits {
    /// What these limits allow the meter of one call to count.
    #[must_use]
    pub const fn bounds(&self) -> Bounds {
        Bounds {
            output_bytes_max: self.output_bytes_max,
            time_ms_max: self.time_ms_max,
            // Each run is a call from the guest to the host.
            tensor_runs_max: self.host_calls_max,
            // A manifest does not limit these: whoever prices them states a maximum.
            multiply_adds_max: u64::MAX,
            moved_bytes_max: u64::MAX,
            tokens_max: u64::MAX,
        }
    }
}

pub(crate) fn prices(
    raw: BTreeMap<String, RawPrice>,
    limits: &Limits,
    problems: &mut Problems,
) -> BTreeMap<MethodName, MethodPrice> {
    let mut prices = BTreeMap::new();
    for (key, raw) in raw {
        let field = format!("prices.{key}");
        let name: Option<MethodName> =
            problems.take(&field, quoted(&key, key.parse()), WRITE_METHOD);
        let price = price(&field, &raw, limits, problems);
        if let (Some(name), Some(price)) = (name, price)
            && prices.insert(name, price).is_some()
        {
            problems.add(
                field,
                "names a method that is listed already",
                "each method once",
            );
        }
    }
    prices
}

fn price(
    field: &str,
    raw: &RawPrice,
    limits: &Limits,
    problems: &mut Problems,
) -> Option<MethodPrice> {
    let within = |name: &str| format!("{field}.{name}");
    let call = required(&within("call"), raw.call.as_ref(), WRITE_AMOUNT, problems)
        .and_then(|value| amount(&within("call"), value, problems));
    let mut part = |name: &str, value: &Option<RawAmount>| match value {
        Some(value) => amount(&within(name), value, problems),
        None => Some(Amount::ZERO),
    };
    let per_input_kib = part("per_input_kib", &raw.per_input_kib);
    let per_output_kib = part("per_output_kib", &raw.per_output_kib);
    let per_guest_ms = part("per_guest_ms", &raw.per_guest_ms);
    let per_host_ms = part("per_host_ms", &raw.per_host_ms);
    let per_tensor_run = part("per_tensor_run", &raw.per_tensor_run);
    let per_device_ms = part("per_device_ms", &raw.per_device_ms);
    let per_giga_multiply_adds = part("per_giga_multiply_adds", &raw.per_giga_multiply_adds);
    let per_moved_mib = part("per_moved_mib", &raw.per_moved_mib);
    let per_token_read = part("per_token_read", &raw.per_token_read);
    let per_token_written = part("per_token_written", &raw.per_token_written);
    let spend_max = part("spend_max", &raw.spend_max);
    let max = match &raw.max {
        Some(value) => Some(amount(&within("max"), value, problems)?),
        None => None,
    };
    let price = MethodPrice {
        call: call?,
        per_input_kib: per_input_kib?,
        per_output_kib: per_output_kib?,
        per_guest_ms: per_guest_ms?,
        per_host_ms: per_host_ms?,
        per_tensor_run: per_tensor_run?,
        per_device_ms: per_device_ms?,
        per_giga_multiply_adds: per_giga_multiply_adds?,
        per_moved_mib: per_moved_mib?,
        per_token_read: per_token_read?,
        per_token_written: per_token_written?,
        max,
        spend_max: spend_max?,
    };
    check(field, &price, limits, problems);
    Some(price)
}

/// Values that only make sense together.
fn check(field: &str, price: &MethodPrice, limits: &Limits, problems: &mut Problems) {
    let field = format!("{field}.max");
    let Some(max) = price.max else {
        if price.needs_max() {
            problems.add(
                field,
                "is missing, yet runs, multiply-adds, moved bytes or tokens are priced and nothing \
                 else bounds their number",
                WRITE_MAX,
            );
        } else if price
            .ceiling(limits.input_bytes_max, &limits.bounds())
            .is_err()
        {
            let found = "is missing, and a call within the limits could cost more than 2^128 - 1";
            problems.add(field, found, WRITE_MAX);
        }
        return;
    };
    if max < price.call {
        let found = format!("= {max} is below the price of a call, {}", price.call);
        problems.add(field, found, WRITE_MAX);
    } else if max.is_zero() && !price.is_free() {
        problems.add(field, "= 0 makes every call free", WRITE_MAX);
    }
}

fn amount(field: &str, raw: &RawAmount, problems: &mut Problems) -> Option<Amount> {
    let parsed = match raw {
        RawAmount::Text(text) => quoted(text, text.parse::<Amount>()),
        RawAmount::Number(number) => quoted(&number.to_string(), number.to_string().parse()),
    };
    problems.take(field, parsed, WRITE_AMOUNT)
}

const WRITE_METHOD: &str = "an exported function's name, such as `[prices.identify]`";
const WRITE_AMOUNT: &str = "a whole number of token base units, such as \"100\"";
const WRITE_MAX: &str =
    "the most that one call may cost, in base units, at least the price of a call";
