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
