//! Settlements that nobody told this node of. Anyone may have the contract pay a receiver, also while
//! no node runs: what the chain says was settled is compared with the books, and what they lack is
//! looked for among the events and entered.
//!
//! Not here: settlements while the node runs (`watch` sees their events), and its own (`royalties`).

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::Address;
use rialto_ledger::Movement;

use crate::Node;
use crate::api::CallError;
use crate::pending::Kind;
use crate::reject::unavailable;

/// Where the search for settlements goes on, by receiver; one search at a time.
#[derive(Debug, Default)]
pub(crate) struct Searches(tokio::sync::Mutex<BTreeMap<Address, Search>>);

#[derive(Clone, Copy, Debug)]
enum Search {
    /// Block by block backwards; these are still to be searched.
    Under { last: u64, lookups_left: u32 },
    /// No event tells of it within what is searched; not tried again before the next start.
    Failed,
}

impl Node {
    /// Books what was settled to these receivers and is not in the books; those of whom nothing more
    /// is to be found are taken out of the set. Searches a part of the chain at a time: call it again.
    ///
    /// # Errors
    /// [`CallError::Unavailable`] for the first receiver that could not be compared; the others
    /// are all the same.
    pub(crate) async fn reconcile(
        &self,
        receivers: &mut BTreeSet<Address>,
    ) -> Result<(), CallError> {
        let mut outcome = Ok(());
        for receiver in receivers.clone() {
            match self.reconcile_one(receiver).await {
                Ok(true) => {
                    receivers.remove(&receiver);
                }
                Ok(false) => {}
                Err(error) => outcome = Err(error),
            }
        }
        outcome
    }

    /// Whether the books tell of everything that was settled to this receiver, or never will.
    async fn reconcile_one(&self, receiver: Address) -> Result<bool, CallError> {
        let failed = |error| unavailable("the chain", error);
        let (client, token) = (self.chain_client(), self.payee().token);
        let mut searches = self.0.searches.0.lock().await;
        let head = client.block_number().await.map_err(failed)?;
        // What lies less deep is not entered before it does.
        let young = self.blocks_until_final().saturating_sub(1);
        let Some(last) = head.checked_sub(young) else {
            return Ok(true);
        };
        let on_chain = client.settled_at(receiver, token, last).await;
        let on_chain = on_chain.map_err(failed)?;
        let mut search = searches.get(&receiver).copied().unwrap_or(Search::Under {
            last,
            lookups_left: LOOKUPS_MAX,
        });
        for _ in 0..LOOKUPS_AT_ONCE {
            let booked = self.ledger().settled(receiver, token).await?;
            let Ok(missing) = on_chain.checked_sub(booked) else {
                // More than lies deep: entered in the meantime.
                searches.remove(&receiver);
                return Ok(true);
            };
            if missing.is_zero() {
                searches.remove(&receiver);
                return Ok(true);
            }
            let (last, lookups_left) = match search {
                Search::Under { last, lookups_left } if lookups_left > 0 => (last, lookups_left),
                Search::Under { .. } => {
                    tracing::error!(%receiver, %missing, "the chain settled more than its events of the last blocks tell: look up the contract's `Settled` events; the audit will name this difference");
                    searches.insert(receiver, Search::Failed);
                    return Ok(true);
                }
                Search::Failed => return Ok(true),
            };
            let first = last.saturating_sub(BLOCKS_AT_ONCE - 1);
            let found = client.settlements(receiver, token, first, last).await;
            for (transaction, amount) in found.map_err(failed)? {
                tracing::info!(%receiver, %amount, %transaction, "settled by somebody else, or before a crash");
                let movement = Movement {
                    transaction,
                    receiver,
                    token,
                    amount,
                };
                self.enter_books(Kind::Settled, movement).await?;
            }
            search = match first.checked_sub(1) {
                Some(last) => Search::Under {
                    last,
                    lookups_left: lookups_left - 1,
                },
                // The chain's beginning.
                None => Search::Under {
                    last: 0,
                    lookups_left: 0,
                },
            };
            searches.insert(receiver, search);
        }
        Ok(false)
    }
}

/// Blocks in one request for events; public endpoints refuse more.
const BLOCKS_AT_ONCE: u64 = 2_000;
/// Requests before other work goes on.
const LOOKUPS_AT_ONCE: u32 = 8;
/// Requests in all: a million blocks.
const LOOKUPS_MAX: u32 = 500;
