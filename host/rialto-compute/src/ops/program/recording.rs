//! Recording operations.

use super::{Program, Value, fuse};
use crate::{
    Tensor,
    ops::{
        cost::{Cost, cost},
        error::ProgramError,
        infer::infer,
        op::Op,
        resident::Resident,
        spec::{Spec, extent},
    },
};

/// What may be recorded. Sizes are in bytes.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The most operations of a recording.
    pub nodes_max: usize,
    /// The largest tensor.
    pub tensor_bytes_max: u64,
    /// The most bytes of values that a program holds at a time.
    pub live_bytes_max: u64,
    /// The most multiplications with addition of a program.
    pub multiply_adds_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            nodes_max: 20_000,
            tensor_bytes_max: 256 << 20,
            live_bytes_max: 1 << 30,
            multiply_adds_max: 300_000_000_000,
        }
    }
}

/// Operations recorded so far.
#[derive(Debug, Clone, Default)]
pub struct Recording {
    limits: Limits,
    pub(super) specs: Vec<Spec>,
    /// What makes each value.
    pub(super) origins: Vec<Origin>,
    pub(super) nodes: Vec<Node>,
    pub(super) inputs: Vec<Value>,
}

/// What makes a value.
#[derive(Debug, Clone)]
pub(super) enum Origin {
    Input,
    Constant(Resident),
    Node(usize),
}

/// A recorded operation.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub op: Op,
    pub operands: Vec<Value>,
    pub results: Vec<Value>,
    pub cost: Cost,
}

impl Recording {
    /// Nothing recorded yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// The spec of a value.
    #[must_use]
    pub fn spec(&self, value: Value) -> Option<&Spec> {
        self.specs.get(value.index())
    }

    /// A tensor that every run is given.
    ///
    /// # Errors
    /// [`ProgramError::Limit`] if it is larger than tensors may be.
    pub fn input(&mut self, spec: Spec) -> Result<Value, ProgramError> {
        let value = self.value(spec, Origin::Input)?;
        self.inputs.push(value);
        Ok(value)
    }

    /// A tensor that is the same in every run.
    ///
    /// # Errors
    /// [`ProgramError::Limit`] if it is larger than tensors may be.
    pub fn constant(&mut self, tensor: Tensor) -> Result<Value, ProgramError> {
        self.resident(Resident::host(tensor)?)
    }

    /// A tensor that is the same in every run, wherever it is.
    ///
    /// # Errors
    /// [`ProgramError::Limit`] if it is larger than tensors may be.
    pub fn resident(&mut self, resident: Resident) -> Result<Value, ProgramError> {
        self.value(resident.spec().clone(), Origin::Constant(resident))
    }

    /// Records an operation; most have one result.
    ///
    /// # Errors
    /// [`ProgramError`] if the operands do not fit or a limit is reached.
    pub fn op(&mut self, op: Op, operands: &[Value]) -> Result<Vec<Value>, ProgramError> {
        let specs = operands
            .iter()
            .map(|value| self.spec(*value).ok_or(ProgramError::UnknownValue(value.0)))
            .collect::<Result<Vec<_>, _>>()?;
        limit(
            "operations",
            wide(self.nodes.len() + 1),
            wide(self.limits.nodes_max),
        )?;
        let results = infer(&op, &specs)?;
        let cost = cost(&op, &specs, &results);
        for spec in &results {
            self.check_size(spec)?;
        }
        let node = self.nodes.len();
        let results = results
            .into_iter()
            .map(|spec| self.value(spec, Origin::Node(node)))
            .collect::<Result<Vec<_>, _>>()?;
        self.nodes.push(Node {
            op,
            operands: operands.to_vec(),
            results: results.clone(),
            cost,
        });
        Ok(results)
    }

    /// Records an operation and returns its first result.
    ///
    /// # Errors
    /// As [`Recording::op`].
    pub fn one(&mut self, op: Op, operands: &[Value]) -> Result<Value, ProgramError> {
        let results = self.op(op, operands)?;
        results
            .first()
            .copied()
            .ok_or(ProgramError::UnknownValue(u32::MAX))
    }

    /// Replaces what makes a value by its computed tensor: later programs do not compute it again.
    ///
    /// # Errors
    /// [`ProgramError::Spec`] if the tensor has another spec.
    pub fn settle(&mut self, value: Value, resident: Resident) -> Result<(), ProgramError> {
        let unknown = ProgramError::UnknownValue(value.0);
        let expected = self.spec(value).ok_or_else(|| unknown.clone())?;
        let found = resident.spec();
        if found != expected {
            return Err(ProgramError::Spec {
                value: value.0,
                expected: expected.to_string(),
                found: found.to_string(),
            });
        }
        let origin = self.origins.get_mut(value.index()).ok_or(unknown)?;
        *origin = Origin::Constant(resident);
        self.inputs.retain(|input| *input != value);
        Ok(())
    }

    /// The program that computes these outputs. Every input of the recording stays an input.
    ///
    /// # Errors
    /// [`ProgramError`] if a handle is unknown, or the program would exceed a limit.
    pub fn program(&self, outputs: &[Value]) -> Result<Program, ProgramError> {
        for value in outputs {
            self.spec(*value)
                .ok_or(ProgramError::UnknownValue(value.0))?;
        }
        let plan = fuse::plan(self, outputs);
        let constants =
            plan.used
                .iter()
                .filter_map(|value| match self.origins.get(value.index())? {
                    Origin::Constant(resident) => Some((*value, resident.clone())),
                    Origin::Input | Origin::Node(_) => None,
                });
        let program = Program {
            constants: constants.collect(),
            specs: self.specs.clone(),
            inputs: self.inputs.clone(),
            outputs: outputs.to_vec(),
            steps: plan.steps,
            cost: plan.cost,
            peak_bytes: plan.peak_bytes,
        };
        limit(
            "bytes live at a time",
            program.peak_bytes,
            self.limits.live_bytes_max,
        )?;
        let adds = program.cost.multiply_adds;
        limit(
            "multiplications with addition",
            adds,
            self.limits.multiply_adds_max,
        )?;
        Ok(program)
    }

    fn value(&mut self, spec: Spec, origin: Origin) -> Result<Value, ProgramError> {
        self.check_size(&spec)?;
        let values_max = wide(self.limits.nodes_max).saturating_mul(4);
        limit("values", wide(self.specs.len() + 1), values_max)?;
        let number = extent(self.specs.len()).ok_or(ProgramError::UnknownValue(u32::MAX))?;
        self.specs.push(spec);
        self.origins.push(origin);
        Ok(Value(number))
    }

    fn check_size(&self, spec: &Spec) -> Result<(), ProgramError> {
        limit(
            "bytes of a tensor",
            wide(spec.bytes()),
            self.limits.tensor_bytes_max,
        )
    }
}

const fn limit(what: &'static str, found: u64, limit: u64) -> Result<(), ProgramError> {
    if found > limit {
        return Err(ProgramError::Limit { what, found, limit });
    }
    Ok(())
}

fn wide(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}
