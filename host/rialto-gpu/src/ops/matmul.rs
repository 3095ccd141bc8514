//! Products of matrices, batched.

use rialto_compute::ops::{EvalError, Matmul, Spec, accepts::is_float, spec::product as count};

use super::{
    elementwise::places,
    tile::{Layout, Product, Side, product},
    vector,
};
use crate::{
    kernel::{Kernel, Operand},
    stream::Stream,
};

/// A product of matrices.
pub(super) fn matmul(
    stream: &mut Stream<'_>,
    op: &Matmul,
    (left, right, bias): (&Operand, &Operand, Option<&Operand>),
    result: &Spec,
) -> Result<Operand, EvalError> {
    let at = |spec: &Spec, back: usize| spec.extent(spec.rank() - back);
    let (mut m, n) = (at(result, 2), at(result, 1));
    let k = if op.transpose_left {
        at(&left.spec, 2)
    } else {
        at(&left.spec, 1)
    };
    let batch_of = |spec: &Spec| {
        let axes = spec.rank() - 2;
        spec.shape().get(..axes).unwrap_or_default().to_vec()
    };
    let (left_batch, right_batch) = (batch_of(&left.spec), batch_of(&right.spec));
    let mut batch_shape = batch_of(result);
    if right_batch.iter().all(|extent| *extent == 1) && !op.transpose_left {
        // One matrix on the right: the batch is more rows.
        m *= count(&batch_shape);
        batch_shape.clear();
    }
    let few = m <= vector::ROWS_MAX && n * k >= VECTOR_MIN && !op.transpose_left;
    if batch_shape.is_empty() && few && is_float(result.element()) {
        return vector::product(stream, op, (left, right, bias), [m, n, k], result);
    }
    let mut kernel = Kernel::new("matmul");
    let mut setup = String::new();
    let mut bases = ["0u".to_owned(), "0u".to_owned()];
    if !batch_shape.is_empty() {
        let shapes = [left_batch.as_slice(), right_batch.as_slice()];
        let matrices = places(&mut kernel, &shapes, &batch_shape, &mut setup);
        for ((base, place), size) in bases.iter_mut().zip(matrices).zip([m * k, k * n]) {
            *base = format!("({place}) * {}", kernel.size(size));
        }
    }
    let [left_base, right_base] = bases;
    let whole = Product {
        op: "matmul",
        sizes: [m, n, k],
        batch: count(&batch_shape),
        sides: [
            Side {
                operand: left,
                layout: Layout::Matrix {
                    along_x: op.transpose_left,
                },
                base: left_base,
            },
            Side {
                operand: right,
                layout: Layout::Matrix {
                    along_x: !op.transpose_right,
                },
                base: right_base,
            },
        ],
        setup,
        bias: bias.map(|bias| (bias, None)),
        activation: op.activation,
    };
    product(stream, kernel, &whole, result)
}

/// Elements of the right matrix for which few rows are a case of their own.
const VECTOR_MIN: usize = 1024;
