//! What an operation gives for given operands, found before anything is allocated.
//!
//! Every operation passes here before any device sees it; devices rely on what is checked. Errors
//! name each operand with its spec. Non-goals: the values of operands (an index out of range is
//! found when it runs).

mod elementwise;
mod index;
mod layout;
mod linear;
mod normal;
mod window;

use super::{
    accepts::elements,
    error::InferError,
    op::Op,
    spec::{Spec, broadcast},
};
use crate::Element;

/// The specs of the results of `op` on operands of these specs.
///
/// # Errors
/// [`InferError`] if the operands do not fit, or a result would be too large to count.
pub fn infer(op: &Op, operands: &[&Spec]) -> Result<Vec<Spec>, InferError> {
    let call = Call {
        op: op.name(),
        names: names(op),
        specs: operands,
        takes: elements(op),
    };
    let one = |spec: Result<Spec, InferError>| spec.map(|spec| vec![spec]);
    match op {
        Op::Full(spec, _) => one(call.source(spec)),
        Op::Iota(iota) => one(call.source(&iota.spec).and_then(|spec| {
            let _: usize = call.axis_of(&spec, iota.axis)?;
            Ok(spec)
        })),
        Op::Random(random) => one(call.source(&random.spec)),
        Op::Unary(_) => one(elementwise::unary(&call)),
        Op::Binary(_) => one(elementwise::binary(&call)),
        Op::Compare(_) => one(elementwise::compare(&call)),
        Op::Select => one(elementwise::select(&call)),
        Op::Cast(element) => one(elementwise::cast(&call, *element)),
        Op::Matmul(matmul) => one(linear::matmul(&call, matmul)),
        Op::Attention(attention) => one(linear::attention(&call, attention)),
        Op::Conv1d(conv) => one(window::conv(&call, conv)),
        Op::Conv2d(conv) => one(window::conv(&call, conv)),
        Op::Pool1d(pool) => one(window::pool(&call, pool)),
        Op::Pool2d(pool) => one(window::pool(&call, pool)),
        Op::Softmax { axis } | Op::LogSoftmax { axis } => one(normal::softmax(&call, *axis)),
        Op::LayerNorm(norm) => one(normal::norm(&call, norm)),
        Op::RmsNorm(norm) => one(normal::norm(&call, norm)),
        Op::Rope(rope) => one(normal::rope(&call, rope)),
        Op::Gather { axis } => one(index::gather(&call, *axis)),
        Op::GatherElements { axis } => one(index::gather_elements(&call, *axis)),
        Op::Scatter { axis, .. } => one(index::scatter(&call, *axis)),
        Op::ScatterElements { axis, .. } => one(index::scatter_elements(&call, *axis)),
        Op::Reduce(reduce) => one(normal::reduce(&call, reduce)),
        Op::ArgReduce(arg) => one(index::arg_reduce(&call, arg)),
        Op::TopK(top) => index::top_k(&call, top),
        Op::CumSum(sum) => one(index::cumulative(&call, sum.axis)),
        Op::Quantise(quantise) => one(normal::quantise(&call, quantise)),
        Op::Dequantise(quantise, to) => one(normal::dequantise(&call, quantise, *to)),
        Op::Slice(ranges) => one(layout::slice(&call, ranges)),
        Op::Reshape(shape) => one(layout::reshape(&call, shape)),
        Op::Transpose(order) => one(layout::transpose(&call, order)),
        Op::Concat { axis } => one(layout::concatenate(&call, *axis)),
        Op::Pad(pad) => one(layout::pad(&call, pad)),
        Op::BroadcastTo(shape) => one(layout::broadcast_to(&call, shape)),
    }
}

/// What messages call the operands.
const fn names(op: &Op) -> &'static [&'static str] {
    match op {
        Op::Matmul(_) => &["left", "right", "bias"],
        Op::Binary(_) | Op::Compare(_) => &["left", "right"],
        Op::Select => &["condition", "then", "else"],
        Op::Conv1d(_) | Op::Conv2d(_) => &["input", "weight", "bias"],
        Op::Attention(_) => &["query", "key", "value", "mask"],
        Op::LayerNorm(norm) if !norm.scale => &["input", "bias"],
        Op::LayerNorm(_) | Op::RmsNorm(_) => &["input", "scale", "bias"],
        Op::Rope(_) => &["input", "positions"],
        Op::Gather { .. }
        | Op::GatherElements { .. }
        | Op::Scatter { .. }
        | Op::ScatterElements { .. } => &["data", "indices", "updates"],
        Op::Quantise(_) | Op::Dequantise(..) => &["input", "scale", "zero point"],
        Op::Full(..)
        | Op::Iota(_)
        | Op::Random(_)
        | Op::Unary(_)
        | Op::Cast(_)
        | Op::Pool1d(_)
        | Op::Pool2d(_)
        | Op::Softmax { .. }
        | Op::LogSoftmax { .. }
        | Op::Reduce(_)
        | Op::ArgReduce(_)
        | Op::TopK(_)
        | Op::CumSum(_)
        | Op::Slice(_)
        | Op::Reshape(_)
        | Op::Transpose(_)
        | Op::Concat { .. }
        | Op::Pad(_)
        | Op::BroadcastTo(_) => &["input"],
    }
}

/// An operation with its operands, for checks whose errors name them.
struct Call<'a> {
    op: &'static str,
    names: &'static [&'static str],
    specs: &'a [&'a Spec],
    takes: &'static [Element],
}

impl<'a> Call<'a> {
    fn name(&self, index: usize) -> &'static str {
        self.names.get(index).copied().unwrap_or("input")
    }

    /// The operands as messages name them.
    fn operands(&self) -> String {
        let mut text = String::new();
        let last = self.specs.len().saturating_sub(1);
        for (index, spec) in self.specs.iter().enumerate() {
            let joint = match index {
                0 => "",
                index if index == last => " and ",
                _ => ", ",
            };
            text.push_str(&format!("{joint}{} {spec}", self.name(index)));
        }
        if text.is_empty() {
            text.push_str("no operands");
        }
        text
    }

    fn mismatch<T>(&self, reason: impl Into<String>) -> Result<T, InferError> {
        Err(InferError::Mismatch {
            op: self.op,
            operands: self.operands(),
            reason: reason.into(),
        })
    }

    /// Exactly `N` operands, the first of which has a type that the operation takes.
    fn exactly<const N: usize>(&self) -> Result<[&'a Spec; N], InferError> {
        let Ok(specs) = <[&Spec; N]>::try_from(self.specs) else {
            return self.arity(N.to_string());
        };
        if N > 0 {
            self.takes(0, self.takes)?;
        }
        Ok(specs)
    }

    fn arity<T>(&self, expected: String) -> Result<T, InferError> {
        Err(InferError::Operands {
            op: self.op,
            expected,
            found: self.specs.len(),
        })
    }

    /// The spec of an operation without operands.
    fn source(&self, spec: &Spec) -> Result<Spec, InferError> {
        let [] = self.exactly()?;
        if self.takes.contains(&spec.element()) {
            return Ok(spec.clone());
        }
        let result = Call {
            names: &["result"],
            specs: &[spec],
            ..*self
        };
        result.takes(0, self.takes)?;
        Ok(spec.clone())
    }

    /// An operand's element type is one of these.
    fn takes(&self, index: usize, elements: &[Element]) -> Result<(), InferError> {
        match self.specs.get(index) {
            Some(spec) if !elements.contains(&spec.element()) => {
                let names: Vec<String> = elements.iter().map(ToString::to_string).collect();
                Err(InferError::Element {
                    op: self.op,
                    operands: self.operands(),
                    operand: self.name(index),
                    takes: names.join(", "),
                })
            }
            _ => Ok(()),
        }
    }

    /// The operands from the first to this one have the type of the first.
    fn same_elements(&self, operands: std::ops::Range<usize>) -> Result<Element, InferError> {
        let first = operands.start;
        let Some(element) = self.specs.get(first).map(|spec| spec.element()) else {
            return self.arity(format!("at least {}", first + 1));
        };
        for index in operands {
            self.takes(index, &[element])?;
        }
        Ok(element)
    }

    fn axis_of(&self, spec: &Spec, axis: usize) -> Result<usize, InferError> {
        if axis < spec.rank() {
            return Ok(spec.extent(axis));
        }
        self.mismatch(format!("axis {axis} is none of {} axes", spec.rank()))
    }

    fn broadcast(&self, shapes: &[&[u32]]) -> Result<Vec<u32>, InferError> {
        match broadcast(shapes) {
            Some(shape) => Ok(shape),
            None => self.mismatch("the shapes do not broadcast"),
        }
    }
}
