//! Looks into what was begun on the chain and left behind: by a crash, by a transaction that was
//! not confirmed in time, or by a reorganisation that may still take it back.
//!
//! Not here: what is pending (`pending` holds it) and how transactions are seen through (the client
//! does).

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use alloy_primitives::{Address, B256};
use rialto_chain::client::{Fate, Outcome, Sent};
use rialto_channels::payee::Refund;
use rialto_channels::{Amount, ChannelId};
use rialto_ledger::{Entry, Movement};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::Node;
use crate::api::CallError;
use crate::catalog::chain;
use crate::pending::{Item, Kind, Unkept};
use crate::reject::unavailable;

impl Node {
    /// Looks into everything left behind, at intervals, until the node shuts down.
    pub(crate) async fn resolve_forever(self) {
        // Each by itself: one that hangs must not keep the others open. All end with this task.
        let (mut resolving, mut names) = (JoinSet::new(), HashMap::new());
        let mut watched = Watched::default();
        let mut ticks =
            tokio::time::interval(RESOLVE_EVERY.max(self.config().payments.watch_every));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.stopping() => return,
                _ = ticks.tick() => {}
            }
            while let Some(ended) = resolving.try_join_next_with_id() {
                let id = match &ended {
                    Ok((id, ())) => *id,
                    Err(error) => error.id(),
                };
                names.remove(&id);
                if let Err(error) = ended
                    && let Ok(panic) = error.try_into_panic()
                {
                    // As if it had happened here: the process ends and starts from the disk.
                    std::panic::resume_unwind(panic);
                }
            }
            let left = self.pending().left_behind();
            watched.retain(&left);
            for item in left {
                let name = item.name();
                if names.len() >= RESOLVING_MAX
                    || names.values().any(|one| *one == name)
                    || !watched.is_due(&item, Instant::now())
                {
                    continue;
                }
                let node = self.clone();
                let task = resolving.spawn(async move {
                    if let Err(error) = node.resolve(&item).await {
                        tracing::warn!(error = %chain(&error), "something left behind on the chain stays open; it is looked into again");
                    }
                });
                names.insert(task.id(), name);
            }
        }
    }

    async fn resolve(&self, item: &Item) -> Result<(), CallError> {
        match item {
            Item::Refund {
                channel,
                nonce,
                hashes,
            } => {
                let sent = sent(*nonce, hashes);
                self.resolve_refund(ChannelId(*channel), &sent, item).await
            }
            Item::Exact(owed) => self.resolve_exact(owed, item).await,
            Item::Sent {
                kind,
                receiver,
                nonce,
                hashes,
            } => {
                let sent = sent(*nonce, hashes);
                self.resolve_sent(*kind, *receiver, &sent, item).await
            }
            Item::Movement {
                kind,
                transaction,
                receiver,
                token,
                seen_at,
                ..
            } => {
                let movement = Movement {
                    transaction: *transaction,
                    receiver: *receiver,
                    token: *token,
                    amount: Amount::ZERO,
                };
                self.resolve_movement(*kind, movement, *seen_at, item).await
            }
        }
    }

    /// A refund was mined, or its nonce is used up for something else: either way its channel
    /// opens again.
    async fn resolve_refund(
        &self,
        channel: ChannelId,
        sent: &Sent,
        item: &Item,
    ) -> Result<(), CallError> {
        let fate = self.chain_client().conclude(sent).await;
        let fate = fate.map_err(|error| unavailable("the chain", error))?;
        let refunded = match &fate {
            Fate::Open => return Ok(()),
            Fate::Never => None,
            Fate::Mined(outcome) => refund_of(outcome, channel).map(|amount| (outcome, amount)),
        };
        if let Some((outcome, amount)) = refunded {
            tracing::info!(%channel, %amount, transaction = %outcome.transaction, "a refund left behind was paid");
            self.record(Kind::Refunded, outcome.transaction, amount)
                .await?;
        } else {
            tracing::info!(%channel, "a refund left behind was not paid and never will be");
        }
        if let Some(slot) = self.known(channel).await? {
            let ended = match refunded {
                Some((outcome, _)) => Some(self.shown_from(outcome.transaction).await),
                None => None,
            };
            self.change(&slot, |channel| {
                // What was begun in an earlier life of the process is not known here any more.
                let refund = Refund {
                    config: channel.state().config,
                    amount: Amount::ZERO,
                    nonce: channel.state().refund_nonce,
                    claim: None,
                    owed: channel.state().claimed,
                };
                channel.end_refund(refund, ended);
            })
            .await?;
            self.refresh(&slot).await?;
        }
        self.pending().forget(item);
        Ok(())
    }

    /// A claim or settlement was mined, and enters the books, or never will be: then what it was to
    /// move is claimed or settled again. Until either is certain it is looked at again.
    async fn resolve_sent(
        &self,
        kind: Kind,
        receiver: Address,
        sent: &Sent,
        item: &Item,
    ) -> Result<(), CallError> {
        let fate = self.chain_client().fate(sent).await;
        match fate.map_err(|error| unavailable("the chain", error))? {
            Fate::Open => return Ok(()),
            Fate::Never => {
                tracing::info!(
                    ?kind,
                    nonce = sent.nonce,
                    "a transaction left behind was never made"
                );
            }
            Fate::Mined(outcome) => {
                let transaction = outcome.transaction;
                let amount = moved(&outcome, kind, receiver)?;
                if !amount.is_zero() {
                    tracing::info!(?kind, %amount, %transaction, "a transaction left behind was made");
                    self.record_for(receiver, kind, transaction, amount).await?;
                }
            }
        }
        self.pending().forget(item);
        Ok(())
    }

    /// A movement that lies deep enough enters the books; one that vanished is forgotten, and what
    /// it claimed or settled is claimed or settled again.
    async fn resolve_movement(
        &self,
        kind: Kind,
        movement: Movement,
        seen_at: u64,
        item: &Item,
    ) -> Result<(), CallError> {
        let failed = |error| unavailable("the chain", error);
        let client = self.chain_client();
        let head = client.block_number().await.map_err(failed)?;
        let deep = self.config().risk.final_after.saturating_sub(1);
        let outcome = client.outcome_of(movement.transaction).await;
        match outcome.map_err(failed)? {
            Some(outcome) if head >= outcome.block.saturating_add(deep) => {
                // Mined anew on another branch, it may have moved another amount.
                let amount = moved(&outcome, kind, movement.receiver)?;
                let movement = Movement { amount, ..movement };
                self.enter_books(kind, movement).await?;
            }
            Some(_) => return Ok(()),
            None if head >= seen_at.saturating_add(deep).saturating_add(1) => {
                tracing::warn!(transaction = %movement.transaction, ?kind, "a reorganisation took a transaction away; it is made again");
            }
            None => return Ok(()),
        }
        self.pending().forget(item);
        Ok(())
    }

    /// Records money that moved on the chain: in the books if no reorganisation is expected to take
    /// it back, else as pending until then.
    pub(crate) async fn record(
        &self,
        kind: Kind,
        transaction: B256,
        amount: Amount,
    ) -> Result<(), CallError> {
        // In the sums it is the provider's, of which a royalty is paid.
        let receiver = self.payee().provider;
        self.record_for(receiver, kind, transaction, amount).await
    }

    /// As [`Node::record`], for a receiver of its own: where a royalty is paid, the channels' money is
    /// settled to a splitter, and stands in the books beside them.
    pub(crate) async fn record_for(
        &self,
        receiver: Address,
        kind: Kind,
        transaction: B256,
        amount: Amount,
    ) -> Result<(), CallError> {
        let token = self.payee().token;
        if self.is_final_when_confirmed() {
            let movement = Movement {
                transaction,
                receiver,
                token,
                amount,
            };
            return self.enter_books(kind, movement).await;
        }
        // What moved must be remembered even if the chain falls silent right now.
        let head = match self.chain_client().block_number().await {
            Ok(head) => head,
            Err(error) => {
                tracing::debug!(%error, "a movement is remembered at a block that was seen before");
                let risk = &self.config().risk;
                self.watch().head().saturating_add(risk.reorg_blocks_max)
            }
        };
        let item = Item::Movement {
            kind,
            transaction,
            receiver,
            token,
            amount,
            seen_at: head,
        };
        let kept = self.pending().keep_aside(item).await;
        kept.map_err(|error| unavailable("the books", Unkept(error)))
    }

    /// Whether what is confirmed counts for good.
    fn is_final_when_confirmed(&self) -> bool {
        self.config().risk.final_after <= self.config().payments.confirmations.max(1)
    }

    /// Enters what moved for good; once, however often it is said.
    pub(crate) async fn enter_books(
        &self,
        kind: Kind,
        movement: Movement,
    ) -> Result<(), CallError> {
        let entry = match kind {
            Kind::Claimed => Entry::Claimed(movement),
            Kind::Settled => Entry::Settled(movement),
            Kind::Refunded => Entry::Refunded(movement),
        };
        let stored = self.ledger().commit(entry).await;
        stored.map_err(|error| unavailable("the ledger", error))
    }
}

/// What a transaction gave back from a channel; `None` if it was reverted.
fn refund_of(outcome: &Outcome, channel: ChannelId) -> Option<Amount> {
    let mut refunds = outcome.refunded.iter();
    let refund = refunds.find(|(id, _)| *id == channel);
    refund.map(|(_, amount)| *amount)
}

fn sent(nonce: u64, hashes: &[B256]) -> Sent {
    let hashes = hashes.to_vec();
    Sent { nonce, hashes }
}

/// What a transaction moved in all; of settlements, what it paid to `receiver`.
fn moved(outcome: &Outcome, kind: Kind, receiver: Address) -> Result<Amount, CallError> {
    match kind {
        Kind::Claimed => sum(outcome.claimed.iter().map(|(_, amount)| *amount)),
        Kind::Refunded => sum(outcome.refunded.iter().map(|(_, amount)| *amount)),
        Kind::Settled => {
            let to_it = outcome.settled.iter().filter(|(to, _)| *to == receiver);
            sum(to_it.map(|(_, amount)| *amount))
        }
    }
}

/// When what is only watched is looked at: the less often the longer it has been watched, since it
/// may be years until a transfer expires.
#[derive(Debug, Default)]
struct Watched(HashMap<String, Looks>);

#[derive(Debug, Clone, Copy)]
struct Looks {
    first: Instant,
    last: Instant,
}

impl Watched {
    /// Forgets what is over.
    fn retain(&mut self, left: &[Item]) {
        if !self.0.is_empty() {
            let names: BTreeSet<_> = left.iter().map(Item::name).collect();
            self.0.retain(|name, _| names.contains(name));
        }
    }

    /// Whether to look at it now; what is not only watched is always due.
    fn is_due(&mut self, item: &Item, now: Instant) -> bool {
        if !matches!(item, Item::Exact(owed) if owed.is_refused()) {
            return true;
        }
        let (first, last) = (now, now);
        let Some(looks) = self.0.get_mut(&item.name()) else {
            self.0.insert(item.name(), Looks { first, last });
            return true;
        };
        let pause = (looks.last.duration_since(looks.first) / PAUSES_PER_AGE).min(PAUSE_MAX);
        let is_due = now.duration_since(looks.last) >= pause;
        if is_due {
            looks.last = now;
        }
        is_due
    }
}

/// The sum of amounts.
pub(crate) fn sum(amounts: impl Iterator<Item = Amount>) -> Result<Amount, CallError> {
    let mut sum = Amount::ZERO;
    for amount in amounts {
        sum = sum
            .checked_add(amount)
            .map_err(|error| unavailable("a sum", error))?;
    }
    Ok(sum)
}

/// Things that are looked into at once.
const RESOLVING_MAX: usize = 64;
/// Of the time that something has been watched, this part passes until the next look.
const PAUSES_PER_AGE: u32 = 8;
/// The longest time between two looks.
const PAUSE_MAX: Duration = Duration::from_secs(3_600);
/// How often what is left behind is looked into, at most.
const RESOLVE_EVERY: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_only_watched_is_looked_at_less_and_less_often() {
        let owed = |refused| {
            let item = serde_json::json!({
                "what": "exact", "from": Address::ZERO, "to": Address::ZERO, "value": "1",
                "valid_after": 0, "valid_before": 9, "nonce": B256::ZERO, "signature": "0x",
                "refused": refused,
            });
            serde_json::from_value::<Item>(item).unwrap()
        };
        let (mut watched, start) = (Watched::default(), Instant::now());
        let mut looks = |item: &Item, secs: std::ops::Range<u64>| {
            let ticks = secs
                .step_by(2)
                .map(|secs| start + Duration::from_secs(secs));
            ticks.filter(|now| watched.is_due(item, *now)).count()
        };
        assert_eq!(looks(&owed(false), 0..3_600), 1_800);
        assert_eq!(looks(&owed(true), 0..16), 8, "often at first");
        let (hour, day) = (
            looks(&owed(true), 16..3_600),
            looks(&owed(true), 3_600..86_400),
        );
        assert!((20..80).contains(&hour), "{hour}");
        assert!((20..60).contains(&day), "{day}");
        watched.retain(&[]);
        assert!(watched.0.is_empty());
    }
}
