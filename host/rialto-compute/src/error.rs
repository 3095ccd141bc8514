//! What can go wrong, by whose fault it is.

use crate::Element;

/// Why a file is not accepted as a model.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file is larger than the engine accepts.
    #[error("model `{model}` has {bytes} bytes, more than {bytes_max}")]
    FileTooLarge {
        /// The model.
        model: String,
        /// The file's size.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// All loaded models together would exceed the engine's memory.
    #[error(
        "model `{model}` does not fit: the models in use may have {bytes_max} bytes together; \
         stop services that are not needed or raise `weights_bytes_max`"
    )]
    EngineFull {
        /// The model.
        model: String,
        /// The limit.
        bytes_max: u64,
    },
    /// The file is no model, or a damaged one.
    #[error("model `{model}` is malformed: {reason}")]
    Malformed {
        /// The model.
        model: String,
        /// What is wrong.
        reason: String,
    },
    /// The graph exceeds a limit of the engine.
    #[error("model `{model}` is too large: {reason}")]
    TooLarge {
        /// The model.
        model: String,
        /// Which limit, and by what.
        reason: String,
    },
    /// The graph needs something that the engine does not have.
    #[error("model `{model}` is not supported: {reason}")]
    Unsupported {
        /// The model.
        model: String,
        /// What it needs.
        reason: String,
    },
    /// The engine itself is not in order. The operator acts, not the model's author.
    #[error("model `{model}` cannot be loaded: {reason}")]
    Engine {
        /// The model.
        model: String,
        /// What is wrong with the engine.
        reason: String,
    },
}

/// Whose fault a failed run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The caller's arguments do not fit; nothing ran.
    InvalidArgument,
    /// The engine does not have what the graph needs for these inputs.
    Unsupported,
    /// The run would exceed a limit; nothing ran.
    OutOfBudget,
    /// The engine failed.
    Engine,
}

/// Why a run failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// An operand has a name that is no input of the model.
    #[error("`{name}` is no input of this model; its inputs are {known}")]
    UnknownInput {
        /// The operand's name.
        name: String,
        /// The inputs that the model has.
        known: String,
    },
    /// An input is given twice.
    #[error("input `{name}` is given twice")]
    RepeatedInput {
        /// The input.
        name: String,
    },
    /// An input is not given.
    #[error("input `{name}` is missing")]
    MissingInput {
        /// The input.
        name: String,
    },
    /// An operand has another element type than the input.
    #[error("input `{name}` takes {expected}, found {found}")]
    Element {
        /// The input.
        name: String,
        /// What the model takes.
        expected: Element,
        /// What was given.
        found: Element,
    },
    /// An operand has another shape than the input.
    #[error("input `{name}` takes shape {expected}, found {found:?}")]
    Shape {
        /// The input.
        name: String,
        /// What the model takes, with `?` where the caller chooses.
        expected: String,
        /// What was given.
        found: Vec<u32>,
    },
    /// A wanted output does not exist.
    #[error("`{name}` is no output of this model; its outputs are {known}")]
    UnknownOutput {
        /// The wanted name.
        name: String,
        /// The outputs that the model has.
        known: String,
    },
    /// The graph rejects this combination of shapes.
    #[error("the model does not accept inputs of shapes {shapes}: {reason}")]
    Shapes {
        /// The inputs and their shapes.
        shapes: String,
        /// The engine's reason.
        reason: String,
    },
    /// The graph needs something that the engine does not have.
    #[error("not supported: {0}")]
    Unsupported(String),
    /// The run would exceed a limit of the engine.
    #[error("the run is too large: {0}")]
    OutOfBudget(String),
    /// The engine failed while running.
    #[error("the engine failed: {0}")]
    Engine(String),
}

impl RunError {
    /// Whose fault it is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::UnknownInput { .. }
            | Self::RepeatedInput { .. }
            | Self::MissingInput { .. }
            | Self::Element { .. }
            | Self::Shape { .. }
            | Self::UnknownOutput { .. }
            | Self::Shapes { .. } => Kind::InvalidArgument,
            Self::Unsupported(_) => Kind::Unsupported,
            Self::OutOfBudget(_) => Kind::OutOfBudget,
            Self::Engine(_) => Kind::Engine,
        }
    }
}
