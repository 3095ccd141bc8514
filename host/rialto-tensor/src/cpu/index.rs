//! Gathering and scattering by index tensors.

use super::{
    Context, View,
    budget::Buffer,
    cells::{load_floats, load_ints, store_floats, store_ints, wrap_ints},
    math, threads,
};
use crate::{
    Element,
    ops::{
        Combine, EvalError,
        accepts::is_float,
        spec::{Spec, strides},
    },
};

/// Index values as places on an axis.
fn places(
    context: &Context<'_>,
    indices: View<'_>,
    axis: usize,
    extent: usize,
) -> Result<Vec<usize>, EvalError> {
    let length = i64::try_from(extent).unwrap_or(i64::MAX);
    let resolve = |index: i64| {
        let place = if index < 0 {
            index.saturating_add(length)
        } else {
            index
        };
        usize::try_from(place)
            .ok()
            .filter(|place| *place < extent)
            .ok_or(EvalError::Index {
                op: context.op,
                index,
                axis,
                extent,
            })
    };
    indices.ints().into_iter().map(resolve).collect()
}

/// Slices of the data at indices.
pub(crate) fn gather(
    context: &Context<'_>,
    axis: usize,
    data: View<'_>,
    indices: View<'_>,
    result: &Spec,
) -> Result<Buffer, EvalError> {
    let (_, extent, inner) = data.spec.around(axis);
    let _hold = context.budget.take(indices.spec.elements() * 16)?;
    let places = places(context, indices, axis, extent)?;
    let mut out = context.buffer(result.bytes())?;
    let unit = inner * data.spec.element().size_bytes();
    threads::split(context.crew(), &mut out.data, unit, |first, part| {
        for (index, out) in part.chunks_mut(unit.max(1)).enumerate() {
            let (outer, at) = (
                (first + index) / places.len(),
                (first + index) % places.len(),
            );
            let place = places.get(at).copied().unwrap_or(0);
            let start = (outer * extent + place) * unit;
            copy(out, data.data.get(start..start + unit));
        }
        Ok(())
    })?;
    Ok(out)
}

fn copy(out: &mut [u8], from: Option<&[u8]>) {
    if let Some(from) = from.filter(|from| from.len() == out.len()) {
        out.copy_from_slice(from);
    }
}

/// For each element of `indices` its place in the data, in elements.
fn element_places(
    context: &Context<'_>,
    axis: usize,
    data: &Spec,
    indices: View<'_>,
) -> Result<Vec<usize>, EvalError> {
    let strides = strides(&data.sizes());
    let sizes = indices.spec.sizes();
    let mut places = places(context, indices, axis, data.extent(axis))?;
    for (flat, place) in places.iter_mut().enumerate() {
        let (mut rest, mut offset) = (flat, 0);
        for (at, (size, stride)) in sizes.iter().zip(&strides).enumerate().rev() {
            offset += if at == axis { *place } else { rest % size } * stride;
            rest /= size;
        }
        *place = offset;
    }
    Ok(places)
}

/// Elements of the data at indices.
pub(crate) fn gather_elements(
    context: &Context<'_>,
    axis: usize,
    data: View<'_>,
    indices: View<'_>,
    result: &Spec,
) -> Result<Buffer, EvalError> {
    let _hold = context.budget.take(indices.spec.elements() * 16)?;
    let places = element_places(context, axis, data.spec, indices)?;
    let mut out = context.buffer(result.bytes())?;
    let width = data.spec.element().size_bytes();
    for (out, place) in out.data.chunks_mut(width).zip(places) {
        copy(out, data.data.get(place * width..(place + 1) * width));
    }
    Ok(out)
}

/// Data with slices replaced or combined, in the order of the indices.
pub(crate) fn scatter(
    context: &Context<'_>,
    (axis, combine): (usize, Combine),
    [data, indices, updates]: [View<'_>; 3],
) -> Result<Buffer, EvalError> {
    let (_, extent, inner) = data.spec.around(axis);
    let _hold = context.budget.take(indices.spec.elements() * 16)?;
    let places = places(context, indices, axis, extent)?;
    let mut out = context.buffer(data.spec.bytes())?;
    out.data.copy_from_slice(data.data);
    let element = data.spec.element();
    let unit = inner * element.size_bytes();
    let mut joiner = Joiner::new(element, combine);
    for (index, update) in updates.data.chunks(unit.max(1)).enumerate() {
        let (outer, at) = (index / places.len(), index % places.len());
        let place = places.get(at).copied().unwrap_or(0);
        let start = (outer * extent + place) * unit;
        joiner.join(
            out.data.get_mut(start..start + unit).unwrap_or_default(),
            update,
        );
    }
    Ok(out)
}

/// Data with elements replaced or combined, in the order of the indices.
pub(crate) fn scatter_elements(
    context: &Context<'_>,
    (axis, combine): (usize, Combine),
    [data, indices, updates]: [View<'_>; 3],
) -> Result<Buffer, EvalError> {
    let _hold = context.budget.take(indices.spec.elements() * 16)?;
    let places = element_places(context, axis, data.spec, indices)?;
    let mut out = context.buffer(data.spec.bytes())?;
    out.data.copy_from_slice(data.data);
    let element = data.spec.element();
    let width = element.size_bytes();
    let mut joiner = Joiner::new(element, combine);
    for (place, update) in places.into_iter().zip(updates.data.chunks(width)) {
        let cell = out.data.get_mut(place * width..(place + 1) * width);
        joiner.join(cell.unwrap_or_default(), update);
    }
    Ok(out)
}

/// Joins updates with what was there, in blocks.
struct Joiner {
    element: Element,
    combine: Combine,
    floats: [[f32; BLOCK]; 2],
    ints: [[i64; BLOCK]; 2],
}

impl Joiner {
    const fn new(element: Element, combine: Combine) -> Self {
        Self {
            element,
            combine,
            floats: [[0.0; BLOCK]; 2],
            ints: [[0; BLOCK]; 2],
        }
    }

    fn join(&mut self, out: &mut [u8], update: &[u8]) {
        let block = BLOCK * self.element.size_bytes();
        for (out, update) in out.chunks_mut(block).zip(update.chunks(block)) {
            if self.combine == Combine::Replace {
                copy(out, Some(update));
            } else if is_float(self.element) {
                self.join_floats(out, update);
            } else {
                self.join_ints(out, update);
            }
        }
    }

    fn join_floats(&mut self, out: &mut [u8], update: &[u8]) {
        let length = out.len() / self.element.size_bytes();
        let [old, new] = &mut self.floats;
        let (old, new) = (&mut old[..length], &mut new[..length]);
        load_floats(self.element, out, old);
        load_floats(self.element, update, new);
        for (old, new) in old.iter_mut().zip(new.iter()) {
            *old = match self.combine {
                Combine::Replace => *new,
                Combine::Add => *old + *new,
                Combine::Mul => *old * *new,
                Combine::Min => math::min(*old, *new),
                Combine::Max => math::max(*old, *new),
            };
        }
        store_floats(self.element, old, out);
    }

    fn join_ints(&mut self, out: &mut [u8], update: &[u8]) {
        let length = out.len() / self.element.size_bytes();
        let [old, new] = &mut self.ints;
        let (old, new) = (&mut old[..length], &mut new[..length]);
        load_ints(self.element, out, old);
        load_ints(self.element, update, new);
        for (old, new) in old.iter_mut().zip(new.iter()) {
            *old = match self.combine {
                Combine::Replace => *new,
                Combine::Add => old.wrapping_add(*new),
                Combine::Mul => old.wrapping_mul(*new),
                Combine::Min => (*old).min(*new),
                Combine::Max => (*old).max(*new),
            };
        }
        wrap_ints(self.element, old);
        store_ints(self.element, old, out);
    }
}

/// Elements joined together.
const BLOCK: usize = 64;
