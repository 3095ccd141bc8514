//! Gathering, scattering, ranking and running sums.

use super::Call;
use crate::{
    Element,
    ops::{
        accepts::INDICES,
        error::InferError,
        op::{ArgReduce, TopK},
        spec::Spec,
    },
};

pub(super) fn gather(call: &Call<'_>, axis: usize) -> Result<Spec, InferError> {
    let [data, indices] = call.exactly()?;
    call.takes(1, INDICES)?;
    call.axis_of(data, axis)?;
    let before = data.shape().get(..axis).unwrap_or_default();
    let after = data.shape().get(axis + 1..).unwrap_or_default();
    Spec::new(data.element(), [before, indices.shape(), after].concat())
}

pub(super) fn gather_elements(call: &Call<'_>, axis: usize) -> Result<Spec, InferError> {
    let [data, indices] = call.exactly()?;
    aligned(call, data, indices, axis)?;
    indices.with_element(data.element())
}

/// Indices have the data's rank, and reach no further on the other axes.
fn aligned(call: &Call<'_>, data: &Spec, indices: &Spec, axis: usize) -> Result<(), InferError> {
    call.takes(1, INDICES)?;
    call.axis_of(data, axis)?;
    if data.rank() != indices.rank() {
        return call.mismatch("data and indices differ in rank");
    }
    let pairs = indices.shape().iter().zip(data.shape()).enumerate();
    for (at, (index, extent)) in pairs {
        if at != axis && index > extent {
            return call.mismatch(format!("the indices exceed the data on axis {at}"));
        }
    }
    Ok(())
}

pub(super) fn scatter(call: &Call<'_>, axis: usize) -> Result<Spec, InferError> {
    let [data, indices, updates] = call.exactly()?;
    call.takes(1, INDICES)?;
    call.takes(2, &[data.element()])?;
    call.axis_of(data, axis)?;
    let [count] = indices.shape() else {
        return call.mismatch("the indices need one axis");
    };
    let mut shape = data.shape().to_vec();
    if let Some(extent) = shape.get_mut(axis) {
        *extent = *count;
    }
    if updates.shape() != shape {
        return call.mismatch(format!("the updates must be {shape:?}"));
    }
    Ok(data.clone())
}

pub(super) fn scatter_elements(call: &Call<'_>, axis: usize) -> Result<Spec, InferError> {
    let [data, indices, updates] = call.exactly()?;
    call.takes(2, &[data.element()])?;
    aligned(call, data, indices, axis)?;
    if updates.shape() != indices.shape() {
        return call.mismatch("updates and indices differ in shape");
    }
    Ok(data.clone())
}

pub(super) fn arg_reduce(call: &Call<'_>, arg: &ArgReduce) -> Result<Spec, InferError> {
    let [input] = call.exactly()?;
    if call.axis_of(input, arg.axis)? == 0 {
        return call.mismatch("nothing has no maximum or minimum");
    }
    let mut shape = input.shape().to_vec();
    shape.splice(arg.axis..=arg.axis, arg.keep.then_some(1));
    Spec::new(Element::I64, shape)
}

pub(super) fn top_k(call: &Call<'_>, top: &TopK) -> Result<Vec<Spec>, InferError> {
    let [input] = call.exactly()?;
    call.axis_of(input, top.axis)?;
    let mut shape = input.shape().to_vec();
    for extent in shape.iter_mut().skip(top.axis).take(1) {
        if top.k > *extent {
            return call.mismatch(format!("k {} is more than {extent} elements", top.k));
        }
        *extent = top.k;
    }
    let values = Spec::new(input.element(), shape.clone())?;
    Ok(vec![values, Spec::new(Element::I64, shape)?])
}

pub(super) fn cumulative(call: &Call<'_>, axis: usize) -> Result<Spec, InferError> {
    let [input] = call.exactly()?;
    call.axis_of(input, axis)?;
    Ok(input.clone())
}
