//! A call's checked arguments, as whoever runs the service takes them: values here, bytes for a cell.

use super::Arguments;
use crate::error::CallError;
use crate::json::Arg;

/// Checked arguments, where the service's code takes them.
#[derive(Debug)]
pub(super) enum Content {
    /// As values.
    Values(Vec<Arg>),
    /// As they were received: a cell reads them again.
    AsReceived {
        arguments: Arguments,
        /// The host memory that the values of a running call take.
        expansion_bytes: u64,
    },
}

impl Content {
    /// The values, or what they were read from if a cell wants that.
    pub(super) fn new(args: Vec<Arg>, received: Option<Arguments>) -> Self {
        match received {
            None => Self::Values(args),
            Some(arguments) => Self::AsReceived {
                arguments,
                expansion_bytes: args.iter().map(Arg::expansion_bytes).sum(),
            },
        }
    }

    /// The values, for a guest in this process.
    pub(super) fn values(self) -> Result<Vec<Arg>, CallError> {
        match self {
            Self::Values(args) => Ok(args),
            Self::AsReceived { .. } => Err(mixed()),
        }
    }

    /// The bytes, for a guest in a cell.
    pub(super) fn received(self) -> Result<Arguments, CallError> {
        match self {
            Self::Values(_) => Err(mixed()),
            Self::AsReceived { arguments, .. } => Ok(arguments),
        }
    }

    /// The host memory that the values of a running call take.
    pub(super) fn expansion_bytes(&self) -> u64 {
        match self {
            Self::Values(args) => args.iter().map(Arg::expansion_bytes).sum(),
            Self::AsReceived {
                expansion_bytes, ..
            } => *expansion_bytes,
        }
    }

    /// The host memory that is held until the call ends, of arguments that came as so many bytes.
    pub(super) fn held_bytes(&self, input_bytes: u64) -> u64 {
        match self {
            Self::Values(args) => args.iter().map(Arg::held_bytes).sum(),
            Self::AsReceived { .. } => input_bytes,
        }
    }
}

fn mixed() -> CallError {
    CallError::Internal("arguments were prepared for another isolation level".to_owned())
}
