//! A plan under construction: operations are recorded, or computed at once where every operand is known.
//!
//! Folding is by single operations, so that whatever a node becomes, the part of it that no input decides
//! is computed once. It is bounded in bytes and in arithmetic; what is beyond is recorded.

use std::collections::HashMap;

use super::{
    fact::{Fact, Source, narrow},
    products::{self, Product},
    refusal::Refusal,
};
use crate::{
    Element, Tensor,
    ops::{
        Binary, Cancel, Compare, Device, Limits, Number, Op, Program, Range, Recording, Reduce,
        ReduceKind, Spec, Unary, Value, infer,
    },
};

/// What nodes record into.
#[derive(Debug)]
pub(super) struct Scope<'a> {
    recording: Recording,
    limits: Limits,
    /// Where constants are folded.
    cpu: &'a dyn Device,
    /// How many bytes folded results may still take.
    left: u64,
    /// Recorded constants, by where their bytes are.
    constants: HashMap<(usize, Spec), (Tensor, Value)>,
    pub(super) products: HashMap<Value, Product>,
}

impl<'a> Scope<'a> {
    pub(super) fn new(limits: Limits, cpu: &'a dyn Device, fold_bytes_max: u64) -> Self {
        Self {
            recording: Recording::new(limits.clone()),
            limits,
            cpu,
            left: fold_bytes_max,
            constants: HashMap::new(),
            products: HashMap::new(),
        }
    }

    /// A tensor that every run is given.
    pub(super) fn input(&mut self, spec: Spec) -> Result<Fact, Refusal> {
        let value = self.recording.input(spec.clone())?;
        Ok(Fact::made(value, spec))
    }

    /// The program for values that runs make.
    pub(super) fn program(&self, outputs: &[Value]) -> Result<Program, Refusal> {
        Ok(self.recording.program(outputs)?)
    }

    /// An operation with one result.
    pub(super) fn op(&mut self, op: Op, operands: &[&Fact]) -> Result<Fact, Refusal> {
        let results = self.ops(op, operands)?;
        let first = results.into_iter().next();
        first.ok_or_else(|| Refusal::malformed("nothing is made"))
    }

    /// An operation with any number of results.
    pub(super) fn ops(&mut self, op: Op, operands: &[&Fact]) -> Result<Vec<Fact>, Refusal> {
        if operands.iter().all(|fact| fact.tensor().is_some())
            && let Some(facts) = self.fold(&op, operands)?
        {
            return Ok(facts);
        }
        let values = operands.iter().map(|fact| self.value(fact));
        let values = values.collect::<Result<Vec<_>, _>>()?;
        let kind = products::Kind::of(&op);
        let results = self.recording.op(op, &values)?;
        if let (Some(kind), [value]) = (kind, &results[..]) {
            let operands = operands.iter().map(|fact| (*fact).clone()).collect();
            self.products.insert(*value, Product { kind, operands });
        }
        let fact = |value: Value| {
            let spec = self.recording.spec(value).cloned();
            let spec = spec.ok_or_else(|| Refusal::malformed("nothing is made"))?;
            Ok(Fact::made(value, spec))
        };
        results.into_iter().map(fact).collect()
    }

    /// The recorded value of a fact.
    fn value(&mut self, fact: &Fact) -> Result<Value, Refusal> {
        let tensor = match fact.source() {
            Source::Made(value) => return Ok(*value),
            Source::Known(tensor) => tensor,
        };
        let key = (tensor.data().as_ptr().addr(), fact.spec().clone());
        if let Some((_, value)) = self.constants.get(&key) {
            return Ok(*value);
        }
        let value = self.recording.constant(tensor.clone())?;
        // The tensor is kept so that its bytes stay where they are.
        self.constants.insert(key, (tensor.clone(), value));
        Ok(value)
    }

    /// The results of an operation on known tensors; none if they are too large to be kept.
    fn fold(&mut self, op: &Op, operands: &[&Fact]) -> Result<Option<Vec<Fact>>, Refusal> {
        let specs: Vec<&Spec> = operands.iter().map(|fact| fact.spec()).collect();
        let results = infer(op, &specs)?;
        let bytes = |specs: &mut dyn Iterator<Item = &Spec>| {
            specs.fold(0_u64, |sum, spec| {
                sum.saturating_add(u64::try_from(spec.bytes()).unwrap_or(u64::MAX))
            })
        };
        let made = bytes(&mut results.iter());
        let read = bytes(&mut specs.iter().copied());
        let is_view = matches!(op, Op::Reshape(_));
        let grows = made > SMALL_BYTES.max(read.saturating_mul(GROWTH_MAX));
        if !is_view && (grows || made > self.left) {
            return Ok(None);
        }
        let mut recording = Recording::new(Limits {
            nodes_max: 16,
            multiply_adds_max: self.limits.multiply_adds_max.min(FOLD_MULTIPLY_ADDS_MAX),
            ..self.limits.clone()
        });
        let constant = |fact: &&Fact| match fact.tensor() {
            Some(tensor) => Ok(recording.constant(tensor.clone())?),
            None => Err(Refusal::malformed("a constant is missing")),
        };
        let values = operands
            .iter()
            .map(constant)
            .collect::<Result<Vec<_>, Refusal>>()?;
        let results = recording.op(op.clone(), &values)?;
        let program = match recording.program(&results) {
            Ok(program) => program,
            Err(crate::ops::ProgramError::Limit { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let tensors = self.cpu.run_on_host(&program, &[], &Cancel::new())?;
        if !is_view {
            self.left = self.left.saturating_sub(made);
        }
        let facts = tensors.into_iter().map(own).map(Fact::known);
        facts.collect::<Result<Vec<_>, _>>().map(Some)
    }

    pub(super) fn unary(&mut self, unary: Unary, fact: &Fact) -> Result<Fact, Refusal> {
        self.op(Op::Unary(unary), &[fact])
    }

    pub(super) fn binary(
        &mut self,
        op: Binary,
        left: &Fact,
        right: &Fact,
    ) -> Result<Fact, Refusal> {
        self.op(Op::Binary(op), &[left, right])
    }

    /// With a number of the operand's own type on the right.
    pub(super) fn with(&mut self, op: Binary, left: &Fact, right: f64) -> Result<Fact, Refusal> {
        let right = self.number(left.element(), Number::Float(right))?;
        self.binary(op, left, &right)
    }

    pub(super) fn compare(
        &mut self,
        op: Compare,
        left: &Fact,
        right: &Fact,
    ) -> Result<Fact, Refusal> {
        self.op(Op::Compare(op), &[left, right])
    }

    /// Compared with a number of the operand's own type.
    pub(super) fn is(&mut self, op: Compare, left: &Fact, right: f64) -> Result<Fact, Refusal> {
        let right = self.number(left.element(), Number::Float(right))?;
        self.compare(op, left, &right)
    }

    pub(super) fn select(&mut self, on: &Fact, then: &Fact, other: &Fact) -> Result<Fact, Refusal> {
        self.op(Op::Select, &[on, then, other])
    }

    /// The same fact if it has the type already.
    pub(super) fn cast(&mut self, fact: &Fact, to: Element) -> Result<Fact, Refusal> {
        if fact.element() == to {
            return Ok(fact.clone());
        }
        self.op(Op::Cast(to), &[fact])
    }

    /// The same fact if it has the shape already.
    pub(super) fn reshape(&mut self, fact: &Fact, shape: &[u32]) -> Result<Fact, Refusal> {
        if fact.shape() == shape {
            return Ok(fact.clone());
        }
        self.op(Op::Reshape(shape.to_vec()), &[fact])
    }

    pub(super) fn transpose(&mut self, fact: &Fact, order: &[usize]) -> Result<Fact, Refusal> {
        if order.iter().copied().eq(0..fact.rank()) {
            return Ok(fact.clone());
        }
        self.op(Op::Transpose(order.to_vec()), &[fact])
    }

    pub(super) fn broadcast(&mut self, fact: &Fact, shape: &[u32]) -> Result<Fact, Refusal> {
        if fact.shape() == shape {
            return Ok(fact.clone());
        }
        self.op(Op::BroadcastTo(shape.to_vec()), &[fact])
    }

    /// Part of one axis.
    pub(super) fn part(&mut self, fact: &Fact, axis: usize, range: Range) -> Result<Fact, Refusal> {
        let mut ranges = vec![Range::default(); fact.rank()];
        if let Some(place) = ranges.get_mut(axis) {
            *place = range;
        }
        if ranges.iter().all(|range| *range == Range::default()) {
            return Ok(fact.clone());
        }
        self.op(Op::Slice(ranges), &[fact])
    }

    /// Elements `from` to before `to` of one axis.
    pub(super) fn span(
        &mut self,
        fact: &Fact,
        axis: usize,
        from: u32,
        to: u32,
    ) -> Result<Fact, Refusal> {
        let range = Range {
            start: i64::from(from),
            end: Some(i64::from(to)),
            step: 1,
        };
        self.part(fact, axis, range)
    }

    pub(super) fn concat(&mut self, facts: &[&Fact], axis: usize) -> Result<Fact, Refusal> {
        match facts {
            [one] => Ok((*one).clone()),
            _ => self.op(Op::Concat { axis }, facts),
        }
    }

    pub(super) fn reduce(
        &mut self,
        kind: ReduceKind,
        fact: &Fact,
        axes: &[usize],
        keep: bool,
    ) -> Result<Fact, Refusal> {
        let axes = Some(axes.to_vec());
        self.op(Op::Reduce(Reduce { kind, axes, keep }), &[fact])
    }

    /// A number of a type.
    pub(super) fn number(&mut self, element: Element, number: Number) -> Result<Fact, Refusal> {
        self.op(Op::Full(Spec::scalar(element), number), &[])
    }

    /// A row of whole numbers.
    pub(super) fn row(&mut self, values: &[i64]) -> Result<Fact, Refusal> {
        let shape = vec![narrow(values.len())?];
        let tensor = Tensor::from_i64(shape, values)
            .map_err(|error| Refusal::malformed(error.to_string()))?;
        Fact::known(tensor)
    }

    /// A row of floats.
    pub(super) fn floats(&mut self, values: &[f32]) -> Result<Fact, Refusal> {
        let shape = vec![narrow(values.len())?];
        let tensor = Tensor::from_f32(shape, values)
            .map_err(|error| Refusal::malformed(error.to_string()))?;
        Fact::known(tensor)
    }

    /// A spec that a tensor of this plan may have.
    pub(super) fn spec(&self, element: Element, shape: &[u32]) -> Result<Spec, Refusal> {
        let spec = Spec::new(element, shape)?;
        let bytes_max = self.limits.tensor_bytes_max;
        if u64::try_from(spec.bytes()).is_ok_and(|bytes| bytes <= bytes_max) {
            Ok(spec)
        } else {
            Err(Refusal::TooLarge(format!("a tensor of {spec}")))
        }
    }

    /// Refuses lists of indices that are longer than any axis needs.
    pub(super) fn listable(&self, length: u32) -> Result<(), Refusal> {
        if length <= LIST_MAX {
            Ok(())
        } else {
            Err(Refusal::TooLarge(format!("an axis of {length}")))
        }
    }
}

/// A tensor that holds no share of the device's memory.
fn own(tensor: Tensor) -> Tensor {
    let (element, shape, data) = tensor.clone().into_parts();
    let copy = bytes::Bytes::copy_from_slice(&data);
    Tensor::new(element, shape, copy).unwrap_or(tensor)
}

/// What may always be folded.
const SMALL_BYTES: u64 = 64 << 10;
/// How many times its operands' size a folded result may have: bytes widened to floats, twice over.
const GROWTH_MAX: u64 = 8;
/// What is slower is left to the device.
const FOLD_MULTIPLY_ADDS_MAX: u64 = 1 << 30;
/// The longest list of indices that a node becomes.
const LIST_MAX: u32 = 1 << 20;
