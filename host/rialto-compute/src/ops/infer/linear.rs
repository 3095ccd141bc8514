//! Products of matrices, and attention.

use super::Call;
use crate::{
    Element,
    ops::{
        accepts::is_float,
        error::InferError,
        op::{Activation, Attention, Matmul},
        spec::{Spec, broadcast},
    },
};

pub(super) fn matmul(call: &Call<'_>, op: &Matmul) -> Result<Spec, InferError> {
    let (left, right) = if op.bias {
        let [left, right, _] = call.exactly()?;
        (left, right)
    } else {
        let [left, right] = call.exactly()?;
        (left, right)
    };
    let element = product_element(call, op)?;
    let ([left_batch @ .., a, b], [right_batch @ .., c, d]) = (left.shape(), right.shape()) else {
        return call.mismatch("both need at least two axes");
    };
    let (m, k) = if op.transpose_left {
        (*b, *a)
    } else {
        (*a, *b)
    };
    let (rows, n) = if op.transpose_right {
        (*d, *c)
    } else {
        (*c, *d)
    };
    if k != rows {
        return call.mismatch(format!("{k} columns do not meet {rows} rows"));
    }
    if op.bias && call.specs.get(2).is_some_and(|bias| bias.shape() != [n]) {
        return call.mismatch(format!("the bias must be [{n}]"));
    }
    let Some(mut shape) = broadcast(&[left_batch, right_batch]) else {
        return call.mismatch("the batches do not broadcast");
    };
    shape.extend([m, n]);
    Spec::new(element, shape)
}

/// The element type of the product, once the operands' types are found to fit.
fn product_element(call: &Call<'_>, op: &Matmul) -> Result<Element, InferError> {
    let bytes = [Element::I8, Element::U8];
    if call
        .specs
        .first()
        .is_some_and(|left| bytes.contains(&left.element()))
    {
        call.takes(1, &bytes)?;
        call.takes(2, &[Element::I32])?;
        if op
            .activation
            .is_some_and(|activation| activation != Activation::Relu)
        {
            return call.mismatch("products of integers take no activation but relu");
        }
        return Ok(Element::I32);
    }
    call.same_elements(0..call.specs.len())
}

pub(super) fn attention(call: &Call<'_>, op: &Attention) -> Result<Spec, InferError> {
    let [query, key, value] = if op.mask {
        let [query, key, value, _] = call.exactly()?;
        [query, key, value]
    } else {
        call.exactly()?
    };
    let element = call.same_elements(0..3)?;
    let (
        [batch @ .., query_heads, query_length, depth],
        [key_batch @ .., key_heads, key_length, key_depth],
        [value_batch @ .., value_heads, value_length, value_depth],
    ) = (query.shape(), key.shape(), value.shape())
    else {
        return call.mismatch("all need at least three axes: heads, length, depth");
    };
    if batch != key_batch || batch != value_batch {
        return call.mismatch("the batches differ");
    }
    if depth != key_depth {
        return call.mismatch(format!("query depth {depth} is not key depth {key_depth}"));
    }
    if key_length != value_length || key_heads != value_heads {
        return call.mismatch("key and value differ in heads or length");
    }
    if query_heads.checked_rem(*key_heads) != Some(0) {
        return call.mismatch(format!(
            "{query_heads} query heads are no multiple of {key_heads} key heads"
        ));
    }
    if let (true, Some(mask)) = (op.mask, call.specs.get(3)) {
        if mask.element() != Element::Bool && !is_float(mask.element()) {
            call.takes(
                3,
                &[Element::Bool, Element::F32, Element::F16, Element::Bf16],
            )?;
        }
        let mut scores = batch.to_vec();
        scores.extend([*query_heads, *query_length, *key_length]);
        if broadcast(&[mask.shape(), &scores]).as_ref() != Some(&scores) {
            return call.mismatch(format!("the mask does not broadcast to {scores:?}"));
        }
        Spec::new(Element::F32, scores)?;
    }
    let mut shape = batch.to_vec();
    shape.extend([*query_heads, *query_length, *value_depth]);
    Spec::new(element, shape)
}
