//! Agents and feedback on the ERC-8004 registries: registered, changed, given away, read.
//!
//! Transactions go the way of all others of this client: simulated first, replaced when they hang, and
//! counted only when confirmed. A wallet that signs elsewhere takes its call data from
//! `rialto_registry::erc8004::calls`, as this does.
//! Not here: who owns a name, and what feedback is worth.

mod error;
mod log;

use alloy::eips::BlockId;
use alloy::primitives::{Address, B256, Bytes, U256};
use alloy::rpc::types::TransactionReceipt;
use alloy::sol_types::SolCall;
use rialto_registry::AgentId;
use rialto_registry::erc8004::Registries;
use rialto_registry::erc8004::abi::{IIdentityRegistry, IReputationRegistry};
use rialto_registry::erc8004::calls::{self, Entry, Feedback, URI_BYTES_MAX};
use rialto_registry::erc8004::logs::{self, FeedbackEvent};

use super::{ChainClient, ChainError, ConnectError, KeepSent};
pub use error::RegistryError;
pub use log::{Placed, Step};

/// The registries of one chain, as one account. Clones share the connection.
#[derive(Clone, Debug)]
pub struct RegistryClient {
    chain: ChainClient,
    at: Registries,
}

/// A confirmed registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registered {
    /// The new agent.
    pub agent: AgentId,
    /// The transaction.
    pub transaction: B256,
}

/// Confirmed feedback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Given {
    /// Which of this account's on the agent, counted from 1.
    pub index: u64,
    /// The transaction.
    pub transaction: B256,
}

/// Feedback as the contract keeps it. What it commits to is in the log alone:
/// [`RegistryClient::feedback_log`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptFeedback {
    /// With `decimals` digits behind the point.
    pub value: i128,
    /// At most 18.
    pub decimals: u8,
    /// Whether the client took it back.
    pub is_revoked: bool,
}

impl ChainClient {
    /// The registries at these addresses, as this account.
    ///
    /// # Errors
    /// [`ConnectError::MissingContract`] if one is not there: a transaction to it would do nothing and
    /// succeed. [`ConnectError::WrongChain`] if they are of another chain.
    pub async fn registries(&self, at: Registries) -> Result<RegistryClient, ConnectError> {
        if at.chain_id != self.chain_id() {
            return Err(ConnectError::WrongChain {
                expected: at.chain_id,
                found: self.chain_id(),
            });
        }
        for address in [at.identity, at.reputation] {
            if !self.has_code(address).await.map_err(ConnectError::Chain)? {
                return Err(ConnectError::MissingContract { address });
            }
        }
        let chain = self.clone();
        Ok(RegistryClient { chain, at })
    }
}

impl RegistryClient {
    /// Where the registries are.
    #[must_use]
    pub const fn registries(&self) -> Registries {
        self.at
    }

    /// Makes an agent that this account owns and that is paid to it. `keeper` remembers the transaction
    /// before it is submitted; what became of it, [`registered_by`](Self::registered_by) tells.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub async fn register(
        &self,
        uri: &str,
        metadata: &[Entry],
        keeper: Option<&dyn KeepSent>,
    ) -> Result<Registered, RegistryError> {
        let data = calls::register(uri, metadata)?;
        let sent = self.chain.send_kept(self.at.identity, data, keeper).await;
        let receipt = sent.map_err(RegistryError::Chain)?;
        let agent = self.registered_in(&receipt);
        Ok(Registered {
            agent: agent.ok_or_else(|| missing("Registered"))?,
            transaction: receipt.transaction_hash,
        })
    }

    /// The agent that a transaction registered; none if it is not mined, or registered nothing.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub async fn registered_by(&self, transaction: B256) -> Result<Option<AgentId>, RegistryError> {
        let receipt = self.chain.receipt(transaction).await?;
        let succeeded = receipt.filter(TransactionReceipt::status);
        Ok(succeeded.and_then(|receipt| self.registered_in(&receipt)))
    }

    /// Says where the agent's registration file is. Returns the transaction.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub async fn set_uri(&self, agent: &AgentId, uri: &str) -> Result<B256, RegistryError> {
        let token = self.token(agent)?;
        self.identity(agent, calls::set_uri(token, uri)?).await
    }

    /// Sets values, each by a transaction of its own, in this order. One that is there already is not set
    /// again. Returns the transactions.
    ///
    /// # Errors
    /// See [`RegistryError`]. Values before the one that failed stay set: the same call goes on from there.
    pub async fn set_metadata(
        &self,
        agent: &AgentId,
        entries: &[Entry],
    ) -> Result<Vec<B256>, RegistryError> {
        let token = self.token(agent)?;
        // What is out of bounds is found before anything is sent.
        let calls: Result<Vec<_>, _> = entries
            .iter()
            .map(|entry| calls::set_metadata(token, entry))
            .collect();
        let mut transactions = Vec::new();
        for (entry, call) in entries.iter().zip(calls?) {
            if self.metadata(agent, &entry.key).await? != entry.value {
                transactions.push(self.identity(agent, call).await?);
            }
        }
        Ok(transactions)
    }

    /// Gives the agent to another account, and with it its name. It has no wallet afterwards. This account
    /// must be its owner. Returns the transaction.
    ///
    /// # Errors
    /// [`ChainError::Reverted`] with `ERC721InvalidReceiver` if there is a contract that does not take it.
    pub async fn transfer(&self, agent: &AgentId, to: Address) -> Result<B256, RegistryError> {
        let call = calls::transfer(self.token(agent)?, self.chain.address(), to);
        self.identity(agent, call).await
    }

    /// Names who is paid for the agent, by that account's signature below [`calls::wallet_digest`]. Returns
    /// the transaction.
    ///
    /// # Errors
    /// [`ChainError::Reverted`] with `invalid wallet sig`, `expired` or `deadline too far`.
    pub async fn set_wallet(
        &self,
        agent: &AgentId,
        wallet: Address,
        deadline: u64,
        signature: &[u8],
    ) -> Result<B256, RegistryError> {
        let call = calls::set_wallet(self.token(agent)?, wallet, deadline, signature);
        self.identity(agent, call).await
    }

    /// Who owns the agent.
    ///
    /// # Errors
    /// [`RegistryError::NoSuchAgent`]; see [`RegistryError`] for the rest.
    pub async fn owner_of(&self, agent: &AgentId) -> Result<Address, RegistryError> {
        let call = IIdentityRegistry::ownerOfCall {
            tokenId: self.token(agent)?,
        };
        self.read(agent, call).await
    }

    /// Where the agent's registration file is; empty if it has none. What is no UTF-8 is replaced.
    ///
    /// # Errors
    /// [`RegistryError::TooLong`] beyond 64 KiB; see [`RegistryError`] for the rest.
    pub async fn token_uri(&self, agent: &AgentId) -> Result<String, RegistryError> {
        let call = IIdentityRegistry::tokenURICall {
            tokenId: self.token(agent)?,
        };
        let uri = self.read(agent, call).await?;
        within(uri.len(), URI_READ_MAX)?;
        Ok(uri)
    }

    /// The value under a key; empty if there is none, or no such agent.
    ///
    /// # Errors
    /// [`RegistryError::TooLong`] beyond 64 KiB; see [`RegistryError`] for the rest.
    pub async fn metadata(&self, agent: &AgentId, key: &str) -> Result<Vec<u8>, RegistryError> {
        let call = IIdentityRegistry::getMetadataCall {
            agentId: self.token(agent)?,
            key: key.to_owned(),
        };
        let value = self.read(agent, call).await?;
        within(value.len(), URI_READ_MAX)?;
        Ok(value.into())
    }

    /// Who is paid for the agent, if somebody is named.
    ///
    /// # Errors
    /// [`RegistryError::NoSuchAgent`]; see [`RegistryError`] for the rest.
    pub async fn agent_wallet(&self, agent: &AgentId) -> Result<Option<Address>, RegistryError> {
        let call = IIdentityRegistry::getAgentWalletCall {
            agentId: self.token(agent)?,
        };
        let wallet = self.read(agent, call).await?;
        Ok((!wallet.is_zero()).then_some(wallet))
    }

    /// Says something of an agent of this registry. This account must not be of the agent's own side.
    ///
    /// # Errors
    /// [`RegistryError::OwnAgent`], [`RegistryError::NoSuchAgent`]; see [`RegistryError`] for the rest.
    pub async fn give_feedback(
        &self,
        feedback: &Feedback,
        keeper: Option<&dyn KeepSent>,
    ) -> Result<Given, RegistryError> {
        let agent = self.at.agent(feedback.agent);
        let data = calls::give_feedback(feedback)?;
        let sent = self.chain.send_kept(self.at.reputation, data, keeper).await;
        let receipt = sent.map_err(|error| RegistryError::of(agent, error))?;
        let given =
            receipt
                .logs()
                .iter()
                .find_map(|log| match logs::feedback(&self.at, &log.inner)? {
                    FeedbackEvent::Given { index, .. } => Some(index),
                    FeedbackEvent::Revoked { .. } => None,
                });
        Ok(Given {
            index: given.ok_or_else(|| missing("NewFeedback"))?,
            transaction: receipt.transaction_hash,
        })
    }

    /// Takes this account's own feedback back. Returns the transaction.
    ///
    /// # Errors
    /// [`ChainError::Reverted`] with `Already revoked` or `index out of bounds`.
    pub async fn revoke_feedback(
        &self,
        agent: &AgentId,
        index: u64,
    ) -> Result<B256, RegistryError> {
        let data = calls::revoke_feedback(self.token(agent)?, index);
        let receipt = self.chain.send(self.at.reputation, data).await;
        let receipt = receipt.map_err(|error| RegistryError::of(*agent, error))?;
        Ok(receipt.transaction_hash)
    }

    /// How often a client gave feedback on the agent.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub async fn feedback_count(
        &self,
        agent: &AgentId,
        client: Address,
    ) -> Result<u64, RegistryError> {
        let call = IReputationRegistry::getLastIndexCall {
            agentId: self.token(agent)?,
            clientAddress: client,
        };
        let at = self.at.reputation;
        Ok(self.chain.read(at, call, BlockId::latest()).await?)
    }

    /// What a client said of the agent, counted from 1, as it stands now.
    ///
    /// # Errors
    /// [`ChainError::Reverted`] with `index out of bounds` if there is none.
    pub async fn feedback(
        &self,
        agent: &AgentId,
        client: Address,
        index: u64,
    ) -> Result<KeptFeedback, RegistryError> {
        let call = IReputationRegistry::readFeedbackCall {
            agentId: self.token(agent)?,
            clientAddress: client,
            feedbackIndex: index,
        };
        let at = self.at.reputation;
        let kept = self.chain.read(at, call, BlockId::latest()).await?;
        Ok(KeptFeedback {
            value: kept.value,
            decimals: kept.valueDecimals,
            is_revoked: kept.isRevoked,
        })
    }
}

impl RegistryClient {
    /// An agent of another registry is not one of this registry that has the same number.
    fn token(&self, agent: &AgentId) -> Result<U256, RegistryError> {
        if agent.registry == self.at.id() {
            Ok(agent.token)
        } else {
            Err(RegistryError::OtherRegistry {
                agent: *agent,
                registry: self.at.id(),
            })
        }
    }

    async fn identity(&self, agent: &AgentId, data: Bytes) -> Result<B256, RegistryError> {
        let receipt = self.chain.send(self.at.identity, data).await;
        let receipt = receipt.map_err(|error| RegistryError::of(*agent, error))?;
        Ok(receipt.transaction_hash)
    }

    async fn read<C: SolCall>(&self, agent: &AgentId, call: C) -> Result<C::Return, RegistryError> {
        let read = self.chain.read(self.at.identity, call, BlockId::latest());
        read.await.map_err(|error| RegistryError::of(*agent, error))
    }

    fn registered_in(&self, receipt: &TransactionReceipt) -> Option<AgentId> {
        let logs = receipt.logs().iter().map(|log| &log.inner);
        logs::registered(&self.at, logs)
    }
}

fn within(bytes: usize, max: usize) -> Result<(), RegistryError> {
    if bytes > max {
        return Err(RegistryError::TooLong { bytes, max });
    }
    Ok(())
}

fn missing(event: &str) -> RegistryError {
    ChainError::BadAnswer(format!("transaction without its {event} event")).into()
}

/// Strangers' agents may have longer ones than this client would set.
const URI_READ_MAX: usize = 8 * URI_BYTES_MAX;
