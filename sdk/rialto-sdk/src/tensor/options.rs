//! Options of operations: each starts from what is usual, and names what is not.

use super::Tensor;
use crate::bindings::compute::rialto::tensor::operations;

pub use operations::{Activation, Combine, Number, Padding, Pooling, Reduction};

impl From<f64> for Number {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<i64> for Number {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

/// Where random numbers come from: equal sources give equal tensors, on every host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Source {
    seed: u64,
    stream: u64,
}

impl Source {
    /// The first stream of a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { seed, stream: 0 }
    }

    /// Another stream of the same seed.
    #[must_use]
    pub const fn stream(mut self, stream: u64) -> Self {
        self.stream = stream;
        self
    }

    pub(super) const fn wit(self) -> operations::Source {
        operations::Source {
            seed: self.seed,
            stream: self.stream,
        }
    }
}

/// How a matrix product is taken: see [`Tensor::matmul_with`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Matmul<'a> {
    pub(super) bias: Option<&'a Tensor>,
    transpose_left: bool,
    transpose_right: bool,
    activation: Option<Activation>,
}

impl<'a> Matmul<'a> {
    /// The plain product.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The left operand is given as `[.., k, m]`.
    #[must_use]
    pub const fn transpose_left(mut self) -> Self {
        self.transpose_left = true;
        self
    }

    /// The right operand is given as `[.., n, k]`.
    #[must_use]
    pub const fn transpose_right(mut self) -> Self {
        self.transpose_right = true;
        self
    }

    /// Adds `[n]` to each row.
    #[must_use]
    pub const fn bias(mut self, bias: &'a Tensor) -> Self {
        self.bias = Some(bias);
        self
    }

    /// What follows.
    #[must_use]
    pub const fn activation(mut self, activation: Activation) -> Self {
        self.activation = Some(activation);
        self
    }

    pub(super) const fn wit(&self) -> operations::MatmulOptions {
        operations::MatmulOptions {
            transpose_left: self.transpose_left,
            transpose_right: self.transpose_right,
            activation: self.activation,
        }
    }
}

/// How a window moves over an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    stride: u32,
    dilation: u32,
    before: u32,
    after: u32,
}

impl Default for Window {
    fn default() -> Self {
        Self::new()
    }
}

impl Window {
    /// Step by step, elements side by side, without padding.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            stride: 1,
            dilation: 1,
            before: 0,
            after: 0,
        }
    }

    /// Elements between neighbouring windows, at least 1.
    #[must_use]
    pub const fn stride(mut self, stride: u32) -> Self {
        self.stride = stride;
        self
    }

    /// Elements between a window's elements, at least 1.
    #[must_use]
    pub const fn dilation(mut self, dilation: u32) -> Self {
        self.dilation = dilation;
        self
    }

    /// Zeros before and after the axis.
    #[must_use]
    pub const fn padding(mut self, before: u32, after: u32) -> Self {
        self.before = before;
        self.after = after;
        self
    }

    pub(super) const fn wit(self) -> operations::Window {
        operations::Window {
            stride: self.stride,
            dilation: self.dilation,
            before: self.before,
            after: self.after,
        }
    }
}

/// How a convolution over `N` axes is taken: see [`Tensor::conv2d_with`].
#[derive(Debug, Clone, Copy)]
pub struct Conv<'a, const N: usize> {
    pub(super) bias: Option<&'a Tensor>,
    windows: [Window; N],
    groups: u32,
    activation: Option<Activation>,
}

impl<const N: usize> Default for Conv<'_, N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a, const N: usize> Conv<'a, N> {
    /// Windows step by step, without padding, over all channels.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            bias: None,
            windows: [Window::new(); N],
            groups: 1,
            activation: None,
        }
    }

    /// One window for each axis.
    #[must_use]
    pub const fn windows(mut self, windows: [Window; N]) -> Self {
        self.windows = windows;
        self
    }

    /// The same window for all axes.
    #[must_use]
    pub const fn window(self, window: Window) -> Self {
        self.windows([window; N])
    }

    /// Splits the channels into so many parts.
    #[must_use]
    pub const fn groups(mut self, groups: u32) -> Self {
        self.groups = groups;
        self
    }

    /// Adds `[o]` to the output channels.
    #[must_use]
    pub const fn bias(mut self, bias: &'a Tensor) -> Self {
        self.bias = Some(bias);
        self
    }

    /// What follows.
    #[must_use]
    pub const fn activation(mut self, activation: Activation) -> Self {
        self.activation = Some(activation);
        self
    }

    pub(super) fn wit(&self) -> ([operations::Window; N], operations::ConvOptions) {
        let options = operations::ConvOptions {
            groups: self.groups,
            activation: self.activation,
        };
        (self.windows.map(Window::wit), options)
    }
}

/// How attention is taken: see [`Tensor::attention_with`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Attention<'a> {
    pub(super) mask: Option<&'a Tensor>,
    causal: bool,
    scale: Option<f32>,
}

impl<'a> Attention<'a> {
    /// Every query attends every key.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Query `i` attends keys up to `i + lk - lq` only.
    #[must_use]
    pub const fn causal(mut self) -> Self {
        self.causal = true;
        self
    }

    /// Multiplies the scores, instead of `1 / sqrt(d)`.
    #[must_use]
    pub const fn scale(mut self, scale: f32) -> Self {
        self.scale = Some(scale);
        self
    }

    /// Broadcasts to `[.., hq, lq, lk]`: true attends; or floats that are added to the scores.
    #[must_use]
    pub const fn mask(mut self, mask: &'a Tensor) -> Self {
        self.mask = Some(mask);
        self
    }

    pub(super) const fn wit(&self) -> operations::AttentionOptions {
        operations::AttentionOptions {
            causal: self.causal,
            scale: self.scale,
        }
    }
}

/// How layer and rms norm are taken: see [`Tensor::layer_norm`].
#[derive(Debug, Clone, Copy)]
pub struct Norm<'a> {
    pub(super) axes: u32,
    pub(super) epsilon: f32,
    pub(super) scale: Option<&'a Tensor>,
    pub(super) bias: Option<&'a Tensor>,
}

impl<'a> Norm<'a> {
    /// Over the last axis.
    #[must_use]
    pub const fn new(epsilon: f32) -> Self {
        Self {
            axes: 1,
            epsilon,
            scale: None,
            bias: None,
        }
    }

    /// Over so many of the last axes together.
    #[must_use]
    pub const fn axes(mut self, axes: u32) -> Self {
        self.axes = axes;
        self
    }

    /// Multiplies; of the normalised axes' shape.
    #[must_use]
    pub const fn scale(mut self, scale: &'a Tensor) -> Self {
        self.scale = Some(scale);
        self
    }

    /// Is added; of the normalised axes' shape. Layer norm only.
    #[must_use]
    pub const fn bias(mut self, bias: &'a Tensor) -> Self {
        self.bias = Some(bias);
        self
    }
}

/// How [`Tensor::rope`] rotates.
#[derive(Debug, Clone, Copy)]
pub struct Rope(pub(super) operations::RopeOptions);

impl Rope {
    /// Rotates so many dimensions (an even number), base 10,000, halves apart.
    #[must_use]
    pub const fn new(dimensions: u32) -> Self {
        Self(operations::RopeOptions {
            base: 10_000.0,
            interleaved: false,
            dimensions,
        })
    }

    /// The base of the frequencies.
    #[must_use]
    pub const fn base(mut self, base: f32) -> Self {
        self.0.base = base;
        self
    }

    /// Pairs are neighbours.
    #[must_use]
    pub const fn interleaved(mut self) -> Self {
        self.0.interleaved = true;
        self
    }
}

/// Part of an axis: made of `..`, `2..`, `..-1`, `2..5`, with [`Range::step`]. Negative places count from
/// the end; places outside are clamped.
#[derive(Debug, Clone, Copy)]
pub struct Range(pub(super) operations::Range);

impl Range {
    /// Every so many elements; backwards if negative. Not zero.
    #[must_use]
    pub const fn step(mut self, step: i64) -> Self {
        self.0.step = step;
        self
    }

    const fn new(start: i64, end: Option<i64>) -> Self {
        Self(operations::Range {
            start,
            end,
            step: 1,
        })
    }
}

impl From<std::ops::RangeFull> for Range {
    fn from(_: std::ops::RangeFull) -> Self {
        Self::new(0, None)
    }
}

impl From<std::ops::RangeFrom<i64>> for Range {
    fn from(range: std::ops::RangeFrom<i64>) -> Self {
        Self::new(range.start, None)
    }
}

impl From<std::ops::RangeTo<i64>> for Range {
    fn from(range: std::ops::RangeTo<i64>) -> Self {
        Self::new(0, Some(range.end))
    }
}

impl From<std::ops::Range<i64>> for Range {
    fn from(range: std::ops::Range<i64>) -> Self {
        Self::new(range.start, Some(range.end))
    }
}
