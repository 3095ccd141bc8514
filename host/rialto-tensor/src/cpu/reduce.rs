//! Reductions over axes.
//!
//! Floats are summed and multiplied in f64. The order is fixed by the shape: along a row in eight
//! parts, down columns one row after another.

use super::{
    Context, View,
    budget::Buffer,
    cells::{count, load_floats, load_ints, narrow, store_floats, store_ints, wrap_ints},
    layout, math,
    rows::sum,
    threads,
};
use crate::{
    Element,
    ops::{
        EvalError, Reduce, ReduceKind,
        accepts::is_float,
        spec::{Spec, size},
    },
};

/// Reduces over any set of axes.
pub(crate) fn reduce(
    context: &Context<'_>,
    op: &Reduce,
    input: View<'_>,
    result: &Spec,
) -> Result<Buffer, EvalError> {
    let reduced: Vec<bool> = (0..input.spec.rank())
        .map(|axis| op.axes.as_ref().is_none_or(|axes| axes.contains(&axis)))
        .collect();
    // Runs of neighbouring axes that are reduced, or kept, together; extents of one belong to any.
    let mut runs: Vec<(bool, usize)> = Vec::new();
    for (extent, reduced) in input.spec.shape().iter().zip(&reduced) {
        match runs.last_mut() {
            _ if *extent == 1 => {}
            Some((kind, length)) if kind == reduced => *length *= size(*extent),
            _ => runs.push((*reduced, size(*extent))),
        }
    }
    let sizes = match runs.as_slice() {
        [] => [1, 1, 1],
        [(true, n)] => [1, *n, 1],
        [(false, n)] => [*n, 1, 1],
        [(true, n), (false, inner)] => [1, *n, *inner],
        [(false, outer), (true, n)] => [*outer, *n, 1],
        [(false, outer), (true, n), (false, inner)] => [*outer, *n, *inner],
        _ => {
            let (kept, gone): (Vec<_>, Vec<_>) =
                (0..reduced.len()).partition(|axis| reduced.get(*axis) == Some(&false));
            let order = [kept, gone].concat();
            let shape: Vec<u32> = order
                .iter()
                .filter_map(|axis| input.spec.shape().get(*axis).copied())
                .collect();
            let Ok(spec) = Spec::new(input.spec.element(), shape) else {
                return Err(context.bug("a transposed shape is too large"));
            };
            let moved = layout::transpose(context, &order, input, &spec)?;
            let view = View {
                spec: &spec,
                data: &moved.data,
            };
            let outer = result.elements();
            let n = input.spec.elements().checked_div(outer).unwrap_or(0);
            return run(context, op.kind, view, result, [outer, n, 1]);
        }
    };
    run(context, op.kind, input, result, sizes)
}

fn run(
    context: &Context<'_>,
    kind: ReduceKind,
    input: View<'_>,
    result: &Spec,
    [_, n, inner]: [usize; 3],
) -> Result<Buffer, EvalError> {
    let element = result.element();
    let mut out = context.buffer(result.bytes())?;
    let row = if inner == 1 { n } else { inner };
    let _hold = context
        .budget
        .take(context.threads * (row + 2 * inner) * 8)?;
    let (unit, width) = (inner * element.size_bytes(), element.size_bytes());
    let panel = n * unit;
    // The result is small beside the input: divide by what is read.
    let minimum = (PART_BYTES_MIN / n.max(1)).max(1);
    threads::split_from(
        context.crew(),
        minimum,
        &mut out.data,
        unit,
        |first, part| {
            let start = first * panel;
            let floats = is_float(element);
            let mut worker = Worker {
                kind,
                element,
                inner,
                n,
                width,
            };
            if inner == 1 {
                worker.rows(floats, input.data.get(start..).unwrap_or_default(), part);
            } else {
                worker.columns(floats, input.data.get(start..).unwrap_or_default(), part);
            }
            Ok(())
        },
    )?;
    Ok(out)
}

struct Worker {
    kind: ReduceKind,
    element: Element,
    inner: usize,
    n: usize,
    width: usize,
}

impl Worker {
    /// Each result is made of neighbouring elements.
    fn rows(&mut self, floats: bool, bytes: &[u8], out: &mut [u8]) {
        let (n, width, element) = (self.n, self.width, self.element);
        let mut values = vec![0.0_f32; if floats { n } else { 0 }];
        let mut ints = vec![0_i64; if floats { 0 } else { n }];
        for (index, cell) in out.chunks_mut(width).enumerate() {
            let start = index * n * width;
            let bytes = bytes.get(start..start + n * width).unwrap_or_default();
            if floats {
                load_floats(element, bytes, &mut values);
                let value = match self.kind {
                    ReduceKind::Sum => narrow(sum(&values, |value| value)),
                    ReduceKind::Mean => narrow(sum(&values, |value| value) / count(n)),
                    ReduceKind::Prod => narrow(
                        values
                            .iter()
                            .fold(1.0, |all, value| all * f64::from(*value)),
                    ),
                    ReduceKind::Max => values.iter().copied().fold(f32::NEG_INFINITY, math::max),
                    ReduceKind::Min => values.iter().copied().fold(f32::INFINITY, math::min),
                };
                store_floats(element, &[value], cell);
            } else {
                load_ints(element, bytes, &mut ints);
                let mut all = [identity(self.kind)];
                for value in &ints {
                    all = [join(self.kind, all[0], *value)];
                }
                wrap_ints(element, &mut all);
                store_ints(element, &all, cell);
            }
        }
    }

    /// Each result is made of elements `inner` apart.
    fn columns(&mut self, floats: bool, bytes: &[u8], out: &mut [u8]) {
        let (n, inner, element) = (self.n, self.inner, self.element);
        let line = inner * self.width;
        let mut values = vec![0.0_f32; if floats { inner } else { 0 }];
        let mut sums = vec![0.0_f64; values.len()];
        let mut ints = vec![0_i64; if floats { 0 } else { inner }];
        let mut totals = ints.clone();
        for (index, out) in out.chunks_mut(line.max(1)).enumerate() {
            sums.fill(match self.kind {
                ReduceKind::Sum | ReduceKind::Mean => 0.0,
                ReduceKind::Prod => 1.0,
                ReduceKind::Max => f64::NEG_INFINITY,
                ReduceKind::Min => f64::INFINITY,
            });
            totals.fill(identity(self.kind));
            let start = index * n * line;
            let panel = bytes.get(start..start + n * line).unwrap_or_default();
            for bytes in panel.chunks(line.max(1)) {
                if floats {
                    load_floats(element, bytes, &mut values);
                    join_floats(self.kind, &mut sums, &values);
                } else {
                    load_ints(element, bytes, &mut ints);
                    for (total, value) in totals.iter_mut().zip(&ints) {
                        *total = join(self.kind, *total, *value);
                    }
                }
            }
            if floats {
                let divisor = if self.kind == ReduceKind::Mean {
                    count(n)
                } else {
                    1.0
                };
                for (value, sum) in values.iter_mut().zip(&sums) {
                    *value = narrow(*sum / divisor);
                }
                store_floats(element, &values, out);
            } else {
                wrap_ints(element, &mut totals);
                store_ints(element, &totals, out);
            }
        }
    }
}

fn join_floats(kind: ReduceKind, sums: &mut [f64], values: &[f32]) {
    let pairs = sums
        .iter_mut()
        .zip(values.iter().map(|value| f64::from(*value)));
    match kind {
        ReduceKind::Sum | ReduceKind::Mean => pairs.for_each(|(sum, value)| *sum += value),
        ReduceKind::Prod => pairs.for_each(|(sum, value)| *sum *= value),
        ReduceKind::Max => {
            pairs.for_each(|(sum, value)| {
                *sum = if *sum > value || sum.is_nan() {
                    *sum
                } else {
                    value
                };
            });
        }
        ReduceKind::Min => {
            pairs.for_each(|(sum, value)| {
                *sum = if *sum < value || sum.is_nan() {
                    *sum
                } else {
                    value
                };
            });
        }
    }
}

/// What nothing reduces to.
const fn identity(kind: ReduceKind) -> i64 {
    match kind {
        ReduceKind::Sum | ReduceKind::Mean => 0,
        ReduceKind::Prod => 1,
        ReduceKind::Max => i64::MIN,
        ReduceKind::Min => i64::MAX,
    }
}

fn join(kind: ReduceKind, all: i64, value: i64) -> i64 {
    match kind {
        ReduceKind::Sum | ReduceKind::Mean => all.wrapping_add(value),
        ReduceKind::Prod => all.wrapping_mul(value),
        ReduceKind::Max => all.max(value),
        ReduceKind::Min => all.min(value),
    }
}

/// The least bytes read for which a thread is worth its start.
const PART_BYTES_MIN: usize = 128 << 10;
