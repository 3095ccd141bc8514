//! What can go wrong with operations, by what the caller does next.

use crate::Element;

/// Why an operation does not fit its operands. Nothing ran and nothing was allocated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InferError {
    /// Another number of operands is needed.
    #[error("{op}: takes {expected} operands, found {found}")]
    Operands {
        /// The operation.
        op: &'static str,
        /// How many it takes.
        expected: String,
        /// How many it was given.
        found: usize,
    },
    /// The operation does not exist for this element type.
    #[error("{op}: {operands}: {operand} must be {takes}")]
    Element {
        /// The operation.
        op: &'static str,
        /// The operands and their specs.
        operands: String,
        /// The operand that does not fit.
        operand: &'static str,
        /// What it may be.
        takes: String,
    },
    /// The operands' shapes, or an attribute, do not fit.
    #[error("{op}: {operands}: {reason}")]
    Mismatch {
        /// The operation.
        op: &'static str,
        /// The operands and their specs.
        operands: String,
        /// Why they do not fit.
        reason: String,
    },
    /// A shape has too many axes, or more bytes than can be counted.
    #[error("{element}{shape:?} is too large: {reason}")]
    TooLarge {
        /// The element type.
        element: Element,
        /// The shape.
        shape: Vec<u32>,
        /// Which limit.
        reason: String,
    },
}

/// Why an operation cannot be recorded, or a program not be made of what was recorded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProgramError {
    /// The operation does not fit its operands.
    #[error(transparent)]
    Infer(#[from] InferError),
    /// A handle belongs to no value of this recording.
    #[error("value {0} is not of this recording")]
    UnknownValue(u32),
    /// A limit of the recording is reached.
    #[error("{what}: {found}, at most {limit}")]
    Limit {
        /// What is limited.
        what: &'static str,
        /// What would be needed.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// A tensor has another spec than the value that it should stand for.
    #[error("value {value} is {expected}, found {found}")]
    Spec {
        /// The value.
        value: u32,
        /// Its spec.
        expected: String,
        /// The tensor's spec.
        found: String,
    },
}

/// Why a program did not run to its end. No output is kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// The inputs do not fit the program; nothing ran.
    #[error("input {index} takes {expected}, found {found}")]
    Input {
        /// The input's place.
        index: usize,
        /// What it takes.
        expected: String,
        /// What was given.
        found: String,
    },
    /// A tensor has a shape that no operation takes.
    #[error(transparent)]
    Infer(#[from] InferError),
    /// A value in an index tensor points outside.
    #[error("{op}: index {index} is outside of {extent} elements on axis {axis}")]
    Index {
        /// The operation.
        op: &'static str,
        /// The index.
        index: i64,
        /// The axis.
        axis: usize,
        /// How many elements the axis has.
        extent: usize,
    },
    /// The device's memory does not suffice.
    #[error("needs {needed} bytes beside {used} in use, the device has {limit}")]
    Memory {
        /// Bytes asked for.
        needed: u64,
        /// Bytes in use.
        used: u64,
        /// The device's limit.
        limit: u64,
    },
    /// The evaluation was cancelled.
    #[error("cancelled")]
    Cancelled,
    /// The device broke a promise of its own: a bug, never the caller's fault.
    #[error("the device failed at {op}: {reason}")]
    Device {
        /// The operation.
        op: &'static str,
        /// What happened.
        reason: String,
    },
}
