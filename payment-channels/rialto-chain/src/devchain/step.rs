//! Steps of the chain: what is remembered of one, and why one was not made.

use std::io;

use alloy::primitives::B256;
use revm::context::result::{EVMError, InvalidTransaction};

use super::evm::Refused;
use super::state::Undo;

/// What one step did, so that it can be taken back.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) kind: StepKind,
    pub(super) undo: Vec<Undo>,
    /// The log's length before the step.
    pub(super) log_end: u64,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum StepKind {
    Block,
    Override,
    Clock { ahead_secs_before: i64 },
}

/// Why a step was not made.
#[derive(Debug, thiserror::Error)]
pub(super) enum StepError {
    #[error(transparent)]
    Transaction(InvalidTransaction),
    #[error("block time {asked} is before the latest block's {latest}")]
    TimeRunsBackwards { asked: u64, latest: u64 },
    #[error("block log")]
    Log(#[source] io::Error),
    #[error("virtual machine: {0}")]
    Machine(String),
    #[error("block {number} came out as {found}, the log says {expected}")]
    OtherHash {
        number: u64,
        found: B256,
        expected: B256,
    },
}

impl From<Refused> for StepError {
    fn from(refused: Refused) -> Self {
        match refused {
            EVMError::Transaction(error) => Self::Transaction(error),
            EVMError::Header(error) => Self::Machine(error.to_string()),
            EVMError::Custom(error) => Self::Machine(error),
            EVMError::CustomAny(error) => Self::Machine(error.to_string()),
            EVMError::Database(never) => match never {},
        }
    }
}
