//! Tensors made of nothing: one value, counting, random numbers.

use half::{bf16, f16};
use rialto_compute::{
    Element,
    ops::{Distribution, EvalError, Iota, Number, Op, Random, Spec, accepts::is_float},
};

use super::layout::value;
use crate::{
    kernel::{Kernel, Operand},
    stream::Stream,
};

/// Computes an operation without operands.
pub(super) fn compute(
    stream: &mut Stream<'_>,
    op: &Op,
    result: &Spec,
) -> Result<Option<Operand>, EvalError> {
    if let Op::Full(_, number) = op {
        return stream
            .map("full", result, |kernel| {
                let constant = constant(kernel, result.element(), *number);
                value(kernel, result, &format!("return {constant} ;"));
            })
            .map(Some);
    }
    if let Op::Iota(iota) = op {
        return self::iota(stream, iota);
    }
    if let Op::Random(random) = op {
        return self::random(stream, random).map(Some);
    }
    Ok(None)
}

/// A number as an expression, converted as by a cast.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "conversion as by a cast"
)]
pub(super) fn constant(kernel: &mut Kernel, element: Element, number: Number) -> String {
    let float = match number {
        Number::Float(value) => value,
        Number::Int(value) => value as f64,
    };
    let whole = |low: i64, high: i64| match number {
        Number::Int(value) => value,
        Number::Float(value) => (value as i64).clamp(low, high),
    };
    let bits = match element {
        Element::F32 => match number {
            Number::Float(value) => (value as f32).to_bits(),
            Number::Int(value) => (value as f32).to_bits(),
        },
        Element::F16 => f16::from_f64(float).to_f32().to_bits(),
        Element::Bf16 => bf16::from_f64(float).to_f32().to_bits(),
        Element::I64 => {
            let value = whole(i64::MIN, i64::MAX) as u64;
            let (low, high) = (kernel.word(value as u32), kernel.word((value >> 32) as u32));
            return format!("vec2<u32>({low}, {high})");
        }
        Element::I32 => whole(i64::from(i32::MIN), i64::from(i32::MAX)) as u32,
        Element::I8 => i32::from(whole(-128, 127) as i8) as u32,
        Element::U8 => u32::from(whole(0, 255) as u8),
        Element::Bool => match number {
            Number::Int(value) => u32::from(value != 0),
            Number::Float(value) => u32::from(value != 0.0),
        },
    };
    let word = kernel.word(bits);
    if is_float(element) {
        format!("bitcast<f32>({word})")
    } else {
        format!("bitcast<i32>({word})")
    }
}

/// Counting along an axis. Floats are counted on the processor, in f64, and looked up.
#[expect(clippy::cast_precision_loss, reason = "a float was asked for")]
fn iota(stream: &mut Stream<'_>, op: &Iota) -> Result<Option<Operand>, EvalError> {
    let element = op.spec.element();
    let (_, extent, inner) = op.spec.around(op.axis);
    if let (Number::Int(start), Number::Int(step), false) = (op.start, op.step, is_float(element)) {
        return stream
            .map("iota", &op.spec, |kernel| {
                let (extent, inner) = (kernel.size(extent), kernel.size(inner));
                let start = constant(kernel, Element::I64, Number::Int(start));
                let step = constant(kernel, Element::I64, Number::Int(step));
                let at = format!("(i / {inner}) % {extent}");
                let long = format!("l_add({start}, l_mul({step}, vec2<u32>({at}, 0u)))");
                let text = match element {
                    Element::I64 => long,
                    Element::Bool => format!("select(0, 1, any({long} != vec2<u32>(0u, 0u)))"),
                    Element::F32
                    | Element::F16
                    | Element::Bf16
                    | Element::I32
                    | Element::I8
                    | Element::U8 => format!("bitcast<i32>({long}.x)"),
                };
                value(kernel, &op.spec, &format!("return {text};"));
            })
            .map(Some);
    }
    if !is_float(element) || extent > TABLE_MAX {
        return Ok(None);
    }
    let wide = |number: Number| match number {
        Number::Float(value) => value,
        Number::Int(value) => value as f64,
    };
    let (start, step) = (wide(op.start), wide(op.step));
    let cells = (0..extent).flat_map(|at| float_cell(element, start + step * at as f64));
    let part = stream.upload("iota", &cells.collect::<Vec<u8>>())?;
    let spec = Spec::new(
        element,
        [rialto_compute::ops::spec::extent(extent).unwrap_or(0)],
    )?;
    let table = Operand { spec, part };
    stream
        .map("iota", &op.spec, |kernel| {
            let n = kernel.read(&table);
            let (extent, inner) = (kernel.size(extent), kernel.size(inner));
            value(
                kernel,
                &op.spec,
                &format!("return load{n}((i / {inner}) % {extent});"),
            );
        })
        .map(Some)
}

#[expect(clippy::cast_possible_truncation, reason = "rounding is meant")]
fn float_cell(element: Element, value: f64) -> Vec<u8> {
    match element {
        Element::F16 => f16::from_f64(value).to_le_bytes().to_vec(),
        Element::Bf16 => bf16::from_f64(value).to_le_bytes().to_vec(),
        Element::F32 | Element::I64 | Element::I32 | Element::I8 | Element::U8 | Element::Bool => {
            (value as f32).to_le_bytes().to_vec()
        }
    }
}

/// Random numbers: the same words as everywhere, and the same numbers within rounding.
fn random(stream: &mut Stream<'_>, op: &Random) -> Result<Operand, EvalError> {
    let words = |value: u64| {
        let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
        [
            u32::from_le_bytes([a, b, c, d]),
            u32::from_le_bytes([e, f, g, h]),
        ]
    };
    stream.map("random", &op.spec, |kernel| {
        let [s0, s1] = words(op.seed).map(|word| kernel.word(word));
        let [t0, t1] = words(op.stream).map(|word| kernel.word(word));
        kernel.push(include_str!("../wgsl/philox.wgsl"));
        let words =
            format!("let r = philox(vec4<u32>(i >> 2u, 0u, {t0}, {t1}), vec2<u32>({s0}, {s1}));\n");
        let text = match op.distribution {
            Distribution::Uniform { low, high } => {
                let (a, b) = (kernel.float(low), kernel.float(high));
                let (last, span) = (
                    kernel.float(low.max(high.next_down())),
                    kernel.float(high - low),
                );
                format!(
                    "let u = f32(r[i & 3u] >> 8u) * 5.9604644775390625e-8;\n\
                     let v = fma({span}, u, {a});\n\
                     return select(v, {last}, v >= {b} && {b} > {a});"
                )
            }
            Distribution::Normal { mean, deviation } => {
                let (mean, deviation) = (kernel.float(mean), kernel.float(deviation));
                format!(
                    "let first = (i & 3u) >> 1u << 1u;\nlet a = r[first];\nlet b = r[first + 1u];\n\
                     let radius = sqrt(-2.0 * ln_chance(a)) * {deviation};\n\
                     let turn = turned(b);\n\
                     return {mean} + radius * select(turn.x, turn.y, (i & 1u) == 1u);"
                )
            }
        };
        value(kernel, &op.spec, &format!("{words}{text}"));
    })
}

/// Entries of a table of numbers made on the processor.
const TABLE_MAX: usize = 1 << 22;
