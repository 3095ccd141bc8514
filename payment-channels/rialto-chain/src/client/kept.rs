//! What must be remembered of a transaction before it is submitted, and what became of it.
//!
//! A process that dies between submitting and noting the outcome finds out from this: one of the
//! hashes is mined, or the nonce went to something else, or the nonce is still free.
//! Non-goals: storing it, which is the caller's part.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use alloy::primitives::{Address, B256};
use alloy::providers::Provider;
use alloy::rpc::types::TransactionReceipt;
use alloy::sol_types::SolEvent;
use rialto_channels::{Amount, ChannelId};

use super::{ChainClient, ChainError};
use crate::contracts::IBatchSettlement;

/// A transaction that was, or is about to be, submitted: one nonce, and every form that it had.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// The sending account's nonce, which only one of the forms can use.
    pub nonce: u64,
    /// The forms' hashes, the newest last; replacements offer more for gas.
    pub hashes: Vec<B256>,
}

impl Sent {
    pub(super) fn at(nonce: u64) -> Self {
        let hashes = Vec::new();
        Self { nonce, hashes }
    }

    /// The newest form.
    pub(super) fn last(&self) -> B256 {
        self.hashes.last().copied().unwrap_or_default()
    }
}

/// The reason why something could not be kept.
pub type KeepError = Box<dyn std::error::Error + Send + Sync>;

/// Remembers, durably, what is about to be submitted. Called again, with all forms so far, for
/// every replacement.
pub trait KeepSent: fmt::Debug + Send + Sync {
    /// Resolves when `sent` is durable; on an error it is not submitted.
    fn keep<'a>(
        &'a self,
        sent: &'a Sent,
    ) -> Pin<Box<dyn Future<Output = Result<(), KeepError>> + Send + 'a>>;
}

/// What became of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Mined, and confirmed as this client demands.
    Mined(Outcome),
    /// Another transaction has its nonce: it will never be mined.
    Never,
    /// Neither yet.
    Open,
}

/// What a mined transaction did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The form that was mined.
    pub transaction: B256,
    /// Its block's number.
    pub block: u64,
    /// False if it ran and was reverted.
    pub succeeded: bool,
    /// What it gave back, by channel.
    pub refunded: Vec<(ChannelId, Amount)>,
    /// What it claimed, by channel: how much more, not how much in all.
    pub claimed: Vec<(ChannelId, Amount)>,
    /// What it paid out, by receiver.
    pub settled: Vec<(Address, Amount)>,
}

impl ChainClient {
    /// What became of a transaction that was submitted before, perhaps by another process.
    ///
    /// # Errors
    /// See [`ChainError`]; ask again.
    pub async fn fate(&self, sent: &Sent) -> Result<Fate, ChainError> {
        let mut mined_count = self.mined_count().await?;
        for hash in sent.hashes.iter().rev() {
            if let Some(receipt) = self.receipt(*hash).await? {
                return Ok(match self.is_deep(&receipt).await? {
                    true => Fate::Mined(self.outcome(&receipt)),
                    false => Fate::Open,
                });
            }
        }
        // The count once more: the first may be of an endpoint that was ahead of the receipts'.
        mined_count = mined_count.min(self.mined_count().await?);
        Ok(if mined_count > sent.nonce {
            Fate::Never
        } else {
            Fate::Open
        })
    }

    /// Whether a transaction is on the chain now, and what it did.
    ///
    /// # Errors
    /// See [`ChainError`].
    pub async fn outcome_of(&self, transaction: B256) -> Result<Option<Outcome>, ChainError> {
        let receipt = self.receipt(transaction).await?;
        Ok(receipt.map(|receipt| self.outcome(&receipt)))
    }

    /// Whether the endpoint has the transaction: on the chain, or waiting to be mined.
    ///
    /// # Errors
    /// See [`ChainError`].
    pub async fn is_known(&self, transaction: B256) -> Result<bool, ChainError> {
        let found = self.inner.provider.get_transaction_by_hash(transaction);
        let found = found.await.map_err(|error| self.failed(error))?;
        Ok(found.is_some())
    }

    pub(super) async fn receipt(
        &self,
        hash: B256,
    ) -> Result<Option<TransactionReceipt>, ChainError> {
        let receipt = self.inner.provider.get_transaction_receipt(hash).await;
        let receipt = receipt.map_err(|error| self.failed(error))?;
        Ok(receipt.filter(|receipt| receipt.block_number.is_some()))
    }

    /// Whether a mined transaction has its confirmations. A reorganisation may take them away.
    pub(super) async fn is_deep(&self, receipt: &TransactionReceipt) -> Result<bool, ChainError> {
        let further = self.inner.config.confirmations.saturating_sub(1);
        let block = receipt.block_number.unwrap_or(u64::MAX);
        Ok(further == 0 || self.block_number().await? >= block.saturating_add(further))
    }

    pub(super) fn outcome(&self, receipt: &TransactionReceipt) -> Outcome {
        let settlement = self.contracts().settlement;
        let mut outcome = Outcome {
            transaction: receipt.transaction_hash,
            block: receipt.block_number.unwrap_or_default(),
            succeeded: receipt.status(),
            refunded: Vec::new(),
            claimed: Vec::new(),
            settled: Vec::new(),
        };
        for log in receipt.logs() {
            if log.address() != settlement {
                continue;
            }
            if let Ok(event) = IBatchSettlement::Refunded::decode_log(&log.inner) {
                let channel = ChannelId(event.channelId);
                outcome.refunded.push((channel, Amount::new(event.amount)));
            } else if let Ok(event) = IBatchSettlement::Claimed::decode_log(&log.inner) {
                let channel = ChannelId(event.channelId);
                outcome
                    .claimed
                    .push((channel, Amount::new(event.claimAmount)));
            } else if let Ok(event) = IBatchSettlement::Settled::decode_log(&log.inner) {
                outcome
                    .settled
                    .push((event.receiver, Amount::new(event.amount)));
            }
        }
        outcome
    }
}
