//! Everything that is not a product of quantised numbers: written once in plain Rust over arrays of
//! 16 numbers, and compiled for each instruction set.

use crate::blocks::GROUP;

use super::{GROUP_CODES, Isa, Kind, LANES, Tile};

/// Defines a function that runs its body compiled for the given instruction set.
macro_rules! compiled {
    ($(#[$doc:meta])* $name:ident($($argument:ident: $kind:ty),*) $(-> $result:ty)? $body:block) => {
        $(#[$doc])*
        pub(crate) fn $name(isa: Isa, $($argument: $kind),*) $(-> $result)? {
            #[inline(always)]
            fn body($($argument: $kind),*) $(-> $result)? $body
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,f16c")]
            fn avx2($($argument: $kind),*) $(-> $result)? { body($($argument),*) }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")]
            fn avx512($($argument: $kind),*) $(-> $result)? { body($($argument),*) }
            match isa.0 {
                Kind::Scalar => body($($argument),*),
                #[cfg(target_arch = "x86_64")]
                // SAFETY: an `Isa` of this kind exists only after its features were detected.
                Kind::Avx2 => unsafe { avx2($($argument),*) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: as above.
                Kind::Avx512 => unsafe { avx512($($argument),*) },
            }
        }
    };
}

compiled! {
    /// `out = x / rms(x) * weight`. Lengths are equal.
    norm(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
        let mut sums = [0.0_f32; LANES];
        let (chunks, rest) = x.as_chunks::<LANES>();
        for chunk in chunks {
            for (sum, x) in sums.iter_mut().zip(chunk) {
                *sum += x * x;
            }
        }
        let sum = tree(sums) + rest.iter().map(|x| x * x).sum::<f32>();
        let scale = 1.0 / (sum / length(x) + epsilon).sqrt();
        for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
            *out = x * scale * weight;
        }
    }
}

compiled! {
    /// `x += y`.
    add(x: &mut [f32], y: &[f32]) {
        for (x, y) in x.iter_mut().zip(y) {
            *x += y;
        }
    }
}

compiled! {
    /// Quantises rows of `width` numbers into a tile that has room for them.
    quantise(rows: &[f32], width: usize, tile: &mut Tile) {
        let tokens = tile.width;
        for (token, row) in rows.chunks_exact(width).enumerate() {
            let codes = tile.codes.iter_mut().skip(token).step_by(tokens);
            let scales = tile.scales.iter_mut().skip(token).step_by(tokens);
            let sums = tile.sums.iter_mut().skip(token).step_by(tokens);
            let blocks = row.as_chunks::<GROUP>().0.iter();
            for (((block, codes), scale), sum) in blocks.zip(codes).zip(scales).zip(sums) {
                (*scale, *sum) = quantise_block(block, codes);
            }
        }
    }
}

compiled! {
    /// `gate = silu(gate) * up`.
    silu_times(gate: &mut [f32], up: &[f32]) {
        for (gate, up) in gate.iter_mut().zip(up) {
            *gate = *gate / (1.0 + exp(-*gate)) * up;
        }
    }
}

compiled! {
    /// A query's products with a page of keys, which lie dimension after dimension.
    scores(query: &[f32], keys: &[[f32; 32]], scale: f32, out: &mut [f32; 32]) {
        let mut sums = [0.0_f32; 32];
        for (query, keys) in query.iter().zip(keys) {
            for (sum, key) in sums.iter_mut().zip(keys) {
                *sum += query * key;
            }
        }
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = sum * scale;
        }
    }
}

compiled! {
    /// Turns scores into weights that sum to one.
    softmax(x: &mut [f32]) {
        let mut most = [f32::NEG_INFINITY; LANES];
        let (chunks, rest) = x.as_chunks::<LANES>();
        for chunk in chunks {
            for (most, x) in most.iter_mut().zip(chunk) {
                *most = if *x > *most { *x } else { *most };
            }
        }
        let most = most.iter().chain(rest).fold(f32::NEG_INFINITY, |most, x| most.max(*x));
        for x in &mut *x {
            *x = exp(*x - most);
        }
        let mut sums = [0.0_f32; LANES];
        let (chunks, rest) = x.as_chunks::<LANES>();
        for chunk in chunks {
            for (sum, x) in sums.iter_mut().zip(chunk) {
                *sum += x;
            }
        }
        let inverse = 1.0 / (tree(sums) + rest.iter().sum::<f32>());
        for x in x {
            *x *= inverse;
        }
    }
}

compiled! {
    /// `out += weight * value` over some tokens, whose values have `out.len()` numbers each.
    mix(weights: &[f32], values: &[f32], out: &mut [f32]) {
        let width = out.len();
        for (at, out) in out.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
            let mut sums = *out;
            for (weight, value) in weights.iter().zip(values.chunks_exact(width)) {
                if let Some(value) = value.as_chunks::<LANES>().0.get(at) {
                    for (sum, value) in sums.iter_mut().zip(value) {
                        *sum += weight * value;
                    }
                }
            }
            *out = sums;
        }
    }
}

/// Quantises 32 numbers: the largest becomes 127 or -127. Returns what a code is worth and the codes'
/// sum. Numbers that are not finite make the codes meaningless.
#[inline(always)]
fn quantise_block(x: &[f32; GROUP], codes: &mut [i32; GROUP_CODES]) -> (f32, i32) {
    let mut most = [0.0_f32; LANES];
    for chunk in x.as_chunks::<LANES>().0 {
        for (most, x) in most.iter_mut().zip(chunk) {
            let size = x.abs();
            *most = if *most >= size { *most } else { size };
        }
    }
    let mut largest = 0.0_f32;
    for size in most {
        largest = if largest >= size { largest } else { size };
    }
    let scale = largest / 127.0;
    let inverse = 1.0 / scale;
    if !(inverse.is_finite() && scale.is_finite()) {
        *codes = [0; GROUP_CODES];
        return (0.0, 0);
    }
    let mut whole = [0_i32; 32];
    for (whole, x) in whole.iter_mut().zip(x) {
        // Adding 1.5 * 2^23 rounds to the nearest integer, which is then in the low bits.
        *whole = (x * inverse + ROUND)
            .to_bits()
            .cast_signed()
            .wrapping_sub(ROUND_BITS);
    }
    let mut sum = 0_i32;
    for whole in whole {
        sum = sum.wrapping_add(whole);
    }
    for (code, four) in codes.iter_mut().zip(whole.as_chunks::<4>().0) {
        let [a, b, c, d] = *four;
        *code = (a & 255) | ((b & 255) << 8) | ((c & 255) << 16) | (d << 24);
    }
    (scale, sum)
}

/// e to the power of `x`, to about one part in ten million; 0 far below, large far above.
#[inline(always)]
fn exp(x: f32) -> f32 {
    let x = if x > -87.0 { x } else { -87.0 };
    let x = if x < 88.0 { x } else { 88.0 };
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let whole = rounded - ROUND;
    // ln 2 in two parts, so that the difference keeps its digits.
    let rest = x - whole * 0.693_359_4 - whole * -2.121_944_4e-4;
    let mut sum = 1.987_569_1e-4;
    for coefficient in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 0.166_666_65, 0.5] {
        sum = sum * rest + coefficient;
    }
    let sum = sum * rest * rest + rest + 1.0;
    let power = rounded
        .to_bits()
        .wrapping_sub(ROUND_BITS.cast_unsigned())
        .wrapping_add(127);
    sum * f32::from_bits(power << 23)
}

/// The sum of 16 numbers, always in the same order.
#[inline(always)]
fn tree(mut sums: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            sums[lane] += sums[lane + half];
        }
        half /= 2;
    }
    sums[0]
}

#[inline(always)]
#[expect(
    clippy::cast_precision_loss,
    reason = "a row has far fewer than 2^24 numbers"
)]
fn length(x: &[f32]) -> f32 {
    x.len() as f32
}

const ROUND: f32 = 12_582_912.0;
const ROUND_BITS: i32 = 0x4B40_0000;
