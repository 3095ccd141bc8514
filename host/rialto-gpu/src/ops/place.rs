//! Elements placed in a larger tensor: concatenation and padding.

use rialto_compute::{
    Element,
    ops::{
        EvalError, Number, Pad, PadMode, Spec,
        spec::{size, strides},
    },
};

use super::{layout::value, source::constant};
use crate::{kernel::Operand, link::failed, stream::Stream};

/// Operands one after another along an axis; in portions if one kernel may not bind them all.
pub(super) fn concatenate(
    stream: &mut Stream<'_>,
    axis: usize,
    operands: &[&Operand],
    result: &Spec,
) -> Result<Operand, EvalError> {
    let bindings = size(stream.link.limits.max_storage_buffers_per_shader_stage);
    let most = bindings.saturating_sub(1).clamp(2, PORTION_MAX);
    let mut rest: Vec<Operand> = operands.iter().map(|operand| (*operand).clone()).collect();
    while rest.len() > 1 || rest.first().is_some_and(|one| one.spec != *result) {
        let mut joined = Vec::with_capacity(rest.len().div_ceil(most));
        for portion in rest.chunks(most) {
            joined.push(portion_of(stream, axis, portion, result)?);
        }
        rest = joined;
    }
    let one = rest.pop();
    one.ok_or_else(|| failed("concatenate", "operands are missing".to_owned()))
}

fn portion_of(
    stream: &mut Stream<'_>,
    axis: usize,
    portion: &[Operand],
    result: &Spec,
) -> Result<Operand, EvalError> {
    if let [one] = portion {
        return Ok(one.clone());
    }
    let mut shape = result.shape().to_vec();
    let length = portion
        .iter()
        .map(|part| part.spec.shape().get(axis).copied().unwrap_or(0));
    if let Some(extent) = shape.get_mut(axis) {
        *extent = length.fold(0, u32::saturating_add);
    }
    let joint = Spec::new(result.element(), shape)?;
    let (_, extent, inner) = joint.around(axis);
    stream.map("concatenate", &joint, |kernel| {
        let (extent, inner) = (kernel.size(extent), kernel.size(inner));
        let mut body = format!(
            "let inner = {inner};\nlet within = i % inner;\nlet line = i / inner;\n\
             var at = line % {extent};\nlet outer = line / {extent};\n"
        );
        for part in portion.iter().filter(|part| part.spec.elements() > 0) {
            let n = kernel.read(part);
            let own = kernel.size(part.spec.extent(axis));
            body.push_str(&format!(
                "if (at < {own}) {{ return load{n}((outer * {own} + at) * inner + within); }}\nat -= {own};\n"
            ));
        }
        let zero = zero(result.element());
        value(kernel, result, &format!("{body}return {zero};"));
    })
}

/// Zero in a register.
pub(super) const fn zero(element: Element) -> &'static str {
    match element {
        Element::F32 | Element::F16 | Element::Bf16 => "0.0",
        Element::I32 | Element::I8 | Element::U8 | Element::Bool => "0",
        Element::I64 => "vec2<u32>(0u, 0u)",
    }
}

/// Elements added around each axis.
pub(super) fn pad(
    stream: &mut Stream<'_>,
    op: &Pad,
    input: &Operand,
    result: &Spec,
) -> Result<Operand, EvalError> {
    let sizes = input.spec.sizes();
    stream.map("pad", result, |kernel| {
        let filled = match op.mode {
            PadMode::Constant(number) => constant(kernel, result.element(), number),
            PadMode::Edge | PadMode::Reflect => {
                constant(kernel, result.element(), Number::Int(0))
            }
        };
        let mut body = "var rest = i;\nvar place = 0u;\n".to_owned();
        if input.spec.elements() == 0 {
            value(kernel, result, &format!("return {filled};"));
            return;
        }
        let n = kernel.read(input);
        let axes = sizes.iter().zip(result.sizes()).zip(&op.before).zip(strides(&sizes));
        for (((extent, whole), before), stride) in axes.rev() {
            let (extent, whole) = (kernel.size(*extent), kernel.size(whole));
            let (before, stride) = (kernel.word(*before), kernel.size(stride));
            let inside = match op.mode {
                PadMode::Constant(_) => format!(
                    "let origin = at - {before};\nif (at < {before} || origin >= {extent}) {{ return {filled}; }}\n"
                ),
                PadMode::Edge => format!(
                    "let origin = min(at - min(at, {before}), {extent} - 1u);\n"
                ),
                PadMode::Reflect => format!(
                    "var origin = max(at, {before}) - min(at, {before});\n\
                     if (at > {before} && origin >= {extent}) {{ origin = 2u * ({extent} - 1u) - origin; }}\n"
                ),
            };
            body.push_str(&format!(
                "{{\nlet at = rest % {whole};\nrest = rest / {whole};\n{inside}place += origin * {stride};\n}}\n"
            ));
        }
        value(kernel, result, &format!("{body}return load{n}(place);"));
    })
}

/// Operands joined in one kernel.
const PORTION_MAX: usize = 12;
