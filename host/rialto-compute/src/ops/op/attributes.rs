//! The attributes of operations.

use super::elements::Activation;
#[cfg(doc)]
use crate::ops::Op;
use crate::ops::spec::Spec;

/// A value for any element type, converted as by [`Op::Cast`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// For floats, exactly rounded once.
    Float(f64),
    /// For integers and booleans.
    Int(i64),
}

/// Attributes of [`Op::Iota`].
#[derive(Debug, Clone, PartialEq)]
pub struct Iota {
    /// What to make.
    pub spec: Spec,
    /// The axis along which to count.
    pub axis: usize,
    /// The first value.
    pub start: Number,
    /// The difference of neighbours.
    pub step: Number,
}

/// Attributes of [`Op::Random`]. Element `i` of a tensor comes from lane `i % 4` of Philox4x32-10
/// with key `seed` and counter (`i / 4`, `stream`), each low word first.
#[derive(Debug, Clone, PartialEq)]
pub struct Random {
    /// What to make; a float type.
    pub spec: Spec,
    /// The distribution.
    pub distribution: Distribution,
    /// The seed.
    pub seed: u64,
    /// Tells tensors of one seed apart.
    pub stream: u64,
}

/// A distribution of random numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Distribution {
    /// Even between `low` and `high`: `low + (high - low) * u`, with 24 random bits of `u` in [0, 1).
    Uniform {
        /// The lower end.
        low: f32,
        /// The upper end.
        high: f32,
    },
    /// Normal, by Box and Muller's transform of lane pairs.
    Normal {
        /// The mean.
        mean: f32,
        /// The standard deviation.
        deviation: f32,
    },
}

/// Attributes of [`Op::Matmul`]. i8 and u8 operands give i32 (wrapping), with an i32 bias and no
/// activation but `Relu`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Matmul {
    /// The left operand is given as `[.., k, m]`.
    pub transpose_left: bool,
    /// The right operand is given as `[.., n, k]`.
    pub transpose_right: bool,
    /// A third operand is added to each row.
    pub bias: bool,
    /// What follows.
    pub activation: Option<Activation>,
}

/// How a window moves over an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Elements between neighbouring windows, at least 1.
    pub stride: u32,
    /// Elements between a window's elements, at least 1.
    pub dilation: u32,
    /// Zeros before the axis.
    pub before: u32,
    /// Zeros after the axis.
    pub after: u32,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            stride: 1,
            dilation: 1,
            before: 0,
            after: 0,
        }
    }
}

/// Attributes of a convolution (a cross-correlation, as everywhere in machine learning).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conv<const N: usize> {
    /// One window for each axis.
    pub windows: [Window; N],
    /// Channels are split into so many parts; at least 1.
    pub groups: u32,
    /// A third operand is added to each output channel.
    pub bias: bool,
    /// What follows.
    pub activation: Option<Activation>,
}

impl<const N: usize> Default for Conv<N> {
    fn default() -> Self {
        Self {
            windows: [Window::default(); N],
            groups: 1,
            bias: false,
            activation: None,
        }
    }
}

/// Attributes of pooling. Padding is never the maximum, and counts in a mean only if told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool<const N: usize> {
    /// What becomes of a window.
    pub kind: PoolKind,
    /// The window's extents; none for the whole axes, with the windows below ignored.
    pub extents: Option<[u32; N]>,
    /// How it moves.
    pub windows: [Window; N],
}

/// What becomes of a pooling window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolKind {
    /// The largest; NaN if any is.
    Max,
    /// The mean of the elements inside.
    Mean,
    /// The mean, with padding counted as zeros.
    MeanWithPadding,
}

/// Attributes of [`Op::Attention`]. Query head `h` attends key head `h * hk / hq`. A row that may
/// attend nothing gives zeros.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Attention {
    /// Query `i` attends keys up to `i + lk - lq` only.
    pub causal: bool,
    /// Multiplies the scores; `1 / sqrt(d)` if none.
    pub scale: Option<f32>,
    /// A fourth operand is the mask.
    pub mask: bool,
}

/// Attributes of layer and rms norm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Norm {
    /// How many of the last axes are normalised together, at least 1.
    pub axes: usize,
    /// Added to the variance or mean square.
    pub epsilon: f32,
    /// An operand that multiplies is given.
    pub scale: bool,
    /// An operand that is added is given (layer norm only).
    pub bias: bool,
}

/// Attributes of [`Op::Rope`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rope {
    /// The base of the frequencies, for example 10000.
    pub base: f32,
    /// Pairs are neighbours; else an element and the one half the dimensions further.
    pub interleaved: bool,
    /// How many dimensions are rotated: even, at most `d`. The rest stay.
    pub dimensions: u32,
}

/// What a scatter does with the old value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Combine {
    Replace,
    Add,
    Mul,
    Min,
    Max,
}

/// Attributes of [`Op::Reduce`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reduce {
    /// How elements are joined.
    pub kind: ReduceKind,
    /// The axes, each once; none for all.
    pub axes: Option<Vec<usize>>,
    /// Reduced axes stay, with extent 1.
    pub keep: bool,
}

/// How elements are joined. Integers wrap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum ReduceKind {
    Sum,
    /// Floats only; of nothing it is NaN.
    Mean,
    Max,
    Min,
    Prod,
}

/// Attributes of [`Op::ArgReduce`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArgReduce {
    /// The axis; not empty.
    pub axis: usize,
    /// The largest, else the smallest.
    pub largest: bool,
    /// The axis stays, with extent 1.
    pub keep: bool,
}

/// Attributes of [`Op::TopK`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopK {
    /// The axis.
    pub axis: usize,
    /// How many, at most the axis's extent.
    pub k: u32,
    /// The largest, else the smallest.
    pub largest: bool,
}

/// Attributes of [`Op::CumSum`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CumSum {
    /// The axis.
    pub axis: usize,
    /// An element is not part of its own sum.
    pub exclusive: bool,
    /// From the end.
    pub reverse: bool,
}

/// How quantisation parameters are shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quantise {
    /// Scale and zero point are `[extent of this axis]`; scalars if none.
    pub axis: Option<usize>,
}

/// Part of an axis: elements `start`, `start + step`, .. before `end` (after it, if the step is
/// negative). Negative places count from the end; places outside are clamped, as in NumPy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The first element.
    pub start: i64,
    /// Where to stop; none for the axis's end (its start, if the step is negative).
    pub end: Option<i64>,
    /// Not zero.
    pub step: i64,
}

impl Default for Range {
    fn default() -> Self {
        Self {
            start: 0,
            end: None,
            step: 1,
        }
    }
}

/// Attributes of [`Op::Pad`].
#[derive(Debug, Clone, PartialEq)]
pub struct Pad {
    /// Elements before each axis.
    pub before: Vec<u32>,
    /// Elements after each axis.
    pub after: Vec<u32>,
    /// What they are.
    pub mode: PadMode,
}

/// What padding consists of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PadMode {
    /// One value.
    Constant(Number),
    /// The nearest element.
    Edge,
    /// The elements mirrored at the edge, which is not repeated; less than the extent.
    Reflect,
}
