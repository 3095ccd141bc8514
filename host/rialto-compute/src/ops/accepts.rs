//! Which element types each operation takes.
//!
//! | operations | first operand |
//! |---|---|
//! | full, iota, select, cast, gather, scatter (replace), slice, reshape, transpose, concatenate, pad, broadcast-to, equal, not-equal | all |
//! | neg, abs, sign, relu, add, sub, mul, div, rem, pow, sum, prod, cumulative-sum, scatter (add, mul), arg-max, arg-min, top-k | floats and integers (iota too) |
//! | min, max, reduce-min, reduce-max, less .. greater-equal, scatter (min, max) | all |
//! | exp .. cos, gelu, softmax, norms, rope, mean, attention, convolution, random, quantise | floats |
//! | pooling | floats; the maximum also integers |
//! | matmul | floats; i8 and u8 give i32 |
//! | and, or, xor, not | integers and booleans |
//! | dequantise | i8, u8 |
//!
//! Floats are f32, f16 and bf16, computed in f32 (or wider) and rounded once an operation. Operands of
//! one operation have one element type, except where the operation's description says otherwise.

use super::op::{Binary, Combine, Compare, Op, PoolKind, ReduceKind, Unary};
use crate::Element;

/// The element types that the operation's first operand (or, without operands, its result) may have.
#[must_use]
pub const fn elements(op: &Op) -> &'static [Element] {
    match op {
        Op::Full(..)
        | Op::Select
        | Op::Cast(_)
        | Op::Gather { .. }
        | Op::GatherElements { .. }
        | Op::Slice(_)
        | Op::Reshape(_)
        | Op::Transpose(_)
        | Op::Concat { .. }
        | Op::Pad(_)
        | Op::BroadcastTo(_) => &Element::ALL,
        Op::Iota(_) | Op::ArgReduce(_) | Op::TopK(_) | Op::CumSum(_) => NUMBERS,
        Op::Random(_)
        | Op::Conv1d(_)
        | Op::Conv2d(_)
        | Op::Attention(_)
        | Op::Softmax { .. }
        | Op::LogSoftmax { .. }
        | Op::LayerNorm(_)
        | Op::RmsNorm(_)
        | Op::Rope(_)
        | Op::Quantise(_) => FLOATS,
        Op::Dequantise(..) => BYTES,
        Op::Matmul(_) => PRODUCTS,
        Op::Pool1d(pool) => pooled(pool.kind),
        Op::Pool2d(pool) => pooled(pool.kind),
        Op::Unary(unary) => self::unary(*unary),
        Op::Binary(binary) => self::binary(*binary),
        Op::Compare(Compare::Equal | Compare::NotEqual) => &Element::ALL,
        Op::Compare(
            Compare::Less | Compare::LessEqual | Compare::Greater | Compare::GreaterEqual,
        ) => &Element::ALL,
        Op::Scatter { combine, .. } | Op::ScatterElements { combine, .. } => match combine {
            Combine::Replace | Combine::Min | Combine::Max => &Element::ALL,
            Combine::Add | Combine::Mul => NUMBERS,
        },
        Op::Reduce(reduce) => match reduce.kind {
            ReduceKind::Sum | ReduceKind::Prod => NUMBERS,
            ReduceKind::Mean => FLOATS,
            ReduceKind::Max | ReduceKind::Min => &Element::ALL,
        },
    }
}

const fn unary(unary: Unary) -> &'static [Element] {
    match unary {
        Unary::Neg | Unary::Abs | Unary::Sign | Unary::Relu => NUMBERS,
        Unary::Not => BITS,
        Unary::Exp
        | Unary::Ln
        | Unary::Sqrt
        | Unary::Rsqrt
        | Unary::Reciprocal
        | Unary::Tanh
        | Unary::Sigmoid
        | Unary::Gelu
        | Unary::GeluTanh
        | Unary::Silu
        | Unary::Erf
        | Unary::Floor
        | Unary::Ceil
        | Unary::Round
        | Unary::Sin
        | Unary::Cos => FLOATS,
    }
}

const fn binary(binary: Binary) -> &'static [Element] {
    match binary {
        Binary::Add | Binary::Sub | Binary::Mul | Binary::Div | Binary::Rem | Binary::Pow => {
            NUMBERS
        }
        Binary::Min | Binary::Max => &Element::ALL,
        Binary::And | Binary::Or | Binary::Xor => BITS,
    }
}

const fn pooled(kind: PoolKind) -> &'static [Element] {
    match kind {
        PoolKind::Max => NUMBERS,
        PoolKind::Mean | PoolKind::MeanWithPadding => FLOATS,
    }
}

/// Whether elements are floating-point numbers.
#[must_use]
pub const fn is_float(element: Element) -> bool {
    matches!(element, Element::F32 | Element::F16 | Element::Bf16)
}

const FLOATS: &[Element] = &[Element::F32, Element::F16, Element::Bf16];
const NUMBERS: &[Element] = &[
    Element::F32,
    Element::F16,
    Element::Bf16,
    Element::I64,
    Element::I32,
    Element::I8,
    Element::U8,
];
const BITS: &[Element] = &[
    Element::I64,
    Element::I32,
    Element::I8,
    Element::U8,
    Element::Bool,
];
const BYTES: &[Element] = &[Element::I8, Element::U8];
const PRODUCTS: &[Element] = &[
    Element::F32,
    Element::F16,
    Element::Bf16,
    Element::I8,
    Element::U8,
];
/// What index operands may be.
pub const INDICES: &[Element] = &[Element::I32, Element::I64];
/// What zero points may be.
pub const ZEROS: &[Element] = BYTES;
