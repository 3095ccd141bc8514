//! What goes into the client's transactions and what comes back.

use alloy::primitives::B256;
use alloy::primitives::aliases::U40;
use rialto_channels::{Amount, ChannelConfig, ChannelId, ClaimRow};

use super::{ChainError, Outcome};
use crate::contracts::IBatchSettlement;

/// A confirmed deposit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deposited {
    /// The transaction.
    pub transaction: B256,
    /// Its block's number.
    pub block: u64,
    /// The channel's balance after it.
    pub balance: Amount,
}

/// Confirmed claims.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claimed {
    /// The transactions, one for each hundred rows.
    pub transactions: Vec<B256>,
    /// The channels whose claimed total rose, and to what. A row that asks for no more than was
    /// claimed before is skipped by the contract and not here.
    pub claimed: Vec<(ChannelId, Amount)>,
    /// What each transaction did, in the same order.
    pub done: Vec<Outcome>,
    /// Rows that would have spoiled the batch, left out.
    pub dropped: Vec<DroppedRow>,
}

/// A row that the contract refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DroppedRow {
    /// The row's channel.
    pub channel: ChannelId,
    /// The contract's error.
    pub reason: String,
}

/// A confirmed settlement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The transaction; `None` if nothing was due.
    pub transaction: Option<B256>,
    /// What was paid out.
    pub amount: Amount,
}

/// A confirmed refund.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refunded {
    /// The transaction.
    pub transaction: B256,
    /// What went back to the payer; at most what was not claimed.
    pub amount: Amount,
}

/// A confirmed end of a withdrawal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Withdrawn {
    /// The transaction.
    pub transaction: B256,
    /// What went back to the payer; at most what was not claimed.
    pub amount: Amount,
}

/// The contract's form of a channel's terms.
pub(super) fn contract_config(
    config: &ChannelConfig,
) -> Result<IBatchSettlement::ChannelConfig, ChainError> {
    Ok(IBatchSettlement::ChannelConfig {
        payer: config.payer,
        payerAuthorizer: config.payer_authorizer,
        receiver: config.receiver,
        receiverAuthorizer: config.receiver_authorizer,
        token: config.token,
        withdrawDelay: U40::try_from(config.withdraw_delay)
            .map_err(|_| ChainError::OutOfRange("withdrawal delay"))?,
        salt: config.salt,
    })
}

/// The contract's form of a claim's row.
pub(super) fn contract_row(row: &ClaimRow) -> Result<IBatchSettlement::VoucherClaim, ChainError> {
    Ok(IBatchSettlement::VoucherClaim {
        voucher: IBatchSettlement::Voucher {
            channel: contract_config(&row.config)?,
            maxClaimableAmount: row.voucher.voucher.ceiling.get(),
        },
        signature: row.voucher.signature.to_bytes().into(),
        totalClaimed: row.total_claimed.get(),
    })
}
