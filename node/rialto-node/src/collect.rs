//! Turns charges into money: claims in batches, settles per receiver, and watches the chain for
//! withdrawals that must be answered at once.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::B256;
use rialto_chain::client::ChannelEvent;
use rialto_channels::{Amount, ChannelId};
use rialto_ledger::{Entry, Movement};
use tokio::time::MissedTickBehavior;

use crate::Node;
use crate::api::{CallError, Collected};
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
        let rows: Vec<_> = slots
            .iter()
            .filter_map(|slot| slot.lock().claimable())
            .collect();
        if !rows.is_empty() {
            let before: BTreeMap<_, _> = slots
                .iter()
                .map(|slot| (slot.id, slot.lock().state().claimed))
                .collect();
            let claimed = self
                .chain_client()
                .claim(&rows)
                .await
                .map_err(|error| unavailable("the chain", error))?;
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
            for slot in slots
                .iter()
                .filter(|slot| claimed.claimed.iter().any(|(id, _)| *id == slot.id))
            {
                self.refresh(slot).await?;
            }
            collected.claims = claimed.transactions;
            collected.claimed = amount;
            collected.channels = claimed.claimed.len();
            collected.dropped = claimed
                .dropped
                .into_iter()
                .map(|row| (row.channel, row.reason))
                .collect();
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
    /// answered by claiming at once.
    pub(crate) async fn watch_forever(self, mut next_block: u64) {
        let mut ticks = tokio::time::interval(self.config().payments.watch_every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.stopping() => return,
                _ = ticks.tick() => {}
            }
            match self.watch_once(next_block).await {
                Ok(next) => next_block = next,
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "the chain cannot be followed; it is tried again")
                }
            }
        }
    }

    async fn watch_once(&self, from_block: u64) -> Result<u64, CallError> {
        let client = self.chain_client();
        let failed = |error| unavailable("the chain", error);
        self.observe(client.now().await.map_err(failed)?);
        let (events, next_block) = client.events(from_block).await.map_err(failed)?;
        let mut withdrawing = false;
        let mut changed = BTreeSet::new();
        for event in &events {
            withdrawing |= matches!(event.event, ChannelEvent::WithdrawInitiated { .. });
            changed.extend(channel_of(&event.event));
        }
        for id in changed {
            if let Some(slot) = self.book().get(id) {
                self.refresh(&slot).await?;
            }
        }
        if withdrawing {
            log_collected(&self.collect().await?);
        }
        Ok(next_block)
    }
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
