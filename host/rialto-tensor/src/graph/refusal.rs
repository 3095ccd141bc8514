//! Why a graph is not run: at load, for given shapes, or in a run.

use crate::{
    Kind, LoadError, RunError,
    ops::{EvalError, InferError, ProgramError},
    tract,
};

/// Why a graph is not accepted, in general or for given shapes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    Malformed(String),
    TooLarge(String),
    Unsupported(String),
    /// A shape or a branch depends on what an input holds.
    DependsOnData(String),
}

impl Refusal {
    pub(super) fn malformed(reason: impl Into<String>) -> Self {
        Self::Malformed(reason.into())
    }

    pub(super) fn unsupported(reason: impl Into<String>) -> Self {
        Self::Unsupported(reason.into())
    }

    /// The same, naming the node.
    pub(super) fn at(self, node: &str, op: &str) -> Self {
        let name = |reason: String| format!("node `{node}` ({op}): {reason}");
        match self {
            Self::Malformed(reason) => Self::Malformed(name(reason)),
            Self::TooLarge(reason) => Self::TooLarge(name(reason)),
            Self::Unsupported(reason) => Self::Unsupported(name(reason)),
            Self::DependsOnData(reason) => Self::DependsOnData(name(reason)),
        }
    }

    /// As an answer to loading.
    pub(super) fn of_load(self, model: &str) -> LoadError {
        let model = model.to_owned();
        match self {
            Self::Malformed(reason) => LoadError::Malformed { model, reason },
            Self::TooLarge(reason) => LoadError::TooLarge { model, reason },
            Self::Unsupported(reason) | Self::DependsOnData(reason) => {
                LoadError::Unsupported { model, reason }
            }
        }
    }

    /// As an answer to a run on inputs of these shapes.
    pub(super) fn of_run(self, shapes: String) -> RunError {
        match self {
            Self::Malformed(reason) => RunError::Shapes { shapes, reason },
            Self::TooLarge(reason) => RunError::OutOfBudget(reason),
            Self::Unsupported(reason) | Self::DependsOnData(reason) => {
                RunError::Unsupported(reason)
            }
        }
    }
}

/// A failed plan for shapes that the file itself fixes is the file's failure.
pub(super) fn of_first_plan(model: &str, error: &RunError) -> LoadError {
    let reason = error.to_string();
    let refusal = match error.kind() {
        Kind::OutOfBudget => Refusal::TooLarge(reason),
        Kind::Unsupported => Refusal::Unsupported(reason),
        Kind::InvalidArgument | Kind::Engine => Refusal::Malformed(reason),
    };
    refusal.of_load(model)
}

impl From<tract::graph::Refusal> for Refusal {
    fn from(refusal: tract::graph::Refusal) -> Self {
        match refusal {
            tract::graph::Refusal::Malformed(reason) => Self::Malformed(reason),
            tract::graph::Refusal::TooLarge(reason) => Self::TooLarge(reason),
            tract::graph::Refusal::Unsupported(reason) => Self::Unsupported(reason),
        }
    }
}

impl From<InferError> for Refusal {
    fn from(error: InferError) -> Self {
        match error {
            InferError::Element { .. } => Self::Unsupported(error.to_string()),
            InferError::TooLarge { .. } => Self::TooLarge(error.to_string()),
            InferError::Operands { .. } | InferError::Mismatch { .. } => {
                Self::Malformed(error.to_string())
            }
        }
    }
}

impl From<ProgramError> for Refusal {
    fn from(error: ProgramError) -> Self {
        match error {
            ProgramError::Infer(error) => error.into(),
            ProgramError::Limit { .. } => Self::TooLarge(error.to_string()),
            ProgramError::UnknownValue(_) | ProgramError::Spec { .. } => {
                Self::Malformed(error.to_string())
            }
        }
    }
}

impl From<EvalError> for Refusal {
    fn from(error: EvalError) -> Self {
        match error {
            EvalError::Memory { .. } => Self::TooLarge(error.to_string()),
            EvalError::Infer(error) => error.into(),
            EvalError::Input { .. }
            | EvalError::Index { .. }
            | EvalError::Cancelled
            | EvalError::Device { .. } => Self::Malformed(error.to_string()),
        }
    }
}
