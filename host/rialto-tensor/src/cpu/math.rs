//! Functions of one float, the same bits on every machine.
//!
//! Each is computed in f64 by additions, multiplications and divisions alone, which IEEE 754 fixes,
//! and rounded to f32 once: the results are within a few millionths of a unit of the correctly
//! rounded ones, need no system library, and the loops over them suit vector instructions. The
//! polynomials are Taylor series on reduced arguments, and a Chebyshev fit for the error function.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_PI, LN_2, LOG2_E};

use super::cells::narrow;

/// e to the power of x; relative error below 1e-11.
#[inline(always)]
pub(crate) fn exp64(x: f64) -> f64 {
    let x = if x < -745.0 { -745.0 } else { x };
    let x = if x > 709.5 { 709.5 } else { x };
    let shifted = x * LOG2_E + ROUNDER;
    let n = shifted - ROUNDER;
    let r = x - n * LN_2;
    let p = EXP.iter().fold(0.0, |sum, c| sum * r + c);
    // Two factors, so that results below the normal range are reached.
    let bits = shifted.to_bits().wrapping_shl(52);
    let half = f64::from_bits(0x3ff0_0000_0000_0000_u64.wrapping_add(bits));
    if x > -700.0 { p * half } else { 0.0 * p }
}

/// e to the power of x.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    narrow(exp64(f64::from(x)))
}

/// The natural logarithm of a positive, normal or infinite number.
#[inline(always)]
fn ln_positive(x: f64) -> f64 {
    let bits = x.to_bits();
    // Split so that the mantissa lies between sqrt(1/2) and sqrt(2).
    let shifted = bits.wrapping_sub(0x3fe6_a09e_667f_3bcd);
    let exponent = (shifted >> 52) ^ 0x800;
    let mantissa = f64::from_bits(bits.wrapping_sub(shifted & 0xfff0_0000_0000_0000));
    let e = f64::from_bits(0x4330_0000_0000_0000 | (exponent & 0xfff)) - (TWO_52 + 2048.0);
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let z = s * s;
    let p = LN.iter().fold(0.0, |sum, c| sum * z + c);
    e * LN_2 + s * p
}

#[inline(always)]
pub(crate) fn ln64(x: f64) -> f64 {
    let y = ln_positive(x);
    let y = if x == f64::INFINITY { x } else { y };
    let y = if x == 0.0 { f64::NEG_INFINITY } else { y };
    if x >= 0.0 { y } else { f64::NAN }
}

/// The natural logarithm.
#[inline(always)]
pub(crate) fn ln(x: f32) -> f32 {
    narrow(ln64(f64::from(x)))
}

#[inline(always)]
fn sigmoid64(x: f64) -> f64 {
    1.0 / (1.0 + exp64(-x))
}

/// `1 / (1 + exp(-x))`.
#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    narrow(sigmoid64(f64::from(x)))
}

/// `x * sigmoid(x)`.
#[inline(always)]
pub(crate) fn silu(x: f32) -> f32 {
    let wide = f64::from(x);
    let y = wide * sigmoid64(wide);
    narrow(if wide == f64::NEG_INFINITY { 0.0 } else { y })
}

/// The hyperbolic tangent.
#[inline(always)]
pub(crate) fn tanh(x: f32) -> f32 {
    let x = f64::from(x);
    let z = x * x;
    let near = x * (1.0 + z * (-1.0 / 3.0 + z * (2.0 / 15.0 - z * (17.0 / 315.0))));
    let far = 1.0 - 2.0 / (exp64(2.0 * x) + 1.0);
    narrow(if z < 4e-4 { near } else { far })
}

/// The complement of the error function; relative error below 1e-10.
#[inline(always)]
fn erfc64(x: f64) -> f64 {
    let a = x.abs();
    let a = if a > 26.0 { 26.0 } else { a };
    let t = 2.0 / (2.0 + a);
    let p = ERFC.iter().fold(0.0, |sum, c| sum * t + c);
    let far = t * p * exp64(-a * a);
    if x < 0.0 { 2.0 - far } else { far }
}

/// The error function near zero.
#[inline(always)]
fn erf_near(x: f64) -> f64 {
    let z = x * x;
    x * ERF.iter().fold(0.0, |sum, c| sum * z + c)
}

/// The error function.
#[inline(always)]
pub(crate) fn erf(x: f32) -> f32 {
    let x = f64::from(x);
    let far = 1.0 - erfc64(x);
    narrow(if x.abs() < 0.5 { erf_near(x) } else { far })
}

/// The Gaussian error linear unit, exact: `x * (1 + erf(x / sqrt 2)) / 2`.
#[inline(always)]
pub(crate) fn gelu(x: f32) -> f32 {
    let x = f64::from(x);
    let y = 0.5 * x * erfc64(-x * FRAC_1_SQRT_2);
    narrow(if x == f64::NEG_INFINITY { 0.0 } else { y })
}

/// Its approximation `x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))) / 2`.
#[inline(always)]
pub(crate) fn gelu_tanh(x: f32) -> f32 {
    let x = f64::from(x);
    let u = SQRT_2_PI * (x + 0.044_715 * x * x * x);
    let y = x * sigmoid64(2.0 * u);
    narrow(if x == f64::NEG_INFINITY { 0.0 } else { y })
}

/// Sine and cosine of an angle up to 2^28.
#[inline(always)]
pub(crate) fn sin_cos64(x: f64) -> (f64, f64) {
    let shifted = x * FRAC_2_PI + ROUNDER;
    let n = shifted - ROUNDER;
    let quadrant = shifted.to_bits();
    let r = (x - n * PI_2_HIGH) - n * PI_2_LOW;
    let z = r * r;
    let sin = r * SIN.iter().fold(0.0, |sum, c| sum * z + c);
    let cos = COS.iter().fold(0.0, |sum, c| sum * z + c);
    let (a, b) = if quadrant & 1 == 0 {
        (sin, cos)
    } else {
        (cos, sin)
    };
    let sin = if quadrant & 2 == 0 { a } else { -a };
    let cos = if quadrant.wrapping_add(1) & 2 == 0 {
        b
    } else {
        -b
    };
    (sin, cos)
}

/// Sine and cosine of any angle. Beyond 2^28 the system's functions are used.
pub(crate) fn sin_cos(x: f64) -> (f64, f64) {
    if x.abs() < ANGLE_MAX {
        sin_cos64(x)
    } else {
        x.sin_cos()
    }
}

/// The sine. Beyond 2^28 the system's function is used.
#[inline(always)]
pub(crate) fn sin(x: f32) -> f32 {
    let x = f64::from(x);
    narrow(if x.abs() < ANGLE_MAX {
        sin_cos64(x).0
    } else {
        x.sin()
    })
}

/// The cosine. Beyond 2^28 the system's function is used.
#[inline(always)]
pub(crate) fn cos(x: f32) -> f32 {
    let x = f64::from(x);
    narrow(if x.abs() < ANGLE_MAX {
        sin_cos64(x).1
    } else {
        x.cos()
    })
}

/// x to the power of y, with the special cases of IEEE 754's `pow`.
#[inline]
pub(crate) fn pow(x: f32, y: f32) -> f32 {
    let (x, y) = (f64::from(x), f64::from(y));
    if y == 0.0 || x == 1.0 {
        return 1.0;
    }
    if x.is_nan() || y.is_nan() {
        return f32::NAN;
    }
    let whole = y.floor() == y;
    let odd = whole && y.abs() < TWO_52 && (y * 0.5).floor() * 2.0 != y;
    if x.abs() == 1.0 {
        return if whole {
            if odd { -1.0 } else { 1.0 }
        } else {
            f32::NAN
        };
    }
    if x < 0.0 && x.is_finite() && !whole {
        return f32::NAN;
    }
    let size = narrow(exp64(y * ln64(x.abs())));
    if odd && x.is_sign_negative() {
        -size
    } else {
        size
    }
}

/// The larger; NaN if either is.
#[inline(always)]
pub(crate) fn max(a: f32, b: f32) -> f32 {
    if a > b || a.is_nan() { a } else { b }
}

/// The smaller; NaN if either is.
#[inline(always)]
pub(crate) fn min(a: f32, b: f32) -> f32 {
    if a < b || a.is_nan() { a } else { b }
}

/// Adding it rounds to whole numbers, which then are the low bits.
const ROUNDER: f64 = 6_755_399_441_055_744.0;
const TWO_52: f64 = 4_503_599_627_370_496.0;
const ANGLE_MAX: f64 = 268_435_456.0;
const SQRT_2_PI: f64 = 0.797_884_560_802_865_4;
/// Half of pi in two parts, the first with zeros enough for exact products.
const PI_2_HIGH: f64 = 1.5707963109016418;
const PI_2_LOW: f64 = 1.5893254773528197e-8;

/// 1 / n!, highest first.
const EXP: [f64; 11] = [
    1.0 / 3_628_800.0,
    1.0 / 362_880.0,
    1.0 / 40_320.0,
    1.0 / 5_040.0,
    1.0 / 720.0,
    1.0 / 120.0,
    1.0 / 24.0,
    1.0 / 6.0,
    0.5,
    1.0,
    1.0,
];
/// 2 / (2n + 1).
const LN: [f64; 8] = [
    2.0 / 15.0,
    2.0 / 13.0,
    2.0 / 11.0,
    2.0 / 9.0,
    2.0 / 7.0,
    2.0 / 5.0,
    2.0 / 3.0,
    2.0,
];
/// A Chebyshev fit of `exp(x^2) erfc(x) / t` in `t = 2 / (2 + x)` for x up to 11; error 1.5e-11.
const ERFC: [f64; 14] = [
    0.030_433_489_875_911_695,
    -0.236_035_826_324_830_58,
    0.796_259_966_710_504_4,
    -1.501_153_192_639_402,
    1.678_358_120_516_994_8,
    -1.093_704_957_404_844_5,
    0.443_576_001_441_431_9,
    -0.214_060_779_245_835_36,
    0.029_655_288_981_246_735,
    0.078_982_745_966_362_11,
    0.176_671_691_565_992_4,
    0.246_829_343_254_843_96,
    0.282_093_230_776_531_64,
    0.282_094_876_541_814_5,
];
const FACTOR: f64 = std::f64::consts::FRAC_2_SQRT_PI;
/// Taylor series of the error function over x.
const ERF: [f64; 9] = [
    FACTOR / (40_320.0 * 17.0),
    -FACTOR / (5_040.0 * 15.0),
    FACTOR / (720.0 * 13.0),
    -FACTOR / (120.0 * 11.0),
    FACTOR / (24.0 * 9.0),
    -FACTOR / (6.0 * 7.0),
    FACTOR / (2.0 * 5.0),
    -FACTOR / 3.0,
    FACTOR,
];
const SIN: [f64; 6] = [
    -1.0 / 39_916_800.0,
    1.0 / 362_880.0,
    -1.0 / 5_040.0,
    1.0 / 120.0,
    -1.0 / 6.0,
    1.0,
];
const COS: [f64; 7] = [
    1.0 / 479_001_600.0,
    -1.0 / 3_628_800.0,
    1.0 / 40_320.0,
    -1.0 / 720.0,
    1.0 / 24.0,
    -0.5,
    1.0,
];

#[cfg(test)]
mod tests;
