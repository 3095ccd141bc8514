//! The channels this node is paid on, in memory: one lock each, never held across an await.
//!
//! Whether a voucher is good is decided by `rialto-channels`; this module only finds the channel.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rialto_channels::payee::{
    ChannelSnapshot, PayeeChannel, PayerExposure, RestoreError, SharedState, Terms,
};
use rialto_channels::{Address, ChannelConfig, ChannelId, OnChainView, SettlementDomain};

use crate::api::{ChannelView, PaymentError};
use crate::exposure::{Locked, PayerSum, PayerSums};
use crate::reject::refused;

/// Every channel by its id. Bounded by deposits: a channel enters only with money on the chain.
#[derive(Debug)]
pub(crate) struct Book {
    domain: SettlementDomain,
    terms: Terms,
    /// Who may be paid: the provider, and the splitters of services with a royalty.
    receivers: RwLock<BTreeSet<Address>>,
    channels: RwLock<HashMap<ChannelId, Arc<Slot>>>,
    payers: PayerSums,
}

/// One channel.
#[derive(Debug)]
pub(crate) struct Slot {
    /// Its id.
    pub(crate) id: ChannelId,
    channel: Mutex<PayeeChannel>,
    payer: Arc<PayerSum>,
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
        let payers = PayerSums::default();
        let restored = PayeeChannel::restore_all(&snapshots, &domain, terms.in_flight_max)?;
        drop(snapshots);
        for channel in restored {
            let id = channel.state().id;
            channels.insert(id, Slot::new(id, channel, &payers));
        }
        Ok(Self {
            domain,
            terms,
            receivers: RwLock::new(BTreeSet::from([terms.receiver])),
            channels: RwLock::new(channels),
            payers,
        })
    }

    /// Takes channels that pay these receivers too.
    pub(crate) fn add_receivers(&self, receivers: impl IntoIterator<Item = Address>) {
        let known = self.receivers.write();
        known
            .unwrap_or_else(PoisonError::into_inner)
            .extend(receivers);
    }

    /// Whether a channel may pay this receiver.
    pub(crate) fn knows_receiver(&self, receiver: &Address) -> bool {
        let known = self.receivers.read();
        known
            .unwrap_or_else(PoisonError::into_inner)
            .contains(receiver)
    }

    /// Everyone whom the node's channels pay or paid, each once.
    pub(crate) fn receivers(&self) -> BTreeSet<Address> {
        let of_channels = self.all();
        let of_channels = of_channels.iter();
        let of_channels = of_channels.map(|slot| slot.lock().state().config.receiver);
        let known = self.receivers.read();
        let known = known.unwrap_or_else(PoisonError::into_inner);
        known.iter().copied().chain(of_channels).collect()
    }

    /// What is demanded of a channel that pays `receiver`.
    fn terms_for(&self, receiver: Address) -> Terms {
        let known = self.knows_receiver(&receiver);
        Terms {
            receiver: if known { receiver } else { self.terms.receiver },
            ..self.terms
        }
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
        let terms = self.terms_for(config.receiver);
        terms.check(config).map_err(|reject| refused(&reject))
    }

    /// The channel, if it is known.
    pub(crate) fn get(&self, id: ChannelId) -> Option<Arc<Slot>> {
        self.channels
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&id)
            .cloned()
    }

    /// Takes a channel as the shared ledger shows it, over what was known of it here.
    ///
    /// # Errors
    /// [`RestoreError`] when the state contradicts itself.
    pub(crate) fn adopt(&self, state: SharedState) -> Result<Arc<Slot>, RestoreError> {
        let channel = PayeeChannel::resume(state, self.terms.in_flight_max)?;
        let id = channel.state().id;
        let mut channels = self
            .channels
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let slot = match channels.get(&id) {
            Some(slot) => Arc::clone(slot),
            None => {
                let slot = Slot::new(id, channel, &self.payers);
                channels.insert(id, Arc::clone(&slot));
                return Ok(slot);
            }
        };
        drop(channels);
        slot.adopt(channel);
        Ok(slot)
    }

    /// Most calls in flight on one channel.
    pub(crate) fn in_flight_max(&self) -> usize {
        self.terms.in_flight_max
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
        let terms = self.terms_for(config.receiver);
        let channel = PayeeChannel::new(&terms, &self.domain, config, view)
            .map_err(|reject| refused(&reject))?;
        let id = channel.state().id;
        let mut channels = self
            .channels
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        Ok(Arc::clone(
            channels
                .entry(id)
                .or_insert_with(|| Slot::new(id, channel, &self.payers)),
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
            self.payers.forget(state.config.payer, &slot.payer);
        }
    }
}

impl Slot {
    fn new(id: ChannelId, channel: PayeeChannel, payers: &PayerSums) -> Arc<Self> {
        let payer = payers.of(channel.state().config.payer);
        payer.enters(channel.exposure());
        Arc::new(Self {
            id,
            channel: Mutex::new(channel),
            payer,
            on_chain: tokio::sync::Mutex::default(),
        })
    }

    /// The channel, locked. Never hold it across an await.
    pub(crate) fn lock(&self) -> Locked<'_> {
        let channel = self.channel.lock().unwrap_or_else(PoisonError::into_inner);
        Locked::new(channel, &self.payer)
    }

    /// What this channel's payer has at stake over all its channels, as known here.
    pub(crate) fn payer_exposure(&self) -> PayerExposure {
        *self.payer.lock()
    }

    /// Takes a newer copy of the channel; an older one, that was overtaken on its way, is dropped.
    pub(crate) fn adopt(&self, newer: PayeeChannel) {
        let mut channel = self.lock();
        let age = |channel: &PayeeChannel| (channel.state().version, channel.state().synced_at);
        if age(&newer) >= age(&channel) {
            *channel = newer;
        }
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
    use alloy_primitives::{B256, U256};
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
