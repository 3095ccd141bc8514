//! The operations and their attributes.
//!
//! What each computes is said here once; [`infer`](super::infer()) says what it accepts. Non-goals:
//! how a device computes it.

mod attributes;
mod elements;

use super::spec::Spec;
use crate::Element;

pub use attributes::{
    ArgReduce, Attention, Combine, Conv, CumSum, Distribution, Iota, Matmul, Norm, Number, Pad,
    PadMode, Pool, PoolKind, Quantise, Random, Range, Reduce, ReduceKind, Rope, TopK, Window,
};
pub use elements::{Activation, Binary, Compare, Unary};

/// An operation. Operands are given beside it, in the order that its description names.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// A tensor of one value. No operands.
    Full(Spec, Number),
    /// Counts along an axis: `start + step * index`. No operands.
    Iota(Iota),
    /// Random numbers that depend on the attributes alone. No operands.
    Random(Random),
    /// Element by element: one operand.
    Unary(Unary),
    /// Element by element, broadcast as in NumPy: left, right.
    Binary(Binary),
    /// Comparison to boolean, broadcast: left, right. With a NaN only `NotEqual` holds.
    Compare(Compare),
    /// Condition (boolean), value where true, value where false; broadcast.
    Select,
    /// Conversion: floats to integers truncate and saturate (NaN is 0), integers wrap, to boolean is
    /// `!= 0`.
    Cast(Element),
    /// Left `[.., m, k]`, right `[.., k, n]`, optionally bias `[n]`: the product, batches broadcast.
    Matmul(Matmul),
    /// Input `[n, c, l]`, weight `[o, c / groups, k]`, optionally bias `[o]`.
    Conv1d(Conv<1>),
    /// Input `[n, c, h, w]`, weight `[o, c / groups, kh, kw]`, optionally bias `[o]`.
    Conv2d(Conv<2>),
    /// Input `[n, c, l]`.
    Pool1d(Pool<1>),
    /// Input `[n, c, h, w]`.
    Pool2d(Pool<2>),
    /// Query `[.., hq, lq, d]`, key `[.., hk, lk, d]`, value `[.., hk, lk, dv]`, optionally a mask
    /// that broadcasts to `[.., hq, lq, lk]`: boolean (true attends) or added to the scores.
    Attention(Attention),
    /// Exponentials along an axis, divided by their sum.
    Softmax {
        /// The axis.
        axis: usize,
    },
    /// The logarithm of the softmax along an axis.
    LogSoftmax {
        /// The axis.
        axis: usize,
    },
    /// Input, optionally scale, optionally bias (both of the normalised axes' shape):
    /// `(x - mean) / sqrt(variance + epsilon) * scale + bias`.
    LayerNorm(Norm),
    /// Input, optionally scale: `x / sqrt(mean(x * x) + epsilon) * scale`.
    RmsNorm(Norm),
    /// Input `[.., length, d]`, positions (i32 or i64) `[length]`: rotates pairs of elements.
    Rope(Rope),
    /// Data, indices (i32 or i64, any shape): the slices of `data` at the indices; the indices' shape
    /// stands in place of the axis. A negative index counts from the end.
    Gather {
        /// The axis.
        axis: usize,
    },
    /// Data, indices of equal rank: for each index the element of `data` at that place on the axis.
    GatherElements {
        /// The axis.
        axis: usize,
    },
    /// Data, indices `[n]`, updates (data's shape with `n` on the axis): slices of `data` replaced
    /// by, or combined with, updates, in the order of the indices.
    Scatter {
        /// The axis.
        axis: usize,
        /// What becomes of the old value.
        combine: Combine,
    },
    /// Data, indices, updates of the indices' shape: as [`Op::Scatter`], element by element.
    ScatterElements {
        /// The axis.
        axis: usize,
        /// What becomes of the old value.
        combine: Combine,
    },
    /// One operand, reduced over axes.
    Reduce(Reduce),
    /// The place (i64) of the largest or smallest element on an axis, the first of equals; NaN counts
    /// as largest, and as smallest too.
    ArgReduce(ArgReduce),
    /// The `k` largest or smallest on an axis, best first, and their places (i64): two results. Of
    /// equals the first comes first; NaN counts as best.
    TopK(TopK),
    /// Sums along an axis.
    CumSum(CumSum),
    /// Input, scale (f32), zero point (i8 or u8): `saturate(round_to_even(x / scale) + zero)`.
    Quantise(Quantise),
    /// Input (i8 or u8), scale (f32), zero point: `(x - zero) * scale`.
    Dequantise(Quantise, Element),
    /// Part of each axis.
    Slice(Vec<Range>),
    /// The same elements in another shape.
    Reshape(Vec<u32>),
    /// Axes in another order: result axis `i` is the operand's axis `order[i]`.
    Transpose(Vec<usize>),
    /// One or more operands after another along an axis.
    Concat {
        /// The axis.
        axis: usize,
    },
    /// Elements added before and after each axis.
    Pad(Pad),
    /// Repeated to a shape, by NumPy's rule.
    BroadcastTo(Vec<u32>),
}

impl Op {
    /// The operation's name in messages.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Full(..) => "full",
            Self::Iota(_) => "iota",
            Self::Random(_) => "random",
            Self::Unary(unary) => unary.name(),
            Self::Binary(binary) => binary.name(),
            Self::Compare(compare) => compare.name(),
            Self::Select => "select",
            Self::Cast(_) => "cast",
            Self::Matmul(_) => "matmul",
            Self::Conv1d(_) => "conv1d",
            Self::Conv2d(_) => "conv2d",
            Self::Pool1d(_) => "pool1d",
            Self::Pool2d(_) => "pool2d",
            Self::Attention(_) => "attention",
            Self::Softmax { .. } => "softmax",
            Self::LogSoftmax { .. } => "log-softmax",
            Self::LayerNorm(_) => "layer-norm",
            Self::RmsNorm(_) => "rms-norm",
            Self::Rope(_) => "rope",
            Self::Gather { .. } => "gather",
            Self::GatherElements { .. } => "gather-elements",
            Self::Scatter { .. } => "scatter",
            Self::ScatterElements { .. } => "scatter-elements",
            Self::Reduce(reduce) => reduce.kind.name(),
            Self::ArgReduce(arg) if arg.largest => "arg-max",
            Self::ArgReduce(_) => "arg-min",
            Self::TopK(_) => "top-k",
            Self::CumSum(_) => "cumulative-sum",
            Self::Quantise(_) => "quantise",
            Self::Dequantise(..) => "dequantise",
            Self::Slice(_) => "slice",
            Self::Reshape(_) => "reshape",
            Self::Transpose(_) => "transpose",
            Self::Concat { .. } => "concatenate",
            Self::Pad(_) => "pad",
            Self::BroadcastTo(_) => "broadcast-to",
        }
    }
}
