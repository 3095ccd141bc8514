//! A program for one combination of input shapes.

use super::{
    Devices,
    fact::Fact,
    file::Graph,
    refusal::Refusal,
    scope::Scope,
    walk::{Readers, Walk},
    weights::{Kept, Weights},
};
use crate::{
    Config, Element, RunError, Tensor,
    ops::{Cancel, EvalError, Limits, Program, Resident, Spec},
};

/// What decides a plan: for each input its shape, and its value where that decides a branch or a shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key(pub(super) Vec<(Vec<u32>, Option<Tensor>)>);

/// A program and where its results go.
#[derive(Debug)]
pub(super) struct Plan {
    program: Program,
    /// Which of the model's inputs the program takes.
    inputs: Vec<usize>,
    outputs: Vec<Output>,
    _kept: Kept,
}

/// One of the model's outputs.
#[derive(Debug)]
enum Output {
    /// No input decides it.
    Known(Tensor),
    /// The program's result with this number.
    Made(usize),
}

/// The limits of recordings, as an engine's configuration says them.
pub(super) fn limits(config: &Config) -> Limits {
    Limits {
        nodes_max: config.nodes_max.saturating_mul(OPERATIONS_A_NODE),
        tensor_bytes_max: config.tensor_bytes_max,
        live_bytes_max: config.run_bytes_max,
        multiply_adds_max: config.multiply_adds_max,
    }
}

impl Plan {
    pub(super) fn build(
        graph: &Graph,
        readers: &Readers,
        key: &Key,
        config: &Config,
        devices: &Devices,
        weights: &Weights,
    ) -> Result<Self, Refusal> {
        let scope = Scope::new(limits(config), &*devices.cpu, FOLDED_BYTES_MAX);
        let mut walk = Walk::new(scope, readers);
        let mut inputs = Vec::new();
        for (place, (port, (shape, value))) in graph.inputs.iter().zip(&key.0).enumerate() {
            let fact = match value {
                Some(tensor) => Fact::known(tensor.clone())?,
                None => {
                    inputs.push(place);
                    walk.scope.input(Spec::new(port.element, shape.clone())?)?
                }
            };
            walk.know(&port.name, fact);
        }
        walk.block(&graph.block)?;
        let mut values = Vec::new();
        let mut outputs = Vec::new();
        for port in &graph.outputs {
            let fact = walk.find(&port.name);
            let fact =
                fact.ok_or_else(|| Refusal::malformed(format!("no output `{}`", port.name)))?;
            if fact.element() != port.element {
                let (declared, found) = (port.element, fact.element());
                let reason = format!("output `{}` is {found}, declared as {declared}", port.name);
                return Err(Refusal::Malformed(reason));
            }
            outputs.push(match (fact.tensor(), fact.value()) {
                (Some(tensor), _) => Output::Known(tensor.clone()),
                (None, value) => {
                    values.extend(value);
                    Output::Made(values.len().saturating_sub(1))
                }
            });
        }
        let program = walk.scope.program(&values)?;
        let (program, kept) = weights.place(&*devices.device, &program)?;
        Ok(Self {
            program,
            inputs,
            outputs,
            _kept: kept,
        })
    }

    /// Runs the program; the wanted outputs, in that order.
    pub(super) fn run(
        &self,
        devices: &Devices,
        operands: &[Tensor],
        wanted: &[usize],
    ) -> Result<Vec<Tensor>, EvalError> {
        let device = &*devices.device;
        let results = if self.program.outputs().is_empty() {
            Vec::new()
        } else {
            let inputs = self.inputs.iter().filter_map(|place| operands.get(*place));
            let inputs = inputs.map(|tensor| device.upload(tensor.clone()));
            let inputs = inputs.collect::<Result<Vec<Resident>, _>>()?;
            device.run(&self.program, &inputs, &Cancel::new())?
        };
        let pick = |place: &usize| match self.outputs.get(*place) {
            Some(Output::Known(tensor)) => Ok(tensor.clone()),
            Some(Output::Made(result)) => {
                let result = results.get(*result).ok_or_else(missing)?;
                device.download(result)
            }
            None => Err(missing()),
        };
        wanted.iter().map(pick).collect()
    }
}

/// Whether an input is small enough that a plan may depend on its value.
pub(super) fn may_decide(element: Element, shape: &[u32]) -> bool {
    let whole = matches!(
        element,
        Element::I64 | Element::I32 | Element::I8 | Element::U8 | Element::Bool
    );
    whole && shape.iter().all(|extent| *extent == 1)
}

fn missing() -> EvalError {
    EvalError::Device {
        op: "output",
        reason: "it is missing".to_owned(),
    }
}

/// As an answer to a run.
pub(super) fn failed(error: EvalError) -> RunError {
    match error {
        EvalError::Memory { .. } => RunError::OutOfBudget(error.to_string()),
        EvalError::Infer(_)
        | EvalError::Input { .. }
        | EvalError::Index { .. }
        | EvalError::Cancelled
        | EvalError::Device { .. } => RunError::Engine(error.to_string()),
    }
}

/// The most bytes that a plan folds: shapes, masks, positions. Weights are folded at load.
const FOLDED_BYTES_MAX: u64 = 64 << 20;
/// How many operations a node may become on average.
const OPERATIONS_A_NODE: usize = 4;
