//! Elements placed in a larger tensor: concatenation and padding.

use super::{Context, View, budget::Buffer, cells, threads};
use crate::ops::{
    EvalError, Pad, PadMode,
    spec::{Spec, strides},
};

/// Operands one after another along an axis.
pub(crate) fn concatenate(
    context: &Context<'_>,
    axis: usize,
    operands: &[View<'_>],
    result: &Spec,
) -> Result<Buffer, EvalError> {
    let mut out = context.buffer(result.bytes())?;
    let width = result.element().size_bytes();
    let (_, extent, inner) = result.around(axis);
    let mut at = 0;
    for view in operands {
        let unit = view.spec.extent(axis) * inner * width;
        let rows = out.data.chunks_mut((extent * inner * width).max(1));
        for (row, part) in rows.zip(view.data.chunks(unit.max(1))) {
            if let Some(into) = row.get_mut(at..at + unit) {
                into.copy_from_slice(part);
            }
        }
        at += unit;
    }
    Ok(out)
}

/// Elements added around each axis.
pub(crate) fn pad(
    context: &Context<'_>,
    op: &Pad,
    input: View<'_>,
    result: &Spec,
) -> Result<Buffer, EvalError> {
    let width = input.spec.element().size_bytes();
    let mut out = context.buffer(result.bytes())?;
    let sizes = input.spec.sizes();
    let results = result.sizes();
    let _hold = context.budget.take(results.iter().sum::<usize>() * 16)?;
    let fill = match op.mode {
        PadMode::Constant(number) => cells::cell(input.spec.element(), number),
        PadMode::Edge | PadMode::Reflect => vec![0; width],
    };
    let from = |at: usize, before: usize, size: usize| match op.mode {
        PadMode::Constant(_) => at.checked_sub(before).filter(|place| *place < size),
        PadMode::Edge => Some(at.saturating_sub(before).min(size.saturating_sub(1))),
        PadMode::Reflect => {
            let place = at.abs_diff(before);
            Some(if at > before && place >= size {
                2 * (size - 1) - place
            } else {
                place
            })
        }
    };
    // For each axis: which element of the input each place shows, times its stride.
    let mut maps: Vec<Vec<Option<usize>>> = Vec::with_capacity(sizes.len());
    for (((size, extent), before), stride) in sizes
        .iter()
        .zip(&results)
        .zip(&op.before)
        .zip(strides(&sizes))
    {
        let before = usize::try_from(*before).unwrap_or(usize::MAX);
        let map = (0..*extent).map(|at| from(at, before, *size).map(|place| place * stride));
        maps.push(map.collect());
    }
    let Some((last, outer)) = maps.split_last() else {
        out.data.copy_from_slice(input.data);
        return Ok(out);
    };
    let row = last.len() * width;
    threads::split(context.crew(), &mut out.data, row, |first, part| {
        for (index, line) in part.chunks_mut(row.max(1)).enumerate() {
            let (mut rest, mut start) = (first + index, Some(0));
            for map in outer.iter().rev() {
                let place = map.get(rest % map.len()).copied().flatten();
                start = start.zip(place).map(|(start, place)| start + place);
                rest /= map.len();
            }
            for (cell, place) in line.chunks_mut(width).zip(last) {
                let place = start
                    .zip(*place)
                    .map(|(start, place)| (start + place) * width);
                let source = place.and_then(|place| input.data.get(place..place + width));
                cell.copy_from_slice(source.unwrap_or(&fill));
            }
        }
        Ok(())
    })?;
    Ok(out)
}
