//! What can go wrong with agents and feedback, by what the caller does next.

use rialto_registry::erc8004::calls::CallError;
use rialto_registry::{AgentId, RegistryId};

use crate::client::ChainError;

/// Why a registry was not read or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The registry knows no such agent.
    #[error("there is no agent {0}")]
    NoSuchAgent(AgentId),
    /// The agent is of another registry than this client's: connect to that one.
    #[error("agent {agent} is not of the registry {registry}")]
    OtherRegistry {
        /// Which was asked for.
        agent: AgentId,
        /// Which registry this is.
        registry: RegistryId,
    },
    /// This account may not act for the agent: its owner has to, or to approve of it.
    #[error(
        "this account may not act for agent {0}: only its owner may, and whom the owner approved"
    )]
    NotAuthorized(AgentId),
    /// The agent's own side may not give feedback on it.
    #[error("agent {0} is this account's own: nobody gives feedback on their own agent")]
    OwnAgent(AgentId),
    /// A call that is out of bounds: nothing was sent.
    #[error(transparent)]
    Call(#[from] CallError),
    /// A stranger's agent has a longer text than is read.
    #[error("the agent's text has {bytes} bytes, more than {max}")]
    TooLong {
        /// How many it has.
        bytes: usize,
        /// How many are read.
        max: usize,
    },
    /// The chain: see there.
    #[error(transparent)]
    Chain(#[from] ChainError),
}

impl RegistryError {
    /// Sorts what the contract refuses about an agent, by the reasons of the deployed registries.
    pub(super) fn of(agent: AgentId, error: ChainError) -> Self {
        match error.revert() {
            Some("ERC721NonexistentToken") => Self::NoSuchAgent(agent),
            Some("Not authorized" | "ERC721InsufficientApproval" | "ERC721IncorrectOwner") => {
                Self::NotAuthorized(agent)
            }
            Some("Self-feedback not allowed") => Self::OwnAgent(agent),
            Some(_) | None => Self::Chain(error),
        }
    }
}
