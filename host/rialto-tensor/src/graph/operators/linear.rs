//! Products of matrices.

use super::{Found, one, quantise};
use crate::{
    graph::{attributes::Attributes, fact::Fact, refusal::Refusal, scope::Scope},
    ops::{Binary, Matmul, Op},
};

pub(super) fn of(op: &str, a: &mut Attributes<'_>) -> Found {
    match op {
        "MatMul" => one(|s, x| matmul(s, x.at(0)?, x.at(1)?)),
        "Gemm" => gemm(a),
        "MatMulInteger" => one(|s, x| {
            let left = quantise::centred(s, x.at(0)?, x.maybe(2), 1)?;
            let right = quantise::centred(s, x.at(1)?, x.maybe(3), 0)?;
            quantise::exact_product(s, &left, &right)
        }),
        _ => Ok(None),
    }
}

/// A row on the left, or a column on the right, is a matrix for the product alone.
pub(super) fn matmul(s: &mut Scope<'_>, left: &Fact, right: &Fact) -> Result<Fact, Refusal> {
    let (row, column) = (left.rank() == 1, right.rank() == 1);
    let left = if row {
        s.reshape(left, &[1, left.extent(0)])?
    } else {
        left.clone()
    };
    let right = if column {
        s.reshape(right, &[right.extent(0), 1])?
    } else {
        right.clone()
    };
    let product = s.op(Op::Matmul(Matmul::default()), &[&left, &right])?;
    if !row && !column {
        return Ok(product);
    }
    let mut shape = product.shape().to_vec();
    let last = shape.pop();
    let before = shape.pop();
    shape.extend(before.filter(|_| !row));
    shape.extend(last.filter(|_| !column));
    s.reshape(&product, &shape)
}

fn gemm(a: &mut Attributes<'_>) -> Found {
    let (alpha, beta) = (a.float_or("alpha", 1.0)?, a.float_or("beta", 1.0)?);
    let op = Matmul {
        transpose_left: a.flag("transA", false)?,
        transpose_right: a.flag("transB", false)?,
        ..Matmul::default()
    };
    // Before operator set 7; no other meaning is left.
    a.ignore("broadcast");
    one(move |s, x| {
        let right = scaled(s, x.at(1)?, alpha)?;
        let left = x.at(0)?;
        if left.rank() != 2 || right.rank() != 2 {
            return Err(Refusal::malformed("two axes are needed"));
        }
        let Some(bias) = x.maybe(2) else {
            return s.op(Op::Matmul(op), &[left, &right]);
        };
        let bias = scaled(s, bias, beta)?;
        let columns = right.extent(usize::from(!op.transpose_right));
        if bias.shape() == [columns] || bias.shape() == [1, columns] {
            let row = s.reshape(&bias, &[columns])?;
            return s.op(
                Op::Matmul(Matmul { bias: true, ..op }),
                &[left, &right, &row],
            );
        }
        let product = s.op(Op::Matmul(op), &[left, &right])?;
        let sum = s.binary(Binary::Add, &product, &bias)?;
        if sum.shape() == product.shape() {
            Ok(sum)
        } else {
            Err(Refusal::malformed(format!("a bias of {:?}", bias.shape())))
        }
    })
}

#[expect(clippy::float_cmp, reason = "a factor of exactly one changes nothing")]
fn scaled(s: &mut Scope<'_>, fact: &Fact, by: f32) -> Result<Fact, Refusal> {
    if by == 1.0 {
        return Ok(fact.clone());
    }
    s.with(Binary::Mul, fact, f64::from(by))
}
