//! The same elements in another arrangement. Only sizes of elements matter, not their types.

use super::{Context, View, budget::Buffer, threads};
use crate::ops::{
    EvalError, Range,
    spec::{Spec, broadcast_strides, strides},
};

/// One axis of a strided reading: extent, and distance in elements.
type Axis = (usize, isize);

/// Axes in another order.
pub(crate) fn transpose(
    context: &Context<'_>,
    order: &[usize],
    input: View<'_>,
    result: &Spec,
) -> Result<Buffer, EvalError> {
    let strides = strides(&input.spec.sizes());
    let axes = order.iter().map(|axis| {
        let stride = strides.get(*axis).copied().unwrap_or(0);
        (input.spec.extent(*axis), signed(stride))
    });
    strided(context, input, 0, axes.collect(), result)
}

/// Part of each axis.
pub(crate) fn slice(
    context: &Context<'_>,
    ranges: &[Range],
    input: View<'_>,
    result: &Spec,
) -> Result<Buffer, EvalError> {
    let (mut start, mut axes) = (0, Vec::with_capacity(ranges.len()));
    let sizes = input.spec.sizes();
    for ((range, size), stride) in ranges.iter().zip(&sizes).zip(strides(&sizes)) {
        let Some(span) = range.on(*size) else {
            return Err(context.bug("a step is zero"));
        };
        start += span.start * stride;
        axes.push((span.count, signed(stride).saturating_mul(span.step)));
    }
    strided(context, input, start, axes, result)
}

/// Repeated to a shape.
pub(crate) fn broadcast_to(
    context: &Context<'_>,
    input: View<'_>,
    result: &Spec,
) -> Result<Buffer, EvalError> {
    let strides = broadcast_strides(input.spec.shape(), result.shape());
    let axes = result
        .sizes()
        .into_iter()
        .zip(strides.into_iter().map(signed));
    strided(context, input, 0, axes.collect(), result)
}

fn signed(stride: usize) -> isize {
    isize::try_from(stride).unwrap_or(isize::MAX)
}

/// Reads elements at `start` plus any sum of strides, in row-major order.
fn strided(
    context: &Context<'_>,
    input: View<'_>,
    start: usize,
    axes: Vec<Axis>,
    result: &Spec,
) -> Result<Buffer, EvalError> {
    let mut out = context.buffer(result.bytes())?;
    if out.data.is_empty() {
        return Ok(out);
    }
    // Neighbouring axes that are read as one are one.
    let mut joined: Vec<Axis> = Vec::new();
    for (extent, stride) in axes.into_iter().filter(|(extent, _)| *extent != 1) {
        match joined.last_mut() {
            Some((outer, outer_stride))
                if *outer_stride == stride.saturating_mul(signed(extent)) =>
            {
                *outer *= extent;
                *outer_stride = stride;
            }
            _ => joined.push((extent, stride)),
        }
    }
    let reading = Reading {
        start,
        axes: joined,
    };
    let width = input.spec.element().size_bytes();
    let row = reading.row() * width;
    threads::split(context.crew(), &mut out.data, row, |first, part| {
        match width {
            1 => reading.read(
                input.data.as_chunks::<1>().0,
                first,
                part.as_chunks_mut::<1>().0,
            ),
            2 => reading.read(
                input.data.as_chunks::<2>().0,
                first,
                part.as_chunks_mut::<2>().0,
            ),
            4 => reading.read(
                input.data.as_chunks::<4>().0,
                first,
                part.as_chunks_mut::<4>().0,
            ),
            _ => reading.read(
                input.data.as_chunks::<8>().0,
                first,
                part.as_chunks_mut::<8>().0,
            ),
        }
        Ok(())
    })?;
    Ok(out)
}

struct Reading {
    start: usize,
    axes: Vec<Axis>,
}

impl Reading {
    /// Elements of a row: the last axis.
    fn row(&self) -> usize {
        self.axes.last().map_or(1, |(extent, _)| *extent)
    }

    /// Fills `out` with rows from `first` on. Rows that neighbours in memory feed together are read
    /// in tiles, so that a transposition uses each cache line whole.
    fn read<T: Copy>(&self, input: &[T], first: usize, out: &mut [T]) {
        let row = self.row();
        let Some(((_, stride), outer)) = self.axes.split_last() else {
            if let (Some(into), Some(cell)) = (out.first_mut(), input.get(self.start)) {
                *into = *cell;
            }
            return;
        };
        let beside = outer
            .last()
            .is_some_and(|(_, stride)| stride.unsigned_abs() == 1);
        if stride.unsigned_abs() > 1 && beside {
            for (index, rows) in out.chunks_mut(row * TILE).enumerate() {
                let starts: Vec<usize> = (0..rows.len() / row)
                    .map(|line| self.line(first + index * TILE + line))
                    .collect();
                for column in (0..row).step_by(TILE) {
                    for (line, start) in rows.chunks_mut(row).zip(&starts) {
                        let shift = stride.wrapping_mul(signed(column));
                        let start = start.wrapping_add_signed(shift);
                        let end = (column + TILE).min(row);
                        gather(
                            input,
                            start,
                            *stride,
                            line.get_mut(column..end).unwrap_or_default(),
                        );
                    }
                }
            }
            return;
        }
        for (index, line) in out.chunks_mut(row).enumerate() {
            gather(input, self.line(first + index), *stride, line);
        }
    }

    /// Where a row begins.
    fn line(&self, index: usize) -> usize {
        let (mut rest, mut at) = (index, self.start);
        for (extent, stride) in self.axes.iter().rev().skip(1) {
            at = at.wrapping_add_signed(stride.wrapping_mul(signed(rest % extent)));
            rest /= extent;
        }
        at
    }
}

/// Reads every `stride`th element from `start` on.
fn gather<T: Copy>(input: &[T], start: usize, stride: isize, out: &mut [T]) {
    match stride {
        0 => {
            if let Some(cell) = input.get(start) {
                out.fill(*cell);
            }
        }
        1 => {
            for (into, cell) in out.iter_mut().zip(input.get(start..).unwrap_or_default()) {
                *into = *cell;
            }
        }
        2.. => {
            let from = input.get(start..).unwrap_or_default();
            for (into, cell) in out
                .iter_mut()
                .zip(from.iter().step_by(stride.unsigned_abs()))
            {
                *into = *cell;
            }
        }
        _ => {
            let from = input.get(..=start).unwrap_or_default();
            let cells = from.iter().rev().step_by(stride.unsigned_abs());
            for (into, cell) in out.iter_mut().zip(cells) {
                *into = *cell;
            }
        }
    }
}

/// Rows and columns that a transposition moves together.
const TILE: usize = 32;
