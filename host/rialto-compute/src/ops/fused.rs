//! Chains of element-wise operations that run in one pass over memory.
//!
//! A chain has one result; what it computes on the way never reaches memory. Each step rounds to its
//! own element type, so fusing changes no bit. Non-goals: finding the chains (`fuse`).

use super::{
    op::{Binary, Compare, Op, Unary},
    spec::Spec,
};
use crate::Element;

/// A chain of element-wise operations. Every operand broadcasts to the result's shape.
#[derive(Debug, Clone, PartialEq)]
pub struct Fused {
    /// What the steps compute, in order; the last is the result.
    pub steps: Vec<FusedStep>,
    /// What the whole gives.
    pub result: Spec,
}

/// One operation of a chain.
#[derive(Debug, Clone, PartialEq)]
pub struct FusedStep {
    /// What it computes.
    pub op: ElementOp,
    /// From what.
    pub operands: Vec<Source>,
    /// The element type of what it gives.
    pub element: Element,
}

/// Where an operand of a step comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// The operand of the chain with this index.
    Operand(usize),
    /// The result of an earlier step.
    Step(usize),
}

/// An operation on elements at one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "as in Op")]
pub enum ElementOp {
    Unary(Unary),
    Binary(Binary),
    Compare(Compare),
    Select,
    Cast,
}

impl ElementOp {
    /// The operation, if it is element-wise.
    #[must_use]
    pub fn of(op: &Op) -> Option<Self> {
        if let Op::Unary(unary) = op {
            Some(Self::Unary(*unary))
        } else if let Op::Binary(binary) = op {
            Some(Self::Binary(*binary))
        } else if let Op::Compare(compare) = op {
            Some(Self::Compare(*compare))
        } else if *op == Op::Select {
            Some(Self::Select)
        } else if let Op::Cast(_) = op {
            Some(Self::Cast)
        } else {
            None
        }
    }
}

impl Fused {
    /// The chain of one operation; none if it is not element-wise.
    #[must_use]
    pub fn single(op: &Op, operands: usize, result: &Spec) -> Option<Self> {
        Some(Self {
            steps: vec![FusedStep {
                op: ElementOp::of(op)?,
                operands: (0..operands).map(Source::Operand).collect(),
                element: result.element(),
            }],
            result: result.clone(),
        })
    }
}
