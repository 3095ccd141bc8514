//! One step of a chain over one block.

use super::registers::{Block, Register};
use crate::{
    Element,
    cpu::{
        cells::{int_range, narrow, round_floats, to_float, to_int, wrap_ints},
        math,
    },
    ops::{Binary, Compare, ElementOp, FusedStep, Unary},
};

/// Computes a step. `source` is the element type of its first operand. None if the operands are not
/// of the types that inference promised.
pub(super) fn step(
    step: &FusedStep,
    source: Element,
    operands: [Option<Block<'_>>; 3],
    out: &mut Register,
) -> Option<()> {
    let element = step.element;
    match (step.op, operands, out) {
        (ElementOp::Unary(op), [Some(Block::Floats(a)), ..], Register::Floats(out)) => {
            unary_floats(op, a, out);
            round_floats(element, out);
        }
        (ElementOp::Unary(op), [Some(Block::Ints(a)), ..], Register::Ints(out)) => {
            unary_ints(op, a, out)?;
            wrap_ints(element, out);
        }
        (ElementOp::Unary(Unary::Not), [Some(Block::Bools(a)), ..], Register::Bools(out)) => {
            map(a, out, |a| a ^ 1);
        }
        (ElementOp::Binary(op), [Some(a), Some(b), _], out) => binary(op, element, a, b, out)?,
        (ElementOp::Compare(op), [Some(a), Some(b), _], Register::Bools(out)) => match (a, b) {
            (Block::Floats(a), Block::Floats(b)) => compare(op, a, b, out),
            (Block::Ints(a), Block::Ints(b)) => compare(op, a, b, out),
            (Block::Bools(a), Block::Bools(b)) => compare(op, a, b, out),
            _ => return None,
        },
        (ElementOp::Select, [Some(Block::Bools(c)), Some(a), Some(b)], out) => match (a, b, out) {
            (Block::Floats(a), Block::Floats(b), Register::Floats(out)) => select(c, a, b, out),
            (Block::Ints(a), Block::Ints(b), Register::Ints(out)) => select(c, a, b, out),
            (Block::Bools(a), Block::Bools(b), Register::Bools(out)) => select(c, a, b, out),
            _ => return None,
        },
        (ElementOp::Cast, [Some(a), ..], out) => cast(source, element, a, out)?,
        _ => return None,
    }
    Some(())
}

fn map<A: Copy, B>(a: &[A], out: &mut [B], f: impl Fn(A) -> B) {
    for (out, a) in out.iter_mut().zip(a) {
        *out = f(*a);
    }
}

fn zip<A: Copy, B>(a: &[A], b: &[A], out: &mut [B], f: impl Fn(A, A) -> B) {
    for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
        *out = f(*a, *b);
    }
}

fn select<A: Copy>(condition: &[u8], a: &[A], b: &[A], out: &mut [A]) {
    for (((out, c), a), b) in out.iter_mut().zip(condition).zip(a).zip(b) {
        *out = if *c == 0 { *b } else { *a };
    }
}

/// A function of floats over a block, in f32, not yet rounded to a narrower type.
pub(crate) fn unary_floats(op: Unary, a: &[f32], out: &mut [f32]) {
    match op {
        Unary::Neg => map(a, out, |a| -a),
        Unary::Abs => map(a, out, f32::abs),
        Unary::Sign => map(a, out, |a| {
            if a > 0.0 {
                1.0
            } else if a < 0.0 {
                -1.0
            } else {
                a
            }
        }),
        Unary::Exp => map(a, out, math::exp),
        Unary::Ln => map(a, out, math::ln),
        Unary::Sqrt => map(a, out, f32::sqrt),
        Unary::Rsqrt => map(a, out, |a| narrow(1.0 / f64::from(a).sqrt())),
        Unary::Reciprocal => map(a, out, |a| 1.0 / a),
        Unary::Tanh => map(a, out, math::tanh),
        Unary::Sigmoid => map(a, out, math::sigmoid),
        Unary::Relu => map(a, out, |a| if a < 0.0 { 0.0 } else { a }),
        Unary::Gelu => map(a, out, math::gelu),
        Unary::GeluTanh => map(a, out, math::gelu_tanh),
        Unary::Silu => map(a, out, math::silu),
        Unary::Erf => map(a, out, math::erf),
        Unary::Floor => map(a, out, f32::floor),
        Unary::Ceil => map(a, out, f32::ceil),
        Unary::Round => map(a, out, f32::round_ties_even),
        Unary::Sin => map(a, out, math::sin),
        Unary::Cos => map(a, out, math::cos),
        // Inference keeps floats from it; a copy is harmless.
        Unary::Not => map(a, out, |a| a),
    }
}

fn unary_ints(op: Unary, a: &[i64], out: &mut [i64]) -> Option<()> {
    match op {
        Unary::Neg => map(a, out, i64::wrapping_neg),
        Unary::Abs => map(a, out, i64::wrapping_abs),
        Unary::Sign => map(a, out, i64::signum),
        Unary::Relu => map(a, out, |a| a.max(0)),
        Unary::Not => map(a, out, |a| !a),
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
        | Unary::Cos => return None,
    }
    Some(())
}

fn binary(
    op: Binary,
    element: Element,
    a: Block<'_>,
    b: Block<'_>,
    out: &mut Register,
) -> Option<()> {
    match (a, b, out) {
        (Block::Floats(a), Block::Floats(b), Register::Floats(out)) => {
            match op {
                Binary::Add => zip(a, b, out, |a, b| a + b),
                Binary::Sub => zip(a, b, out, |a, b| a - b),
                Binary::Mul => zip(a, b, out, |a, b| a * b),
                Binary::Div => zip(a, b, out, |a, b| a / b),
                Binary::Rem => zip(a, b, out, |a, b| a % b),
                Binary::Pow => zip(a, b, out, math::pow),
                Binary::Min => zip(a, b, out, math::min),
                Binary::Max => zip(a, b, out, math::max),
                Binary::And | Binary::Or | Binary::Xor => return None,
            }
            round_floats(element, out);
        }
        (Block::Ints(a), Block::Ints(b), Register::Ints(out)) => {
            match op {
                Binary::Add => zip(a, b, out, i64::wrapping_add),
                Binary::Sub => zip(a, b, out, i64::wrapping_sub),
                Binary::Mul => zip(a, b, out, i64::wrapping_mul),
                Binary::Div => zip(a, b, out, |a, b| if b == 0 { 0 } else { a.wrapping_div(b) }),
                Binary::Rem => zip(a, b, out, |a, b| if b == 0 { 0 } else { a.wrapping_rem(b) }),
                Binary::Pow => zip(a, b, out, power),
                Binary::Min => zip(a, b, out, i64::min),
                Binary::Max => zip(a, b, out, i64::max),
                Binary::And => zip(a, b, out, |a, b| a & b),
                Binary::Or => zip(a, b, out, |a, b| a | b),
                Binary::Xor => zip(a, b, out, |a, b| a ^ b),
            }
            wrap_ints(element, out);
        }
        (Block::Bools(a), Block::Bools(b), Register::Bools(out)) => match op {
            Binary::Min | Binary::And => zip(a, b, out, |a, b| a & b),
            Binary::Max | Binary::Or => zip(a, b, out, |a, b| a | b),
            Binary::Xor => zip(a, b, out, |a, b| a ^ b),
            Binary::Add | Binary::Sub | Binary::Mul | Binary::Div | Binary::Rem | Binary::Pow => {
                return None;
            }
        },
        _ => return None,
    }
    Some(())
}

/// An integer power, wrapping; a negative exponent truncates the quotient.
pub(crate) fn power(base: i64, exponent: i64) -> i64 {
    if exponent < 0 {
        return match base {
            1 => 1,
            -1 if exponent % 2 == 0 => 1,
            -1 => -1,
            _ => 0,
        };
    }
    let (mut base, mut rest, mut result) = (base, exponent, 1_i64);
    while rest > 0 {
        if rest & 1 == 1 {
            result = result.wrapping_mul(base);
        }
        base = base.wrapping_mul(base);
        rest >>= 1;
    }
    result
}

fn compare<A: Copy + PartialOrd>(op: Compare, a: &[A], b: &[A], out: &mut [u8]) {
    match op {
        Compare::Equal => zip(a, b, out, |a, b| u8::from(a == b)),
        Compare::NotEqual => zip(a, b, out, |a, b| u8::from(a != b)),
        Compare::Less => zip(a, b, out, |a, b| u8::from(a < b)),
        Compare::LessEqual => zip(a, b, out, |a, b| u8::from(a <= b)),
        Compare::Greater => zip(a, b, out, |a, b| u8::from(a > b)),
        Compare::GreaterEqual => zip(a, b, out, |a, b| u8::from(a >= b)),
    }
}

fn cast(source: Element, element: Element, a: Block<'_>, out: &mut Register) -> Option<()> {
    match (a, out) {
        (Block::Floats(a), Register::Floats(out)) => {
            map(a, out, |a| a);
            if source != element {
                round_floats(element, out);
            }
        }
        (Block::Floats(a), Register::Ints(out)) => {
            let (low, high) = int_range(element);
            map(a, out, |a| to_int(a).clamp(low, high));
        }
        (Block::Floats(a), Register::Bools(out)) => map(a, out, |a| u8::from(a != 0.0)),
        (Block::Ints(a), Register::Floats(out)) => {
            map(a, out, to_float);
            round_floats(element, out);
        }
        (Block::Ints(a), Register::Ints(out)) => {
            map(a, out, |a| a);
            wrap_ints(element, out);
        }
        (Block::Ints(a), Register::Bools(out)) => map(a, out, |a| u8::from(a != 0)),
        (Block::Bools(a), Register::Floats(out)) => {
            map(a, out, |a| if a == 0 { 0.0 } else { 1.0 });
        }
        (Block::Bools(a), Register::Ints(out)) => map(a, out, i64::from),
        (Block::Bools(a), Register::Bools(out)) => map(a, out, |a| a),
    }
    Some(())
}
