//! Looks into what was begun on the chain and left behind: by a crash, by a transaction that was
//! not confirmed in time, or by a reorganisation that may still take it back.
//!
//! Not here: what is pending (`pending` holds it) and how transactions are seen through (the client
//! does).

use std::collections::HashMap;
use std::time::Duration;

use alloy_primitives::{Address, B256};
use rialto_chain::client::{Fate, Outcome, Sent};
use rialto_channels::payee::Refund;
use rialto_channels::{Amount, ChannelId, TransferAuthorization};
use rialto_ledger::{Entry, Movement};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::Node;
use crate::api::{CallError, ExactPayment};
use crate::catalog::chain;
use crate::digest;
use crate::money::unrecorded;
use crate::pending::{Item, Kind};
use crate::reject::unavailable;

impl Node {
    /// Looks into everything left behind, at intervals, until the node shuts down.
    pub(crate) async fn resolve_forever(self) {
        // Each by itself: one that hangs must not keep the others open. All end with this task.
        let (mut resolving, mut names) = (JoinSet::new(), HashMap::new());
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
            for item in self.pending().left_behind() {
                let name = item.name();
                if names.len() >= RESOLVING_MAX || names.values().any(|one| *one == name) {
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
                let sent = Sent {
                    nonce: *nonce,
                    hashes: hashes.clone(),
                };
                self.resolve_refund(ChannelId(*channel), &sent, item).await
            }
            Item::Exact {
                from,
                to,
                value,
                valid_after,
                valid_before,
                nonce,
                signature,
            } => {
                let authorization = TransferAuthorization {
                    from: *from,
                    to: *to,
                    value: *value,
                    valid_after: *valid_after,
                    valid_before: *valid_before,
                    nonce: *nonce,
                };
                let payment = ExactPayment {
                    authorization,
                    signature: signature.to_vec().into(),
                    payment_id: None,
                };
                self.resolve_exact(&payment, item).await
            }
            Item::Sent {
                kind,
                receiver,
                nonce,
                hashes,
            } => {
                let sent = Sent {
                    nonce: *nonce,
                    hashes: hashes.clone(),
                };
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
                let (transaction, amount) = (outcome.transaction, moved(&outcome, kind)?);
                if !amount.is_zero() {
                    tracing::info!(?kind, %amount, %transaction, "a transaction left behind was made");
                    self.record_for(receiver, kind, transaction, amount).await?;
                }
            }
        }
        self.pending().forget(item);
        Ok(())
    }

    /// A call that was answered is paid for, if its payer's consent is still good. One that was not
    /// is not (M3).
    async fn resolve_exact(&self, payment: &ExactPayment, item: &Item) -> Result<(), CallError> {
        let id = self.exact_receipt_id(&digest::exact_key(payment));
        let answered = self.ledger().receipt(&id).await;
        if answered.map_err(unrecorded)?.is_some() {
            match self.transfer(payment).await {
                Ok((transaction, amount)) => {
                    if !self.is_transfer_final(transaction).await? {
                        return Ok(());
                    }
                    tracing::info!(%transaction, %amount, "a transfer is made for good");
                }
                Err(CallError::Payment(error)) => {
                    tracing::warn!(receipt = %id, %error, "an answered call will not be paid for");
                }
                Err(other) => return Err(other),
            }
        }
        self.pending().forget(item);
        Ok(())
    }

    /// Whether no reorganisation is expected to take a transfer back. Until then it is made again
    /// if it vanishes.
    pub(crate) async fn is_transfer_final(&self, transaction: B256) -> Result<bool, CallError> {
        if self.is_final_when_confirmed() {
            return Ok(true);
        }
        let failed = |error| unavailable("the chain", error);
        let client = self.chain_client();
        let head = client.block_number().await.map_err(failed)?;
        let deep = self.config().risk.final_after.saturating_sub(1);
        let outcome = client.outcome_of(transaction).await.map_err(failed)?;
        Ok(outcome.is_some_and(|outcome| head >= outcome.block.saturating_add(deep)))
    }

    /// Whether what is confirmed counts for good.
    fn is_final_when_confirmed(&self) -> bool {
        self.config().risk.final_after <= self.config().payments.confirmations.max(1)
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
                let amount = moved(&outcome, kind)?;
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
        let pending = self.pending().clone();
        let kept = tokio::task::spawn_blocking(move || pending.keep(item)).await;
        kept.map_err(|error| unavailable("the books", error))?
            .map_err(|error| unavailable("the books", error))
    }

    async fn enter_books(&self, kind: Kind, movement: Movement) -> Result<(), CallError> {
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

/// What a transaction moved in all.
fn moved(outcome: &Outcome, kind: Kind) -> Result<Amount, CallError> {
    match kind {
        Kind::Claimed => sum(outcome.claimed.iter().map(|(_, amount)| *amount)),
        Kind::Refunded => sum(outcome.refunded.iter().map(|(_, amount)| *amount)),
        Kind::Settled => sum(outcome.settled.iter().map(|(_, amount)| *amount)),
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
/// How often what is left behind is looked into, at most.
const RESOLVE_EVERY: Duration = Duration::from_secs(2);
