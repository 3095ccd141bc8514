//! What an identity registry says of agents.

use alloy::eips::BlockId;
use alloy::primitives::{Address, Bytes, U256, keccak256};
use alloy::providers::Provider;
use alloy::rpc::types::Filter;
use alloy::sol_types::SolEvent;

use super::{ChainClient, ChainError};
use crate::contracts::IIdentityRegistry;
use crate::registry::NameClaim;

impl ChainClient {
    /// What agents of `registry` said under the metadata key `key` in the blocks from `first` to `last`, in the
    /// log's order. Public endpoints refuse more than some thousand blocks.
    ///
    /// # Errors
    /// See [`ChainError`].
    pub async fn name_claims(
        &self,
        registry: Address,
        key: &str,
        first: u64,
        last: u64,
    ) -> Result<Vec<NameClaim>, ChainError> {
        let filter = Filter::new()
            .address(registry)
            .event_signature(IIdentityRegistry::MetadataSet::SIGNATURE_HASH)
            .topic2(keccak256(key))
            .from_block(first)
            .to_block(last);
        let logs = self.inner.provider.get_logs(&filter).await;
        let logs = logs.map_err(|error| self.failed(error))?;
        let mut claims = Vec::with_capacity(logs.len());
        for log in &logs {
            let place = log.block_number.zip(log.log_index);
            let place = place.filter(|(block, _)| (first..=last).contains(block));
            let event = IIdentityRegistry::MetadataSet::decode_log(&log.inner).ok();
            let (Some((block, index)), Some(event)) = (place, event) else {
                return Err(self.nonsense("logs that were not asked for"));
            };
            if event.address != registry || event.data.metadataKey != key {
                return Err(self.nonsense("logs that were not asked for"));
            }
            claims.push(NameClaim {
                agent: event.data.agentId,
                value: event.data.metadataValue,
                block,
                index,
            });
        }
        claims.sort_by_key(|claim| (claim.block, claim.index));
        Ok(claims)
    }

    /// The account that owns an agent; none where there is no such agent.
    ///
    /// # Errors
    /// See [`ChainError`].
    pub async fn agent_owner(
        &self,
        registry: Address,
        agent: U256,
    ) -> Result<Option<Address>, ChainError> {
        let call = IIdentityRegistry::ownerOfCall { tokenId: agent };
        match self.read(registry, call, BlockId::latest()).await {
            Ok(owner) => Ok(Some(owner)),
            Err(ChainError::Reverted { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A value of an agent's metadata; empty for none.
    ///
    /// # Errors
    /// See [`ChainError`].
    pub async fn agent_metadata(
        &self,
        registry: Address,
        agent: U256,
        key: &str,
    ) -> Result<Bytes, ChainError> {
        let call = IIdentityRegistry::getMetadataCall {
            agentId: agent,
            metadataKey: key.to_owned(),
        };
        self.read(registry, call, BlockId::latest()).await
    }
}
