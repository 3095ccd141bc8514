//! Products without vector instructions of a certain processor.

use half::f16;

use super::{LANES, Rows, Tile};

pub(super) fn multiply(rows: &Rows<'_>, tile: &Tile, out: &mut [[f32; LANES]]) {
    let lines = if rows.layout.eight { 8 } else { 4 };
    for (at, outs) in out.chunks_exact_mut(tile.width).enumerate() {
        outs.fill([0.0; LANES]);
        for block in 0..rows.blocks {
            let place = at * rows.blocks + block;
            let mut weights = [[0_u8; 64]; 8];
            for (line, codes) in rows.codes[place * lines..][..lines].iter().enumerate() {
                if rows.layout.eight {
                    weights[line] = codes.0;
                } else {
                    weights[line * 2] = codes.0.map(|byte| byte & 15);
                    weights[line * 2 + 1] = codes.0.map(|byte| byte >> 4);
                }
            }
            let scales = rows.scales[place].map(|bits| f16::from_bits(bits).to_f32());
            let mins = rows
                .mins
                .get(place)
                .map(|mins| mins.map(|bits| f16::from_bits(bits).to_f32()));
            for (token, out) in outs.iter_mut().enumerate() {
                let index = block * tile.width + token;
                let (scale, sum) = (tile.scales[index], tile.sums[index]);
                let start = rows
                    .layout
                    .offset
                    .map_or(0, |offset| (-i32::from(offset)).wrapping_mul(sum));
                let products = product(&weights, &tile.codes[index], start);
                for lane in 0..LANES {
                    out[lane] += products[lane] * (scales[lane] * scale);
                }
                if let Some(mins) = &mins {
                    let all = scale * to_float(sum);
                    for lane in 0..LANES {
                        out[lane] += mins[lane] * all;
                    }
                }
            }
        }
    }
}

/// 16 rows' products with one token's 32 codes, as exact integers before the conversion.
fn product(weights: &[[u8; 64]; 8], codes: &[i32; 8], start: i32) -> [f32; LANES] {
    let mut sums = [start; LANES];
    for (weights, four) in weights.iter().zip(codes) {
        let four = four.to_le_bytes().map(|byte| i32::from(byte.cast_signed()));
        for (sum, weights) in sums.iter_mut().zip(weights.as_chunks::<4>().0) {
            for (weight, code) in weights.iter().zip(four) {
                *sum = sum.wrapping_add(i32::from(*weight) * code);
            }
        }
    }
    sums.map(to_float)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a sum of 32 products is below 2^24"
)]
fn to_float(sum: i32) -> f32 {
    sum as f32
}
