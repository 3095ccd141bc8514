//! What is known of a tensor while a plan is made: its spec, and its value where no input decides it.

use super::refusal::Refusal;
use crate::{
    Element, Tensor,
    ops::{Spec, Value},
};

/// A tensor of a plan.
#[derive(Debug, Clone)]
pub(super) struct Fact {
    spec: Spec,
    source: Source,
}

/// Where a tensor comes from.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// It is here.
    Known(Tensor),
    /// A run makes it.
    Made(Value),
}

impl Fact {
    pub(super) fn known(tensor: Tensor) -> Result<Self, Refusal> {
        Ok(Self {
            spec: Spec::of(&tensor)?,
            source: Source::Known(tensor),
        })
    }

    pub(super) const fn made(value: Value, spec: Spec) -> Self {
        Self {
            spec,
            source: Source::Made(value),
        }
    }

    pub(super) const fn spec(&self) -> &Spec {
        &self.spec
    }

    pub(super) const fn source(&self) -> &Source {
        &self.source
    }

    pub(super) fn shape(&self) -> &[u32] {
        self.spec.shape()
    }

    pub(super) const fn rank(&self) -> usize {
        self.spec.rank()
    }

    pub(super) const fn element(&self) -> Element {
        self.spec.element()
    }

    pub(super) fn extent(&self, axis: usize) -> u32 {
        self.shape().get(axis).copied().unwrap_or(0)
    }

    /// The tensor, if no input decides it.
    pub(super) const fn tensor(&self) -> Option<&Tensor> {
        match &self.source {
            Source::Known(tensor) => Some(tensor),
            Source::Made(_) => None,
        }
    }

    /// The value that a run makes.
    pub(super) const fn value(&self) -> Option<Value> {
        match &self.source {
            Source::Known(_) => None,
            Source::Made(value) => Some(*value),
        }
    }

    /// The elements of a whole-numbered tensor that decides a shape.
    pub(super) fn ints(&self, what: &str) -> Result<Vec<i64>, Refusal> {
        let tensor = self.decided(what)?;
        let data = tensor.data();
        let ints = match tensor.element() {
            Element::I64 => data
                .as_chunks::<8>()
                .0
                .iter()
                .map(|b| i64::from_le_bytes(*b))
                .collect(),
            Element::I32 => data
                .as_chunks::<4>()
                .0
                .iter()
                .map(|b| i64::from(i32::from_le_bytes(*b)))
                .collect(),
            Element::I8 => data
                .iter()
                .map(|byte| i64::from(byte.cast_signed()))
                .collect(),
            Element::U8 | Element::Bool => data.iter().map(|byte| i64::from(*byte)).collect(),
            Element::F32 | Element::F16 | Element::Bf16 => {
                let reason = format!("{what} is {}", tensor.element());
                return Err(Refusal::Malformed(reason));
            }
        };
        Ok(ints)
    }

    /// The one element of a whole-numbered tensor that decides a shape.
    pub(super) fn int(&self, what: &str) -> Result<i64, Refusal> {
        match self.ints(what)?[..] {
            [value] => Ok(value),
            _ => Err(Refusal::malformed(format!("{what} is not one number"))),
        }
    }

    /// The elements of an f32 tensor that decides a shape.
    pub(super) fn floats(&self, what: &str) -> Result<Vec<f32>, Refusal> {
        let tensor = self.decided(what)?;
        tensor
            .to_f32()
            .ok_or_else(|| Refusal::malformed(format!("{what} is {}", tensor.element())))
    }

    /// The element of an f32 tensor of one.
    pub(super) fn float(&self, what: &str) -> Result<f32, Refusal> {
        match self.floats(what)?[..] {
            [value] => Ok(value),
            _ => Err(Refusal::malformed(format!("{what} is not one number"))),
        }
    }

    fn decided(&self, what: &str) -> Result<&Tensor, Refusal> {
        self.tensor()
            .ok_or_else(|| Refusal::DependsOnData(format!("{what} depends on the inputs' values")))
    }
}

/// The operands of a node; one that is left out is none.
#[derive(Debug)]
pub(super) struct Operands {
    facts: Vec<Option<Fact>>,
    /// Whether only this node reads the operand.
    alone: Vec<bool>,
}

impl Operands {
    pub(super) const fn new(facts: Vec<Option<Fact>>, alone: Vec<bool>) -> Self {
        Self { facts, alone }
    }

    /// An operand that must be there.
    pub(super) fn at(&self, place: usize) -> Result<&Fact, Refusal> {
        self.maybe(place)
            .ok_or_else(|| Refusal::malformed(format!("input {place} is missing")))
    }

    pub(super) fn maybe(&self, place: usize) -> Option<&Fact> {
        self.facts.get(place)?.as_ref()
    }

    pub(super) fn alone(&self, place: usize) -> bool {
        self.alone.get(place).copied().unwrap_or(false)
    }

    /// All of them, at least one.
    pub(super) fn all(&self) -> Result<Vec<&Fact>, Refusal> {
        (0..self.facts.len().max(1))
            .map(|place| self.at(place))
            .collect()
    }
}

/// An axis as ONNX counts, from either end.
pub(super) fn axis(raw: i64, rank: usize) -> Result<usize, Refusal> {
    let signed = i64::try_from(rank).unwrap_or(i64::MAX);
    let place = if raw < 0 {
        raw.saturating_add(signed)
    } else {
        raw
    };
    usize::try_from(place)
        .ok()
        .filter(|place| *place < rank)
        .ok_or_else(|| Refusal::malformed(format!("axis {raw} is none of {rank} axes")))
}

/// Several axes, each once.
pub(super) fn axes(raw: &[i64], rank: usize) -> Result<Vec<usize>, Refusal> {
    let axes: Vec<usize> = raw
        .iter()
        .map(|raw| axis(*raw, rank))
        .collect::<Result<_, _>>()?;
    let mut sorted = axes.clone();
    sorted.sort_unstable();
    sorted.dedup();
    if sorted.len() == axes.len() {
        Ok(axes)
    } else {
        Err(Refusal::malformed(format!(
            "axes {raw:?} are not different ones"
        )))
    }
}

/// A count from a file.
pub(super) fn count(raw: i64, what: &str) -> Result<u32, Refusal> {
    u32::try_from(raw).map_err(|_| Refusal::malformed(format!("{what} of {raw}")))
}

pub(super) fn wide(extent: u32) -> usize {
    usize::try_from(extent).unwrap_or(usize::MAX)
}

/// A size as an extent.
pub(super) fn narrow(size: usize) -> Result<u32, Refusal> {
    u32::try_from(size).map_err(|_| Refusal::TooLarge(format!("an axis of {size}")))
}
