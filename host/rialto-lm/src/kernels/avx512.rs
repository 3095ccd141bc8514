//! Products with AVX-512 and its vector neural network instructions.

use core::arch::x86_64::{
    __m256i, __m512, __m512i, _MM_HINT_T0, _mm_prefetch, _mm256_loadu_si256, _mm512_add_epi32,
    _mm512_add_ps, _mm512_and_si512, _mm512_cvtepi32_ps, _mm512_cvtph_ps, _mm512_dpbusd_epi32,
    _mm512_load_si512, _mm512_mul_ps, _mm512_set1_epi8, _mm512_set1_epi32, _mm512_set1_ps,
    _mm512_setzero_ps, _mm512_setzero_si512, _mm512_srli_epi16, _mm512_storeu_ps,
};

use super::{LANES, Line, Rows, Tile};

/// Dispatches on the tile's width and the matrix's layout.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
pub(super) fn multiply(rows: &Rows<'_>, tile: &Tile, out: &mut [[f32; LANES]]) {
    macro_rules! widths {
        ($($width:literal)*) => {
            match (tile.width, rows.layout.eight, rows.layout.offset) {
                $(
                    ($width, false, None) => product::<$width, false, true>(rows, tile, out),
                    ($width, false, Some(_)) => product::<$width, false, false>(rows, tile, out),
                    ($width, true, None) => product::<$width, true, true>(rows, tile, out),
                    ($width, true, Some(_)) => product::<$width, true, false>(rows, tile, out),
                )*
                _ => super::scalar::multiply(rows, tile, out),
            }
        };
    }
    widths!(1 2 3 4 5 6 7 8);
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
fn product<const W: usize, const EIGHT: bool, const MINS: bool>(
    rows: &Rows<'_>,
    tile: &Tile,
    out: &mut [[f32; LANES]],
) {
    let lines = if EIGHT { 8 } else { 4 };
    let offset = -i32::from(rows.layout.offset.unwrap_or(0));
    let codes = tile.codes.as_chunks::<W>().0;
    let factors = tile.scales.as_chunks::<W>().0;
    let sums = tile.sums.as_chunks::<W>().0;
    let row_lines = rows.codes.chunks_exact(rows.blocks * lines);
    let row_scales = rows.scales.chunks_exact(rows.blocks);
    let mut row_mins = rows.mins.chunks_exact(rows.blocks);
    let outs = out.as_chunks_mut::<W>().0.iter_mut();
    for ((out, row_lines), row_scales) in outs.zip(row_lines).zip(row_scales) {
        let mut mins = row_mins.next().unwrap_or_default().iter();
        let mut totals = [_mm512_setzero_ps(); W];
        let blocks = row_lines.chunks_exact(lines).zip(row_scales);
        let tokens = codes.iter().zip(factors).zip(sums);
        for ((lines, scales), ((codes, factors), sums)) in blocks.zip(tokens) {
            fetch(lines);
            let weights = unpack::<EIGHT>(lines);
            let scales = halves(scales);
            let mins = match mins.next() {
                Some(bits) if MINS => Some(halves(bits)),
                Some(_) | None => None,
            };
            for token in 0..W {
                let four = &codes[token];
                let mut even = if MINS {
                    _mm512_setzero_si512()
                } else {
                    _mm512_set1_epi32(offset.wrapping_mul(sums[token]))
                };
                let mut odd = _mm512_setzero_si512();
                for pair in 0..4 {
                    let (first, second) = (pair * 2, pair * 2 + 1);
                    even =
                        _mm512_dpbusd_epi32(even, weights[first], _mm512_set1_epi32(four[first]));
                    odd =
                        _mm512_dpbusd_epi32(odd, weights[second], _mm512_set1_epi32(four[second]));
                }
                let sum = _mm512_cvtepi32_ps(_mm512_add_epi32(even, odd));
                let scale = _mm512_mul_ps(scales, _mm512_set1_ps(factors[token]));
                totals[token] = _mm512_add_ps(totals[token], _mm512_mul_ps(sum, scale));
                if let Some(mins) = mins {
                    let all = _mm512_set1_ps(factors[token] * to_float(sums[token]));
                    totals[token] = _mm512_add_ps(totals[token], _mm512_mul_ps(mins, all));
                }
            }
        }
        for (out, total) in out.iter_mut().zip(totals) {
            // SAFETY: `out` is 16 numbers of f32, which is what one store writes.
            unsafe { _mm512_storeu_ps(out.as_mut_ptr(), total) };
        }
    }
}

/// Asks for the lines that are needed some blocks later: weights mostly come from memory. A
/// prefetch reads nothing and may be given any address.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
fn fetch(lines: &[Line]) {
    for line in lines {
        let later = (&raw const *line).wrapping_add(LINES_AHEAD);
        _mm_prefetch::<_MM_HINT_T0>(later.cast::<i8>());
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
fn unpack<const EIGHT: bool>(lines: &[Line]) -> [__m512i; 8] {
    let mut weights = [_mm512_setzero_si512(); 8];
    if EIGHT {
        for (weights, line) in weights.iter_mut().zip(lines) {
            *weights = load(line);
        }
        return weights;
    }
    let low = _mm512_set1_epi8(15);
    for (pair, line) in weights.as_chunks_mut::<2>().0.iter_mut().zip(lines) {
        let both = load(line);
        pair[0] = _mm512_and_si512(both, low);
        pair[1] = _mm512_and_si512(_mm512_srli_epi16::<4>(both), low);
    }
    weights
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
fn load(line: &Line) -> __m512i {
    // SAFETY: a line is 64 bytes, aligned to 64.
    unsafe { _mm512_load_si512((&raw const line.0).cast::<__m512i>()) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
fn halves(bits: &[u16; LANES]) -> __m512 {
    // SAFETY: 16 numbers of 16 bits are the 32 bytes that an unaligned load of 256 bits reads.
    _mm512_cvtph_ps(unsafe { _mm256_loadu_si256(bits.as_ptr().cast::<__m256i>()) })
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a sum of 32 codes is below 2^24"
)]
const fn to_float(sum: i32) -> f32 {
    sum as f32
}

/// Four kilobytes.
const LINES_AHEAD: usize = 64;
