//! Numbers as A2A's clients write them. Data travels through protobuf's `Value` in many of them, which knows only
//! floating point: a whole number comes as `40.0`. Services and payments want it whole.

use serde_json::{Number, Value};

/// Writes whole numbers as such, everywhere within a value, as far as floating point holds them exactly.
pub(crate) fn whole(value: &mut Value) {
    match value {
        Value::Number(number) => {
            if let Some(whole) = as_whole(number) {
                *number = whole;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(whole),
        Value::Object(fields) => fields.values_mut().for_each(whole),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

fn as_whole(number: &Number) -> Option<Number> {
    let float = number.as_f64().filter(|_| number.is_f64())?;
    if float.fract() != 0.0 || float.abs() > EXACT_MAX {
        return None;
    }
    let whole: i64 = format!("{float:.0}").parse().ok()?;
    Some(whole.into())
}

/// 2^53: whole numbers up to here are exact.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn whole_numbers_are_whole_again() {
        let mut value =
            json!({"a": 40.0, "b": [1.5, -2.0, -0.0, 1e300], "c": "3.0", "d": u64::MAX});
        whole(&mut value);
        let expected = r#"{"a":40,"b":[1.5,-2,0,1e+300],"c":"3.0","d":18446744073709551615}"#;
        assert_eq!(value.to_string(), expected);
    }
}
