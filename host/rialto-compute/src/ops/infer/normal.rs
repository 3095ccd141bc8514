//! Normalisation, reduction, rotation and quantisation.

use super::Call;
use crate::{
    Element,
    ops::{
        accepts::{INDICES, ZEROS, is_float},
        error::InferError,
        op::{Norm, Quantise, Reduce, ReduceKind, Rope},
        spec::Spec,
    },
};

pub(super) fn softmax(call: &Call<'_>, axis: usize) -> Result<Spec, InferError> {
    let [input] = call.exactly()?;
    call.axis_of(input, axis)?;
    Ok(input.clone())
}

pub(super) fn norm(call: &Call<'_>, norm: &Norm) -> Result<Spec, InferError> {
    let expected = 1 + usize::from(norm.scale) + usize::from(norm.bias);
    if call.specs.len() != expected {
        return call.arity(expected.to_string());
    }
    if call.op == "rms-norm" && norm.bias {
        return call.mismatch("rms-norm has no bias");
    }
    let Some(input) = call.specs.first() else {
        return call.arity(expected.to_string());
    };
    call.takes(0, call.takes)?;
    call.same_elements(0..call.specs.len())?;
    if norm.axes == 0 || norm.axes > input.rank() {
        return call.mismatch(format!(
            "{} axes to normalise are not 1 to {}",
            norm.axes,
            input.rank()
        ));
    }
    let last = input
        .shape()
        .get(input.rank() - norm.axes..)
        .unwrap_or_default();
    for (index, spec) in call.specs.iter().enumerate().skip(1) {
        if spec.shape() != last {
            return call.mismatch(format!("the {} must be {last:?}", call.name(index)));
        }
    }
    Ok((*input).clone())
}

pub(super) fn rope(call: &Call<'_>, rope: &Rope) -> Result<Spec, InferError> {
    let [input, positions] = call.exactly()?;
    call.takes(1, INDICES)?;
    let [.., length, depth] = input.shape() else {
        return call.mismatch("the input needs at least two axes: length, depth");
    };
    if positions.shape() != [*length] {
        return call.mismatch(format!("the positions must be [{length}]"));
    }
    if rope.dimensions > *depth || !rope.dimensions.is_multiple_of(2) {
        return call.mismatch(format!(
            "{} dimensions to rotate are not even or more than {depth}",
            rope.dimensions
        ));
    }
    Ok(input.clone())
}

pub(super) fn reduce(call: &Call<'_>, reduce: &Reduce) -> Result<Spec, InferError> {
    let [input] = call.exactly()?;
    let mut reduced = vec![reduce.axes.is_none(); input.rank()];
    for axis in reduce.axes.iter().flatten() {
        call.axis_of(input, *axis)?;
        match reduced.get_mut(*axis) {
            Some(seen) if !*seen => *seen = true,
            _ => return call.mismatch(format!("axis {axis} is given twice")),
        }
    }
    let extremum = matches!(reduce.kind, ReduceKind::Max | ReduceKind::Min);
    let mut shape = Vec::with_capacity(input.rank());
    for (extent, reduced) in input.shape().iter().zip(&reduced) {
        match (*reduced, reduce.keep) {
            (true, _) if *extent == 0 && extremum => {
                return call.mismatch("nothing has no maximum or minimum");
            }
            (true, true) => shape.push(1),
            (true, false) => {}
            (false, _) => shape.push(*extent),
        }
    }
    Spec::new(input.element(), shape)
}

pub(super) fn quantise(call: &Call<'_>, quantise: &Quantise) -> Result<Spec, InferError> {
    let [input, _, zero] = call.exactly()?;
    parameters(call, input, quantise)?;
    call.takes(2, ZEROS)?;
    input.with_element(zero.element())
}

pub(super) fn dequantise(
    call: &Call<'_>,
    quantise: &Quantise,
    to: Element,
) -> Result<Spec, InferError> {
    let [input, _, _] = call.exactly()?;
    parameters(call, input, quantise)?;
    call.takes(2, &[input.element()])?;
    if !is_float(to) {
        return call.mismatch(format!("{to} is no float"));
    }
    input.with_element(to)
}

/// Scale and zero point are scalars, or as long as the axis.
fn parameters(call: &Call<'_>, input: &Spec, quantise: &Quantise) -> Result<(), InferError> {
    call.takes(1, &[Element::F32])?;
    let shape = match quantise.axis {
        None => Vec::new(),
        Some(axis) => {
            call.axis_of(input, axis)?;
            input.shape().get(axis).copied().into_iter().collect()
        }
    };
    for index in [1, 2] {
        if call
            .specs
            .get(index)
            .is_some_and(|spec| spec.shape() != shape)
        {
            return call.mismatch(format!("the {} must be {shape:?}", call.name(index)));
        }
    }
    Ok(())
}
