//! Eight-bit integers for floats, and back.

use super::{
    Context, View,
    budget::Buffer,
    cells::{int_range, load_floats, load_ints, store_floats, store_ints, to_float, to_int},
    threads,
};
use crate::ops::{EvalError, Quantise, spec::Spec};

/// Elements that share a scale, and how many.
struct Layout {
    scales: Vec<f32>,
    zeros: Vec<i64>,
    run: usize,
}

impl Layout {
    fn new(op: &Quantise, input: &Spec, scale: View<'_>, zero: View<'_>) -> Self {
        let run = op
            .axis
            .map_or_else(|| input.elements(), |axis| input.around(axis).2);
        Self {
            scales: scale.floats(),
            zeros: zero.ints(),
            run,
        }
    }

    /// Scale and zero point of a run.
    fn at(&self, run: usize) -> (f32, i64) {
        let place = run % self.scales.len().max(1);
        let scale = self.scales.get(place).copied().unwrap_or(1.0);
        (scale, self.zeros.get(place).copied().unwrap_or(0))
    }
}

/// Floats to i8 or u8.
pub(crate) fn quantise(
    context: &Context<'_>,
    op: &Quantise,
    [input, scale, zero]: [View<'_>; 3],
    result: &Spec,
) -> Result<Buffer, EvalError> {
    let layout = Layout::new(op, input.spec, scale, zero);
    let (from, to) = (input.spec.element(), result.element());
    let (low, high) = int_range(to);
    let width = from.size_bytes();
    let mut out = context.buffer(result.bytes())?;
    threads::split(context.crew(), &mut out.data, layout.run, |first, part| {
        let (mut floats, mut ints) = ([0.0_f32; BLOCK], [0_i64; BLOCK]);
        for (index, out) in part.chunks_mut(layout.run.max(1)).enumerate() {
            let (scale, zero) = layout.at(first + index);
            let start = (first + index) * layout.run * width;
            let bytes = input.data.get(start..).unwrap_or_default();
            for (out, bytes) in out.chunks_mut(BLOCK).zip(bytes.chunks(BLOCK * width)) {
                let (floats, _) = floats.split_at_mut(out.len());
                load_floats(from, bytes, floats);
                for (int, value) in ints.iter_mut().zip(floats) {
                    let rounded = to_int((*value / scale).round_ties_even());
                    *int = rounded.saturating_add(zero).clamp(low, high);
                }
                store_ints(to, &ints, out);
            }
        }
        Ok(())
    })?;
    Ok(out)
}

/// i8 or u8 to floats.
pub(crate) fn dequantise(
    context: &Context<'_>,
    op: &Quantise,
    [input, scale, zero]: [View<'_>; 3],
    result: &Spec,
) -> Result<Buffer, EvalError> {
    let layout = Layout::new(op, input.spec, scale, zero);
    let (from, to) = (input.spec.element(), result.element());
    let width = to.size_bytes();
    let mut out = context.buffer(result.bytes())?;
    let unit = layout.run * width;
    threads::split(context.crew(), &mut out.data, unit, |first, part| {
        let (mut floats, mut ints) = ([0.0_f32; BLOCK], [0_i64; BLOCK]);
        for (index, out) in part.chunks_mut(unit.max(1)).enumerate() {
            let (scale, zero) = layout.at(first + index);
            let start = (first + index) * layout.run;
            let bytes = input
                .data
                .get(start..start + layout.run)
                .unwrap_or_default();
            for (out, bytes) in out.chunks_mut(BLOCK * width).zip(bytes.chunks(BLOCK)) {
                load_ints(from, bytes, &mut ints);
                let (floats, _) = floats.split_at_mut(bytes.len());
                for (value, int) in floats.iter_mut().zip(&ints) {
                    *value = to_float(*int - zero) * scale;
                }
                store_floats(to, floats, out);
            }
        }
        Ok(())
    })?;
    Ok(out)
}

/// Elements converted together.
const BLOCK: usize = 256;
