//! Operations as methods of [`Tensor`].
//!
//! What each accepts and computes is said in `wit/tensor/operations.wit`; all return at once, with
//! [`Error::InvalidArgument`] naming the operands if they do not fit, and [`Error::OutOfBudget`] if the
//! call would hold too much.

use super::options::{
    Attention, Combine, Conv, Matmul, Norm, Number, Padding, Pooling, Range, Reduction, Rope,
    Source, Window,
};
use super::{Dtype, Error, Tensor};
use crate::bindings::compute::rialto::tensor::operations::{
    self as host, BinaryKind, Comparison, UnaryKind,
};
use crate::bindings::compute::rialto::tensor::tensors;

/// Element-wise operations; each is one case of an enumeration of the host's.
macro_rules! elementwise {
    ($($(#[$doc:meta])* $name:ident, $call:ident, $kind:expr $(, $other:ident)?;)*) => { impl Tensor { $(
        $(#[$doc])*
        ///
        /// # Errors
        /// As [all operations](Tensor#operations).
        pub fn $name(&self $(, $other: &Self)?) -> Result<Self, Error> {
            made(host::$call($kind, &self.0 $(, &$other.0)?))
        }
    )* } };
}

elementwise! {
    /// The negative of each element. Numbers.
    neg, unary, UnaryKind::Neg;
    /// The magnitude. Numbers.
    abs, unary, UnaryKind::Abs;
    /// -1, 0 or 1; NaN stays. Numbers.
    sign, unary, UnaryKind::Sign;
    /// The exponential. Floats.
    exp, unary, UnaryKind::Exp;
    /// The natural logarithm. Floats.
    ln, unary, UnaryKind::Ln;
    /// The square root. Floats.
    sqrt, unary, UnaryKind::Sqrt;
    /// The reciprocal of the square root. Floats.
    rsqrt, unary, UnaryKind::Rsqrt;
    /// The reciprocal. Floats.
    reciprocal, unary, UnaryKind::Reciprocal;
    /// The hyperbolic tangent. Floats.
    tanh, unary, UnaryKind::Tanh;
    /// `1 / (1 + exp(-x))`. Floats.
    sigmoid, unary, UnaryKind::Sigmoid;
    /// The larger of `x` and 0. Numbers.
    relu, unary, UnaryKind::Relu;
    /// The Gaussian error linear unit, by the error function. Floats.
    gelu, unary, UnaryKind::Gelu;
    /// The same by a hyperbolic tangent. Floats.
    gelu_tanh, unary, UnaryKind::GeluTanh;
    /// `x * sigmoid(x)`. Floats.
    silu, unary, UnaryKind::Silu;
    /// The error function. Floats.
    erf, unary, UnaryKind::Erf;
    /// The next integer below. Floats.
    floor, unary, UnaryKind::Floor;
    /// The next integer above. Floats.
    ceil, unary, UnaryKind::Ceil;
    /// The nearest integer, halves to even. Floats.
    round, unary, UnaryKind::Round;
    /// The sine. Floats.
    sin, unary, UnaryKind::Sin;
    /// The cosine. Floats.
    cos, unary, UnaryKind::Cos;
    /// Not: of a boolean; of an integer, bit by bit.
    not, unary, UnaryKind::Not;
    /// The sum, broadcast. Numbers.
    add, binary, BinaryKind::Add, right;
    /// The difference, broadcast. Numbers.
    sub, binary, BinaryKind::Sub, right;
    /// The product, broadcast. Numbers.
    mul, binary, BinaryKind::Mul, right;
    /// The quotient, broadcast; integers truncate towards zero, and by zero give zero. Numbers.
    div, binary, BinaryKind::Div, right;
    /// The remainder with the sign of the left, broadcast. Numbers.
    rem, binary, BinaryKind::Rem, right;
    /// The power, broadcast. Numbers.
    pow, binary, BinaryKind::Pow, right;
    /// The smaller, broadcast; NaN if either is.
    min, binary, BinaryKind::Min, right;
    /// The larger, broadcast; NaN if either is.
    max, binary, BinaryKind::Max, right;
    /// And, broadcast: of booleans; of integers, bit by bit.
    and, binary, BinaryKind::And, right;
    /// Or, broadcast: of booleans; of integers, bit by bit.
    or, binary, BinaryKind::Or, right;
    /// Exclusive or, broadcast: of booleans; of integers, bit by bit.
    xor, binary, BinaryKind::Xor, right;
    /// Where left is right, broadcast; gives booleans, as all comparisons.
    equal, compare, Comparison::Equal, right;
    /// Where left is not right, broadcast; the only comparison that holds with a NaN.
    not_equal, compare, Comparison::NotEqual, right;
    /// Where left is below right, broadcast.
    less, compare, Comparison::Less, right;
    /// Where left is right or below, broadcast.
    less_equal, compare, Comparison::LessEqual, right;
    /// Where left is above right, broadcast.
    greater, compare, Comparison::Greater, right;
    /// Where left is right or above, broadcast.
    greater_equal, compare, Comparison::GreaterEqual, right;
}

/// # Operations
///
/// All check their operands and return at once; the work is recorded and runs, fused, when a result is
/// read, given to a model, or [evaluated](Tensor::evaluate). Axes may be negative and count from the
/// end. Every operation can fail with [`Error::InvalidArgument`] (the text names the operation and each
/// operand with its type and shape), [`Error::OutOfBudget`] (the call would hold too many bytes) and
/// [`Error::Unsupported`] (the host has no device for operations).
impl Tensor {
    /// A tensor of one value; an empty shape is a scalar.
    ///
    /// # Errors
    /// As [all operations](Tensor#operations); so do all below.
    pub fn full(element: Dtype, shape: &[u32], value: impl Into<Number>) -> Result<Self, Error> {
        made(host::full(element, shape, value.into()))
    }

    /// Counts along `axis`: `start + step * index`.
    ///
    /// # Errors
    /// As [all operations](Tensor#operations).
    pub fn iota(
        element: Dtype,
        shape: &[u32],
        axis: i32,
        start: impl Into<Number>,
        step: impl Into<Number>,
    ) -> Result<Self, Error> {
        made(host::iota(element, shape, axis, start.into(), step.into()))
    }

    /// Random numbers, even between the range's ends. Floats.
    ///
    /// # Errors
    /// As [all operations](Tensor#operations).
    pub fn random_uniform(
        element: Dtype,
        shape: &[u32],
        source: Source,
        range: std::ops::Range<f32>,
    ) -> Result<Self, Error> {
        let source = source.wit();
        made(host::random_uniform(
            element,
            shape,
            source,
            range.start,
            range.end,
        ))
    }

    /// Normal random numbers. Floats.
    ///
    /// # Errors
    /// As [all operations](Tensor#operations).
    pub fn random_normal(
        element: Dtype,
        shape: &[u32],
        source: Source,
        mean: f32,
        deviation: f32,
    ) -> Result<Self, Error> {
        let source = source.wit();
        made(host::random_normal(element, shape, source, mean, deviation))
    }

    /// `then` where this boolean tensor holds, else `otherwise`; all three broadcast.
    ///
    /// # Errors
    /// As [all operations](Tensor#operations).
    pub fn select(&self, then: &Self, otherwise: &Self) -> Result<Self, Error> {
        made(host::select(&self.0, &then.0, &otherwise.0))
    }

    /// Converts: floats to integers truncate and saturate (NaN gives 0), integers wrap, to boolean is
    /// `!= 0`.
    ///
    /// # Errors
    /// As [all operations](Tensor#operations).
    pub fn cast(&self, to: Dtype) -> Result<Self, Error> {
        made(host::cast(&self.0, to))
    }

    /// The product of `[.., m, k]` and `[.., k, n]`; batches broadcast. Floats; or i8 and u8, giving i32.
    ///
    /// # Errors
    /// As [all operations](Tensor#operations).
    pub fn matmul(&self, right: &Self) -> Result<Self, Error> {
        self.matmul_with(right, &Matmul::new())
    }

    /// The same with transposed operands, a bias or an activation.
    ///
    /// ```no_run
    /// # use rialto_sdk::tensor::{Activation, Error, Matmul, Tensor};
    /// # fn layer(x: &Tensor, weights: &Tensor, bias: &Tensor) -> Result<Tensor, Error> {
    /// x.matmul_with(weights, &Matmul::new().transpose_right().bias(bias).activation(Activation::Gelu))
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [all operations](Tensor#operations).
    pub fn matmul_with(&self, right: &Self, options: &Matmul<'_>) -> Result<Self, Error> {
        let bias = options.bias.map(|bias| &bias.0);
        made(host::matmul(&self.0, &right.0, bias, options.wit()))
    }

    /// Convolution of `[n, c, l]` with `[o, c / groups, k]`. Floats.
    ///
    /// # Errors
    /// As [all operations](Tensor#operations).
    pub fn conv1d_with(&self, weight: &Self, options: &Conv<'_, 1>) -> Result<Self, Error> {
        let bias = options.bias.map(|bias| &bias.0);
        let ([window], conv) = options.wit();
        made(host::conv1d(&self.0, &weight.0, bias, window, conv))
    }

    /// Convolution of `[n, c, h, w]` with `[o, c / groups, kh, kw]`. Floats.
    ///
    /// # Errors
    /// As [all operations](Tensor#operations).
    pub fn conv2d_with(&self, weight: &Self, options: &Conv<'_, 2>) -> Result<Self, Error> {
        let bias = options.bias.map(|bias| &bias.0);
        let ([height, width], conv) = options.wit();
        made(host::conv2d(
            &self.0,
            &weight.0,
            bias,
            (height, width),
            conv,
        ))
    }

    /// Pools `[n, c, l]` with windows of `extent` elements.
    ///
    /// # Errors
    /// As [all operations](Tensor#operations).
    pub fn pool1d(&self, kind: Pooling, extent: u32, window: Window) -> Result<Self, Error> {
        made(host::pool1d(kind, &self.0, extent, window.wit()))
    }

    /// Pools `[n, c, h, w]`.
    ///
    /// # Errors
    /// As [all operations](Tensor#operations).
    pub fn pool2d(
        &self,
        kind: Pooling,
        extents: [u32; 2],
        windows: [Window; 2],
    ) -> Result<Self, Error> {
        let windows = windows.map(Window::wit);
        made(host::pool2d(kind, &self.0, extents.into(), windows.into()))
    }

    /// Attention of this query `[.., hq, lq, d]` over `key` `[.., hk, lk, d]` and `value`
    /// `[.., hk, lk, dv]`. Floats.
    ///
    /// # Errors
    /// As [all operations](Tensor#operations).
    pub fn attention(&self, key: &Self, value: &Self) -> Result<Self, Error> {
        self.attention_with(key, value, &Attention::new())
    }

    /// The same with a mask, causal, or scaled otherwise.
    ///
    /// # Errors
    /// As [all operations](Tensor#operations).
    pub fn attention_with(
        &self,
        key: &Self,
        value: &Self,
        options: &Attention<'_>,
    ) -> Result<Self, Error> {
        let mask = options.mask.map(|mask| &mask.0);
        made(host::attention(
            &self.0,
            &key.0,
            &value.0,
            mask,
            options.wit(),
        ))
    }

    /// Exponentials along `axis` divided by their sum. Floats.
    ///
    /// # Errors
    /// As [all operations](Tensor#operations).
    pub fn softmax(&self, axis: i32) -> Result<Self, Error> {
        made(host::softmax(&self.0, axis))
    }

    /// The logarithm of the softmax along `axis`. Floats.
    ///
    /// # Errors
    /// As [all operations](Tensor#operations).
    pub fn log_softmax(&self, axis: i32) -> Result<Self, Error> {
        made(host::log_softmax(&self.0, axis))
    }

    /// `(x - mean) / sqrt(variance + epsilon) * scale + bias`. Floats.
    ///
    /// # Errors
    /// As [all operations](Tensor#operations).
    pub fn layer_norm(&self, norm: &Norm<'_>) -> Result<Self, Error> {
        let (scale, bias) = (
            norm.scale.map(|scale| &scale.0),
            norm.bias.map(|bias| &bias.0),
        );
        made(host::layer_norm(
            &self.0,
            norm.axes,
            norm.epsilon,
            scale,
            bias,
        ))
    }

    /// `x / sqrt(mean(x * x) + epsilon) * scale`. Floats.
    ///
    /// # Errors
    /// As [all operations](Tensor#operations); also if the norm has a bias.
    pub fn rms_norm(&self, norm: &Norm<'_>) -> Result<Self, Error> {
        if norm.bias.is_some() {
            return Err(Error::InvalidArgument(
                "rms-norm: there is no bias".to_owned(),
            ));
        }
        let scale = norm.scale.map(|scale| &scale.0);
        made(host::rms_norm(&self.0, norm.axes, norm.epsilon, scale))
    }

    /// Rotates pairs of elements of `[.., length, d]` by `positions` `[length]` (i32 or i64). Floats.
    ///
    /// # Errors
    /// As [all operations](Tensor#operations).
    pub fn rope(&self, positions: &Self, rope: Rope) -> Result<Self, Error> {
        made(host::rope(&self.0, &positions.0, rope.0))
    }

    /// The slices at `indices` (i32 or i64), whose shape stands in place of `axis`.
    ///
    /// # Errors
    /// As [all operations](Tensor#operations); an index out of range when the work runs.
    pub fn gather(&self, indices: &Self, axis: i32) -> Result<Self, Error> {
        made(host::gather(&self.0, &indices.0, axis))
    }

    /// For each of `indices`, of equal rank, the element at that place on `axis`.
    ///
    /// # Errors
    /// As [`Tensor::gather`].
    pub fn gather_elements(&self, indices: &Self, axis: i32) -> Result<Self, Error> {
        made(host::gather_elements(&self.0, &indices.0, axis))
    }

    /// These elements with slices at `indices` `[n]` combined with `updates`, in order.
    ///
    /// # Errors
    /// As [`Tensor::gather`].
    pub fn scatter(
        &self,
        indices: &Self,
        updates: &Self,
        axis: i32,
        combine: Combine,
    ) -> Result<Self, Error> {
        made(host::scatter(
            &self.0, &indices.0, &updates.0, axis, combine,
        ))
    }

    /// The same element by element.
    ///
    /// # Errors
    /// As [`Tensor::gather`].
    pub fn scatter_elements(
        &self,
        indices: &Self,
        updates: &Self,
        axis: i32,
        combine: Combine,
    ) -> Result<Self, Error> {
        made(host::scatter_elements(
            &self.0, &indices.0, &updates.0, axis, combine,
        ))
    }

    /// Joins the elements along `axes`; with `keep` they stay with extent 1.
    ///
    /// # Errors
    /// As [all operations](Tensor#operations).
    pub fn reduce(&self, kind: Reduction, axes: &[i32], keep: bool) -> Result<Self, Error> {
        made(host::reduce(kind, &self.0, Some(axes), keep))
    }

    /// Joins all elements to a scalar.
    ///
    /// # Errors
    /// As [all operations](Tensor#operations).
    pub fn reduce_all(&self, kind: Reduction) -> Result<Self, Error> {
        made(host::reduce(kind, &self.0, None, false))
    }

    /// The place (i64) of the largest element along `axis`, the first of equals.
    ///
    /// # Errors
    /// As [all operations](Tensor#operations).
    pub fn arg_max(&self, axis: i32, keep: bool) -> Result<Self, Error> {
        made(host::arg_max(&self.0, axis, keep))
    }

    /// The place (i64) of the smallest element along `axis`, the first of equals.
    ///
    /// # Errors
    /// As [all operations](Tensor#operations).
    pub fn arg_min(&self, axis: i32, keep: bool) -> Result<Self, Error> {
        made(host::arg_min(&self.0, axis, keep))
    }

    /// The `k` largest along `axis`, best first, and their places (i64).
    ///
    /// # Errors
    /// As [all operations](Tensor#operations).
    pub fn top_k(&self, axis: i32, k: u32) -> Result<(Self, Self), Error> {
        let (values, places) = host::top_k(&self.0, axis, k, true)?;
        Ok((Self(values), Self(places)))
    }

    /// The `k` smallest along `axis`, best first, and their places (i64).
    ///
    /// # Errors
    /// As [all operations](Tensor#operations).
    pub fn bottom_k(&self, axis: i32, k: u32) -> Result<(Self, Self), Error> {
        let (values, places) = host::top_k(&self.0, axis, k, false)?;
        Ok((Self(values), Self(places)))
    }

    /// Sums along `axis`; `exclusive`: an element is not part of its own sum; `reverse`: from the end.
    ///
    /// # Errors
    /// As [all operations](Tensor#operations).
    pub fn cumulative_sum(&self, axis: i32, exclusive: bool, reverse: bool) -> Result<Self, Error> {
        made(host::cumulative_sum(&self.0, axis, exclusive, reverse))
    }

    /// `saturate(round-to-even(x / scale) + zero)`, to the type of `zero`; parameters for each place on
    /// `axis`, or scalars. Floats.
    ///
    /// # Errors
    /// As [all operations](Tensor#operations).
    pub fn quantise(&self, scale: &Self, zero: &Self, axis: Option<i32>) -> Result<Self, Error> {
        made(host::quantise(&self.0, &scale.0, &zero.0, axis))
    }

    /// `(x - zero) * scale`, to the float type `to`.
    ///
    /// # Errors
    /// As [all operations](Tensor#operations).
    pub fn dequantise(
        &self,
        scale: &Self,
        zero: &Self,
        axis: Option<i32>,
        to: Dtype,
    ) -> Result<Self, Error> {
        made(host::dequantise(&self.0, &scale.0, &zero.0, axis, to))
    }

    /// Part of each axis, one range an axis: `x.slice(&[(1..3).into(), (..).into()])`.
    ///
    /// # Errors
    /// As [all operations](Tensor#operations).
    pub fn slice(&self, ranges: &[Range]) -> Result<Self, Error> {
        let ranges: Vec<host::Range> = ranges.iter().map(|range| range.0).collect();
        made(host::slice(&self.0, &ranges))
    }

    /// The same elements in another shape; nothing is copied.
    ///
    /// # Errors
    /// As [all operations](Tensor#operations).
    pub fn reshape(&self, shape: &[u32]) -> Result<Self, Error> {
        made(host::reshape(&self.0, shape))
    }

    /// Axes in another order: axis `i` of the result is axis `order[i]` of this.
    ///
    /// # Errors
    /// As [all operations](Tensor#operations).
    pub fn transpose(&self, order: &[i32]) -> Result<Self, Error> {
        made(host::transpose(&self.0, order))
    }

    /// Tensors one after another along `axis`; at most 1,024.
    ///
    /// # Errors
    /// As [all operations](Tensor#operations).
    pub fn concatenate(tensors: &[&Self], axis: i32) -> Result<Self, Error> {
        made(host::concatenate(&handles(tensors), axis))
    }

    /// Elements before and after each axis, one pair an axis.
    ///
    /// # Errors
    /// As [all operations](Tensor#operations).
    pub fn pad(&self, extents: &[(u32, u32)], padding: Padding) -> Result<Self, Error> {
        made(host::pad(&self.0, extents, padding))
    }

    /// Repeated to a shape to which this one broadcasts.
    ///
    /// # Errors
    /// As [all operations](Tensor#operations).
    pub fn broadcast_to(&self, shape: &[u32]) -> Result<Self, Error> {
        made(host::broadcast_to(&self.0, shape))
    }

    /// Runs what these tensors need, now, in one go.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if a value does not fit (an index out of range);
    /// [`Error::OutOfBudget`] if memory or the call's multiplications are spent; [`Error::Engine`] if
    /// the device fails.
    pub fn evaluate(tensors: &[&Self]) -> Result<(), Error> {
        Ok(host::evaluate(&handles(tensors))?)
    }
}

fn made(
    result: Result<tensors::Tensor, crate::bindings::compute::rialto::tensor::types::Error>,
) -> Result<Tensor, Error> {
    Ok(Tensor(result?))
}

fn handles<'a>(tensors: &[&'a Tensor]) -> Vec<&'a tensors::Tensor> {
    tensors.iter().map(|tensor| &tensor.0).collect()
}
