//! What happened to channels, by polling ranges of blocks.

use alloy::primitives::{Address, B256};
use alloy::providers::Provider;
use alloy::rpc::types::{Filter, Log};
use alloy::sol_types::{SolEvent, SolEventInterface};
use rialto_channels::{Amount, ChainTime, ChannelId};

use super::follow::STEP_BLOCKS_MAX;
use super::{ChainClient, ChainError};
use crate::contracts::IBatchSettlement::{self, IBatchSettlementEvents as Raw};

/// An event of the settlement contract, and where it happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// The block's number.
    pub block: u64,
    /// The block's hash.
    pub block_hash: B256,
    /// The transaction.
    pub transaction: B256,
    /// What happened.
    pub event: ChannelEvent,
}

/// What happened to a channel or a receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChannelEvent {
    /// Money came in.
    Deposited {
        /// The channel.
        channel: ChannelId,
        /// How much.
        amount: Amount,
        /// The channel's balance after it.
        balance: Amount,
    },
    /// The receiver's side claimed.
    Claimed {
        /// The channel.
        channel: ChannelId,
        /// How much more.
        amount: Amount,
        /// How much in all.
        total_claimed: Amount,
    },
    /// A receiver was paid.
    Settled {
        /// Who.
        receiver: Address,
        /// In which token.
        token: Address,
        /// How much.
        amount: Amount,
    },
    /// Money went back to the payer by agreement.
    Refunded {
        /// The channel.
        channel: ChannelId,
        /// How much.
        amount: Amount,
    },
    /// The payer's side started to take money out: claim at once.
    WithdrawInitiated {
        /// The channel.
        channel: ChannelId,
        /// How much.
        amount: Amount,
        /// When it can be finished.
        finalizes_at: ChainTime,
    },
    /// A withdrawal ended.
    WithdrawFinalized {
        /// The channel.
        channel: ChannelId,
        /// How much went to the payer.
        amount: Amount,
    },
}

impl ChannelEvent {
    /// The channel that it is about; a settlement is about a receiver.
    #[must_use]
    pub fn channel(&self) -> Option<ChannelId> {
        match self {
            Self::Deposited { channel, .. }
            | Self::Claimed { channel, .. }
            | Self::Refunded { channel, .. }
            | Self::WithdrawInitiated { channel, .. }
            | Self::WithdrawFinalized { channel, .. } => Some(*channel),
            Self::Settled { .. } => None,
        }
    }
}

impl ChainClient {
    /// The events from block `from` on, oldest first, and the block to go on from. Blocks without
    /// enough confirmations are left for later; one call looks at 2,000 blocks at most.
    ///
    /// # Errors
    /// See [`ChainError`]; the same `from` can be asked for again.
    pub async fn events(&self, from: u64) -> Result<(Vec<Event>, u64), ChainError> {
        let latest = self.block_number().await?;
        let shallow = self.inner.config.confirmations.saturating_sub(1);
        let Some(last) = latest.checked_sub(shallow).filter(|last| *last >= from) else {
            return Ok((Vec::new(), from));
        };
        let last = last.min(from.saturating_add(STEP_BLOCKS_MAX - 1));
        let events = self.events_within(from, last).await?;
        Ok((events, last.saturating_add(1)))
    }

    /// What was paid out to the receiver in `token` in the blocks from `first` to `last`, by
    /// transaction, oldest first. Public endpoints refuse more than some thousand blocks.
    ///
    /// # Errors
    /// See [`ChainError`]; [`ChainError::OutOfRange`] where one transaction paid out more than 128 bits.
    pub async fn settlements(
        &self,
        receiver: Address,
        token: Address,
        first: u64,
        last: u64,
    ) -> Result<Vec<(B256, Amount)>, ChainError> {
        let filter = Filter::new()
            .event_signature(IBatchSettlement::Settled::SIGNATURE_HASH)
            .topic1(receiver.into_word())
            .topic2(token.into_word());
        let mut paid: Vec<(B256, Amount)> = Vec::new();
        for event in self.events_of(filter, first, last).await? {
            let ChannelEvent::Settled {
                receiver: to,
                token: paid_in,
                amount,
            } = event.event
            else {
                return Err(self.nonsense("logs that were not asked for"));
            };
            if (to, paid_in) != (receiver, token) {
                return Err(self.nonsense("logs that were not asked for"));
            }
            match paid.last_mut() {
                Some((transaction, sum)) if *transaction == event.transaction => {
                    let more = sum.checked_add(amount);
                    *sum = more.map_err(|_| ChainError::OutOfRange("a settlement"))?;
                }
                Some(_) | None => paid.push((event.transaction, amount)),
            }
        }
        Ok(paid)
    }

    /// The events of the blocks from `first` to `last`, oldest first.
    pub(super) async fn events_within(
        &self,
        first: u64,
        last: u64,
    ) -> Result<Vec<Event>, ChainError> {
        self.events_of(Filter::new(), first, last).await
    }

    async fn events_of(
        &self,
        filter: Filter,
        first: u64,
        last: u64,
    ) -> Result<Vec<Event>, ChainError> {
        let filter = filter
            .address(self.contracts().settlement)
            .from_block(first)
            .to_block(last);
        let logs = self.inner.provider.get_logs(&filter).await;
        let logs = logs.map_err(|error| self.failed(error))?;
        let mut events = Vec::with_capacity(logs.len());
        for log in &logs {
            let within = log
                .block_number
                .is_some_and(|number| (first..=last).contains(&number));
            if log.address() != self.contracts().settlement || !within {
                return Err(self.nonsense("logs that were not asked for"));
            }
            events.extend(decode(log)?);
        }
        Ok(events)
    }
}

/// `None` for events that tell nothing about money.
pub(super) fn decode(log: &Log) -> Result<Option<Event>, ChainError> {
    let Ok(raw) = Raw::decode_log(&log.inner) else {
        // A newer contract may have events that we do not know.
        return Ok(None);
    };
    let event = match raw.data {
        Raw::Deposited(event) => ChannelEvent::Deposited {
            channel: ChannelId(event.channelId),
            amount: Amount::new(event.amount),
            balance: Amount::new(event.newBalance),
        },
        Raw::Claimed(event) => ChannelEvent::Claimed {
            channel: ChannelId(event.channelId),
            amount: Amount::new(event.claimAmount),
            total_claimed: Amount::new(event.newTotalClaimed),
        },
        Raw::Settled(event) => ChannelEvent::Settled {
            receiver: event.receiver,
            token: event.token,
            amount: Amount::new(event.amount),
        },
        Raw::Refunded(event) => ChannelEvent::Refunded {
            channel: ChannelId(event.channelId),
            amount: Amount::new(event.amount),
        },
        Raw::WithdrawInitiated(event) => ChannelEvent::WithdrawInitiated {
            channel: ChannelId(event.channelId),
            amount: Amount::new(event.amount),
            finalizes_at: ChainTime::new(event.finalizeAfter.to()),
        },
        Raw::WithdrawFinalized(event) => ChannelEvent::WithdrawFinalized {
            channel: ChannelId(event.channelId),
            amount: Amount::new(event.amount),
        },
        Raw::ChannelCreated(_) | Raw::ChannelClosed(_) => return Ok(None),
    };
    let place = log.block_number.zip(log.block_hash);
    let ((block, block_hash), transaction) = place
        .zip(log.transaction_hash)
        .ok_or_else(|| ChainError::BadAnswer("log without a block".to_owned()))?;
    Ok(Some(Event {
        block,
        block_hash,
        transaction,
        event,
    }))
}
