//! The same elements in another arrangement.

use super::Call;
use crate::ops::{
    error::InferError,
    op::{Pad, PadMode, Range},
    spec::{Spec, broadcast, extent},
};

pub(super) fn slice(call: &Call<'_>, ranges: &[Range]) -> Result<Spec, InferError> {
    let [input] = call.exactly()?;
    if ranges.len() != input.rank() {
        return call.mismatch(format!("{} ranges for {} axes", ranges.len(), input.rank()));
    }
    let mut shape = Vec::with_capacity(ranges.len());
    for (axis, range) in ranges.iter().enumerate() {
        match range
            .on(input.extent(axis))
            .and_then(|span| extent(span.count))
        {
            Some(count) => shape.push(count),
            None => return call.mismatch(format!("the step on axis {axis} is zero")),
        }
    }
    Spec::new(input.element(), shape)
}

pub(super) fn reshape(call: &Call<'_>, shape: &[u32]) -> Result<Spec, InferError> {
    let [input] = call.exactly()?;
    let result = Spec::new(input.element(), shape)?;
    if result.elements() != input.elements() {
        return call.mismatch(format!(
            "{} elements do not fill {shape:?}",
            input.elements()
        ));
    }
    Ok(result)
}

pub(super) fn transpose(call: &Call<'_>, order: &[usize]) -> Result<Spec, InferError> {
    let [input] = call.exactly()?;
    let mut sorted = order.to_vec();
    sorted.sort_unstable();
    if !sorted.iter().copied().eq(0..input.rank()) {
        return call.mismatch(format!("{order:?} is no order of {} axes", input.rank()));
    }
    let shape: Vec<u32> = order
        .iter()
        .filter_map(|axis| input.shape().get(*axis).copied())
        .collect();
    Spec::new(input.element(), shape)
}

pub(super) fn concatenate(call: &Call<'_>, axis: usize) -> Result<Spec, InferError> {
    let Some(first) = call.specs.first() else {
        return call.arity("at least 1".to_owned());
    };
    let element = call.same_elements(0..call.specs.len())?;
    call.axis_of(first, axis)?;
    let mut shape = first.shape().to_vec();
    for spec in call.specs.iter().skip(1) {
        if spec.rank() != shape.len() {
            return call.mismatch("the operands differ in rank");
        }
        for (at, (into, extent)) in shape.iter_mut().zip(spec.shape()).enumerate() {
            if at == axis {
                let Some(sum) = into.checked_add(*extent) else {
                    return call.mismatch(format!("axis {axis} would be too long"));
                };
                *into = sum;
            } else if into != extent {
                return call.mismatch(format!("the operands differ on axis {at}"));
            }
        }
    }
    Spec::new(element, shape)
}

pub(super) fn pad(call: &Call<'_>, pad: &Pad) -> Result<Spec, InferError> {
    let [input] = call.exactly()?;
    if pad.before.len() != input.rank() || pad.after.len() != input.rank() {
        return call.mismatch("padding is needed for each axis, before and after");
    }
    let mut shape = Vec::with_capacity(input.rank());
    for (axis, extent) in input.shape().iter().enumerate() {
        let before = pad.before.get(axis).copied().unwrap_or(0);
        let after = pad.after.get(axis).copied().unwrap_or(0);
        let most = match pad.mode {
            PadMode::Constant(_) => u32::MAX,
            PadMode::Edge if *extent > 0 => u32::MAX,
            PadMode::Edge => 0,
            PadMode::Reflect => extent.saturating_sub(1),
        };
        if before.max(after) > most {
            return call.mismatch(format!("axis {axis} has too few elements to pad with"));
        }
        match extent
            .checked_add(before)
            .and_then(|sum| sum.checked_add(after))
        {
            Some(sum) => shape.push(sum),
            None => return call.mismatch(format!("axis {axis} would be too long")),
        }
    }
    Spec::new(input.element(), shape)
}

pub(super) fn broadcast_to(call: &Call<'_>, shape: &[u32]) -> Result<Spec, InferError> {
    let [input] = call.exactly()?;
    if broadcast(&[input.shape(), shape]).as_deref() != Some(shape) {
        return call.mismatch(format!("the shape does not broadcast to {shape:?}"));
    }
    Spec::new(input.element(), shape)
}
