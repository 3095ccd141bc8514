//! Tensors made of nothing: one value, counting, random numbers.

use std::f64::consts::TAU;

use super::{
    Context,
    budget::Buffer,
    cells::{self, BLOCK, count, narrow, store_floats, store_ints},
    math::{ln64, sin_cos64},
    philox, threads,
};
use crate::ops::{Distribution, EvalError, Iota, Number, Random, accepts::is_float, spec::Spec};

/// One value everywhere.
pub(crate) fn full(
    context: &Context<'_>,
    spec: &Spec,
    number: Number,
) -> Result<Buffer, EvalError> {
    let cell = cells::cell(spec.element(), number);
    let mut out = context.buffer(spec.bytes())?;
    if cell.iter().any(|byte| *byte != 0) {
        for into in out.data.chunks_mut(cell.len()) {
            into.copy_from_slice(&cell);
        }
    }
    Ok(out)
}

/// Counting along an axis.
pub(crate) fn iota(context: &Context<'_>, op: &Iota) -> Result<Buffer, EvalError> {
    let element = op.spec.element();
    let width = element.size_bytes();
    let mut out = context.buffer(op.spec.bytes())?;
    let (_, extent, inner) = op.spec.around(op.axis);
    for (index, part) in out.data.chunks_mut((inner * width).max(1)).enumerate() {
        let at = index % extent.max(1);
        let cell = match (op.start, op.step) {
            (Number::Int(start), Number::Int(step)) if !is_float(element) => {
                let at = i64::try_from(at).unwrap_or(i64::MAX);
                let mut bytes = vec![0; width];
                let value = start.wrapping_add(step.wrapping_mul(at));
                store_ints(element, &[value], &mut bytes);
                bytes
            }
            (start, step) => {
                cells::cell(element, Number::Float(wide(start) + wide(step) * count(at)))
            }
        };
        for into in part.chunks_mut(width) {
            into.copy_from_slice(&cell);
        }
    }
    Ok(out)
}

#[expect(clippy::cast_precision_loss, reason = "a float was asked for")]
const fn wide(number: Number) -> f64 {
    match number {
        Number::Float(value) => value,
        Number::Int(value) => value as f64,
    }
}

/// Random numbers.
pub(crate) fn random(context: &Context<'_>, op: &Random) -> Result<Buffer, EvalError> {
    let element = op.spec.element();
    let mut out = context.buffer(op.spec.bytes())?;
    let unit = BLOCK * element.size_bytes();
    threads::split(context.crew(), &mut out.data, unit, |first, part| {
        let mut values = [0.0_f32; BLOCK];
        for (index, part) in part.chunks_mut(unit).enumerate() {
            let blocks = (first + index) * (BLOCK / 4);
            let (lanes, _) = values.as_chunks_mut::<4>();
            for (offset, lanes) in lanes.iter_mut().enumerate() {
                let block = u64::try_from(blocks + offset).unwrap_or(u64::MAX);
                *lanes = numbers(op.distribution, philox::block(op.seed, op.stream, block));
            }
            let length = part.len() / element.size_bytes();
            store_floats(element, values.get(..length).unwrap_or_default(), part);
        }
        Ok(())
    })?;
    Ok(out)
}

/// Four random numbers of four random words.
fn numbers(distribution: Distribution, words: [u32; 4]) -> [f32; 4] {
    match distribution {
        Distribution::Uniform { low, high } => words.map(|word| {
            let (low, high) = (f64::from(low), f64::from(high));
            let value = narrow(low + (high - low) * (f64::from(word >> 8) * STEP_24));
            // Rounding must not reach the end that is left out.
            if f64::from(value) >= high && high > low {
                narrow(low).max(narrow(high).next_down())
            } else {
                value
            }
        }),
        Distribution::Normal { mean, deviation } => {
            let pair = |a: u32, b: u32| {
                let radius = (-2.0 * ln64((f64::from(a) + 1.0) * STEP_32)).sqrt();
                let (sin, cos) = sin_cos64(TAU * (f64::from(b) * STEP_32));
                let scale = radius * f64::from(deviation);
                [scale * cos, scale * sin].map(|value| narrow(f64::from(mean) + value))
            };
            let [a, b, c, d] = words;
            let ([a, b], [c, d]) = (pair(a, b), pair(c, d));
            [a, b, c, d]
        }
    }
}

const STEP_24: f64 = 1.0 / 16_777_216.0;
const STEP_32: f64 = 1.0 / 4_294_967_296.0;
