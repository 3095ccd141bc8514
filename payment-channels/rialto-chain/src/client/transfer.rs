//! What became of a signed transfer.
//!
//! A used nonce is no proof of a payment: its signer may have cancelled it, or used it up with
//! another transfer. The proof is the transfer's own event, right behind the nonce's.

use alloy::primitives::B256;
use alloy::providers::Provider;
use alloy::rpc::types::{Filter, Log};
use alloy::sol_types::SolEvent;
use rialto_channels::TransferAuthorization;

use super::{ChainClient, ChainError};
use crate::contracts::IErc3009;

/// What became of a signed transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferFate {
    /// Its nonce is unused: it can still be made.
    Open,
    /// It was made, by this transaction.
    Made(B256),
    /// Its nonce is gone, and no such transfer is found: cancelled, used up by another transfer, or
    /// made longer ago than is searched.
    Spent,
}

impl ChainClient {
    /// Finds out what became of a transfer. Searches the newest 16,000 blocks.
    ///
    /// # Errors
    /// See [`ChainError`].
    pub async fn transfer_fate(
        &self,
        authorization: &TransferAuthorization,
    ) -> Result<TransferFate, ChainError> {
        let (from, nonce) = (authorization.from, authorization.nonce);
        if !self.authorization_used(from, nonce).await? {
            return Ok(TransferFate::Open);
        }
        let mut last = self.block_number().await?;
        for _ in 0..SEARCHES_MAX {
            let first = last.saturating_sub(SEARCH_BLOCKS - 1);
            let filter = Filter::new()
                .address(self.contracts().token)
                .event_signature(IErc3009::AuthorizationUsed::SIGNATURE_HASH)
                .topic1(from.into_word())
                .topic2(nonce)
                .from_block(first)
                .to_block(last);
            let logs = self.inner.provider.get_logs(&filter).await;
            // A nonce is used once, so there is one such event at most.
            if let Some(used) = logs.map_err(|error| self.failed(error))?.first() {
                return self.fate_of(used, authorization).await;
            }
            let Some(before) = first.checked_sub(1) else {
                break;
            };
            last = before;
        }
        Ok(TransferFate::Spent)
    }

    async fn fate_of(
        &self,
        used: &Log,
        authorization: &TransferAuthorization,
    ) -> Result<TransferFate, ChainError> {
        let place = used.transaction_hash.zip(used.log_index);
        let (hash, index) =
            place.ok_or_else(|| ChainError::BadAnswer("log without a place".to_owned()))?;
        let receipt = self.inner.provider.get_transaction_receipt(hash).await;
        let receipt = receipt
            .map_err(|error| self.failed(error))?
            .ok_or_else(|| ChainError::BadAnswer("log without its transaction".to_owned()))?;
        let made = receipt.logs().iter().any(|log| {
            log.log_index == index.checked_add(1)
                && log.address() == self.contracts().token
                && IErc3009::Transfer::decode_log(&log.inner).is_ok_and(|event| {
                    event.from == authorization.from
                        && event.to == authorization.to
                        && event.value == authorization.value.to_u256()
                })
        });
        Ok(if made {
            TransferFate::Made(hash)
        } else {
            TransferFate::Spent
        })
    }
}

/// Blocks in one request; public endpoints refuse more.
const SEARCH_BLOCKS: u64 = 2_000;
/// Requests: more blocks than a transfer stays valid for.
const SEARCHES_MAX: u32 = 8;
