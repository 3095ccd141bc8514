//! Products of matrices, batched.

use super::{
    Context, View,
    budget::Buffer,
    cells::{BLOCK, load_ints},
    elementwise::unary_floats,
    gemm::{Cell, Strides, multiply},
    threads,
};
use crate::ops::{
    Activation, EvalError, Matmul,
    spec::{Spec, broadcast_strides, product, size},
};

/// A product of f32 matrices.
pub(crate) fn floats(
    context: &Context<'_>,
    op: &Matmul,
    operands: &[View<'_>],
    result: &Spec,
) -> Result<Buffer, EvalError> {
    let [left, right, rest @ ..] = operands else {
        return Err(context.bug("operands are missing"));
    };
    let _plan = context.budget.take(Plan::bytes(result))?;
    let plan = Plan::new(op, left.spec, right.spec, result);
    let mut out = context.buffer(result.bytes())?;
    let (left, right) = (left.cells(), right.cells());
    let [m, n, k] = plan.sizes;
    let share = context.share(plan.batch.len(), (m * n).saturating_mul(k));
    // Several batches to a thread, or several threads to a batch: the bits are the same.
    let inner = if share > 1 { 1 } else { context.threads };
    let (part, unit) = (m * n * 4, (m * n * 4).max(1));
    threads::split_from(
        context.crew_of(share),
        1,
        &mut out.data,
        unit,
        |first, bytes| {
            let (cells, _) = bytes.as_chunks_mut::<4>();
            let places = plan.batch.iter().skip(first);
            for ((left_at, right_at), out) in places.zip(cells.chunks_mut((part / 4).max(1))) {
                multiply(
                    inner,
                    plan.sizes,
                    (out, Strides { row: n, column: 1 }),
                    (left.get(*left_at..).unwrap_or_default(), plan.left),
                    (right.get(*right_at..).unwrap_or_default(), plan.right),
                )?;
            }
            Ok(())
        },
    )?;
    let bias = rest.first().map(View::floats);
    rows_epilogue(context, &mut out.data, n, bias.as_deref(), op.activation)?;
    Ok(out)
}

/// Adds a bias to each row and applies an activation.
fn rows_epilogue(
    context: &Context<'_>,
    out: &mut [u8],
    columns: usize,
    bias: Option<&[f32]>,
    activation: Option<Activation>,
) -> Result<(), EvalError> {
    if bias.is_none() && activation.is_none() {
        return Ok(());
    }
    threads::split(context.crew(), out, columns * 4, |_, part| {
        let (cells, _) = part.as_chunks_mut::<4>();
        for row in cells.chunks_mut(columns.max(1)) {
            match bias {
                Some(bias) => {
                    for (cells, bias) in row.chunks_mut(BLOCK).zip(bias.chunks(BLOCK)) {
                        epilogue(cells, |i| bias.get(i).copied().unwrap_or(0.0), activation);
                    }
                }
                None => row
                    .chunks_mut(BLOCK)
                    .for_each(|cells| epilogue(cells, |_| 0.0, activation)),
            }
        }
        Ok(())
    })
}

/// Adds to at most a block of cells and applies an activation.
pub(crate) fn epilogue(
    cells: &mut [Cell],
    bias: impl Fn(usize) -> f32,
    activation: Option<Activation>,
) {
    let (mut sums, mut results) = ([0.0_f32; BLOCK], [0.0_f32; BLOCK]);
    for (index, (sum, cell)) in sums.iter_mut().zip(cells.iter()).enumerate() {
        *sum = f32::from_le_bytes(*cell) + bias(index);
    }
    let (sums, _) = sums.split_at(cells.len().min(BLOCK));
    let values = match activation {
        Some(activation) => {
            unary_floats(activation.unary(), sums, &mut results);
            &results[..]
        }
        None => sums,
    };
    for (cell, value) in cells.iter_mut().zip(values) {
        *cell = value.to_le_bytes();
    }
}

/// A product of i8 or u8 matrices, in i32, wrapping.
pub(crate) fn ints(
    context: &Context<'_>,
    op: &Matmul,
    operands: &[View<'_>],
    result: &Spec,
) -> Result<Buffer, EvalError> {
    let [left, right, rest @ ..] = operands else {
        return Err(context.bug("operands are missing"));
    };
    let _plan = context.budget.take(Plan::bytes(result))?;
    let plan = Plan::new(op, left.spec, right.spec, result);
    let [m, n, k] = plan.sizes;
    let mut out = context.buffer(result.bytes())?;
    let bias = rest.first().map(View::ints).unwrap_or_default();
    let batches = &plan.batch;
    threads::split_from(context.crew(), 4096, &mut out.data, n * 4, |first, part| {
        let mut sums = vec![0_i32; n];
        let (cells, _) = part.as_chunks_mut::<4>();
        for (index, row) in cells.chunks_mut(n.max(1)).enumerate() {
            let (batch, at) = ((first + index) / m.max(1), (first + index) % m.max(1));
            let (left_at, right_at) = batches.get(batch).copied().unwrap_or_default();
            sums.fill(0);
            for inner in 0..k {
                let place = left_at + at * plan.left.row + inner * plan.left.column;
                let factor = left.byte(place);
                let start = right_at + inner * plan.right.row;
                let column = plan.right.column;
                let bytes = right.data.get(start..).unwrap_or_default();
                for (sum, byte) in sums.iter_mut().zip(bytes.iter().step_by(column.max(1))) {
                    *sum = sum.wrapping_add(factor.wrapping_mul(right.byte_value(*byte)));
                }
            }
            for (at, (cell, sum)) in row.iter_mut().zip(&sums).enumerate() {
                let sum = sum.wrapping_add(bias.get(at).map_or(0, |bias| wrap(*bias)));
                let sum = if op.activation.is_some() {
                    sum.max(0)
                } else {
                    sum
                };
                *cell = sum.to_le_bytes();
            }
        }
        Ok(())
    })?;
    Ok(out)
}

#[expect(clippy::cast_possible_truncation, reason = "the bias was read as i32")]
const fn wrap(value: i64) -> i32 {
    value as i32
}

impl View<'_> {
    /// A byte as a factor.
    fn byte_value(&self, byte: u8) -> i32 {
        if self.spec.element() == crate::Element::I8 {
            i32::from(byte.cast_signed())
        } else {
            i32::from(byte)
        }
    }

    fn byte(&self, place: usize) -> i32 {
        self.data
            .get(place)
            .map_or(0, |byte| self.byte_value(*byte))
    }

    /// All elements as integers: for small operands.
    pub(crate) fn ints(&self) -> Vec<i64> {
        let mut values = vec![0; self.spec.elements()];
        load_ints(self.spec.element(), self.data, &mut values);
        values
    }
}

/// How a batched product is laid out.
struct Plan {
    /// Rows and columns of a result, and products an element.
    sizes: [usize; 3],
    left: Strides,
    right: Strides,
    /// For each product of the batch, where its operands begin.
    batch: Vec<(usize, usize)>,
}

impl Plan {
    /// What the plan itself takes while it is made.
    fn bytes(result: &Spec) -> usize {
        let batch = result.shape().get(..result.rank() - 2).unwrap_or_default();
        product(batch).saturating_mul(2 * size_of::<(usize, usize)>())
    }

    fn new(op: &Matmul, left: &Spec, right: &Spec, result: &Spec) -> Self {
        let (left_rank, right_rank) = (left.rank(), right.rank());
        let at = |spec: &Spec, back: usize| spec.extent(spec.rank() - back);
        let (m, n) = (at(result, 2), at(result, 1));
        let k = if op.transpose_left {
            at(left, 2)
        } else {
            at(left, 1)
        };
        let strides = |columns: usize, transposed: bool| {
            if transposed {
                Strides {
                    row: 1,
                    column: columns,
                }
            } else {
                Strides {
                    row: columns,
                    column: 1,
                }
            }
        };
        let left_batch = left.shape().get(..left_rank - 2).unwrap_or_default();
        let right_batch = right.shape().get(..right_rank - 2).unwrap_or_default();
        let batch_shape = result.shape().get(..result.rank() - 2).unwrap_or_default();
        let one = |shape: &[u32]| shape.iter().all(|extent| *extent == 1);
        let mut plan = Self {
            sizes: [m, n, k],
            left: strides(at(left, 1), op.transpose_left),
            right: strides(at(right, 1), op.transpose_right),
            batch: vec![(0, 0)],
        };
        if one(right_batch) && !op.transpose_left {
            // One matrix on the right: the batch is more rows.
            let batches: usize = batch_shape.iter().map(|extent| size(*extent)).product();
            plan.sizes = [m * batches, n, k];
            return plan;
        }
        let left_strides = broadcast_strides(left_batch, batch_shape);
        let right_strides = broadcast_strides(right_batch, batch_shape);
        for ((extent, left), right) in batch_shape.iter().zip(left_strides).zip(right_strides) {
            plan.batch = plan
                .batch
                .iter()
                .flat_map(|(a, b)| (0..size(*extent)).map(move |i| (a + i * left, b + i * right)))
                .collect();
        }
        for (left, right) in &mut plan.batch {
            *left *= m * k;
            *right *= k * n;
        }
        plan
    }
}
