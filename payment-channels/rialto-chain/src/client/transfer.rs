//! What became of a signed transfer, and whether it can still come.
//!
//! A used nonce is no proof of a payment: its signer may have cancelled it, or used it up with
//! another transfer. The proof is the transfer's own event, right behind the nonce's. And what is not
//! found is no proof that nothing was paid: only a cancellation, another transfer under the same
//! nonce, or an unused one that has expired is.

use alloy::eips::BlockId;
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

/// Whether a signed transfer can still come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferProspect {
    /// It may come, or what ended it lies so shallow that a reorganisation may take that back.
    Open,
    /// It was made, by this transaction.
    Made(B256),
    /// Never: it was cancelled, or its nonce went to another transfer.
    Spent,
    /// Never: it expired unused.
    Expired,
    /// Its nonce is gone, and the blocks that were searched do not tell how.
    Untold,
}

/// How a nonce was used up.
struct Use {
    block: u64,
    end: End,
}

enum End {
    Made(B256),
    /// Without this transfer.
    Otherwise,
    /// A transfer of these figures is in the same transaction, and not where the standard has it.
    Unclear,
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
        let head = self.block_number().await?;
        let first = head.saturating_sub(SEARCH_BLOCKS * SEARCHES_FOR_FATE - 1);
        let used = self.nonce_use(authorization, first, head).await?;
        Ok(match used.map(|used| used.end) {
            Some(End::Made(transaction)) => TransferFate::Made(transaction),
            Some(End::Otherwise | End::Unclear) | None => TransferFate::Spent,
        })
    }

    /// Finds out whether a transfer can still come. What ends it counts under `deep` blocks, its own
    /// included. How its nonce was used is looked for back to block `since`, where the nonce was
    /// unused, and no further than 128,000 blocks back.
    ///
    /// # Errors
    /// See [`ChainError`].
    pub async fn transfer_prospect(
        &self,
        authorization: &TransferAuthorization,
        since: u64,
        deep: u64,
    ) -> Result<TransferProspect, ChainError> {
        let head = self.head().await?.block.number;
        let call = IErc3009::authorizationStateCall {
            authorizer: authorization.from,
            nonce: authorization.nonce,
        };
        // At this very block: an endpoint that lags must not be asked what a newer block says.
        let token = self.contracts().token;
        let is_used = self.read(token, call, BlockId::number(head)).await?;
        // The newest block that no reorganisation is expected to take back.
        let Some(last_deep) = head.checked_sub(deep.saturating_sub(1)) else {
            return Ok(TransferProspect::Open);
        };
        if !is_used {
            let block = self.block(last_deep.into()).await?;
            let time = block.ok_or(ChainError::Changed)?.time;
            return Ok(if time.get() >= authorization.valid_before {
                TransferProspect::Expired
            } else {
                TransferProspect::Open
            });
        }
        let first = since.max(head.saturating_sub(SEARCH_BLOCKS * SEARCHES_FOR_PROSPECT - 1));
        Ok(match self.nonce_use(authorization, first, head).await? {
            None => TransferProspect::Untold,
            Some(used) => match used.end {
                End::Made(transaction) => TransferProspect::Made(transaction),
                End::Unclear => TransferProspect::Untold,
                End::Otherwise if used.block <= last_deep => TransferProspect::Spent,
                End::Otherwise => TransferProspect::Open,
            },
        })
    }

    /// How the nonce was used up in the blocks from `first` to `last`, the newest first.
    async fn nonce_use(
        &self,
        authorization: &TransferAuthorization,
        first: u64,
        mut last: u64,
    ) -> Result<Option<Use>, ChainError> {
        let ends = vec![
            IErc3009::AuthorizationUsed::SIGNATURE_HASH,
            IErc3009::AuthorizationCanceled::SIGNATURE_HASH,
        ];
        while last >= first {
            let from = last.saturating_sub(SEARCH_BLOCKS - 1).max(first);
            let filter = Filter::new()
                .address(self.contracts().token)
                .event_signature(ends.clone())
                .topic1(authorization.from.into_word())
                .topic2(authorization.nonce)
                .from_block(from)
                .to_block(last);
            let logs = self.inner.provider.get_logs(&filter).await;
            // A nonce is used once, so there is one such event at most.
            if let Some(used) = logs.map_err(|error| self.failed(error))?.first() {
                return self.use_of(used, authorization).await.map(Some);
            }
            let Some(before) = from.checked_sub(1) else {
                break;
            };
            last = before;
        }
        Ok(None)
    }

    async fn use_of(
        &self,
        used: &Log,
        authorization: &TransferAuthorization,
    ) -> Result<Use, ChainError> {
        let place = used.transaction_hash.zip(used.log_index);
        let ((hash, index), block) = place
            .zip(used.block_number)
            .ok_or_else(|| ChainError::BadAnswer("log without a place".to_owned()))?;
        let receipt = self.inner.provider.get_transaction_receipt(hash).await;
        let receipt = receipt
            .map_err(|error| self.failed(error))?
            .ok_or_else(|| ChainError::BadAnswer("log without its transaction".to_owned()))?;
        let is_transfer = |log: &Log| {
            log.address() == self.contracts().token
                && IErc3009::Transfer::decode_log(&log.inner).is_ok_and(|event| {
                    event.from == authorization.from
                        && event.to == authorization.to
                        && event.value == authorization.value.to_u256()
                })
        };
        let mut transfers = receipt.logs().iter().filter(|log| is_transfer(log));
        let behind = |log: &Log| log.log_index == index.checked_add(1);
        let end = match transfers.next() {
            None => End::Otherwise,
            Some(one) if behind(one) || transfers.any(behind) => End::Made(hash),
            Some(_) => End::Unclear,
        };
        Ok(Use { block, end })
    }
}

/// Blocks in one request; public endpoints refuse more.
const SEARCH_BLOCKS: u64 = 2_000;
/// Requests while a caller waits: more blocks than a transfer stays valid for.
const SEARCHES_FOR_FATE: u64 = 8;
/// Requests while nobody waits: some days of blocks.
const SEARCHES_FOR_PROSPECT: u64 = 64;
