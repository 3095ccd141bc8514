//! `rialto:tensor/operations`: each function makes the core's operation of its arguments and records it.
//!
//! What operations accept and compute is the core's ([`Op`]); here negative axes become places, and
//! lists that no tensor has use for are refused before anything copies them.

mod attributes;
mod run;

use rialto_compute::ops::{
    ArgReduce, Attention, Conv, CumSum, Distribution, Iota, Matmul, Norm, Op, Pad, Pool, Quantise,
    Random, Reduce, Rope, TopK,
};
use wasmtime::component::Resource;

use super::bindings::tensor::rialto::tensor::operations as wit;
use super::bindings::tensor::rialto::tensor::types::{Dtype, Error};
use super::tensor::{HostTensor, element_of};
use crate::state::CallState;

pub(super) use run::{moved, program_error, run_error};

use attributes::{
    Operands, activation, binary, combine, compare, number, padding, pooling, range, reduction,
    spec, unary, window,
};

type Handle = Resource<HostTensor>;
type Made<T = Handle> = wasmtime::Result<Result<T, Error>>;

impl wit::Host for CallState {
    async fn full(&mut self, element: Dtype, shape: Vec<u32>, value: wit::Number) -> Made {
        let make = |_: &Operands<'_>| Ok(Op::Full(spec("full", element, shape)?, number(value)));
        self.record("full", &[], make).await
    }

    async fn iota(
        &mut self,
        element: Dtype,
        shape: Vec<u32>,
        axis: i32,
        start: wit::Number,
        step: wit::Number,
    ) -> Made {
        self.record("iota", &[], |operands| {
            let spec = spec("iota", element, shape)?;
            let axis = operands.axis_of(spec.rank(), axis)?;
            let (start, step) = (number(start), number(step));
            Ok(Op::Iota(Iota {
                spec,
                axis,
                start,
                step,
            }))
        })
        .await
    }

    async fn random_uniform(
        &mut self,
        element: Dtype,
        shape: Vec<u32>,
        source: wit::Source,
        low: f32,
        high: f32,
    ) -> Made {
        let distribution = Distribution::Uniform { low, high };
        self.random(element, shape, source, distribution).await
    }

    async fn random_normal(
        &mut self,
        element: Dtype,
        shape: Vec<u32>,
        source: wit::Source,
        mean: f32,
        deviation: f32,
    ) -> Made {
        let distribution = Distribution::Normal { mean, deviation };
        self.random(element, shape, source, distribution).await
    }

    async fn unary(&mut self, kind: wit::UnaryKind, input: Handle) -> Made {
        self.plain(&[input], Op::Unary(unary(kind))).await
    }

    async fn binary(&mut self, kind: wit::BinaryKind, left: Handle, right: Handle) -> Made {
        self.plain(&[left, right], Op::Binary(binary(kind))).await
    }

    async fn compare(&mut self, kind: wit::Comparison, left: Handle, right: Handle) -> Made {
        self.plain(&[left, right], Op::Compare(compare(kind))).await
    }

    async fn select(&mut self, condition: Handle, then: Handle, otherwise: Handle) -> Made {
        self.plain(&[condition, then, otherwise], Op::Select).await
    }

    async fn cast(&mut self, input: Handle, to: Dtype) -> Made {
        self.plain(&[input], Op::Cast(element_of(to))).await
    }

    async fn matmul(
        &mut self,
        left: Handle,
        right: Handle,
        bias: Option<Handle>,
        options: wit::MatmulOptions,
    ) -> Made {
        let op = Op::Matmul(Matmul {
            transpose_left: options.transpose_left,
            transpose_right: options.transpose_right,
            bias: bias.is_some(),
            activation: options.activation.map(activation),
        });
        self.plain(&with([left, right], [bias]), op).await
    }

    async fn conv1d(
        &mut self,
        input: Handle,
        weight: Handle,
        bias: Option<Handle>,
        moves: wit::Window,
        options: wit::ConvOptions,
    ) -> Made {
        let op = Op::Conv1d(conv([moves], bias.is_some(), options));
        self.plain(&with([input, weight], [bias]), op).await
    }

    async fn conv2d(
        &mut self,
        input: Handle,
        weight: Handle,
        bias: Option<Handle>,
        (height, width): (wit::Window, wit::Window),
        options: wit::ConvOptions,
    ) -> Made {
        let op = Op::Conv2d(conv([height, width], bias.is_some(), options));
        self.plain(&with([input, weight], [bias]), op).await
    }

    async fn pool1d(
        &mut self,
        kind: wit::Pooling,
        input: Handle,
        extent: u32,
        moves: wit::Window,
    ) -> Made {
        let op = Op::Pool1d(Pool {
            kind: pooling(kind),
            extents: Some([extent]),
            windows: [window(moves)],
        });
        self.plain(&[input], op).await
    }

    async fn pool2d(
        &mut self,
        kind: wit::Pooling,
        input: Handle,
        (rows, columns): (u32, u32),
        (height, width): (wit::Window, wit::Window),
    ) -> Made {
        let op = Op::Pool2d(Pool {
            kind: pooling(kind),
            extents: Some([rows, columns]),
            windows: [window(height), window(width)],
        });
        self.plain(&[input], op).await
    }

    async fn attention(
        &mut self,
        query: Handle,
        key: Handle,
        value: Handle,
        mask: Option<Handle>,
        options: wit::AttentionOptions,
    ) -> Made {
        let op = Op::Attention(Attention {
            causal: options.causal,
            scale: options.scale,
            mask: mask.is_some(),
        });
        self.plain(&with([query, key, value], [mask]), op).await
    }

    async fn softmax(&mut self, input: Handle, axis: i32) -> Made {
        self.record("softmax", &[input], |operands| {
            let axis = operands.axis(axis)?;
            Ok(Op::Softmax { axis })
        })
        .await
    }

    async fn log_softmax(&mut self, input: Handle, axis: i32) -> Made {
        self.record("log-softmax", &[input], |operands| {
            let axis = operands.axis(axis)?;
            Ok(Op::LogSoftmax { axis })
        })
        .await
    }

    async fn layer_norm(
        &mut self,
        input: Handle,
        axes: u32,
        epsilon: f32,
        scale: Option<Handle>,
        bias: Option<Handle>,
    ) -> Made {
        let norm = norm(axes, epsilon, scale.is_some(), bias.is_some());
        self.plain(&with([input], [scale, bias]), Op::LayerNorm(norm))
            .await
    }

    async fn rms_norm(
        &mut self,
        input: Handle,
        axes: u32,
        epsilon: f32,
        scale: Option<Handle>,
    ) -> Made {
        let norm = norm(axes, epsilon, scale.is_some(), false);
        self.plain(&with([input], [scale]), Op::RmsNorm(norm)).await
    }

    async fn rope(&mut self, input: Handle, positions: Handle, options: wit::RopeOptions) -> Made {
        let op = Op::Rope(Rope {
            base: options.base,
            interleaved: options.interleaved,
            dimensions: options.dimensions,
        });
        self.plain(&[input, positions], op).await
    }

    async fn gather(&mut self, data: Handle, indices: Handle, axis: i32) -> Made {
        self.record("gather", &[data, indices], |operands| {
            let axis = operands.axis(axis)?;
            Ok(Op::Gather { axis })
        })
        .await
    }

    async fn gather_elements(&mut self, data: Handle, indices: Handle, axis: i32) -> Made {
        self.record("gather-elements", &[data, indices], |operands| {
            let axis = operands.axis(axis)?;
            Ok(Op::GatherElements { axis })
        })
        .await
    }

    async fn scatter(
        &mut self,
        data: Handle,
        indices: Handle,
        updates: Handle,
        axis: i32,
        how: wit::Combine,
    ) -> Made {
        self.record("scatter", &[data, indices, updates], |operands| {
            let (axis, combine) = (operands.axis(axis)?, combine(how));
            Ok(Op::Scatter { axis, combine })
        })
        .await
    }

    async fn scatter_elements(
        &mut self,
        data: Handle,
        indices: Handle,
        updates: Handle,
        axis: i32,
        how: wit::Combine,
    ) -> Made {
        self.record("scatter-elements", &[data, indices, updates], |operands| {
            let (axis, combine) = (operands.axis(axis)?, combine(how));
            Ok(Op::ScatterElements { axis, combine })
        })
        .await
    }

    async fn reduce(
        &mut self,
        kind: wit::Reduction,
        input: Handle,
        axes: Option<Vec<i32>>,
        keep: bool,
    ) -> Made {
        let kind = reduction(kind);
        self.record(kind.name(), &[input], |operands| {
            let axes = axes.map(|axes| operands.axes(&axes)).transpose()?;
            Ok(Op::Reduce(Reduce { kind, axes, keep }))
        })
        .await
    }

    async fn arg_max(&mut self, input: Handle, axis: i32, keep: bool) -> Made {
        self.arg("arg-max", input, axis, true, keep).await
    }

    async fn arg_min(&mut self, input: Handle, axis: i32, keep: bool) -> Made {
        self.arg("arg-min", input, axis, false, keep).await
    }

    async fn top_k(
        &mut self,
        input: Handle,
        axis: i32,
        k: u32,
        largest: bool,
    ) -> Made<(Handle, Handle)> {
        let operands = [input];
        let made = self.record_all("top-k", &operands, |operands| {
            let axis = operands.axis(axis)?;
            Ok(Op::TopK(TopK { axis, k, largest }))
        });
        match made.await? {
            Ok(results) => match <[Handle; 2]>::try_from(results) {
                Ok([values, places]) => Ok(Ok((values, places))),
                Err(_) => Err(wasmtime::Error::msg("top-k has two results")),
            },
            Err(error) => Ok(Err(error)),
        }
    }

    async fn cumulative_sum(
        &mut self,
        input: Handle,
        axis: i32,
        exclusive: bool,
        reverse: bool,
    ) -> Made {
        self.record("cumulative-sum", &[input], |operands| {
            let axis = operands.axis(axis)?;
            Ok(Op::CumSum(CumSum {
                axis,
                exclusive,
                reverse,
            }))
        })
        .await
    }

    async fn quantise(
        &mut self,
        input: Handle,
        scale: Handle,
        zero: Handle,
        axis: Option<i32>,
    ) -> Made {
        self.record("quantise", &[input, scale, zero], |operands| {
            let axis = axis.map(|axis| operands.axis(axis)).transpose()?;
            Ok(Op::Quantise(Quantise { axis }))
        })
        .await
    }

    async fn dequantise(
        &mut self,
        input: Handle,
        scale: Handle,
        zero: Handle,
        axis: Option<i32>,
        to: Dtype,
    ) -> Made {
        self.record("dequantise", &[input, scale, zero], |operands| {
            let axis = axis.map(|axis| operands.axis(axis)).transpose()?;
            Ok(Op::Dequantise(Quantise { axis }, element_of(to)))
        })
        .await
    }

    async fn slice(&mut self, input: Handle, ranges: Vec<wit::Range>) -> Made {
        self.record("slice", &[input], |operands| {
            operands.few(ranges.len())?;
            Ok(Op::Slice(ranges.iter().map(range).collect()))
        })
        .await
    }

    async fn reshape(&mut self, input: Handle, shape: Vec<u32>) -> Made {
        self.record("reshape", &[input], |operands| {
            operands.few(shape.len())?;
            Ok(Op::Reshape(shape))
        })
        .await
    }

    async fn transpose(&mut self, input: Handle, order: Vec<i32>) -> Made {
        self.record("transpose", &[input], |operands| {
            Ok(Op::Transpose(operands.axes(&order)?))
        })
        .await
    }

    async fn concatenate(&mut self, inputs: Vec<Handle>, axis: i32) -> Made {
        let count = inputs.len();
        self.record(
            "concatenate",
            inputs
                .get(..count.min(CONCATENATED_MAX))
                .unwrap_or_default(),
            |operands| {
                if count > CONCATENATED_MAX {
                    let op = "concatenate";
                    let nothing = Operands { op, specs: &[] };
                    return nothing.refuse(&format!("{count} tensors, at most {CONCATENATED_MAX}"));
                }
                let axis = operands.axis(axis)?;
                Ok(Op::Concat { axis })
            },
        )
        .await
    }

    async fn pad(&mut self, input: Handle, extents: Vec<(u32, u32)>, mode: wit::Padding) -> Made {
        self.record("pad", &[input], |operands| {
            operands.few(extents.len())?;
            let (before, after) = extents.into_iter().unzip();
            Ok(Op::Pad(Pad {
                before,
                after,
                mode: padding(mode),
            }))
        })
        .await
    }

    async fn broadcast_to(&mut self, input: Handle, shape: Vec<u32>) -> Made {
        self.record("broadcast-to", &[input], |operands| {
            operands.few(shape.len())?;
            Ok(Op::BroadcastTo(shape))
        })
        .await
    }

    async fn evaluate(&mut self, tensors: Vec<Handle>) -> Made<()> {
        self.charge_host_call(0)?;
        let slots = self.slots(&tensors)?;
        Ok(self.run_recorded(&slots).await)
    }
}

impl CallState {
    /// Records an operation whose attributes need no look at its operands.
    async fn plain(&mut self, operands: &[Handle], op: Op) -> Made {
        self.record(op.name(), operands, |_| Ok(op)).await
    }

    async fn random(
        &mut self,
        element: Dtype,
        shape: Vec<u32>,
        source: wit::Source,
        distribution: Distribution,
    ) -> Made {
        self.record("random", &[], |_| {
            Ok(Op::Random(Random {
                spec: spec("random", element, shape)?,
                distribution,
                seed: source.seed,
                stream: source.stream,
            }))
        })
        .await
    }

    async fn arg(
        &mut self,
        op: &'static str,
        input: Handle,
        axis: i32,
        largest: bool,
        keep: bool,
    ) -> Made {
        self.record(op, &[input], |operands| {
            let axis = operands.axis(axis)?;
            Ok(Op::ArgReduce(ArgReduce {
                axis,
                largest,
                keep,
            }))
        })
        .await
    }

    /// Records an operation with one result.
    async fn record(
        &mut self,
        name: &'static str,
        operands: &[Handle],
        make: impl FnOnce(&Operands<'_>) -> Result<Op, Error> + Send,
    ) -> Made {
        match self.record_all(name, operands, make).await? {
            Ok(mut results) => match results.pop() {
                Some(result) => Ok(Ok(result)),
                None => Err(wasmtime::Error::msg("an operation without a result")),
            },
            Err(error) => Ok(Err(error)),
        }
    }

    /// Records an operation: its attributes are made of its operands' specs.
    async fn record_all(
        &mut self,
        name: &'static str,
        operands: &[Handle],
        make: impl FnOnce(&Operands<'_>) -> Result<Op, Error> + Send,
    ) -> Made<Vec<Handle>> {
        self.charge_host_call(0)?;
        if let Err(error) = self.room_to_record().await {
            return Ok(Err(error));
        }
        let slots = match self.take_in(operands)? {
            Ok(slots) => slots,
            Err(error) => return Ok(Err(error)),
        };
        let specs = self.specs(&slots);
        let made = make(&Operands {
            op: name,
            specs: &specs,
        });
        match made {
            Ok(op) => self.push_recorded(op, &slots).await,
            Err(error) => Ok(Err(error)),
        }
    }
}

/// Operands, and those that are optional.
fn with<const N: usize, const M: usize>(
    needed: [Handle; N],
    optional: [Option<Handle>; M],
) -> Vec<Handle> {
    let optional = optional.into_iter().flatten();
    needed.into_iter().chain(optional).collect()
}

fn conv<const N: usize>(
    windows: [wit::Window; N],
    bias: bool,
    options: wit::ConvOptions,
) -> Conv<N> {
    Conv {
        windows: windows.map(window),
        groups: options.groups,
        bias,
        activation: options.activation.map(activation),
    }
}

fn norm(axes: u32, epsilon: f32, scale: bool, bias: bool) -> Norm {
    Norm {
        axes: usize::try_from(axes).unwrap_or(usize::MAX),
        epsilon,
        scale,
        bias,
    }
}

/// Tensors of one concatenation.
const CONCATENATED_MAX: usize = 1_024;
