//! Claims in batches, without the rows that would spoil them.
//!
//! One bad row reverts a whole claim. A batch is simulated first; if it reverts, it is halved
//! until the bad rows are alone, and they are left out and reported.

use alloy::primitives::Bytes;
use alloy::rpc::types::TransactionReceipt;
use alloy::sol_types::{SolCall, SolEvent};
use rialto_channels::{Amount, ChannelId, ClaimRow};

use super::types::contract_row;
use super::{ChainClient, ChainError, Claimed, DroppedRow, KeepSent};
use crate::contracts::IBatchSettlement;

/// Rows in one transaction.
pub(super) const ROWS_MAX: usize = 100;

impl ChainClient {
    /// Claims the rows, a hundred a transaction, and leaves out those that the contract refuses.
    /// This account must be the receiver or the receiver authorizer of each row's channel.
    ///
    /// # Errors
    /// See [`ChainError`]. Transactions before the one that failed stay: read the channels, or
    /// send the same rows again, which claims nothing twice.
    pub async fn claim(&self, rows: &[ClaimRow]) -> Result<Claimed, ChainError> {
        self.claim_kept(rows, None).await
    }

    /// As [`claim`](Self::claim); `keeper` remembers each transaction before it is submitted, so that
    /// a process that dies before it hears of the outcome can look it up.
    ///
    /// # Errors
    /// As [`claim`](Self::claim); [`ChainError::NotKept`] if the keeper fails.
    pub async fn claim_kept(
        &self,
        rows: &[ClaimRow],
        keeper: Option<&dyn KeepSent>,
    ) -> Result<Claimed, ChainError> {
        let mut outcome = Claimed::default();
        for batch in rows.chunks(ROWS_MAX) {
            let (good, dropped) = self.sift(batch).await?;
            for row in &dropped {
                tracing::warn!(channel.id = %row.channel, reason = row.reason, "claim row dropped");
            }
            outcome.dropped.extend(dropped);
            if good.is_empty() {
                continue;
            }
            let data = claim_data(&good)?;
            let settlement = self.contracts().settlement;
            let receipt = self.send_kept(settlement, data, keeper).await?;
            let done = self.outcome(&receipt);
            outcome.transactions.push(receipt.transaction_hash);
            outcome.claimed.extend(claimed_in(&receipt));
            outcome.done.push(done);
        }
        Ok(outcome)
    }

    /// Parts the good rows from the bad, in order.
    async fn sift(
        &self,
        batch: &[ClaimRow],
    ) -> Result<(Vec<ClaimRow>, Vec<DroppedRow>), ChainError> {
        let mut good = Vec::with_capacity(batch.len());
        let mut dropped = Vec::new();
        let mut unknown = vec![batch];
        while let Some(rows) = unknown.pop() {
            let data = claim_data(rows)?;
            let error = match self.simulate(self.contracts().settlement, data).await {
                Ok(_) => {
                    good.extend_from_slice(rows);
                    continue;
                }
                Err(ChainError::Reverted { name, .. }) => name,
                Err(other) => return Err(other),
            };
            match rows {
                [] => {}
                [row] => dropped.push(DroppedRow {
                    channel: row.voucher.voucher.channel,
                    reason: error,
                }),
                _ => {
                    let (first, second) = rows.split_at(rows.len() / 2);
                    unknown.push(second);
                    unknown.push(first);
                }
            }
        }
        Ok((good, dropped))
    }
}

fn claim_data(rows: &[ClaimRow]) -> Result<Bytes, ChainError> {
    let rows: Result<Vec<_>, _> = rows.iter().map(contract_row).collect();
    let call = IBatchSettlement::claimCall {
        voucherClaims: rows?,
    };
    Ok(call.abi_encode().into())
}

fn claimed_in(receipt: &TransactionReceipt) -> impl Iterator<Item = (ChannelId, Amount)> {
    receipt.logs().iter().filter_map(|log| {
        let event = IBatchSettlement::Claimed::decode_log(&log.inner).ok()?;
        let id = ChannelId(event.channelId);
        Some((id, Amount::new(event.newTotalClaimed)))
    })
}
