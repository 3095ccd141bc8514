//! The best elements on an axis: arg-max, arg-min, top-k.
//!
//! Elements are compared by 64-bit keys in which best is highest, so that floats (with NaN and both
//! zeros) and integers are ranked by one rule.

use super::{
    Context, View,
    budget::Buffer,
    cells::{load_floats, load_ints},
    threads,
};
use crate::ops::{ArgReduce, EvalError, TopK, accepts::is_float, spec::Spec};

/// Turns the elements at one place along the axis into keys.
struct Ranker<'a> {
    input: View<'a>,
    extent: usize,
    inner: usize,
    largest: bool,
    floats: Vec<f32>,
    keys: Vec<i64>,
}

impl<'a> Ranker<'a> {
    fn new(input: View<'a>, axis: usize, largest: bool) -> Self {
        let (_, extent, inner) = input.spec.around(axis);
        Self {
            input,
            extent,
            inner,
            largest,
            floats: vec![0.0; extent],
            keys: vec![0; extent],
        }
    }

    /// Reads the keys of line `line`, counted over all other axes.
    fn read(&mut self, line: usize) {
        let element = self.input.spec.element();
        let width = element.size_bytes();
        let (outer, at) = (line / self.inner.max(1), line % self.inner.max(1));
        let start = outer * self.extent * self.inner + at;
        for index in 0..self.extent {
            let place = (start + index * self.inner) * width;
            let cell = self
                .input
                .data
                .get(place..place + width)
                .unwrap_or_default();
            let key = self.keys.get_mut(index..=index).unwrap_or_default();
            if is_float(element) {
                load_floats(
                    element,
                    cell,
                    self.floats.get_mut(index..=index).unwrap_or_default(),
                );
            } else {
                load_ints(element, cell, key);
                if !self.largest {
                    key.iter_mut().for_each(|key| *key = !*key);
                }
            }
        }
        if is_float(element) {
            for (key, value) in self.keys.iter_mut().zip(&self.floats) {
                *key = float_key(*value, self.largest);
            }
        }
    }
}

/// A float's key: higher is better, NaN is best, both zeros are equal.
fn float_key(value: f32, largest: bool) -> i64 {
    if value.is_nan() {
        return i64::MAX;
    }
    // Adding zero makes a positive zero of a negative one.
    let bits = i64::from((value + 0.0).to_bits().cast_signed());
    let key = if bits < 0 {
        i64::from(i32::MIN) - bits
    } else {
        bits
    };
    if largest { key } else { -key }
}

/// The place of the best element.
pub(crate) fn arg(
    context: &Context<'_>,
    op: &ArgReduce,
    input: View<'_>,
    result: &Spec,
) -> Result<Buffer, EvalError> {
    let extent = input.spec.extent(op.axis);
    let _hold = context.budget.take(context.threads * extent * 12)?;
    let mut out = context.buffer(result.bytes())?;
    let minimum = PART_BYTES_MIN / extent.max(1) + 1;
    threads::split_from(context.crew(), minimum, &mut out.data, 8, |first, part| {
        let mut ranker = Ranker::new(input, op.axis, op.largest);
        let (cells, _) = part.as_chunks_mut::<8>();
        for (index, cell) in cells.iter_mut().enumerate() {
            ranker.read(first + index);
            let mut best = (0_usize, i64::MIN);
            for (place, key) in ranker.keys.iter().enumerate() {
                if *key > best.1 {
                    best = (place, *key);
                }
            }
            *cell = i64::try_from(best.0).unwrap_or(i64::MAX).to_le_bytes();
        }
        Ok(())
    })?;
    Ok(out)
}

/// The best elements and their places.
pub(crate) fn top_k(
    context: &Context<'_>,
    op: &TopK,
    input: View<'_>,
    results: &[Spec],
) -> Result<Vec<Buffer>, EvalError> {
    let [values_spec, places_spec] = results else {
        return Err(context.bug("two results are needed"));
    };
    let extent = input.spec.extent(op.axis);
    let (_, k, inner) = values_spec.around(op.axis);
    let width = input.spec.element().size_bytes();
    let _hold = context.budget.take(extent * 12 + extent * 8)?;
    let mut values = context.buffer(values_spec.bytes())?;
    let mut places = context.buffer(places_spec.bytes())?;
    let mut ranker = Ranker::new(input, op.axis, op.largest);
    let lines = values_spec.elements().checked_div(k).unwrap_or(0);
    let mut order: Vec<usize> = Vec::with_capacity(extent);
    for line in 0..lines {
        ranker.read(line);
        order.clear();
        order.extend(0..extent);
        let rank = |place: &usize| {
            let key = ranker.keys.get(*place).copied().unwrap_or(i64::MIN);
            (std::cmp::Reverse(key), *place)
        };
        if k < extent && k > 0 {
            order.select_nth_unstable_by_key(k - 1, rank);
            order.truncate(k);
        }
        order.sort_unstable_by_key(rank);
        let (outer, at) = (line / inner.max(1), line % inner.max(1));
        for (index, place) in order.iter().take(k).enumerate() {
            let to = (outer * k + index) * inner + at;
            let from = (outer * extent + place) * inner + at;
            if let (Some(into), Some(cell)) = (
                values.data.get_mut(to * width..(to + 1) * width),
                input.data.get(from * width..(from + 1) * width),
            ) {
                into.copy_from_slice(cell);
            }
            let place = i64::try_from(*place).unwrap_or(i64::MAX);
            if let Some(into) = places.data.get_mut(to * 8..(to + 1) * 8) {
                into.copy_from_slice(&place.to_le_bytes());
            }
        }
    }
    Ok(vec![values, places])
}

/// The least bytes read for which a thread is worth its start.
const PART_BYTES_MIN: usize = 128 << 10;

#[cfg(test)]
mod tests {
    use super::float_key;

    #[test]
    fn keys_order_as_floats_do() {
        let values = [
            f32::NEG_INFINITY,
            -2.0,
            -1e-40,
            0.0,
            1e-40,
            1.0,
            f32::INFINITY,
            f32::NAN,
        ];
        for pair in values.windows(2) {
            assert!(
                float_key(pair[0], true) < float_key(pair[1], true),
                "{pair:?}"
            );
        }
        assert_eq!(float_key(-0.0, true), float_key(0.0, true));
        assert!(float_key(-1.0, false) > float_key(1.0, false));
        assert_eq!(float_key(f32::NAN, false), i64::MAX);
    }
}
