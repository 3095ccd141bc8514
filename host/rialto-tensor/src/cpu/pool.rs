//! Pooling: the maximum or mean of moving windows.

use super::{
    Context, View,
    budget::Buffer,
    cells::{count, load_floats, load_ints, narrow, store_floats, store_ints},
    math, threads,
};
use crate::ops::{EvalError, Pool, PoolKind, Window, accepts::is_float, spec::Spec};

/// Pools planes of one or two axes.
pub(crate) fn pool<const N: usize>(
    context: &Context<'_>,
    op: &Pool<N>,
    input: View<'_>,
    result: &Spec,
) -> Result<Buffer, EvalError> {
    let axes = |spec: &Spec| {
        if N == 1 {
            [1, spec.extent(2)]
        } else {
            [spec.extent(2), spec.extent(3)]
        }
    };
    let whole = axes(input.spec);
    let mut shape = Shape {
        input: whole,
        output: axes(result),
        size: whole,
        windows: [Window::default(); 2],
        padded: op.kind == PoolKind::MeanWithPadding,
    };
    if let Some(extents) = op.extents {
        let sized = extents.iter().zip(&op.windows).rev();
        for ((into, window), (size, given)) in shape
            .size
            .iter_mut()
            .zip(&mut shape.windows)
            .rev()
            .zip(sized)
        {
            *into = usize::try_from(*size).unwrap_or(usize::MAX);
            *window = *given;
        }
    }
    let element = input.spec.element();
    let mut out = context.buffer(result.bytes())?;
    let (from, to) = (
        whole.iter().product::<usize>(),
        shape.output.iter().product::<usize>(),
    );
    let _hold = context.budget.take(context.threads * (from + to) * 8)?;
    let width = element.size_bytes();
    let unit = to * width;
    threads::split(context.crew(), &mut out.data, unit, |first, part| {
        let (mut floats, mut float_results) = (Vec::new(), Vec::new());
        let (mut ints, mut int_results) = (Vec::new(), Vec::new());
        if is_float(element) {
            floats.resize(from, 0.0_f32);
            float_results.resize(to, 0.0_f32);
        } else {
            ints.resize(from, 0_i64);
            int_results.resize(to, 0_i64);
        }
        for (index, out) in part.chunks_mut(unit.max(1)).enumerate() {
            let start = (first + index) * from * width;
            let bytes = input
                .data
                .get(start..start + from * width)
                .unwrap_or_default();
            if is_float(element) {
                load_floats(element, bytes, &mut floats);
                shape.floats(op.kind, &floats, &mut float_results);
                store_floats(element, &float_results, out);
            } else {
                load_ints(element, bytes, &mut ints);
                shape.each(&ints, &mut int_results, |window, _| {
                    window.max().unwrap_or(0)
                });
                store_ints(element, &int_results, out);
            }
        }
        Ok(())
    })?;
    Ok(out)
}

struct Shape {
    input: [usize; 2],
    output: [usize; 2],
    size: [usize; 2],
    windows: [Window; 2],
    padded: bool,
}

impl Shape {
    fn floats(&self, kind: PoolKind, plane: &[f32], out: &mut [f32]) {
        match kind {
            PoolKind::Max => {
                self.each(plane, out, |window, _| {
                    window.fold(f32::NEG_INFINITY, math::max)
                });
            }
            PoolKind::Mean | PoolKind::MeanWithPadding => self.each(plane, out, |window, size| {
                let (sum, inside) =
                    window.fold((0.0, 0), |(sum, n), value| (sum + f64::from(value), n + 1));
                narrow(sum / count(if self.padded { size } else { inside }))
            }),
        }
    }

    /// Calls `join` with the elements of each window, row by row, and the places it counts when
    /// padding does.
    fn each<T: Copy>(
        &self,
        plane: &[T],
        out: &mut [T],
        join: impl Fn(&mut dyn Iterator<Item = T>, usize) -> T,
    ) {
        let [[height, width], [_, columns], [taps_y, taps_x]] =
            [self.input, self.output, self.size];
        let [down, right] = &self.windows;
        for (index, into) in out.iter_mut().enumerate() {
            let (y, x) = (index / columns.max(1), index % columns.max(1));
            let mut window = (0..taps_y)
                .filter_map(|tap| down.place(y, tap, height))
                .flat_map(|line| {
                    (0..taps_x).filter_map(move |tap| {
                        plane
                            .get(line * width + right.place(x, tap, width)?)
                            .copied()
                    })
                });
            *into = join(&mut window, taps_y * taps_x);
        }
    }
}
