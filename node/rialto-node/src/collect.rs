//! Turns charges into money: claims in batches and settles per receiver, when it is worth the gas or
//! has waited long enough; what is owed by a payer that withdraws, at once.
//!
//! What is due is decided by `rialto_channels::claims`; here are the numbers and the doing.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use alloy_primitives::Address;
use rialto_chain::client::{ChainError, Claimed};
use rialto_channels::claims::{GasPrice, Owing};
use rialto_channels::payee::PayeeChannel;
use rialto_channels::{Amount, ChainTime, ChannelId, ClaimRow};
use rialto_ledger::Entry;
use tokio::time::MissedTickBehavior;

use crate::Node;
use crate::api::{CallError, Collected};
use crate::book::Slot;
use crate::catalog::chain;
use crate::pending::Kind;
use crate::reject::unavailable;
use crate::resolve::sum;

impl Node {
    /// Claims every channel that owes something and settles what was claimed.
    ///
    /// A claim of one payer never fails for another's sake: refused rows are dropped and reported.
    ///
    /// # Errors
    /// [`CallError::Unavailable`] when the chain cannot be reached; what was claimed stays claimed.
    pub async fn collect(&self) -> Result<Collected, CallError> {
        let mut waiting = self.collecting().lock().await;
        let Some(_duty) = self.collecting_duty().await? else {
            tracing::debug!("another replica claims and settles");
            return Ok(Collected::default());
        };
        self.learn_owing().await?;
        let mut collected = Collected::default();
        self.claim_all(&self.book().all(), &mut collected).await?;
        self.pay_out(&self.book().receivers(), &mut collected)
            .await?;
        *waiting = Waiting::default();
        Ok(collected)
    }

    /// Claims and settles what is due: by gas, by age, or because its payer withdraws.
    pub(crate) async fn collect_due(&self) -> Result<Collected, CallError> {
        let mut waiting = self.collecting().lock().await;
        let mut collected = Collected::default();
        let Some(_duty) = self.collecting_duty().await? else {
            return Ok(collected);
        };
        self.learn_owing().await?;
        let (now, gas) = (self.now(), self.gas_price().await?);
        let policy = self.config().claims.policy;
        let slots = self.book().all();
        let at_once = |channel: &PayeeChannel| self.is_claimed_at_once(channel, now);
        let plan = policy.plan(&waiting.owing(&slots, at_once, now), gas, now);
        if plan.waiting > 0 {
            tracing::debug!(channels = plan.waiting, "owed, and not worth the gas yet");
        }
        let mut outcome = Ok(());
        for batch in plan.batches {
            let slots: Vec<_> = batch.iter().filter_map(|id| self.book().get(*id)).collect();
            // A batch that fails waits for the next time; the others do not wait for it.
            outcome = self.claim_all(&slots, &mut collected).await.and(outcome);
        }
        let due = self.receivers_due(&mut waiting, gas).await?;
        self.pay_out(&due, &mut collected).await?;
        outcome.map(|()| collected)
    }

    /// Claims everything that payers owe who are withdrawing, whatever it costs, and where a limit
    /// of what may be at stake comes near, so that calls go on while the claim is on its way.
    pub(crate) async fn claim_at_risk(&self) -> Result<(), CallError> {
        self.learn_exposed().await?;
        let slots = self.urgent();
        if slots.is_empty() {
            return Ok(());
        }
        // Not behind a collection under way, whose settlements may hang.
        let Some(_duty) = self.collecting_duty().await? else {
            return Ok(());
        };
        let mut collected = Collected::default();
        let claimed = self.claim_all(&slots, &mut collected).await;
        log_collected(&collected);
        claimed
    }

    /// The channels to claim now, without waiting for the usual time.
    fn urgent(&self) -> Vec<Arc<Slot>> {
        let (now, limits) = (self.now(), self.config().risk.exposure);
        let mut withdrawing = BTreeSet::new();
        let mut slots = self.book().all();
        slots.retain(|slot| {
            let payer = slot.payer_exposure().sum();
            let channel = slot.lock();
            if channel.state().withdrawal.is_some() {
                withdrawing.insert(slot.id);
            }
            self.is_claimed_at_once(&channel, now) || limits.wants_claim(&channel, payer)
        });
        self.watch().retain_at_once(&withdrawing);
        slots
    }

    fn is_claimed_at_once(&self, channel: &PayeeChannel, now: ChainTime) -> bool {
        let state = channel.state();
        let last = || self.watch().last_at_once(state.id);
        state.withdrawal.is_some() && channel.claim_at_once(last(), now)
    }

    /// What gas costs now, in the token.
    async fn gas_price(&self) -> Result<GasPrice, CallError> {
        let token_per_ether = self.config().claims.token_per_ether;
        if token_per_ether.is_zero() {
            return Ok(GasPrice::default());
        }
        let wei = self.chain_client().gas_price().await;
        Ok(GasPrice {
            wei: wei.map_err(|error| unavailable("the chain", error))?,
            token_per_ether,
        })
    }

    /// The receivers to whom enough is due, or for long enough.
    async fn receivers_due(
        &self,
        waiting: &mut Waiting,
        gas: GasPrice,
    ) -> Result<BTreeSet<Address>, CallError> {
        let (now, token) = (self.now(), self.payee().token);
        let policy = self.config().claims.policy;
        let mut due = BTreeSet::new();
        for receiver in self.book().receivers() {
            let amount = self.chain_client().unsettled(receiver, token).await;
            let amount = amount.map_err(|error| unavailable("the chain", error))?;
            if amount.is_zero() {
                waiting.receivers.remove(&receiver);
                continue;
            }
            let since = *waiting.receivers.entry(receiver).or_insert(now);
            if policy.settles(amount, now.secs_since(since), gas) {
                waiting.receivers.remove(&receiver);
                due.insert(receiver);
            }
        }
        Ok(due)
    }

    /// Claims what these channels owe, and once more those that the chain refused. One transaction
    /// after the other: what one did is recorded before the next, and one that fails does not keep
    /// the others from being made.
    async fn claim_all(
        &self,
        slots: &[Arc<Slot>],
        collected: &mut Collected,
    ) -> Result<(), CallError> {
        let rows_max = self.config().claims.policy.rows_max.max(1);
        let mut outcome = Ok(());
        for batch in slots.chunks(rows_max) {
            outcome = self.claim_batch(batch, collected).await.and(outcome);
        }
        outcome
    }

    async fn claim_batch(
        &self,
        slots: &[Arc<Slot>],
        collected: &mut Collected,
    ) -> Result<(), CallError> {
        let _one_at_a_time = self.claiming().lock().await;
        let refused = self.claim_owed(slots, collected).await?;
        if refused.is_empty() {
            return Ok(());
        }
        // The balance may have shrunk unseen: the rows are made again from a fresh view.
        self.read_all(refused.clone()).await.1?;
        let dropped = std::mem::take(&mut collected.dropped);
        let first: BTreeSet<_> = refused.iter().map(|slot| slot.id).collect();
        let again = self.claim_owed(&refused, collected).await.map(drop);
        // Of those, the second refusal counts; those of other batches stay.
        let kept = dropped.into_iter().filter(|(id, _)| !first.contains(id));
        collected.dropped.extend(kept);
        again
    }

    /// Claims what these channels owe; returns those whose rows the chain refused.
    async fn claim_owed(
        &self,
        slots: &[Arc<Slot>],
        collected: &mut Collected,
    ) -> Result<Vec<Arc<Slot>>, CallError> {
        let mut rows = Vec::new();
        let mut owing = Vec::new();
        for slot in slots {
            let channel = slot.lock();
            if let Some(row) = channel.claimable() {
                owing.push(slot);
                rows.push(row);
            }
        }
        let Some(one) = owing.first() else {
            return Ok(Vec::new());
        };
        // What is claimed must be durable: charges are queued before their channel's lock is
        // given up, and the ledger keeps the order, so all of them are stored when this is.
        // In a fleet they were durable before this replica saw them.
        if self.ledger().own().is_some() {
            let known = Entry::Channel(one.lock().snapshot());
            let stored = self.ledger().commit(known).await;
            stored.map_err(|error| unavailable("the ledger", error))?;
        }
        let (claimed, amount) = self
            .claim_rows(&rows, |error| unavailable("the chain", error))
            .await?;
        let gained: BTreeSet<_> = claimed.claimed.iter().map(|(id, _)| *id).collect();
        self.watch().claimed_at_once(&gained, self.now());
        let changed = owing.iter().filter(|slot| gained.contains(&slot.id));
        let (unread, _) = self
            .read_all(changed.map(|slot| Arc::clone(slot)).collect())
            .await;
        if !unread.is_empty() {
            tracing::debug!(
                channels = unread.len(),
                "claimed, and read again when the event is seen"
            );
        }
        let lost: BTreeSet<_> = claimed.dropped.iter().map(|row| row.channel).collect();
        let refused = owing.into_iter().filter(|slot| lost.contains(&slot.id));
        let refused = refused.map(Arc::clone).collect();
        note(collected, claimed, amount)?;
        Ok(refused)
    }

    /// Claims rows and records what was claimed, or leaves to `resolve` what cannot be recorded now.
    pub(crate) async fn claim_rows(
        &self,
        rows: &[ClaimRow],
        failed: fn(ChainError) -> CallError,
    ) -> Result<(Claimed, Amount), CallError> {
        let keeper = self.pending().sends(Kind::Claimed, self.payee().provider);
        let claimed = self.chain_client().claim_kept(rows, Some(&keeper)).await;
        let claimed = claimed.map_err(failed)?;
        let amount = self.record_claims(&claimed).await?;
        keeper.over();
        Ok((claimed, amount))
    }

    /// Records what each of these transactions claimed, which may be less than was asked for:
    /// somebody else may have claimed in between. Returns the sum.
    async fn record_claims(&self, claimed: &Claimed) -> Result<Amount, CallError> {
        let mut amount = Amount::ZERO;
        for done in &claimed.done {
            let gained = sum(done.claimed.iter().map(|(_, gained)| *gained))?;
            if !gained.is_zero() {
                self.record(Kind::Claimed, done.transaction, gained).await?;
            }
            amount = sum([amount, gained].into_iter())?;
        }
        Ok(amount)
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
            match self.collect_due().await {
                Ok(collected) => log_collected(&collected),
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "collection failed; it is tried again")
                }
            }
        }
    }
}

/// Since when what waits has been waiting, as far as this process knows.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    channels: HashMap<ChannelId, ChainTime>,
    receivers: HashMap<Address, ChainTime>,
}

impl Waiting {
    /// What the channels owe; remembers those that are new, and forgets those that owe nothing.
    fn owing(
        &mut self,
        slots: &[Arc<Slot>],
        at_once: impl Fn(&PayeeChannel) -> bool,
        now: ChainTime,
    ) -> Vec<Owing> {
        let mut channels = HashMap::new();
        let mut owing = Vec::new();
        for slot in slots {
            let channel = slot.lock();
            let Some(row) = channel.claimable() else {
                continue;
            };
            let since = self.channels.get(&slot.id).copied().unwrap_or(now);
            channels.insert(slot.id, since);
            let claimed = channel.state().claimed;
            owing.push(Owing {
                channel: slot.id,
                amount: row.total_claimed.saturating_sub(claimed),
                since,
                at_risk: at_once(&channel),
            });
        }
        self.channels = channels;
        owing
    }
}

fn note(collected: &mut Collected, claimed: Claimed, amount: Amount) -> Result<(), CallError> {
    collected.claimed = collected
        .claimed
        .checked_add(amount)
        .map_err(|error| unavailable("the claims' sum", error))?;
    collected.claims.extend(claimed.transactions);
    collected.channels = collected.channels.saturating_add(claimed.claimed.len());
    let dropped = claimed.dropped.into_iter();
    let dropped = dropped.map(|row| (row.channel, row.reason));
    collected.dropped.extend(dropped);
    Ok(())
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
