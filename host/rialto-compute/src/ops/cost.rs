//! What an operation costs, known before it runs: for refusing, and for metering.
//!
//! Counts are of the mathematics, not of a device: the same on every machine. They saturate.

use super::{
    op::{Op, Pool},
    spec::Spec,
};

/// What operations cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cost {
    /// Multiplications with addition, or what takes as long.
    pub multiply_adds: u64,
    /// Bytes read and written, each operand and result once.
    pub bytes: u64,
}

impl Cost {
    /// The cost of both, one after the other.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            multiply_adds: self.multiply_adds.saturating_add(other.multiply_adds),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }
}

/// The cost of an operation that [`infer`](super::infer()) accepted with these operands and results.
#[must_use]
pub fn cost(op: &Op, operands: &[&Spec], results: &[Spec]) -> Cost {
    let operand = |index: usize| operands.get(index).copied();
    let elements = |spec: Option<&Spec>| spec.map_or(0, |spec| wide(spec.elements()));
    let out = elements(results.first());
    let read = elements(operand(0));
    let last = |index: usize, back: usize| {
        operand(index).map_or(0, |spec| wide(spec.extent(spec.rank().wrapping_sub(back))))
    };
    let multiply_adds = match op {
        Op::Matmul(op) => {
            let depth = if op.transpose_left {
                last(0, 2)
            } else {
                last(0, 1)
            };
            out.saturating_mul(depth)
                .saturating_add(activated(op.activation.is_some(), out))
        }
        Op::Conv1d(op) => convolution(operand(1), out, op.activation.is_some()),
        Op::Conv2d(op) => convolution(operand(1), out, op.activation.is_some()),
        Op::Pool1d(op) => pooled(op, read, out),
        Op::Pool2d(op) => pooled(op, read, out),
        Op::Attention(_) => {
            let rows = read.checked_div(last(0, 1)).unwrap_or(0);
            let each = last(0, 1)
                .saturating_add(last(2, 1))
                .saturating_add(TRANSCENDENTAL);
            rows.saturating_mul(last(1, 2)).saturating_mul(each)
        }
        Op::Softmax { .. }
        | Op::LogSoftmax { .. }
        | Op::LayerNorm(_)
        | Op::RmsNorm(_)
        | Op::Rope(_)
        | Op::Random(_) => out.saturating_mul(TRANSCENDENTAL),
        Op::Unary(unary) => out.saturating_mul(if unary.is_simple() { 1 } else { TRANSCENDENTAL }),
        Op::Binary(super::op::Binary::Pow) => out.saturating_mul(TRANSCENDENTAL * 2),
        Op::TopK(_) | Op::ArgReduce(_) => read.saturating_mul(4),
        Op::Reduce(_) => read,
        Op::Reshape(_) => 0,
        Op::Full(..)
        | Op::Iota(_)
        | Op::Binary(_)
        | Op::Compare(_)
        | Op::Select
        | Op::Cast(_)
        | Op::Gather { .. }
        | Op::GatherElements { .. }
        | Op::Scatter { .. }
        | Op::ScatterElements { .. }
        | Op::CumSum(_)
        | Op::Quantise(_)
        | Op::Dequantise(..)
        | Op::Slice(_)
        | Op::Transpose(_)
        | Op::Concat { .. }
        | Op::Pad(_)
        | Op::BroadcastTo(_) => out,
    };
    let moved = operands
        .iter()
        .copied()
        .chain(results)
        .map(|spec| wide(spec.bytes()));
    Cost {
        multiply_adds,
        bytes: moved.fold(0, u64::saturating_add),
    }
}

impl super::op::Unary {
    /// Whether it takes about as long as an addition.
    #[must_use]
    pub const fn is_simple(self) -> bool {
        matches!(
            self,
            Self::Neg
                | Self::Abs
                | Self::Sign
                | Self::Relu
                | Self::Not
                | Self::Floor
                | Self::Ceil
                | Self::Round
                | Self::Sqrt
                | Self::Reciprocal
        )
    }
}

fn activated(activation: bool, out: u64) -> u64 {
    if activation {
        out.saturating_mul(TRANSCENDENTAL)
    } else {
        0
    }
}

fn convolution(weight: Option<&Spec>, out: u64, activation: bool) -> u64 {
    let each = weight.map_or(0, |weight| {
        weight
            .shape()
            .iter()
            .skip(1)
            .fold(1_u64, |all, extent| all.saturating_mul(u64::from(*extent)))
    });
    out.saturating_mul(each)
        .saturating_add(activated(activation, out))
}

fn pooled<const N: usize>(pool: &Pool<N>, read: u64, out: u64) -> u64 {
    pool.extents.map_or(read, |extents| {
        extents
            .iter()
            .fold(out, |all, extent| all.saturating_mul(u64::from(*extent)))
    })
}

fn wide(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}

/// What an exponential and its like take, in multiplications with addition.
const TRANSCENDENTAL: u64 = 16;
