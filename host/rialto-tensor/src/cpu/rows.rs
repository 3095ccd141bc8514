//! Operations that treat the elements along an axis together: softmax, norms, running sums.
//!
//! Sums are made in f64 with eight running parts, always in the same order.

use super::{
    Context, View,
    budget::Buffer,
    cells::{count, load_floats, load_ints, narrow, store_floats, store_ints, wrap_ints},
    math::{exp, exp64, ln64},
    threads,
};
use crate::ops::{CumSum, EvalError, Norm, spec::product};

/// Applies `row` to the floats along an axis, at each place of the other axes.
pub(crate) fn along_floats(
    context: &Context<'_>,
    input: View<'_>,
    axis: usize,
    row: impl Fn(&mut [f32]) + Sync,
) -> Result<Buffer, EvalError> {
    let element = input.spec.element();
    along(
        context,
        input,
        axis,
        0.0_f32,
        |bytes, values| load_floats(element, bytes, values),
        |values: &[f32], out: &mut [u8]| store_floats(element, values, out),
        row,
    )
}

/// As [`along_floats`], of integers.
fn along_ints(
    context: &Context<'_>,
    input: View<'_>,
    axis: usize,
    row: impl Fn(&mut [i64]) + Sync,
) -> Result<Buffer, EvalError> {
    let element = input.spec.element();
    along(
        context,
        input,
        axis,
        0_i64,
        |bytes, values| load_ints(element, bytes, values),
        |values: &[i64], out: &mut [u8]| store_ints(element, values, out),
        row,
    )
}

fn along<T: Copy + Send + Sync>(
    context: &Context<'_>,
    input: View<'_>,
    axis: usize,
    zero: T,
    load: impl Fn(&[u8], &mut [T]) + Sync,
    store: impl Fn(&[T], &mut [u8]) + Sync,
    row: impl Fn(&mut [T]) + Sync,
) -> Result<Buffer, EvalError> {
    let mut out = context.buffer(input.spec.bytes())?;
    let (_, extent, inner) = input.spec.around(axis);
    let panel = extent * inner;
    let unit = panel * input.spec.element().size_bytes();
    let line = if inner == 1 { 0 } else { extent };
    let _hold = context
        .budget
        .take(context.threads * (panel + line) * size_of::<T>())?;
    threads::split(context.crew(), &mut out.data, unit, |first, part| {
        let (mut values, mut single) = (vec![zero; panel], vec![zero; line]);
        for (index, out) in part.chunks_mut(unit.max(1)).enumerate() {
            let start = (first + index) * unit;
            load(
                input.data.get(start..start + unit).unwrap_or_default(),
                &mut values,
            );
            if inner == 1 {
                row(&mut values);
            }
            for offset in (0..inner).filter(|_| inner > 1) {
                let strided = values.iter().skip(offset).step_by(inner);
                single
                    .iter_mut()
                    .zip(strided)
                    .for_each(|(into, value)| *into = *value);
                row(&mut single);
                let strided = values.iter_mut().skip(offset).step_by(inner);
                strided
                    .zip(&single)
                    .for_each(|(into, value)| *into = *value);
            }
            store(&values, out);
        }
        Ok(())
    })?;
    Ok(out)
}

/// A sum in f64, in eight parts.
pub(crate) fn sum(values: &[f32], term: impl Fn(f64) -> f64) -> f64 {
    let mut parts = [0.0_f64; 8];
    let (chunks, rest) = values.as_chunks::<8>();
    for chunk in chunks {
        for (part, value) in parts.iter_mut().zip(chunk) {
            *part += term(f64::from(*value));
        }
    }
    for (part, value) in parts.iter_mut().zip(rest) {
        *part += term(f64::from(*value));
    }
    let [a, b, c, d, e, f, g, h] = parts;
    ((a + b) + (c + d)) + ((e + f) + (g + h))
}

/// The largest, in sixteen parts; NaNs are passed over.
fn largest(values: &[f32]) -> f32 {
    let mut parts = [f32::NEG_INFINITY; 16];
    let (chunks, rest) = values.as_chunks::<16>();
    for chunk in chunks {
        for (part, value) in parts.iter_mut().zip(chunk) {
            *part = if *value > *part { *value } else { *part };
        }
    }
    let all = parts.iter().chain(rest);
    all.fold(f32::NEG_INFINITY, |a, b| if *b > a { *b } else { a })
}

/// The softmax of a row.
pub(crate) fn softmax_row(row: &mut [f32]) {
    let top = largest(row);
    for value in row.iter_mut() {
        *value = exp(*value - top);
    }
    let scale = 1.0 / sum(row, |value| value);
    for value in row.iter_mut() {
        *value = narrow(f64::from(*value) * scale);
    }
}

/// The logarithm of the softmax of a row.
pub(crate) fn log_softmax_row(row: &mut [f32]) {
    let top = largest(row);
    let wide = f64::from(top);
    let sum = sum(row, |value| exp64(value - wide));
    let shift = wide + ln64(sum);
    for value in row.iter_mut() {
        *value = narrow(f64::from(*value) - shift);
    }
}

/// Layer norm, or rms norm if not `centred`.
pub(crate) fn norm(
    context: &Context<'_>,
    op: &Norm,
    centred: bool,
    operands: &[View<'_>],
) -> Result<Buffer, EvalError> {
    let [input, rest @ ..] = operands else {
        return Err(context.bug("operands are missing"));
    };
    let mut rest = rest.iter().map(View::floats);
    let scale = if op.scale { rest.next() } else { None };
    let bias = if op.bias { rest.next() } else { None };
    let element = input.spec.element();
    let rank = input.spec.rank();
    let width = product(input.spec.shape().get(rank - op.axes..).unwrap_or_default());
    let mut out = context.buffer(input.spec.bytes())?;
    let _hold = context.budget.take((context.threads + 2) * width * 4)?;
    let unit = width * element.size_bytes();
    threads::split(context.crew(), &mut out.data, unit, |first, part| {
        let mut row = vec![0.0_f32; width];
        for (index, out) in part.chunks_mut(unit.max(1)).enumerate() {
            let start = (first + index) * unit;
            load_floats(
                element,
                input.data.get(start..start + unit).unwrap_or_default(),
                &mut row,
            );
            let mean = if centred {
                sum(&row, |value| value) / count(width)
            } else {
                0.0
            };
            let variance = sum(&row, |value| (value - mean) * (value - mean)) / count(width);
            let factor = 1.0 / (variance + f64::from(op.epsilon)).sqrt();
            for value in &mut row {
                *value = narrow((f64::from(*value) - mean) * factor);
            }
            if let Some(scale) = &scale {
                row.iter_mut()
                    .zip(scale.iter())
                    .for_each(|(value, scale)| *value *= scale);
            }
            if let Some(bias) = &bias {
                row.iter_mut()
                    .zip(bias.iter())
                    .for_each(|(value, bias)| *value += bias);
            }
            store_floats(element, &row, out);
        }
        Ok(())
    })?;
    Ok(out)
}

/// Running sums.
pub(crate) fn cumulative(
    context: &Context<'_>,
    op: &CumSum,
    input: View<'_>,
) -> Result<Buffer, EvalError> {
    fn run<T: Copy>(op: &CumSum, row: &mut [T], mut add: impl FnMut(T) -> [T; 2]) {
        // `add` gives the sum before and after its operand.
        let mut next = |value: &mut T| {
            let [before, after] = add(*value);
            *value = if op.exclusive { before } else { after };
        };
        if op.reverse {
            row.iter_mut().rev().for_each(&mut next);
        } else {
            row.iter_mut().for_each(&mut next);
        }
    }
    let element = input.spec.element();
    if crate::ops::accepts::is_float(element) {
        return along_floats(context, input, op.axis, |row| {
            let mut sum = 0.0_f64;
            run(op, row, |value| {
                let before = narrow(sum);
                sum += f64::from(value);
                [before, narrow(sum)]
            });
        });
    }
    along_ints(context, input, op.axis, |row| {
        let mut sum = 0_i64;
        run(op, row, |value| {
            let before = sum;
            sum = sum.wrapping_add(value);
            [before, sum]
        });
        wrap_ints(element, row);
    })
}
