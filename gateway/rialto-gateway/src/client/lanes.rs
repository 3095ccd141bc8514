//! Which channel a call is paid on. Calls overlap on one channel as far as the host's headroom
//! goes; beyond that, and beside other programs of the same wallet, further channels with the same
//! provider (lanes, told apart by their salt) are used, up to a limit.
//!
//! A channel whose receipts the host broke, or whose money is being withdrawn, pays for nothing.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::B256;
use rialto_channels::payer::lanes;
use rialto_channels::{ChannelConfig, ChannelId, SigningKey};
use rialto_node::keys;

use super::budget;
use super::channel::{Channel, Opening};
use super::quote::Offer;
use super::store::places::Keep;
use super::wallet::WalletError;
use super::{Authorizer, ClientError, PayingClient, StoreError, StoredChannel, stored_channels};

/// A channel in use by one call.
#[derive(Debug)]
pub(super) struct Lane {
    channel: Arc<Channel>,
}

impl Lane {
    pub(super) fn new(channel: &Arc<Channel>) -> Self {
        channel.enter();
        Self {
            channel: Arc::clone(channel),
        }
    }

    pub(super) fn channel(&self) -> &Arc<Channel> {
        &self.channel
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.channel.leave();
    }
}

/// What came of looking for a channel on disk.
enum Found {
    Opened(Arc<Channel>),
    /// None is free; other programs use so many.
    Taken(Vec<Candidate>),
}

/// A channel that could be opened.
struct Candidate {
    config: ChannelConfig,
    key: SigningKey,
    is_new: bool,
}

impl PayingClient {
    /// The channel that a call by this offer is paid on; opened at its first use.
    pub(super) async fn lane(&self, offer: &Offer) -> Result<Lane, ClientError> {
        let mut open = self.inner.channels.lock().await;
        let mut own: Vec<_> = open
            .values()
            .filter(|channel| offer.is_served_by(channel.chain_id(), channel.config()))
            .filter(|channel| channel.state().withdrawal.is_none())
            .map(Arc::clone)
            .collect();
        own.sort_by_key(|channel| channel.config().salt);
        for channel in &own {
            refuse_broken(&channel.state(), channel.fault())?;
        }
        own.retain(|channel| channel.fault().is_none());
        let capacity = self.capacity(offer);
        if let Some(free) = own.iter().find(|channel| channel.calls() < capacity) {
            return Ok(Lane::new(free));
        }
        let lanes_max = usize::try_from(self.inner.config.lanes_max.max(1)).unwrap_or(usize::MAX);
        let taken = if own.len() < lanes_max {
            let known: Vec<ChannelId> = open.keys().copied().collect();
            match self.free_lane(offer, &known, own.len(), lanes_max).await? {
                Found::Opened(channel) => {
                    open.insert(channel.id(), Arc::clone(&channel));
                    return Ok(Lane::new(&channel));
                }
                Found::Taken(taken) => taken,
            }
        } else {
            Vec::new()
        };
        // Every lane is busy: share the least busy of ours, or wait for another program's.
        if let Some(least) = own.iter().min_by_key(|channel| channel.calls()) {
            return Ok(Lane::new(least));
        }
        match taken.into_iter().next() {
            Some(candidate) => {
                let channel = Arc::new(self.open(offer, candidate, LOCK_WAIT).await?);
                open.insert(channel.id(), Arc::clone(&channel));
                Ok(Lane::new(&channel))
            }
            None => Err(ClientError::Offer("no channel may be opened".to_owned())),
        }
    }

    /// The channel that a call was paid on before; any other where it is gone, or no longer serves this offer.
    pub(super) async fn lane_again(
        &self,
        offer: &Offer,
        id: ChannelId,
    ) -> Result<Lane, ClientError> {
        if let Some(channel) = self.inner.channels.lock().await.get(&id) {
            return Ok(Lane::new(channel));
        }
        let stored = match &self.inner.config.store {
            Some(dir) => stored_channels(dir)?,
            None => Vec::new(),
        };
        let serves = |stored: &StoredChannel| {
            let config = &stored.snapshot.config;
            stored.snapshot.id == id && offer.is_served_by(stored.chain_id, config)
        };
        match stored.iter().find(|stored| serves(stored)) {
            Some(stored) => self.known_channel(stored).await,
            None => self.lane(offer).await,
        }
    }

    /// Opens the channel that a refund is asked for, whatever its state.
    pub(super) async fn known_channel(&self, stored: &StoredChannel) -> Result<Lane, ClientError> {
        let id = stored.snapshot.id;
        let mut open = self.inner.channels.lock().await;
        if let Some(channel) = open.get(&id) {
            return Ok(Lane::new(channel));
        }
        let config = stored.snapshot.config;
        let opening = Opening {
            settlement: super::settlement(stored.chain_id),
            config,
            key: self.voucher_key(id, &config).await?,
            is_new: false,
            wait: LOCK_WAIT,
        };
        let channel = Arc::new(Channel::open(&self.inner.config, opening).await?);
        open.insert(id, Arc::clone(&channel));
        Ok(Lane::new(&channel))
    }

    /// How many calls share a channel: as many as the host lets overlap, and as we allow.
    fn capacity(&self, offer: &Offer) -> u32 {
        let overlap = offer
            .amount
            .get()
            .checked_div(offer.price.get())
            .unwrap_or(1)
            .max(1);
        let own = self.inner.config.calls_per_lane.max(1);
        own.min(u32::try_from(overlap).unwrap_or(u32::MAX))
    }

    /// A lane that nobody else uses. Programs of one wallet look one after the other, so that they
    /// do not open more of them together than each is allowed.
    async fn free_lane(
        &self,
        offer: &Offer,
        open: &[ChannelId],
        own: usize,
        lanes_max: usize,
    ) -> Result<Found, ClientError> {
        let _looking = match (&self.inner.config.store, &self.inner.authorizer) {
            (Some(dir), Authorizer::Sessions) => Some(budget::lock(dir, LANES, LOCK_WAIT).await?),
            (Some(_) | None, _) => None,
        };
        let found = self.look_for_lane(offer, open, own, lanes_max).await?;
        if let Found::Opened(channel) = &found {
            // Written at once, for the others to see.
            channel.save(Keep::Now).await?;
        }
        Ok(found)
    }

    async fn look_for_lane(
        &self,
        offer: &Offer,
        open: &[ChannelId],
        own: usize,
        lanes_max: usize,
    ) -> Result<Found, ClientError> {
        let mut candidates = match &self.inner.authorizer {
            Authorizer::Wallet(key) => numbered(offer, key, lanes_max),
            Authorizer::Sessions => self.kept_lanes(offer)?,
        };
        candidates.retain(|candidate| !open.contains(&candidate.config.id(&offer.settlement)));
        let wait = if lanes_max == 1 {
            LOCK_WAIT
        } else {
            Duration::ZERO
        };
        let mut taken = Vec::new();
        for candidate in candidates {
            let again = Candidate {
                key: candidate.key.clone(),
                ..candidate
            };
            match self.open(offer, candidate, wait).await {
                Ok(channel) => {
                    refuse_broken(&channel.state(), channel.fault())?;
                    if channel.fault().is_none() && channel.state().withdrawal.is_none() {
                        return Ok(Found::Opened(Arc::new(channel)));
                    }
                }
                Err(ClientError::Store(StoreError::Busy { .. })) if lanes_max > 1 => {
                    taken.push(again);
                }
                Err(error) => return Err(error),
            }
        }
        let sessions = matches!(self.inner.authorizer, Authorizer::Sessions);
        let lanes = own.saturating_add(taken.len());
        if sessions && lanes < lanes_max {
            let candidate = self.new_session(offer, lanes)?;
            return Ok(Found::Opened(Arc::new(
                self.open(offer, candidate, LOCK_WAIT).await?,
            )));
        }
        Ok(Found::Taken(taken))
    }

    /// The channels with this provider whose session keys are kept.
    fn kept_lanes(&self, offer: &Offer) -> Result<Vec<Candidate>, ClientError> {
        let Some(dir) = &self.inner.config.store else {
            return Ok(Vec::new());
        };
        let mut candidates = Vec::new();
        for stored in stored_channels(dir)? {
            let config = stored.snapshot.config;
            let path = StoredChannel::session_key(dir, stored.snapshot.id);
            if offer.is_served_by(stored.chain_id, &config) && path.exists() {
                refuse_broken(&stored.snapshot, stored.fault)?;
                let key = keys::load(&path).map_err(StoreError::Key)?;
                candidates.push(Candidate {
                    config,
                    key,
                    is_new: false,
                });
            }
        }
        candidates.sort_by_key(|candidate| candidate.config.salt);
        Ok(candidates)
    }

    /// A channel with a session key of its own, which is durable before anything is signed: the
    /// channel could not be spent, nor be refunded without a delay, if the key were lost.
    fn new_session(&self, offer: &Offer, number: usize) -> Result<Candidate, ClientError> {
        let (key, bytes) = loop {
            let bytes: [u8; 32] = rand::random();
            if let Ok(key) = SigningKey::from_bytes(&bytes) {
                break (key, bytes);
            }
        };
        let config = ChannelConfig {
            payer_authorizer: key.address(),
            salt: salt(number),
            ..offer.config
        };
        if let Some(dir) = &self.inner.config.store {
            let id = config.id(&offer.settlement);
            store_key(dir, id, &bytes)?;
        }
        Ok(Candidate {
            config,
            key,
            is_new: true,
        })
    }

    async fn open(
        &self,
        offer: &Offer,
        candidate: Candidate,
        wait: Duration,
    ) -> Result<Channel, ClientError> {
        let opening = Opening {
            settlement: offer.settlement,
            config: candidate.config,
            key: candidate.key,
            is_new: candidate.is_new,
            wait,
        };
        Channel::open(&self.inner.config, opening).await
    }

    /// The key that signs a kept channel's vouchers.
    async fn voucher_key(
        &self,
        id: ChannelId,
        config: &ChannelConfig,
    ) -> Result<SigningKey, ClientError> {
        if let Some(dir) = &self.inner.config.store {
            let path = StoredChannel::session_key(dir, id);
            if path.exists() {
                return Ok(keys::load(&path).map_err(StoreError::Key)?);
            }
        }
        let key = self.inner.wallet.key().await?;
        key.filter(|key| key.address() == config.payer_authorizer)
            .ok_or(ClientError::Wallet(WalletError::NoVouchers))
    }
}

/// Lanes whose vouchers the wallet's own key signs: known by their number alone.
fn numbered(offer: &Offer, key: &SigningKey, lanes_max: usize) -> Vec<Candidate> {
    (0..lanes_max)
        .map(|number| Candidate {
            config: ChannelConfig {
                salt: salt(number),
                ..offer.config
            },
            key: key.clone(),
            is_new: false,
        })
        .collect()
}

fn salt(number: usize) -> B256 {
    lanes::salt(u32::try_from(number).unwrap_or(u32::MAX))
}

fn store_key(dir: &Path, id: ChannelId, bytes: &[u8; 32]) -> Result<(), StoreError> {
    keys::store(&StoredChannel::session_key(dir, id), bytes).map_err(StoreError::Key)
}

/// Nothing more is paid to a host that broke its word while it holds money of ours.
fn refuse_broken(
    state: &rialto_channels::payer::PayerSnapshot,
    fault: Option<String>,
) -> Result<(), ClientError> {
    match fault {
        Some(fault) if !state.left().is_zero() => Err(ClientError::Broken {
            channel: state.id,
            fault,
        }),
        Some(_) | None => Ok(()),
    }
}

const LOCK_WAIT: Duration = Duration::from_secs(30);
const LANES: &str = "lanes.lock";
