//! Follows the chain: what it says of channels is noted, withdrawals are answered by claiming at
//! once, and what a reorganisation takes back is un-believed.
//!
//! Two ways lead to a withdrawal: its event, and reading every channel that owes something within a
//! third of its delay, whatever the events say. While the chain does not answer, calls go on as
//! long as views are fresh (`view_ttl_secs`) and little enough is reserved ([`Blind`]).
//! Not here: what is claimed and settled when nothing is wrong (`collect`), and deposits that
//! vanished (`redeposit`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use alloy_primitives::{Address, B256};
use rialto_chain::client::{BlockRef, ChannelEvent, Event, Followed, Trail};
use rialto_channels::payee::PayeeChannel;
use rialto_channels::{Amount, ChainTime, ChannelId};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, timeout};

use crate::Node;
use crate::api::CallError;
use crate::book::Slot;
use crate::catalog::chain;
use crate::pending::Kind;
use crate::reject::unavailable;
use crate::resolve::sum;

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
    /// Its newest block then.
    head: u64,
    /// Reserved since it stopped answering.
    blind: Amount,
    /// When channels whose payers withdraw were claimed last.
    at_once: BTreeMap<ChannelId, ChainTime>,
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
                head: 0,
                blind: Amount::ZERO,
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

    /// How long ago the chain answered last.
    pub(crate) fn age(&self) -> Duration {
        self.lock().answered.elapsed()
    }

    /// The newest block when the chain was followed last.
    pub(crate) fn head(&self) -> u64 {
        self.lock().head
    }

    fn answered(&self, head: u64) {
        let mut shared = self.lock();
        shared.head = head;
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
    /// Payments to our receivers that could not be booked yet. Bounded by what was claimed before.
    unbooked: Vec<PaidOut>,
    /// Receivers to whom more may have been settled than is booked: while no node ran.
    unreconciled: BTreeSet<Address>,
    /// Channels that owe something and were not read for long.
    unseen: Vec<Arc<Slot>>,
    /// When a fleet's ledger was last asked which channels owe something.
    learnt: Option<Instant>,
}

/// What one transaction settled to one of our receivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PaidOut {
    receiver: Address,
    transaction: B256,
    amount: Amount,
}

/// What these events paid out in `token`, by transaction and receiver: one transaction may settle
/// several times.
fn paid_out(events: &[Event], token: Address) -> Result<Vec<PaidOut>, CallError> {
    let mut paid: Vec<PaidOut> = Vec::new();
    for event in events {
        let ChannelEvent::Settled {
            receiver,
            token: paid_in,
            amount,
        } = event.event
        else {
            continue;
        };
        if paid_in != token {
            continue;
        }
        let transaction = event.transaction;
        let same = |one: &&mut PaidOut| (one.transaction, one.receiver) == (transaction, receiver);
        match paid.iter_mut().rev().find(same) {
            Some(one) => one.amount = sum([one.amount, amount].into_iter())?,
            None => paid.push(PaidOut {
                receiver,
                transaction,
                amount,
            }),
        }
    }
    Ok(paid)
}

impl Node {
    /// Follows the chain until the node shuts down. What happened while no node ran is read first,
    /// from the channels that owe something.
    pub(crate) async fn watch_forever(self, next_block: u64) {
        let mut lookout = Lookout {
            trail: Trail::new(next_block, self.config().risk.reorg_blocks_max),
            unread: BTreeSet::new(),
            unbooked: Vec::new(),
            unreconciled: self.book().receivers(),
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

    /// What fails does not keep the rest from being done: an endpoint that shows no events must not
    /// hide the withdrawals that reading the channels shows.
    async fn watch_once(&self, lookout: &mut Lookout) -> Result<(), CallError> {
        let learnt = self.learn(lookout).await;
        let followed = self.follow(lookout).await;
        let booked = self.book_payments(lookout).await;
        let reconciled = self.reconcile(&mut lookout.unreconciled).await;
        let read = self.read_again(lookout).await;
        let looked = self.look_at_owing(lookout).await;
        let claimed = self.claim_at_risk().await;
        learnt
            .and(followed)
            .and(booked)
            .and(reconciled)
            .and(read)
            .and(looked)
            .and(claimed)
    }

    async fn learn(&self, lookout: &mut Lookout) -> Result<(), CallError> {
        if lookout.learnt.is_none_or(|at| at.elapsed() >= LEARN_EVERY) {
            self.learn_owing().await?;
            lookout.learnt = Some(Instant::now());
        }
        Ok(())
    }

    async fn follow(&self, lookout: &mut Lookout) -> Result<(), CallError> {
        self.watch().hand_over(&mut lookout.trail);
        loop {
            let seen = self.chain_client().follow(&mut lookout.trail).await;
            let seen = seen.map_err(|error| unavailable("the chain", error))?;
            self.observe(seen.now);
            self.watch().answered(seen.head.number);
            let events = seen.events.iter();
            lookout
                .unread
                .extend(events.filter_map(|event| event.event.channel()));
            lookout.unbooked.extend(self.paid_out(&seen)?);
            self.doubt(&seen, lookout).await?;
            if !seen.more {
                return Ok(());
            }
        }
    }

    /// What was settled to our receivers. Anyone may settle, not this host alone.
    fn paid_out(&self, seen: &Followed) -> Result<Vec<PaidOut>, CallError> {
        let mut paid = paid_out(&seen.events, self.payee().token)?;
        if !paid.is_empty() {
            let ours = self.book().receivers();
            paid.retain(|paid| ours.contains(&paid.receiver));
        }
        Ok(paid)
    }

    /// Enters settlements into the books; one that stands there already stays as it is.
    async fn book_payments(&self, lookout: &mut Lookout) -> Result<(), CallError> {
        while let Some(paid) = lookout.unbooked.last() {
            self.record_for(paid.receiver, Kind::Settled, paid.transaction, paid.amount)
                .await?;
            lookout.unbooked.pop();
        }
        Ok(())
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
        let unread = std::mem::take(&mut lookout.unread);
        let slots: Vec<_> = unread
            .into_iter()
            .filter_map(|id| self.book().get(id))
            .collect();
        let (failed, outcome) = self.read_all(slots.clone()).await;
        lookout.unread = failed.iter().map(|slot| slot.id).collect();
        for slot in slots {
            if !lookout.unread.contains(&slot.id) {
                self.make_deposits_again(&slot);
            }
        }
        outcome
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
        let rest = unseen.len().saturating_sub(LOOKS_MAX);
        let now = unseen.split_off(rest);
        let (failed, outcome) = self.read_all(now).await;
        // After the others: what cannot be read must not keep them from being looked at.
        unseen.splice(0..0, failed);
        outcome
    }

    /// Reads channels from the chain, many at a time; returns those that could not be read, and
    /// why. One whose place on the chain is taken for long is among them: its payer must not keep
    /// other channels from being looked at.
    pub(crate) async fn read_all(
        &self,
        mut slots: Vec<Arc<Slot>>,
    ) -> (Vec<Arc<Slot>>, Result<(), CallError>) {
        let mut reading = JoinSet::new();
        let (mut failed, mut outcome) = (Vec::new(), Ok(()));
        loop {
            while reading.len() < READING_MAX
                && let Some(slot) = slots.pop()
            {
                let node = self.clone();
                reading.spawn(async move {
                    let read = timeout(READ_WITHIN, node.refresh(&slot)).await;
                    let read = read.unwrap_or_else(|_| Err(unavailable("a channel", Taken)));
                    (slot, read)
                });
            }
            match reading.join_next().await {
                None => return (failed, outcome),
                Some(Ok((_, Ok(())))) => {}
                Some(Ok((slot, error))) => {
                    failed.push(slot);
                    outcome = error;
                }
                Some(Err(error)) => outcome = Err(unavailable("a channel", error)),
            }
        }
    }
}

/// A channel was not read in time.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the channel was not read within {} s", READ_WITHIN.as_secs())]
struct Taken;

/// How often a replica learns of channels that others serve: well within a third of any delay.
const LEARN_EVERY: Duration = Duration::from_secs(30);
/// How often an owing channel is read within its withdrawal delay, whatever the events say.
const WATCHES_PER_DELAY: u64 = 3;
/// Reads that wait for the next look.
const READS_MAX: usize = 65_536;
/// Channels that are read at once.
const READING_MAX: usize = 64;
/// How long reading one may take.
const READ_WITHIN: Duration = Duration::from_secs(10);
/// Owing channels that are read between two steps along the chain.
const LOOKS_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_transaction_may_settle_several_times() {
        let token = Address::repeat_byte(4);
        let settled = |transaction, receiver, token, amount| Event {
            block: 1,
            block_hash: B256::ZERO,
            transaction: B256::repeat_byte(transaction),
            event: ChannelEvent::Settled {
                receiver: Address::repeat_byte(receiver),
                token,
                amount: Amount::new(amount),
            },
        };
        let events = [
            settled(1, 1, token, 5),
            settled(1, 2, token, 6),
            settled(1, 1, token, 7),
            settled(1, 1, Address::ZERO, 100),
            settled(2, 1, token, 8),
        ];
        let paid = paid_out(&events, token).unwrap();
        let paid: Vec<_> = paid
            .iter()
            .map(|paid| (paid.transaction[0], paid.receiver[0], paid.amount.get()))
            .collect();
        assert_eq!(paid, [(1, 1, 12), (1, 2, 6), (2, 1, 8)]);
    }

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
        watch.answered(7);
        assert_eq!(watch.head(), 7);
        watch.admit(Amount::new(1_000)).unwrap();
    }
}
