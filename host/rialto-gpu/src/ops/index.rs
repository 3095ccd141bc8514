//! Gathering and scattering by index tensors, and quantisation.
//!
//! Scattering asks, for each element of the result, which updates it takes: so their order is that of
//! the indices, without a lock. That is work for each element and index; what is too much runs on the
//! CPU.

use rialto_compute::{
    Element,
    ops::{Binary, Combine, EvalError, Quantise, Spec, spec::strides},
};

use super::{
    layout::value,
    step::{binary, wrapped},
};
use crate::{
    kernel::{Kernel, Operand, register},
    stream::Stream,
};

/// Reads an index: a function `place{n}(i)` from 0 to the extent; outside, anything from there on.
fn places(kernel: &mut Kernel, indices: &Operand, extent: &str) -> usize {
    let n = kernel.read(indices);
    let low = if indices.spec.element() == Element::I64 {
        format!("bitcast<i32>(load{n}(i).x)")
    } else {
        format!("load{n}(i)")
    };
    kernel.push(&format!(
        "fn place{n}(i: u32) -> u32 {{ let v = {low}; return bitcast<u32>(select(v, v + bitcast<i32>({extent}), v < 0)); }}\n"
    ));
    n
}

/// Slices of the data at indices.
pub(super) fn gather(
    stream: &mut Stream<'_>,
    axis: usize,
    data: &Operand,
    indices: &Operand,
    result: &Spec,
) -> Result<Operand, EvalError> {
    let (_, extent, inner) = data.spec.around(axis);
    stream.check("gather", indices, (axis, extent))?;
    stream.map("gather", result, |kernel| {
        let n = kernel.read(data);
        let (extent, inner) = (kernel.size(extent), kernel.size(inner));
        let count = kernel.size(indices.spec.elements());
        let m = places(kernel, indices, &extent);
        let text = format!(
            "let inner = {inner};\nlet line = i / inner;\nlet place = min(place{m}(line % {count}), {extent} - 1u);\n\
             return load{n}(((line / {count}) * {extent} + place) * inner + i % inner);"
        );
        value(kernel, result, &text);
    })
}

/// The place in `data` of the element that shares all but one coordinate with element `i` of `from`:
/// adds to `body` what computes `base`, and `along`, the coordinate on the axis.
fn aligned(kernel: &mut Kernel, axis: usize, from: &Spec, data: &Spec) -> String {
    let mut body = "var rest = i;\nvar base = 0u;\nvar along = 0u;\n".to_owned();
    let sizes = from.sizes();
    for (at, (extent, stride)) in sizes.iter().zip(strides(&data.sizes())).enumerate().rev() {
        let (extent, stride) = (kernel.size(*extent), kernel.size(stride));
        let line = if at == axis {
            format!("along = rest % {extent};\n")
        } else {
            format!("base += (rest % {extent}) * {stride};\n")
        };
        body.push_str(&format!("{line}rest = rest / {extent};\n"));
    }
    body
}

/// Elements of the data at indices.
pub(super) fn gather_elements(
    stream: &mut Stream<'_>,
    axis: usize,
    data: &Operand,
    indices: &Operand,
    result: &Spec,
) -> Result<Operand, EvalError> {
    let (_, extent, inner) = data.spec.around(axis);
    stream.check("gather-elements", indices, (axis, extent))?;
    stream.map("gather-elements", result, |kernel| {
        let n = kernel.read(data);
        let (extent, inner) = (kernel.size(extent), kernel.size(inner));
        let m = places(kernel, indices, &extent);
        let body = aligned(kernel, axis, &indices.spec, &data.spec);
        let text =
            format!("{body}return load{n}(base + min(place{m}(i), {extent} - 1u) * {inner});");
        value(kernel, result, &text);
    })
}

/// Data with slices replaced or combined, in the order of the indices.
pub(super) fn scatter(
    stream: &mut Stream<'_>,
    (axis, combine): (usize, Combine),
    [data, indices, updates]: [&Operand; 3],
) -> Result<Option<Operand>, EvalError> {
    let (_, extent, inner) = data.spec.around(axis);
    let count = indices.spec.elements();
    if data.spec.elements().saturating_mul(count) > SCATTER_MAX {
        return Ok(None);
    }
    stream.check("scatter", indices, (axis, extent))?;
    let result = data.spec.clone();
    let made = stream.map("scatter", &result, |kernel| {
        let n = kernel.read(data);
        if count == 0 {
            value(kernel, &result, &format!("return load{n}(i);"));
            return;
        }
        let (extent, inner) = (kernel.size(extent), kernel.size(inner));
        let count = kernel.size(count);
        let m = places(kernel, indices, &extent);
        let u = kernel.read(updates);
        let join = joined(combine, result.element(), &format!("load{u}((outer * {count} + j) * {inner} + i % {inner})"));
        let text = format!(
            "let line = i / {inner};\nlet at = line % {extent};\nlet outer = line / {extent};\n\
             var v = load{n}(i);\nfor (var j = 0u; j < {count}; j++) {{\nif (place{m}(j) == at) {{ v = {join}; }}\n}}\nreturn v;"
        );
        value(kernel, &result, &text);
    })?;
    Ok(Some(made))
}

/// The old value `v` and an update, joined.
fn joined(combine: Combine, element: Element, update: &str) -> String {
    let op = match combine {
        Combine::Replace => return update.to_owned(),
        Combine::Add => Binary::Add,
        Combine::Mul => Binary::Mul,
        Combine::Min => Binary::Min,
        Combine::Max => Binary::Max,
    };
    wrapped(element, &binary(op, element, "v", update))
}

/// Data with elements replaced or combined, in the order of the indices.
pub(super) fn scatter_elements(
    stream: &mut Stream<'_>,
    (axis, combine): (usize, Combine),
    [data, indices, updates]: [&Operand; 3],
) -> Result<Option<Operand>, EvalError> {
    let (_, extent, _) = data.spec.around(axis);
    let count = indices.spec.extent(axis);
    if data.spec.elements().saturating_mul(count) > SCATTER_MAX {
        return Ok(None);
    }
    stream.check("scatter-elements", indices, (axis, extent))?;
    let result = data.spec.clone();
    let made = stream.map("scatter-elements", &result, |kernel| {
        let n = kernel.read(data);
        if indices.spec.elements() == 0 {
            value(kernel, &result, &format!("return load{n}(i);"));
            return;
        }
        let extent = kernel.size(extent);
        let m = places(kernel, indices, &extent);
        let u = kernel.read(updates);
        let mut body = "var rest = i;\nvar base = 0u;\nvar along = 0u;\nvar inside = true;\n".to_owned();
        let axes = data.spec.sizes().into_iter().zip(indices.spec.sizes());
        let strides = strides(&indices.spec.sizes());
        let step = strides.get(axis).copied().unwrap_or(0);
        for (at, ((whole, own), stride)) in axes.zip(strides).enumerate().rev() {
            let (whole, own, stride) = (kernel.size(whole), kernel.size(own), kernel.size(stride));
            let line = if at == axis {
                "along = c;\n".to_owned()
            } else {
                format!("inside = inside && c < {own};\nbase += c * {stride};\n")
            };
            body.push_str(&format!("{{\nlet c = rest % {whole};\nrest = rest / {whole};\n{line}}}\n"));
        }
        let (count, step) = (kernel.size(count), kernel.size(step));
        let join = joined(combine, result.element(), &format!("load{u}(origin)"));
        body.push_str(&format!(
            "var v = load{n}(i);\nif (!inside) {{ return v; }}\nfor (var j = 0u; j < {count}; j++) {{\n\
             let origin = base + j * {step};\nif (place{m}(origin) == along) {{ v = {join}; }}\n}}\nreturn v;"
        ));
        value(kernel, &result, &body);
    })?;
    Ok(Some(made))
}

/// Which scale and zero point an element has, as an expression.
fn shared(kernel: &mut Kernel, op: &Quantise, input: &Spec) -> String {
    match op.axis {
        None => "0u".to_owned(),
        Some(axis) => {
            let (_, extent, inner) = input.around(axis);
            let (extent, inner) = (kernel.size(extent), kernel.size(inner));
            format!("(i / {inner}) % {extent}")
        }
    }
}

/// Floats to i8 or u8.
pub(super) fn quantise(
    stream: &mut Stream<'_>,
    op: &Quantise,
    [input, scale, zero]: [&Operand; 3],
    result: &Spec,
) -> Result<Operand, EvalError> {
    stream.map("quantise", result, |kernel| {
        let [x, s, z] = [input, scale, zero].map(|operand| kernel.read(operand));
        let at = shared(kernel, op, &input.spec);
        let (low, high) = if result.element() == Element::I8 {
            (-128, 127)
        } else {
            (0, 255)
        };
        let text = format!(
            "let at = {at};\nlet q = clamp(to_i32(round(load{x}(i) / load{s}(at))), -1000000, 1000000);\n\
             return clamp(q + load{z}(at), {low}, {high});"
        );
        value(kernel, result, &text);
    })
}

/// i8 or u8 to floats.
pub(super) fn dequantise(
    stream: &mut Stream<'_>,
    op: &Quantise,
    [input, scale, zero]: [&Operand; 3],
    result: &Spec,
) -> Result<Operand, EvalError> {
    debug_assert_eq!(register(result.element()), "f32");
    stream.map("dequantise", result, |kernel| {
        let [x, s, z] = [input, scale, zero].map(|operand| kernel.read(operand));
        let at = shared(kernel, op, &input.spec);
        let text = format!("let at = {at};\nreturn f32(load{x}(i) - load{z}(at)) * load{s}(at);");
        value(kernel, result, &text);
    })
}

/// Comparisons of an index with a place that a kernel may make.
const SCATTER_MAX: usize = 1 << 34;
