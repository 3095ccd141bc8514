//! The registries' logs, by ranges of blocks: claims of names and other values, agents given away, feedback.
//!
//! Each step looks at some blocks and says where to go on, so that a reader who stops takes up again without
//! a gap. Only blocks that are confirmed as the client demands are looked at; each entry has its block's
//! hash, for readers who want to know of reorganisations that go deeper.
//! Not here: what follows from an entry.

use alloy::primitives::{Address, B256, U256};
use alloy::providers::Provider;
use alloy::rpc::types::{Filter, Log};
use alloy::sol_types::SolEvent;
use rialto_registry::AgentId;
use rialto_registry::erc8004::abi::{IIdentityRegistry, IReputationRegistry};
use rialto_registry::erc8004::logs::{self, FeedbackEvent, MetadataSet, Transferred, key_topic};
use rialto_registry::names::Position;

use super::{RegistryClient, RegistryError};
use crate::client::ChainError;
use crate::client::follow::STEP_BLOCKS_MAX;

/// A log entry and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed<T> {
    /// Block and index.
    pub at: Position,
    /// The block's hash.
    pub block_hash: B256,
    /// The transaction.
    pub transaction: B256,
    /// What it says.
    pub entry: T,
}

/// What some blocks have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step<T> {
    /// In the chain's order.
    pub found: Vec<Placed<T>>,
    /// The block to go on from.
    pub next: u64,
    /// Whether there are confirmed blocks left to look at: take the next step at once.
    pub more: bool,
}

impl RegistryClient {
    /// What was set under these keys, for all agents, from block `from` on. 2,000 blocks at most a step.
    ///
    /// # Errors
    /// [`ChainError::OutOfRange`] for more keys than 16; see [`ChainError`] for the rest. The same step can
    /// be taken again.
    pub async fn metadata_log(
        &self,
        keys: &[&str],
        from: u64,
    ) -> Result<Step<MetadataSet>, RegistryError> {
        let filter = metadata_filter(keys)?;
        let asked = |set: &MetadataSet| keys.contains(&set.key.as_str());
        self.step(self.registries().identity, filter, from, |log| {
            logs::metadata_set(&self.registries(), log).filter(asked)
        })
        .await
    }

    /// What was set under these keys in the newest blocks, which are not confirmed yet and may still go.
    ///
    /// # Errors
    /// As [`metadata_log`](Self::metadata_log).
    pub async fn metadata_unconfirmed(
        &self,
        keys: &[&str],
    ) -> Result<Vec<MetadataSet>, RegistryError> {
        let filter = metadata_filter(keys)?.address(self.registries().identity);
        let newest = self.chain.block_number().await?;
        let shallow = self.chain.inner.config.confirmations.saturating_sub(1);
        let first = newest.saturating_sub(shallow).saturating_add(1);
        if first > newest {
            return Ok(Vec::new());
        }
        let filter = filter.from_block(first).to_block(newest);
        let logs = self.chain.inner.provider.get_logs(&filter).await;
        let logs = logs.map_err(|error| self.chain.failed(error))?;
        let read = logs.iter();
        let read = read.filter_map(|log| logs::metadata_set(&self.registries(), &log.inner));
        Ok(read
            .filter(|set| keys.contains(&set.key.as_str()))
            .collect())
    }

    /// To whom agents were given, from block `from` on; registrations count as given by nobody. 2,000 blocks
    /// at most a step.
    ///
    /// # Errors
    /// [`ChainError::OutOfRange`] for more agents than 256; see [`RegistryError`] for the rest. The same step
    /// can be taken again.
    pub async fn transfer_log(
        &self,
        agents: &[AgentId],
        from: u64,
    ) -> Result<Step<Transferred>, RegistryError> {
        if agents.is_empty() || agents.len() > AGENTS_MAX {
            return Err(ChainError::OutOfRange("number of agents").into());
        }
        let tokens: Result<Vec<B256>, _> = agents
            .iter()
            .map(|agent| self.token(agent).map(topic))
            .collect();
        let filter = Filter::new()
            .event_signature(IIdentityRegistry::Transfer::SIGNATURE_HASH)
            .topic3(tokens?);
        self.step(self.registries().identity, filter, from, |log| {
            logs::transferred(&self.registries(), log).filter(|one| agents.contains(&one.agent))
        })
        .await
    }

    /// Feedback on an agent and revocations, with what each commits to, from block `from` on. 2,000 blocks at
    /// most a step.
    ///
    /// # Errors
    /// See [`RegistryError`]; the same step can be taken again.
    pub async fn feedback_log(
        &self,
        agent: &AgentId,
        from: u64,
    ) -> Result<Step<FeedbackEvent>, RegistryError> {
        let filter = Filter::new()
            .event_signature(vec![
                IReputationRegistry::NewFeedback::SIGNATURE_HASH,
                IReputationRegistry::FeedbackRevoked::SIGNATURE_HASH,
            ])
            .topic1(topic(self.token(agent)?));
        self.step(self.registries().reputation, filter, from, |log| {
            logs::feedback(&self.registries(), log).filter(|one| one.agent() == *agent)
        })
        .await
    }

    /// As many blocks as the endpoint answers for: it may refuse what strangers have filled.
    async fn step<T>(
        &self,
        contract: Address,
        filter: Filter,
        from: u64,
        read: impl Fn(&alloy::primitives::Log) -> Option<T>,
    ) -> Result<Step<T>, RegistryError> {
        let shallow = self.chain.inner.config.confirmations.saturating_sub(1);
        let newest = self.chain.block_number().await?.checked_sub(shallow);
        let Some(newest) = newest.filter(|newest| *newest >= from) else {
            return Ok(Step {
                found: Vec::new(),
                next: from,
                more: false,
            });
        };
        let filter = filter.address(contract);
        let mut last = newest.min(from.saturating_add(STEP_BLOCKS_MAX - 1));
        let logs = loop {
            let filter = filter.clone().from_block(from).to_block(last);
            let logs = self.chain.inner.provider.get_logs(&filter).await;
            match logs.map_err(|error| self.chain.failed(error)) {
                Ok(logs) if logs.len() <= LOGS_MAX || last == from => break logs,
                Ok(_) | Err(ChainError::Refused { .. }) if last > from => {
                    last = from + (last - from) / 2;
                }
                Ok(logs) => break logs,
                Err(error) => return Err(error.into()),
            }
        };
        let nonsense = || self.chain.nonsense("logs that were not asked for");
        let mut found: Vec<Placed<T>> = Vec::with_capacity(logs.len());
        for log in &logs {
            let entry = read(&log.inner).ok_or_else(nonsense)?;
            let placed = placed(log, entry).ok_or_else(nonsense)?;
            let ordered = found.last().is_none_or(|before| before.at < placed.at);
            if !ordered || !(from..=last).contains(&placed.at.block) {
                return Err(nonsense().into());
            }
            found.push(placed);
        }
        Ok(Step {
            found,
            next: last.saturating_add(1),
            more: last < newest,
        })
    }
}

fn metadata_filter(keys: &[&str]) -> Result<Filter, ChainError> {
    if keys.is_empty() || keys.len() > KEYS_MAX {
        return Err(ChainError::OutOfRange("number of keys"));
    }
    let topics: Vec<B256> = keys.iter().map(|key| key_topic(key)).collect();
    Ok(Filter::new()
        .event_signature(IIdentityRegistry::MetadataSet::SIGNATURE_HASH)
        .topic2(topics))
}

fn placed<T>(log: &Log, entry: T) -> Option<Placed<T>> {
    if log.removed {
        return None;
    }
    Some(Placed {
        at: Position {
            block: log.block_number?,
            index: log.log_index?,
        },
        block_hash: log.block_hash?,
        transaction: log.transaction_hash?,
        entry,
    })
}

fn topic(token: U256) -> B256 {
    token.into()
}

/// Keys in one request.
const KEYS_MAX: usize = 16;
/// Agents in one request.
const AGENTS_MAX: usize = 256;
/// Beyond so many entries a step looks at fewer blocks. One block's may be more.
const LOGS_MAX: usize = 10_000;
