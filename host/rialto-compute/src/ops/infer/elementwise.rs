//! Element by element: unary, binary, comparison, selection, conversion.

use super::Call;
use crate::{
    Element,
    ops::{error::InferError, spec::Spec},
};

pub(super) fn unary(call: &Call<'_>) -> Result<Spec, InferError> {
    let [input] = call.exactly()?;
    Ok(input.clone())
}

pub(super) fn binary(call: &Call<'_>) -> Result<Spec, InferError> {
    let [left, right] = call.exactly()?;
    let element = call.same_elements(0..2)?;
    Spec::new(element, call.broadcast(&[left.shape(), right.shape()])?)
}

pub(super) fn compare(call: &Call<'_>) -> Result<Spec, InferError> {
    binary(call)?.with_element(Element::Bool)
}

pub(super) fn select(call: &Call<'_>) -> Result<Spec, InferError> {
    let [condition, then, other] = call.exactly()?;
    call.takes(0, &[Element::Bool])?;
    let element = call.same_elements(1..3)?;
    let shape = call.broadcast(&[condition.shape(), then.shape(), other.shape()])?;
    Spec::new(element, shape)
}

pub(super) fn cast(call: &Call<'_>, to: Element) -> Result<Spec, InferError> {
    let [input] = call.exactly()?;
    input.with_element(to)
}
