//! Runs a program step by step, freeing each value after its last use.

use std::sync::Arc;

use bytes::Bytes;

use super::{Context, View, budget::Budget, elementwise, kernels, views::view};
use crate::{
    Tensor,
    ops::{Cancel, EvalError, Program, Resident, Step, Value, Work, spec::Spec},
};

/// A value that exists. The bytes own their share of the budget; views share both.
#[derive(Debug, Clone)]
struct Held {
    data: Bytes,
    /// How many bytes the memory has of which this is a view, or all.
    whole: usize,
}

/// Runs a program.
pub(crate) fn run(
    budget: &Arc<Budget>,
    threads: usize,
    program: &Program,
    inputs: &[Resident],
    cancel: &Cancel,
) -> Result<Vec<Resident>, EvalError> {
    program.check(inputs)?;
    let needed = program.peak_bytes();
    if needed > budget.limit() {
        return Err(EvalError::Memory {
            needed,
            used: budget.used(),
            limit: budget.limit(),
        });
    }
    let mut values = Values(vec![None; program.values()]);
    let given = program.inputs().iter().zip(inputs);
    for (value, resident) in given.chain(program.constants()) {
        let data = host(resident)?.data().clone();
        let whole = data.len();
        values.set(*value, Held { data, whole });
    }
    for step in program.steps() {
        if cancel.is_cancelled() {
            return Err(EvalError::Cancelled);
        }
        let context = Context {
            op: step.name(),
            threads,
            budget,
            cancel,
        };
        compute(&context, program, step, &mut values)?;
        for value in &step.frees {
            values.free(*value);
        }
    }
    let context = Context {
        op: "output",
        threads,
        budget,
        cancel,
    };
    let outputs = program.outputs().iter().map(|value| {
        let (spec, held) = values.get(&context, program, *value)?;
        let data = held.kept(&context)?;
        let tensor = Tensor::new(spec.element(), spec.shape().to_vec(), data)
            .map_err(|error| context.bug(&error.to_string()))?;
        Ok(Resident::host(tensor)?)
    });
    outputs.collect()
}

/// The tensor: all that this device is given is in main memory.
pub(crate) fn host(resident: &Resident) -> Result<&Tensor, EvalError> {
    resident.tensor().ok_or_else(|| EvalError::Device {
        op: "input",
        reason: "the tensor is on another device".to_owned(),
    })
}

impl Held {
    /// What outlives the run: a small part of much memory is copied, so that it does not keep the rest.
    fn kept(&self, context: &Context<'_>) -> Result<Bytes, EvalError> {
        if self.whole <= WHOLE_MAX || self.data.len() >= self.whole / 4 {
            return Ok(self.data.clone());
        }
        let mut copy = context.buffer(self.data.len())?;
        copy.data.copy_from_slice(&self.data);
        Ok(Bytes::from_owner(copy))
    }
}

fn compute(
    context: &Context<'_>,
    program: &Program,
    step: &Step,
    values: &mut Values,
) -> Result<(), EvalError> {
    let operands = step
        .operands
        .iter()
        .map(|value| values.get(context, program, *value))
        .collect::<Result<Vec<_>, _>>()?;
    let specs: Vec<Spec> = step
        .results
        .iter()
        .filter_map(|value| program.spec(*value).cloned())
        .collect();
    if let (Work::Op(op), [(spec, held)], [result]) = (&step.work, &operands[..], &specs[..])
        && let Some(data) = view(op, spec, &held.data, result)
    {
        let made = Held {
            data,
            whole: held.whole,
        };
        if let Some(value) = step.results.first() {
            values.set(*value, made);
        }
        return Ok(());
    }
    let views: Vec<View<'_>> = operands
        .iter()
        .map(|(spec, held)| View {
            spec,
            data: &held.data,
        })
        .collect();
    let buffers = match &step.work {
        Work::Op(op) => kernels::compute(context, op, &views, &specs)?,
        Work::Fused(chain) => vec![elementwise::fused(context, chain, &views)?],
    };
    for (value, buffer) in step.results.iter().zip(buffers) {
        let made = Held {
            whole: buffer.data.len(),
            data: Bytes::from_owner(buffer),
        };
        values.set(*value, made);
    }
    Ok(())
}

struct Values(Vec<Option<Held>>);

impl Values {
    fn set(&mut self, value: Value, held: Held) {
        if let Some(place) = self.0.get_mut(value.index()) {
            *place = Some(held);
        }
    }

    fn free(&mut self, value: Value) {
        if let Some(place) = self.0.get_mut(value.index()) {
            *place = None;
        }
    }

    fn get<'a>(
        &'a self,
        context: &Context<'_>,
        program: &'a Program,
        value: Value,
    ) -> Result<(&'a Spec, &'a Held), EvalError> {
        let held = self.0.get(value.index()).and_then(Option::as_ref);
        program
            .spec(value)
            .zip(held)
            .ok_or_else(|| context.bug("a value is used before it is made"))
    }
}

/// Memory that any part of it may keep.
const WHOLE_MAX: usize = 64 << 10;
