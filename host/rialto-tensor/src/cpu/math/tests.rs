//! Against tables, the system's functions and numerical integration.

use super::*;
use proptest::prelude::*;

/// Within one and a half units in the last place.
fn close(found: f32, want: f64) {
    let want32 = narrow(want);
    if found == want32 || (found.is_nan() && want.is_nan()) {
        return;
    }
    let unit = f64::from(f32::from_bits(want32.abs().to_bits() + 1)) - f64::from(want32.abs());
    let error = (f64::from(found) - want).abs();
    assert!(error <= unit * 0.75, "found {found:e}, want {want:e}");
}

fn gelu_reference(x: f64) -> f64 {
    // Simpson's rule on the normal density, from x downwards or upwards.
    let (a, n) = (x.abs(), 20_000_i32);
    let width = 14.0 / f64::from(n);
    let density = |t: f64| (-0.5 * t * t).exp() / (2.0 * std::f64::consts::PI).sqrt();
    let tail: f64 = (0..=n)
        .map(|i| {
            let weight = match i {
                0 => 1.0,
                i if i == n => 1.0,
                i if i % 2 == 1 => 4.0,
                _ => 2.0,
            };
            weight * density(a + width * f64::from(i))
        })
        .sum::<f64>()
        * width
        / 3.0;
    x * if x < 0.0 { tail } else { 1.0 - tail }
}

#[test]
fn known_answers() {
    // From tables to ten digits.
    close(erf(0.1), 0.112_462_916_018_284_9);
    close(erf(0.5), 0.520_499_877_813_046_5);
    close(erf(1.0), 0.842_700_792_949_714_9);
    close(erf(2.0), 0.995_322_265_018_952_7);
    close(erf(-1.0), -0.842_700_792_949_714_9);
    close(gelu(1.0), 0.841_344_746_068_542_9);
    close(gelu(-1.0), -0.158_655_253_931_457_05);
    close(gelu_tanh(1.0), 0.841_191_990_608_276_7);
    for x in [-6.0_f32, -3.3, -0.7, 0.2, 0.9, 4.0] {
        close(gelu(x), gelu_reference(f64::from(x)));
    }
}

#[test]
fn special_values() {
    let inf = f32::INFINITY;
    assert_eq!((exp(inf), exp(-inf), exp(0.0)), (inf, 0.0, 1.0));
    assert_eq!((exp(89.0), exp(-110.0)), (inf, 0.0));
    assert_eq!((ln(0.0), ln(inf), ln(1.0)), (-inf, inf, 0.0));
    assert!(ln(-1.0).is_nan() && exp(f32::NAN).is_nan() && tanh(f32::NAN).is_nan());
    assert_eq!((tanh(inf), tanh(-inf), tanh(0.0)), (1.0, -1.0, 0.0));
    assert_eq!((erf(inf), erf(-inf)), (1.0, -1.0));
    assert_eq!((sigmoid(inf), sigmoid(-inf)), (1.0, 0.0));
    for f in [gelu, gelu_tanh, silu] {
        assert_eq!((f(inf), f(-inf), f(0.0)), (inf, 0.0, 0.0));
        assert!(f(f32::NAN).is_nan());
    }
    assert!(sin(inf).is_nan() && cos(f32::NAN).is_nan() && erf(f32::NAN).is_nan());
    for (x, y) in [
        (0.0, -1.0),
        (-0.0, -1.0),
        (-0.0, 3.0),
        (-2.0, 3.0),
        (-2.0, 0.5),
        (-1.0, inf),
        (0.5, inf),
        (2.0, -inf),
        (-inf, 3.0),
        (-inf, -3.0),
        (inf, 0.0),
        (f32::NAN, 0.0),
        (1.0, f32::NAN),
        (-8.0, 1e10),
        (-inf, 0.5),
    ] {
        let (found, want) = (pow(x, y), x.powf(y));
        assert!(
            found == want || (found.is_nan() && want.is_nan()),
            "{x}^{y}: {found}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]
    #[test]
    fn functions_round_almost_always_correctly(x in any::<f32>(), y in -90.0..90.0_f32) {
        let wide = f64::from(x);
        close(exp(y), f64::from(y).exp());
        close(ln(x), wide.ln());
        close(tanh(x), wide.tanh());
        close(tanh(y / 8.0), f64::from(y / 8.0).tanh());
        close(sigmoid(y), 1.0 / (1.0 + (-f64::from(y)).exp()));
        close(sin(x), wide.sin());
        close(cos(y * 1000.0), f64::from(y * 1000.0).cos());
        close(pow(x.abs(), y / 40.0), wide.abs().powf(f64::from(y / 40.0)));
    }
}
