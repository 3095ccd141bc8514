//! Products with AVX2: the 16 rows of a line in two halves.

use core::arch::x86_64::{
    __m128i, __m256, __m256i, _mm_loadu_si128, _mm256_add_epi16, _mm256_add_epi32, _mm256_add_ps,
    _mm256_and_si256, _mm256_cvtepi32_ps, _mm256_cvtph_ps, _mm256_load_si256, _mm256_madd_epi16,
    _mm256_maddubs_epi16, _mm256_mul_ps, _mm256_set1_epi8, _mm256_set1_epi16, _mm256_set1_epi32,
    _mm256_set1_ps, _mm256_setzero_ps, _mm256_setzero_si256, _mm256_slli_epi16, _mm256_srai_epi16,
    _mm256_srli_epi16, _mm256_storeu_ps,
};

use super::{LANES, Line, Rows, TILE, Tile};

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn multiply(rows: &Rows<'_>, tile: &Tile, out: &mut [[f32; LANES]]) {
    if rows.layout.eight {
        product::<true>(rows, tile, out);
    } else {
        product::<false>(rows, tile, out);
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn product<const EIGHT: bool>(rows: &Rows<'_>, tile: &Tile, out: &mut [[f32; LANES]]) {
    let lines = if EIGHT { 8 } else { 4 };
    let offset = -i32::from(rows.layout.offset.unwrap_or(0));
    for (at, outs) in out.chunks_exact_mut(tile.width).enumerate() {
        for half in 0..2 {
            let mut totals = [_mm256_setzero_ps(); TILE];
            for block in 0..rows.blocks {
                let place = at * rows.blocks + block;
                let weights = unpack::<EIGHT>(&rows.codes[place * lines..][..lines], half);
                let scales = halves(&rows.scales[place], half);
                let mins = rows.mins.get(place).map(|mins| halves(mins, half));
                for (token, total) in totals.iter_mut().take(tile.width).enumerate() {
                    let index = block * tile.width + token;
                    let (factor, sum) = (tile.scales[index], tile.sums[index]);
                    let product = dot::<EIGHT>(&weights, &tile.codes[index]);
                    let start = _mm256_set1_epi32(offset.wrapping_mul(sum));
                    let product = _mm256_cvtepi32_ps(_mm256_add_epi32(product, start));
                    let scale = _mm256_mul_ps(scales, _mm256_set1_ps(factor));
                    *total = _mm256_add_ps(*total, _mm256_mul_ps(product, scale));
                    if let Some(mins) = mins {
                        let all = _mm256_set1_ps(factor * to_float(sum));
                        *total = _mm256_add_ps(*total, _mm256_mul_ps(mins, all));
                    }
                }
            }
            for (out, total) in outs.iter_mut().zip(totals) {
                let out: &mut [f32; LANES / 2] = &mut out.as_chunks_mut().0[half];
                // SAFETY: `out` is 8 numbers of f32, which is what one store writes.
                unsafe { _mm256_storeu_ps(out.as_mut_ptr(), total) };
            }
        }
    }
}

/// 8 rows' exact products with 32 codes.
#[target_feature(enable = "avx2,fma,f16c")]
fn dot<const EIGHT: bool>(weights: &[__m256i; 8], codes: &[i32; 8]) -> __m256i {
    let ones = _mm256_set1_epi16(1);
    let mut sum = _mm256_setzero_si256();
    for (weights, four) in weights.iter().zip(codes) {
        let four = _mm256_set1_epi32(*four);
        if EIGHT {
            // Eight-bit products in pairs would not fit 16 bits: even and odd bytes apart.
            let low = _mm256_and_si256(*weights, _mm256_set1_epi16(255));
            let high = _mm256_srli_epi16::<8>(*weights);
            let even = _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(four));
            let odd = _mm256_srai_epi16::<8>(four);
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(low, even));
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(high, odd));
        } else {
            // Eight times two products of at most 15 * 127 stay below 2^15.
            sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(*weights, four));
        }
    }
    if EIGHT {
        sum
    } else {
        _mm256_madd_epi16(sum, ones)
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn unpack<const EIGHT: bool>(lines: &[Line], half: usize) -> [__m256i; 8] {
    let mut weights = [_mm256_setzero_si256(); 8];
    if EIGHT {
        for (weights, line) in weights.iter_mut().zip(lines) {
            *weights = load(line, half);
        }
        return weights;
    }
    let low = _mm256_set1_epi8(15);
    for (pair, line) in weights.as_chunks_mut::<2>().0.iter_mut().zip(lines) {
        let both = load(line, half);
        pair[0] = _mm256_and_si256(both, low);
        pair[1] = _mm256_and_si256(_mm256_srli_epi16::<4>(both), low);
    }
    weights
}

#[target_feature(enable = "avx2,fma,f16c")]
fn load(line: &Line, half: usize) -> __m256i {
    let bytes: &[u8; 32] = &line.0.as_chunks().0[half];
    // SAFETY: 32 bytes, aligned to 32: the line is aligned to 64 and this is one of its halves.
    unsafe { _mm256_load_si256(bytes.as_ptr().cast::<__m256i>()) }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn halves(bits: &[u16; LANES], half: usize) -> __m256 {
    let bits: &[u16; LANES / 2] = &bits.as_chunks().0[half];
    // SAFETY: 8 numbers of 16 bits are the 16 bytes that an unaligned load of 128 bits reads.
    _mm256_cvtph_ps(unsafe { _mm_loadu_si128(bits.as_ptr().cast::<__m128i>()) })
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a sum of 32 codes is below 2^24"
)]
const fn to_float(sum: i32) -> f32 {
    sum as f32
}
