//! Turns charges into money: claims in batches, settles per receiver, and watches the chain for
//! withdrawals that must be answered at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use alloy_primitives::B256;
use rialto_chain::client::{ChannelEvent, Claimed};
use rialto_channels::{Amount, ChannelId};
use rialto_ledger::{Entry, Movement};
use tokio::time::MissedTickBehavior;

use crate::Node;
use crate::api::{CallError, Collected};
use crate::book::Slot;
use crate::catalog::chain;
use crate::reject::unavailable;

impl Node {
    /// Claims every channel that owes something and settles what was claimed.
    ///
    /// A claim of one payer never fails for another's sake: refused rows are dropped and reported.
    ///
    /// # Errors
    /// [`CallError::Unavailable`] when the chain cannot be reached; what was claimed stays claimed.
    pub async fn collect(&self) -> Result<Collected, CallError> {
        let _one_at_a_time = self.collecting().lock().await;
        let mut collected = Collected::default();
        let slots = self.book().all();
        let refused = self.claim_owed(&slots, &mut collected).await?;
        if !refused.is_empty() {
            // The balance may have shrunk unseen: the rows are made again from a fresh view.
            for slot in &refused {
                self.refresh(slot).await?;
            }
            self.claim_owed(&refused, &mut collected).await?;
        }
        let (receiver, token) = (self.payee().receiver, self.payee().token);
        let settled = self
            .chain_client()
            .settle(receiver, token)
            .await
            .map_err(|error| unavailable("the chain", error))?;
        if let Some(transaction) = settled.transaction {
            self.record(Entry::Settled, transaction, settled.amount)
                .await?;
            collected
                .settled
                .push((receiver, settled.amount, transaction));
        }
        Ok(collected)
    }

    /// Claims what these channels owe; returns those whose rows the chain refused.
    async fn claim_owed(
        &self,
        slots: &[Arc<Slot>],
        collected: &mut Collected,
    ) -> Result<Vec<Arc<Slot>>, CallError> {
        let mut rows = Vec::new();
        let mut before = BTreeMap::new();
        for slot in slots {
            let channel = slot.lock();
            if let Some(row) = channel.claimable() {
                before.insert(slot.id, channel.state().claimed);
                rows.push(row);
            }
        }
        let owing: Vec<_> = slots
            .iter()
            .filter(|slot| before.contains_key(&slot.id))
            .collect();
        let Some(one) = owing.first() else {
            collected.dropped.clear();
            return Ok(Vec::new());
        };
        // What is claimed must be durable: charges are queued before their channel's lock is
        // given up, and the ledger keeps the order, so all of them are stored when this is.
        let known = Entry::Channel(one.lock().snapshot());
        let stored = self.ledger().commit(known).await;
        stored.map_err(|error| unavailable("the ledger", error))?;
        let claimed = self.chain_client().claim(&rows).await;
        let claimed = claimed.map_err(|error| unavailable("the chain", error))?;
        let mut amount = Amount::ZERO;
        for (channel, total) in &claimed.claimed {
            let known = before.get(channel).copied().unwrap_or_default();
            let gained = total.checked_sub(known).unwrap_or_default();
            amount = amount
                .checked_add(gained)
                .map_err(|error| unavailable("the claim's sum", error))?;
        }
        if let Some(transaction) = claimed.transactions.first() {
            self.record(Entry::Claimed, *transaction, amount).await?;
        }
        let gained: BTreeSet<_> = claimed.claimed.iter().map(|(id, _)| *id).collect();
        for slot in owing.iter().filter(|slot| gained.contains(&slot.id)) {
            self.refresh(slot).await?;
        }
        let lost: BTreeSet<_> = claimed.dropped.iter().map(|row| row.channel).collect();
        let refused = owing.into_iter().filter(|slot| lost.contains(&slot.id));
        let refused = refused.map(Arc::clone).collect();
        note(collected, claimed, amount)?;
        Ok(refused)
    }

    pub(crate) async fn record(
        &self,
        entry: impl FnOnce(Movement) -> Entry,
        transaction: B256,
        amount: Amount,
    ) -> Result<(), CallError> {
        let (receiver, token) = (self.payee().receiver, self.payee().token);
        let movement = Movement {
            transaction,
            receiver,
            token,
            amount,
        };
        self.ledger()
            .commit(entry(movement))
            .await
            .map_err(|error| unavailable("the ledger", error))
    }

    /// Collects at intervals until the node shuts down.
    pub(crate) async fn collect_forever(self) {
        let mut ticks = tokio::time::interval(self.config().payments.collect_every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        loop {
            tokio::select! {
                () = self.stopping() => return,
                _ = ticks.tick() => {}
            }
            match self.collect().await {
                Ok(collected) => log_collected(&collected),
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "collection failed; it is tried again")
                }
            }
        }
    }

    /// Follows the chain until the node shuts down: new balances are noted, and a withdrawal is
    /// answered by claiming at once. What happened while no node ran is read first, from the
    /// channels that owe something.
    pub(crate) async fn watch_forever(self, mut next_block: u64) {
        let mut unseen = self.book().all();
        unseen.retain(|slot| slot.lock().claimable().is_some());
        let mut ticks = tokio::time::interval(self.config().payments.watch_every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.stopping() => return,
                _ = ticks.tick() => {}
            }
            match self.watch_once(next_block, &mut unseen).await {
                Ok(next) => next_block = next,
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "the chain cannot be followed; it is tried again")
                }
            }
        }
    }

    async fn watch_once(
        &self,
        from_block: u64,
        unseen: &mut Vec<Arc<Slot>>,
    ) -> Result<u64, CallError> {
        let client = self.chain_client();
        let failed = |error| unavailable("the chain", error);
        self.observe(client.now().await.map_err(failed)?);
        let (events, next_block) = client.events(from_block).await.map_err(failed)?;
        let changed: BTreeSet<_> = events
            .iter()
            .filter_map(|event| channel_of(&event.event))
            .collect();
        let known = changed.into_iter().filter_map(|id| self.book().get(id));
        let mut noted = Ok(());
        for slot in known {
            // One that cannot be read must not keep the others from being claimed.
            noted = self.refresh(&slot).await.and(noted);
        }
        if unseen.is_empty() {
            // An endpoint that lags may have hidden an event: owed money is looked after anyway.
            let now = self.now();
            unseen.extend(self.book().all());
            unseen.retain(|slot| {
                let channel = slot.lock();
                let age = now.secs_since(channel.state().synced_at);
                let age_max = channel.state().config.withdraw_delay / WATCHES_PER_DELAY;
                age > age_max && channel.claimable().is_some()
            });
        }
        while noted.is_ok()
            && let Some(slot) = unseen.last()
        {
            noted = self.refresh(slot).await;
            if noted.is_ok() {
                unseen.pop();
            }
        }
        if self.book().all().iter().any(|slot| slot.lock().at_risk()) {
            log_collected(&self.collect().await?);
        }
        noted.map(|()| next_block)
    }
}

/// How often an owing channel is read within its withdrawal delay, whatever the events say.
const WATCHES_PER_DELAY: u64 = 3;

fn note(collected: &mut Collected, claimed: Claimed, amount: Amount) -> Result<(), CallError> {
    collected.claimed = collected
        .claimed
        .checked_add(amount)
        .map_err(|error| unavailable("the claims' sum", error))?;
    collected.claims.extend(claimed.transactions);
    collected.channels = collected.channels.saturating_add(claimed.claimed.len());
    let dropped = claimed.dropped.into_iter();
    collected.dropped = dropped.map(|row| (row.channel, row.reason)).collect();
    Ok(())
}

/// The channel that an event is about; settlement is about a receiver.
fn channel_of(event: &ChannelEvent) -> Option<ChannelId> {
    match event {
        ChannelEvent::Deposited { channel, .. }
        | ChannelEvent::Claimed { channel, .. }
        | ChannelEvent::Refunded { channel, .. }
        | ChannelEvent::WithdrawInitiated { channel, .. }
        | ChannelEvent::WithdrawFinalized { channel, .. } => Some(*channel),
        ChannelEvent::Settled { .. } | _ => None,
    }
}

fn log_collected(collected: &Collected) {
    for transaction in &collected.claims {
        tracing::info!(%transaction, amount = %collected.claimed, channels = collected.channels, "claimed");
    }
    for (receiver, amount, transaction) in &collected.settled {
        tracing::info!(%receiver, %amount, %transaction, "settled");
    }
    for (channel, reason) in &collected.dropped {
        tracing::warn!(%channel, reason, "the chain refused this claim; it stays claimable");
    }
}
