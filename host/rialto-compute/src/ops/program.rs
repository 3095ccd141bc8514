//! Operations recorded by handles, and programs made of what was recorded.
//!
//! A [`Recording`] only infers and remembers; nothing runs. [`Recording::program`] takes what the
//! wanted outputs need, fuses element-wise chains and fixes the order, the memory and the cost. A
//! recording may go on after that; values that were computed can be [settled](Recording::settle) so
//! that later programs start from them, and what nobody needs any more
//! [forgotten](Recording::retain).

mod fuse;
mod live;
mod recording;

use super::{cost::Cost, error::EvalError, fused::Fused, op::Op, resident::Resident, spec::Spec};

pub use live::Moved;
pub use recording::{Limits, Recording};

/// A handle to a tensor that is, or will be, computed. Only valid in its own recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Value(u32);

impl Value {
    /// Its place in tables of the program's values, which have [`Program::values`] entries.
    #[must_use]
    pub fn index(self) -> usize {
        super::spec::size(self.0)
    }
}

/// What a device runs: steps in order, each value made once.
#[derive(Debug, Clone)]
pub struct Program {
    specs: Vec<Spec>,
    inputs: Vec<Value>,
    constants: Vec<(Value, Resident)>,
    steps: Vec<Step>,
    outputs: Vec<Value>,
    cost: Cost,
    peak_bytes: u64,
}

/// One step of a program.
#[derive(Debug, Clone)]
pub struct Step {
    /// What to compute.
    pub work: Work,
    /// From what.
    pub operands: Vec<Value>,
    /// What it makes.
    pub results: Vec<Value>,
    /// What no later step and no output needs.
    pub frees: Vec<Value>,
}

/// What a step computes.
#[derive(Debug, Clone)]
pub enum Work {
    /// One operation.
    Op(Op),
    /// A chain of element-wise operations.
    Fused(Fused),
}

impl Step {
    /// The step's name in messages.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match &self.work {
            Work::Op(op) => op.name(),
            Work::Fused(_) => "element-wise chain",
        }
    }
}

impl Program {
    /// The inputs' handles, in the order in which tensors are given.
    #[must_use]
    pub fn inputs(&self) -> &[Value] {
        &self.inputs
    }

    /// Tensors that are part of the program.
    pub fn constants(&self) -> impl Iterator<Item = (&Value, &Resident)> {
        self.constants
            .iter()
            .map(|(value, resident)| (value, resident))
    }

    /// The same program with its constants elsewhere: for devices that keep their own.
    ///
    /// # Errors
    /// The first of `to`'s.
    pub fn map_constants<E>(
        &self,
        mut to: impl FnMut(&Resident) -> Result<Resident, E>,
    ) -> Result<Self, E> {
        let mut program = self.clone();
        for (_, resident) in &mut program.constants {
            *resident = to(resident)?;
        }
        Ok(program)
    }

    /// The steps, in order.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The outputs' handles.
    #[must_use]
    pub fn outputs(&self) -> &[Value] {
        &self.outputs
    }

    /// The spec of a value.
    #[must_use]
    pub fn spec(&self, value: Value) -> Option<&Spec> {
        self.specs.get(value.index())
    }

    /// What a run costs: every operation by itself, fused or not, but bytes as they move.
    #[must_use]
    pub const fn cost(&self) -> Cost {
        self.cost
    }

    /// The most bytes of values that a run makes and holds at a time; inputs, constants and what a
    /// device needs inside a step are not counted.
    #[must_use]
    pub const fn peak_bytes(&self) -> u64 {
        self.peak_bytes
    }

    /// How many values there are; handles are below.
    pub fn values(&self) -> usize {
        self.specs.len()
    }

    /// Checks tensors against the inputs.
    ///
    /// # Errors
    /// [`EvalError::Input`] naming the first that does not fit.
    pub fn check(&self, inputs: &[Resident]) -> Result<(), EvalError> {
        for (index, value) in self.inputs.iter().enumerate() {
            let (expected, found) = (self.spec(*value), inputs.get(index).map(Resident::spec));
            if expected != found {
                let text = |spec: Option<&Spec>| {
                    spec.map_or_else(|| "nothing".to_owned(), ToString::to_string)
                };
                return Err(EvalError::Input {
                    index,
                    expected: text(expected),
                    found: text(found),
                });
            }
        }
        if inputs.len() > self.inputs.len() {
            return Err(EvalError::Input {
                index: self.inputs.len(),
                expected: "nothing".to_owned(),
                found: "another tensor".to_owned(),
            });
        }
        Ok(())
    }
}
