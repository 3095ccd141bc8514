//! The same elements in another arrangement.

use rialto_compute::ops::{
    EvalError, Range, Spec,
    spec::{broadcast_strides, strides},
};

use crate::{
    kernel::{Kernel, Operand, register, word},
    stream::Stream,
};

/// An axis of a strided reading: extent, and distance in elements modulo 2^32.
type Axis = (usize, u32);

/// Axes in another order.
pub(super) fn transpose(
    stream: &mut Stream<'_>,
    order: &[usize],
    input: &Operand,
    result: &Spec,
) -> Result<Operand, EvalError> {
    let strides = strides(&input.spec.sizes());
    let axes = order.iter().map(|axis| {
        let stride = strides.get(*axis).copied().unwrap_or(0);
        (input.spec.extent(*axis), word(stride))
    });
    strided(stream, "transpose", input, (0, axes.collect()), result)
}

/// Part of each axis.
pub(super) fn slice(
    stream: &mut Stream<'_>,
    ranges: &[Range],
    input: &Operand,
    result: &Spec,
) -> Result<Operand, EvalError> {
    let (mut start, mut axes) = (0, Vec::with_capacity(ranges.len()));
    let sizes = input.spec.sizes();
    for ((range, size), stride) in ranges.iter().zip(&sizes).zip(strides(&sizes)) {
        let Some(span) = range.on(*size) else {
            continue;
        };
        start += span.start * stride;
        let distance = word(stride).wrapping_mul(word(span.step.unsigned_abs()));
        let distance = if span.step < 0 {
            distance.wrapping_neg()
        } else {
            distance
        };
        axes.push((span.count, distance));
    }
    strided(stream, "slice", input, (start, axes), result)
}

/// Repeated to a shape.
pub(super) fn broadcast_to(
    stream: &mut Stream<'_>,
    input: &Operand,
    result: &Spec,
) -> Result<Operand, EvalError> {
    let strides = broadcast_strides(input.spec.shape(), result.shape());
    let axes = result
        .sizes()
        .into_iter()
        .zip(strides.into_iter().map(word));
    strided(stream, "broadcast-to", input, (0, axes.collect()), result)
}

/// Reads elements at `start` plus any sum of strides, in row-major order.
fn strided(
    stream: &mut Stream<'_>,
    op: &'static str,
    input: &Operand,
    (start, axes): (usize, Vec<Axis>),
    result: &Spec,
) -> Result<Operand, EvalError> {
    let mut joined: Vec<Axis> = Vec::new();
    for (extent, stride) in axes.into_iter().filter(|(extent, _)| *extent != 1) {
        match joined.last_mut() {
            Some((outer, outer_stride)) if *outer_stride == stride.wrapping_mul(word(extent)) => {
                *outer *= extent;
                *outer_stride = stride;
            }
            _ => joined.push((extent, stride)),
        }
    }
    stream.map(op, result, |kernel| {
        let n = kernel.read(input);
        let start = kernel.size(start);
        let mut body = format!("var rest = i;\nvar at = {start};\n");
        for (extent, stride) in joined.iter().rev() {
            let (extent, stride) = (kernel.size(*extent), kernel.word(*stride));
            body.push_str(&format!(
                "at += (rest % {extent}) * {stride};\nrest = rest / {extent};\n"
            ));
        }
        value(kernel, result, &format!("{body}return load{n}(at);"));
    })
}

/// Gives a kernel its `value(i)`, in the registers of the result's type.
pub(super) fn value(kernel: &mut Kernel, result: &Spec, body: &str) {
    let register = register(result.element());
    kernel.push(&format!("fn value(i: u32) -> {register} {{\n{body}\n}}\n"));
}
