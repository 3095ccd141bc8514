//! Attributes of operations, from the guest's words into the core's.

use rialto_compute::ops::{
    Activation, Binary, Combine, Compare, Number, PadMode, PoolKind, RANK_MAX, Range, ReduceKind,
    Spec, Unary, Window,
};

use super::super::bindings::tensor::rialto::tensor::{operations as wit, types};
use super::super::tensor::element_of;

/// Operands as messages name them, for attributes that do not fit them.
pub(super) struct Operands<'a> {
    pub(super) op: &'static str,
    pub(super) specs: &'a [Spec],
}

impl Operands<'_> {
    pub(super) fn refuse<T>(&self, reason: &str) -> Result<T, types::Error> {
        let op = self.op;
        let specs: Vec<String> = self.specs.iter().map(ToString::to_string).collect();
        let text = if specs.is_empty() {
            format!("{op}: {reason}")
        } else {
            format!("{op}: {}: {reason}", specs.join(" and "))
        };
        Err(types::Error::InvalidArgument(text))
    }

    /// The axis of the first operand.
    pub(super) fn axis(&self, axis: i32) -> Result<usize, types::Error> {
        self.axis_of(self.specs.first().map_or(0, Spec::rank), axis)
    }

    /// The axis of a tensor of this rank; negative ones count from the end.
    pub(super) fn axis_of(&self, rank: usize, axis: i32) -> Result<usize, types::Error> {
        let place = usize::try_from(axis.unsigned_abs()).unwrap_or(usize::MAX);
        let found = if axis < 0 {
            rank.checked_sub(place)
        } else {
            Some(place).filter(|place| *place < rank)
        };
        match found {
            Some(axis) => Ok(axis),
            None => self.refuse(&format!("axis {axis} is none of {rank} axes")),
        }
    }

    pub(super) fn axes(&self, axes: &[i32]) -> Result<Vec<usize>, types::Error> {
        self.few(axes.len())?;
        axes.iter().map(|axis| self.axis(*axis)).collect()
    }

    /// One entry an axis: more are refused before they are copied into a message.
    pub(super) fn few(&self, entries: usize) -> Result<(), types::Error> {
        if entries > RANK_MAX {
            return self.refuse(&format!(
                "{entries} entries, but tensors have at most {RANK_MAX} axes"
            ));
        }
        Ok(())
    }
}

/// The spec of a tensor that an operation makes of nothing.
pub(super) fn spec(
    op: &'static str,
    element: types::Dtype,
    shape: Vec<u32>,
) -> Result<Spec, types::Error> {
    Operands { op, specs: &[] }.few(shape.len())?;
    Spec::new(element_of(element), shape)
        .map_err(|error| types::Error::InvalidArgument(format!("{op}: {error}")))
}

pub(super) const fn number(number: wit::Number) -> Number {
    match number {
        wit::Number::Float(value) => Number::Float(value),
        wit::Number::Integer(value) => Number::Int(value),
    }
}

pub(super) const fn window(window: wit::Window) -> Window {
    Window {
        stride: window.stride,
        dilation: window.dilation,
        before: window.before,
        after: window.after,
    }
}

pub(super) const fn range(range: &wit::Range) -> Range {
    Range {
        start: range.start,
        end: range.end,
        step: range.step,
    }
}

pub(super) const fn padding(padding: wit::Padding) -> PadMode {
    match padding {
        wit::Padding::Constant(value) => PadMode::Constant(number(value)),
        wit::Padding::Edge => PadMode::Edge,
        wit::Padding::Reflect => PadMode::Reflect,
    }
}

pub(super) const fn activation(activation: wit::Activation) -> Activation {
    match activation {
        wit::Activation::Relu => Activation::Relu,
        wit::Activation::Gelu => Activation::Gelu,
        wit::Activation::GeluTanh => Activation::GeluTanh,
        wit::Activation::Silu => Activation::Silu,
        wit::Activation::Sigmoid => Activation::Sigmoid,
        wit::Activation::Tanh => Activation::Tanh,
    }
}

pub(super) const fn unary(kind: wit::UnaryKind) -> Unary {
    match kind {
        wit::UnaryKind::Neg => Unary::Neg,
        wit::UnaryKind::Abs => Unary::Abs,
        wit::UnaryKind::Sign => Unary::Sign,
        wit::UnaryKind::Exp => Unary::Exp,
        wit::UnaryKind::Ln => Unary::Ln,
        wit::UnaryKind::Sqrt => Unary::Sqrt,
        wit::UnaryKind::Rsqrt => Unary::Rsqrt,
        wit::UnaryKind::Reciprocal => Unary::Reciprocal,
        wit::UnaryKind::Tanh => Unary::Tanh,
        wit::UnaryKind::Sigmoid => Unary::Sigmoid,
        wit::UnaryKind::Relu => Unary::Relu,
        wit::UnaryKind::Gelu => Unary::Gelu,
        wit::UnaryKind::GeluTanh => Unary::GeluTanh,
        wit::UnaryKind::Silu => Unary::Silu,
        wit::UnaryKind::Erf => Unary::Erf,
        wit::UnaryKind::Floor => Unary::Floor,
        wit::UnaryKind::Ceil => Unary::Ceil,
        wit::UnaryKind::Round => Unary::Round,
        wit::UnaryKind::Sin => Unary::Sin,
        wit::UnaryKind::Cos => Unary::Cos,
        wit::UnaryKind::Not => Unary::Not,
    }
}

pub(super) const fn binary(kind: wit::BinaryKind) -> Binary {
    match kind {
        wit::BinaryKind::Add => Binary::Add,
        wit::BinaryKind::Sub => Binary::Sub,
        wit::BinaryKind::Mul => Binary::Mul,
        wit::BinaryKind::Div => Binary::Div,
        wit::BinaryKind::Rem => Binary::Rem,
        wit::BinaryKind::Pow => Binary::Pow,
        wit::BinaryKind::Min => Binary::Min,
        wit::BinaryKind::Max => Binary::Max,
        wit::BinaryKind::And => Binary::And,
        wit::BinaryKind::Or => Binary::Or,
        wit::BinaryKind::Xor => Binary::Xor,
    }
}

pub(super) const fn compare(kind: wit::Comparison) -> Compare {
    match kind {
        wit::Comparison::Equal => Compare::Equal,
        wit::Comparison::NotEqual => Compare::NotEqual,
        wit::Comparison::Less => Compare::Less,
        wit::Comparison::LessEqual => Compare::LessEqual,
        wit::Comparison::Greater => Compare::Greater,
        wit::Comparison::GreaterEqual => Compare::GreaterEqual,
    }
}

pub(super) const fn pooling(kind: wit::Pooling) -> PoolKind {
    match kind {
        wit::Pooling::Max => PoolKind::Max,
        wit::Pooling::Mean => PoolKind::Mean,
        wit::Pooling::MeanWithPadding => PoolKind::MeanWithPadding,
    }
}

pub(super) const fn combine(combine: wit::Combine) -> Combine {
    match combine {
        wit::Combine::Replace => Combine::Replace,
        wit::Combine::Add => Combine::Add,
        wit::Combine::Mul => Combine::Mul,
        wit::Combine::Min => Combine::Min,
        wit::Combine::Max => Combine::Max,
    }
}

pub(super) const fn reduction(kind: wit::Reduction) -> ReduceKind {
    match kind {
        wit::Reduction::Sum => ReduceKind::Sum,
        wit::Reduction::Mean => ReduceKind::Mean,
        wit::Reduction::Max => ReduceKind::Max,
        wit::Reduction::Min => ReduceKind::Min,
        wit::Reduction::Prod => ReduceKind::Prod,
    }
}

#[cfg(test)]
mod tests {
    use rialto_compute::Element;

    use super::*;

    #[test]
    fn axes_count_from_both_ends_and_errors_name_the_operands() {
        let specs = [Spec::new(Element::F32, [2, 3]).unwrap()];
        let operands = Operands {
            op: "softmax",
            specs: &specs,
        };
        let found = [0, 1, -1, -2].map(|axis| operands.axis(axis).unwrap());
        assert_eq!(found, [0, 1, 1, 0]);
        for axis in [2, -3, i32::MIN, i32::MAX] {
            let error = operands.axis(axis).unwrap_err();
            let types::Error::InvalidArgument(text) = error else {
                panic!("{error}")
            };
            assert_eq!(
                text,
                format!("softmax: f32[2, 3]: axis {axis} is none of 2 axes")
            );
        }
        assert!(operands.few(9).is_err() && operands.few(8).is_ok());
    }
}
