//! The channels this node is paid on, in memory: one lock each, never held across an await.
//!
//! Whether a voucher is good is decided by `rialto-channels`; this module only finds the channel.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use rialto_channels::payee::{ChannelSnapshot, PayeeChannel, RestoreError, Terms};
use rialto_channels::{ChannelConfig, ChannelId, OnChainView, SettlementDomain};

use crate::api::{ChannelView, PaymentError};
use crate::reject::refused;

/// Every channel by its id. Bounded by deposits: a channel enters only with money on the chain.
#[derive(Debug)]
pub(crate) struct Book {
    domain: SettlementDomain,
    terms: Terms,
    channels: RwLock<HashMap<ChannelId, Arc<Slot>>>,
}

/// One channel.
#[derive(Debug)]
pub(crate) struct Slot {
    /// Its id.
    pub(crate) id: ChannelId,
    channel: Mutex<PayeeChannel>,
    /// Held while a deposit, refund or claim of this channel is with the chain, so that they do
    /// not overtake each other.
    pub(crate) on_chain: tokio::sync::Mutex<()>,
}

impl Book {
    /// A book of the channels that the ledger holds.
    ///
    /// # Errors
    /// [`RestoreError`] when a stored channel contradicts itself.
    pub(crate) fn restore(
        domain: SettlementDomain,
        terms: Terms,
        snapshots: Vec<ChannelSnapshot>,
    ) -> Result<Self, RestoreError> {
        let mut channels = HashMap::with_capacity(snapshots.len());
        for snapshot in snapshots {
            let id = snapshot.id;
            let channel = PayeeChannel::restore(snapshot, &domain, terms.in_flight_max)?;
            channels.insert(id, Slot::new(id, channel));
        }
        Ok(Self {
            domain,
            terms,
            channels: RwLock::new(channels),
        })
    }

    /// The EIP-712 domain of the settlement contract.
    pub(crate) fn domain(&self) -> &SettlementDomain {
        &self.domain
    }

    /// Checks a channel's description against this node's terms and its claimed id.
    ///
    /// # Errors
    /// [`PaymentError::Invalid`] that names what differs.
    pub(crate) fn check(
        &self,
        config: &ChannelConfig,
        claimed: ChannelId,
    ) -> Result<(), PaymentError> {
        if config.id(&self.domain) != claimed {
            return Err(refused(&rialto_channels::payee::Reject::WrongChannel));
        }
        self.terms.check(config).map_err(|reject| refused(&reject))
    }

    /// The channel, if it is known.
    pub(crate) fn get(&self, id: ChannelId) -> Option<Arc<Slot>> {
        self.channels
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&id)
            .cloned()
    }

    /// All channels, in no particular order.
    pub(crate) fn all(&self) -> Vec<Arc<Slot>> {
        self.channels
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect()
    }

    /// Enters a channel as the chain shows it, unless another task was faster.
    ///
    /// # Errors
    /// [`PaymentError::Invalid`] when it does not fit this node's terms.
    pub(crate) fn enter(
        &self,
        config: ChannelConfig,
        view: &OnChainView,
    ) -> Result<Arc<Slot>, PaymentError> {
        let channel = PayeeChannel::new(&self.terms, &self.domain, config, view)
            .map_err(|reject| refused(&reject))?;
        let id = channel.state().id;
        let mut channels = self
            .channels
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        Ok(Arc::clone(
            channels.entry(id).or_insert_with(|| Slot::new(id, channel)),
        ))
    }
}

impl Book {
    /// Forgets a channel that was entered for a deposit which then failed: junk deposits must not
    /// fill the memory. Kept if it holds money, was ever changed, or if anyone else works on it:
    /// two slots of one channel would each accept its whole balance.
    pub(crate) fn forget_unfunded(&self, slot: &Arc<Slot>) {
        let mut channels = self
            .channels
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        // The book's handle and the caller's: nobody gets another while the book is locked.
        let alone = Arc::strong_count(slot) <= 2;
        let state = slot.lock().snapshot();
        if alone && state.balance.is_zero() && state.version == ENTERED_VERSION {
            channels.remove(&slot.id);
        }
    }
}

impl Slot {
    fn new(id: ChannelId, channel: PayeeChannel) -> Arc<Self> {
        Arc::new(Self {
            id,
            channel: Mutex::new(channel),
            on_chain: tokio::sync::Mutex::default(),
        })
    }

    /// The channel, locked. Never hold it across an await.
    pub(crate) fn lock(&self) -> MutexGuard<'_, PayeeChannel> {
        self.channel.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The channel as its payer may see it.
    pub(crate) fn view(&self) -> ChannelView {
        view(&self.lock())
    }
}

/// A channel as its payer may see it.
pub(crate) fn view(channel: &PayeeChannel) -> ChannelView {
    let state = channel.state();
    ChannelView {
        id: state.id,
        config: state.config,
        balance: state.balance,
        claimed: state.claimed,
        charged: state.charged,
        in_flight: channel.in_flight(),
        ceiling: state
            .best
            .map(|best| (best.voucher.ceiling, best.signature)),
        withdrawal_finalizes_at: state.withdrawal.map(|withdrawal| withdrawal.finalizes_at),
        refund_nonce: state.refund_nonce,
    }
}

/// The version of a channel that was entered and never changed.
const ENTERED_VERSION: u64 = 1;

#[cfg(test)]
mod tests {
    use alloy_primitives::{Address, B256, U256};
    use rialto_channels::{Amount, ChainTime};

    use super::*;

    fn book() -> Book {
        let domain = SettlementDomain {
            chain_id: 84_532,
            contract: Address::repeat_byte(1),
        };
        let terms = Terms {
            receiver: Address::repeat_byte(2),
            receiver_authorizer: Address::repeat_byte(3),
            token: Address::repeat_byte(4),
            withdraw_delay: 900,
            in_flight_max: 4,
        };
        Book::restore(domain, terms, Vec::new()).unwrap()
    }

    fn enter(book: &Book, salt: u8, balance: u128) -> Arc<Slot> {
        let config = ChannelConfig {
            payer: Address::repeat_byte(5),
            payer_authorizer: Address::repeat_byte(6),
            receiver: book.terms.receiver,
            receiver_authorizer: book.terms.receiver_authorizer,
            token: book.terms.token,
            withdraw_delay: book.terms.withdraw_delay,
            salt: B256::with_last_byte(salt),
        };
        let view = OnChainView {
            balance: Amount::new(balance),
            claimed: Amount::ZERO,
            refund_nonce: U256::ZERO,
            withdrawal: None,
            read_at: ChainTime::new(1),
        };
        book.enter(config, &view).unwrap()
    }

    #[test]
    fn only_an_unfunded_channel_that_nobody_works_on_is_forgotten() {
        let book = book();
        let funded = enter(&book, 1, 1);
        book.forget_unfunded(&funded);
        assert!(book.get(funded.id).is_some());

        let empty = enter(&book, 2, 0);
        let other = enter(&book, 2, 0);
        book.forget_unfunded(&empty);
        assert!(book.get(empty.id).is_some(), "someone else works on it");
        drop(other);
        book.forget_unfunded(&empty);
        assert!(book.get(empty.id).is_none());
    }
}
