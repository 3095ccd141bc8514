//! Follows the chain: what it says of channels is noted, withdrawals are answered by claiming at
//! once, and what a reorganisation takes back is un-believed.
//!
//! Two ways lead to a withdrawal: its event, and reading every channel that owes something within a
//! third of its delay, whatever the events say. While the chain does not answer, calls go on as
//! long as views are fresh (`view_ttl_secs`) and little enough is reserved ([`Blind`]).
//! Not here: what is claimed and settled when nothing is wrong (`collect`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use alloy_primitives::B256;
use rialto_chain::client::{BlockRef, Followed, Trail};
use rialto_channels::payee::PayeeChannel;
use rialto_channels::{Amount, ChainTime, ChannelConfig, ChannelId};
use tokio::time::MissedTickBehavior;

use crate::Node;
use crate::api::{CallError, Deposit};
use crate::book::Slot;
use crate::catalog::chain;
use crate::reject::unavailable;

/// What calls and the watcher tell each other.
#[derive(Debug)]
pub(crate) struct Watch {
    blind_after: Duration,
    blind_max: Amount,
    shared: Mutex<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Blocks that channels were read at since the last look.
    reads: Vec<(BlockRef, ChannelId)>,
    /// There were more: every channel is in doubt.
    reads_lost: bool,
    /// When the chain answered last.
    answered: Instant,
    /// Reserved since it stopped answering.
    blind: Amount,
    /// The newest deposits that this node submitted, the oldest first.
    deposits: VecDeque<Submitted>,
    /// When channels whose payers withdraw were claimed last.
    at_once: BTreeMap<ChannelId, ChainTime>,
}

/// A deposit that was confirmed, and can be submitted again if a reorganisation takes it away.
#[derive(Clone, Debug)]
pub(crate) struct Submitted {
    pub(crate) channel: ChannelId,
    pub(crate) config: ChannelConfig,
    pub(crate) deposit: Deposit,
    pub(crate) transaction: B256,
}

/// Too much is reserved while the chain is silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the chain has not answered for {silent_secs} s, and {reserved} was reserved meanwhile: no more than {max} is risked"
)]
pub(crate) struct Blind {
    silent_secs: u64,
    reserved: Amount,
    max: Amount,
}

impl Watch {
    pub(crate) fn new(blind_after: Duration, blind_max: Amount) -> Self {
        Self {
            blind_after,
            blind_max,
            shared: Mutex::new(Shared {
                reads: Vec::new(),
                reads_lost: false,
                answered: Instant::now(),
                blind: Amount::ZERO,
                deposits: VecDeque::new(),
                at_once: BTreeMap::new(),
            }),
        }
    }

    /// A channel was read at this block.
    pub(crate) fn saw(&self, block: BlockRef, channel: ChannelId) {
        let mut shared = self.lock();
        if shared.reads.len() < READS_MAX {
            shared.reads.push((block, channel));
        } else {
            shared.reads_lost = true;
        }
    }

    /// Lets a call of this price begin.
    ///
    /// # Errors
    /// [`Blind`] if the chain is silent and too much is at stake already.
    pub(crate) fn admit(&self, price: Amount) -> Result<(), Blind> {
        self.admit_at(price, Instant::now())
    }

    fn admit_at(&self, price: Amount, now: Instant) -> Result<(), Blind> {
        let mut shared = self.lock();
        let silent = now.saturating_duration_since(shared.answered);
        if silent < self.blind_after {
            return Ok(());
        }
        let reserved = shared.blind.checked_add(price).unwrap_or(Amount::MAX);
        if reserved > self.blind_max {
            return Err(Blind {
                silent_secs: silent.as_secs(),
                reserved: shared.blind,
                max: self.blind_max,
            });
        }
        shared.blind = reserved;
        Ok(())
    }

    /// A deposit was confirmed.
    pub(crate) fn deposited(&self, deposit: Submitted) {
        let mut shared = self.lock();
        if shared.deposits.len() >= DEPOSITS_MAX {
            shared.deposits.pop_front();
        }
        shared.deposits.push_back(deposit);
    }

    fn deposits_of(&self, channel: ChannelId) -> Vec<Submitted> {
        let shared = self.lock();
        let own = shared.deposits.iter().filter(|one| one.channel == channel);
        own.cloned().collect()
    }

    /// When this channel was claimed last, if its payer withdraws.
    pub(crate) fn last_at_once(&self, channel: ChannelId) -> Option<ChainTime> {
        self.lock().at_once.get(&channel).copied()
    }

    /// These channels were claimed.
    pub(crate) fn claimed_at_once(&self, channels: &BTreeSet<ChannelId>, now: ChainTime) {
        let mut shared = self.lock();
        shared.at_once.extend(channels.iter().map(|id| (*id, now)));
    }

    /// Forgets the channels that nobody withdraws from.
    pub(crate) fn retain_at_once(&self, withdrawing: &BTreeSet<ChannelId>) {
        let mut shared = self.lock();
        shared.at_once.retain(|id, _| withdrawing.contains(id));
    }

    fn answered(&self) {
        let mut shared = self.lock();
        shared.answered = Instant::now();
        shared.blind = Amount::ZERO;
    }

    /// Hands what was read since the last look to the trail.
    fn hand_over(&self, trail: &mut Trail) {
        let mut shared = self.lock();
        for (block, channel) in shared.reads.drain(..) {
            trail.note(block, channel);
        }
        if std::mem::take(&mut shared.reads_lost) {
            trail.lose_track();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the watcher carries from look to look.
struct Lookout {
    trail: Trail,
    /// Channels that something happened to and that could not be read yet.
    unread: BTreeSet<ChannelId>,
    /// Channels that owe something and were not read for long.
    unseen: Vec<Arc<Slot>>,
    /// When a fleet's ledger was last asked which channels owe something.
    learnt: Option<Instant>,
}

impl Node {
    /// Follows the chain until the node shuts down. What happened while no node ran is read first,
    /// from the channels that owe something.
    pub(crate) async fn watch_forever(self, next_block: u64) {
        let mut lookout = Lookout {
            trail: Trail::new(next_block, self.config().risk.reorg_blocks_max),
            unread: BTreeSet::new(),
            unseen: self.book().all(),
            learnt: None,
        };
        lookout
            .unseen
            .retain(|slot| slot.lock().claimable().is_some());
        let mut ticks = tokio::time::interval(self.config().payments.watch_every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.stopping() => return,
                _ = ticks.tick() => {}
            }
            if let Err(error) = self.watch_once(&mut lookout).await {
                tracing::warn!(error = %chain(&error), "the chain cannot be followed; it is tried again");
            }
        }
    }

    async fn watch_once(&self, lookout: &mut Lookout) -> Result<(), CallError> {
        if lookout.learnt.is_none_or(|at| at.elapsed() >= LEARN_EVERY) {
            self.learn_owing().await?;
            lookout.learnt = Some(Instant::now());
        }
        self.watch().hand_over(&mut lookout.trail);
        loop {
            let seen = self.chain_client().follow(&mut lookout.trail).await;
            let seen = seen.map_err(|error| unavailable("the chain", error))?;
            self.observe(seen.now);
            self.watch().answered();
            let events = seen.events.iter();
            lookout
                .unread
                .extend(events.filter_map(|event| event.event.channel()));
            self.doubt(&seen, lookout).await?;
            if !seen.more {
                break;
            }
        }
        let read = self.read_again(lookout).await;
        let looked = self.look_at_owing(lookout).await;
        self.claim_at_risk().await?;
        read.and(looked)
    }

    /// No call is taken on what a reorganisation put in doubt before it is read again.
    async fn doubt(&self, seen: &Followed, lookout: &mut Lookout) -> Result<(), CallError> {
        if let Some(blocks) = seen.taken_back {
            let channels = seen.doubted.len();
            tracing::warn!(blocks, channels, "the chain was reorganised");
        }
        let doubted: Vec<Arc<Slot>> = if seen.all_doubted {
            tracing::error!(
                "a reorganisation went deeper than risk.reorg_blocks_max: every channel is read again"
            );
            self.book().all()
        } else {
            let known = seen.doubted.iter();
            known.filter_map(|id| self.book().get(*id)).collect()
        };
        // Remembered first: the trail has forgotten them.
        lookout.unread.extend(doubted.iter().map(|slot| slot.id));
        let mut noted = Ok(());
        for slot in doubted {
            slot.lock().on_reorganised();
            if self.ledger().shared().is_some() {
                let shared = self.change(&slot, PayeeChannel::on_reorganised).await;
                noted = shared.and(noted);
            }
        }
        noted
    }

    async fn read_again(&self, lookout: &mut Lookout) -> Result<(), CallError> {
        let mut read = Ok(());
        let unread = std::mem::take(&mut lookout.unread);
        for id in unread {
            let Some(slot) = self.book().get(id) else {
                continue;
            };
            // One that cannot be read must not keep the others from being claimed.
            let outcome = self.refresh(&slot).await;
            if outcome.is_err() {
                lookout.unread.insert(id);
            } else {
                self.make_deposits_again(&slot);
            }
            read = outcome.and(read);
        }
        read
    }

    /// An endpoint that lags may have hidden an event: owed money is looked after anyway.
    async fn look_at_owing(&self, lookout: &mut Lookout) -> Result<(), CallError> {
        let unseen = &mut lookout.unseen;
        if unseen.is_empty() {
            let now = self.now();
            unseen.extend(self.book().all());
            unseen.retain(|slot| {
                let channel = slot.lock();
                let age = now.secs_since(channel.state().synced_at);
                let age_max = channel.state().config.withdraw_delay / WATCHES_PER_DELAY;
                age > age_max && channel.claimable().is_some()
            });
        }
        while let Some(slot) = unseen.last() {
            self.refresh(slot).await?;
            unseen.pop();
        }
        Ok(())
    }

    /// Submits deposits again that a reorganisation took away and no pool holds any more, if the
    /// payer's consent is still good. A task of its own: confirmations take their time.
    fn make_deposits_again(&self, slot: &Arc<Slot>) {
        let deposits = self.watch().deposits_of(slot.id);
        if deposits.is_empty() {
            return;
        }
        let (node, slot) = (self.clone(), Arc::clone(slot));
        tokio::spawn(async move {
            let _order = slot.on_chain.lock().await;
            for one in deposits {
                if let Err(error) = node.make_deposit_again(&slot, &one).await {
                    tracing::warn!(channel = %slot.id, error = %chain(&error), "a deposit that a reorganisation took away was not made again");
                }
            }
        });
    }

    async fn make_deposit_again(&self, slot: &Slot, one: &Submitted) -> Result<(), CallError> {
        let failed = |error| unavailable("the chain", error);
        let client = self.chain_client();
        let is_there = client.is_known(one.transaction).await.map_err(failed)?;
        if is_there || self.check_deposit_time(&one.deposit).is_err() {
            return Ok(());
        }
        let payer = one.config.payer;
        if self.consent_used(payer, slot.id, &one.deposit).await? {
            return Ok(());
        }
        let made = client
            .deposit(&one.config, one.deposit.amount, &one.deposit.consent)
            .await
            .map_err(failed)?;
        tracing::info!(channel = %slot.id, transaction = %made.transaction, "a deposit that a reorganisation took away was made again");
        self.watch().deposited(Submitted {
            transaction: made.transaction,
            ..one.clone()
        });
        self.refresh_in_order(slot).await
    }
}

/// How often a replica learns of channels that others serve: well within a third of any delay.
const LEARN_EVERY: Duration = Duration::from_secs(30);
/// How often an owing channel is read within its withdrawal delay, whatever the events say.
const WATCHES_PER_DELAY: u64 = 3;
/// Reads that wait for the next look.
const READS_MAX: usize = 65_536;
/// Deposits that can be made again.
const DEPOSITS_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_is_risked_while_the_chain_is_silent() {
        let watch = Watch::new(Duration::from_secs(30), Amount::new(100));
        for _ in 0..10 {
            watch.admit(Amount::new(90)).unwrap();
        }
        let later = Instant::now() + Duration::from_secs(31);
        watch.admit_at(Amount::new(90), later).unwrap();
        let blind = watch.admit_at(Amount::new(11), later).unwrap_err();
        assert_eq!((blind.silent_secs, blind.reserved), (31, Amount::new(90)));
        watch.admit_at(Amount::new(10), later).unwrap();
        assert!(watch.admit_at(Amount::new(1), later).is_err());
        watch.answered();
        watch.admit(Amount::new(1_000)).unwrap();
    }
}
