//! Rotary position embedding: pairs of elements turned by an angle that grows with the position.

use super::{
    Context, View,
    budget::Buffer,
    cells::{count, load_floats, narrow, store_floats, wide},
    math::{exp64, ln64, sin_cos},
    threads,
};
use crate::ops::{EvalError, Rope};

/// Rotary position embedding.
pub(crate) fn rope(
    context: &Context<'_>,
    op: &Rope,
    input: View<'_>,
    positions: View<'_>,
) -> Result<Buffer, EvalError> {
    let rank = input.spec.rank();
    let (length, depth) = (input.spec.extent(rank - 2), input.spec.extent(rank - 1));
    let pairs = usize::try_from(op.dimensions).unwrap_or(0) / 2;
    let element = input.spec.element();
    let mut out = context.buffer(input.spec.bytes())?;
    let _hold = context
        .budget
        .take(length * pairs * 8 + length * 8 + context.threads * depth * 4)?;
    let log_base = ln64(f64::from(op.base));
    let mut turns = Vec::with_capacity(length * pairs);
    for position in positions.ints() {
        for pair in 0..pairs {
            let exponent = -count(pair) / count(pairs);
            let angle = wide(position) * exp64(exponent * log_base);
            let (sin, cos) = sin_cos(angle);
            turns.push((narrow(sin), narrow(cos)));
        }
    }
    let unit = depth * element.size_bytes();
    threads::split(context.crew(), &mut out.data, unit, |first, part| {
        let mut row = vec![0.0_f32; depth];
        for (index, out) in part.chunks_mut(unit.max(1)).enumerate() {
            let start = (first + index) * unit;
            load_floats(
                element,
                input.data.get(start..start + unit).unwrap_or_default(),
                &mut row,
            );
            let at = (first + index) % length.max(1) * pairs;
            let turns = turns.get(at..at + pairs).unwrap_or_default();
            if op.interleaved {
                let (cells, _) = row.as_chunks_mut::<2>();
                for ([a, b], (sin, cos)) in cells.iter_mut().zip(turns) {
                    (*a, *b) = (*a * cos - *b * sin, *a * sin + *b * cos);
                }
            } else {
                let (low, high) = row.split_at_mut(pairs);
                for ((a, b), (sin, cos)) in low.iter_mut().zip(high).zip(turns) {
                    (*a, *b) = (*a * cos - *b * sin, *a * sin + *b * cos);
                }
            }
            store_floats(element, &row, out);
        }
        Ok(())
    })?;
    Ok(out)
}
