//! Runs a program step by step, freeing each value after its last use.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    Context, View,
    budget::{Budget, Hold},
    elementwise, kernels,
    views::view,
};
use crate::{
    Tensor,
    ops::{Cancel, EvalError, Program, Step, Value, Work, spec::Spec},
};

/// A value that exists: views share the hold on the memory that they show.
#[derive(Debug, Clone)]
struct Held {
    data: Bytes,
    hold: Option<Arc<Hold>>,
}

/// Runs a program.
pub(crate) fn run(
    budget: &Arc<Budget>,
    threads: usize,
    program: &Program,
    inputs: &[Tensor],
    cancel: &Cancel,
) -> Result<Vec<Tensor>, EvalError> {
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
    for (value, tensor) in given.chain(program.constants()) {
        let data = tensor.data().clone();
        values.set(*value, Held { data, hold: None });
    }
    for step in program.steps() {
        if cancel.is_cancelled() {
            return Err(EvalError::Cancelled);
        }
        let context = Context {
            op: step.name(),
            threads,
            budget,
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
    };
    let outputs = program.outputs().iter().map(|value| {
        let (spec, held) = values.get(&context, program, *value)?;
        Tensor::new(spec.element(), spec.shape().to_vec(), held.data.clone())
            .map_err(|error| context.bug(&error.to_string()))
    });
    outputs.collect()
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
        let hold = held.hold.clone();
        let made = Held { data, hold };
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
            data: Bytes::from(buffer.data),
            hold: Some(Arc::new(buffer.hold)),
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
