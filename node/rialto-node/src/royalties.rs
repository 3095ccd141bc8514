//! Pays out: settles every receiver of this node, and releases what arrived at splitters to
//! publisher and provider.
//!
//! Anyone could do both, and a publisher may: this node does it because it wants its own part.
//! Not here: what is owed, which the contracts know.

use std::collections::BTreeSet;

use rialto_channels::royalty::Royalty;
use rialto_channels::{Address, Amount};

use crate::Node;
use crate::api::{CallError, Collected};
use crate::catalog::chain;
use crate::pending::Kind;
use crate::reject::unavailable;

impl Node {
    /// Settles what was claimed for these receivers, then empties the splitters.
    ///
    /// # Errors
    /// [`CallError::Unavailable`] for the first receiver that could not be settled; the others
    /// are all the same.
    pub(crate) async fn pay_out(
        &self,
        receivers: &BTreeSet<Address>,
        collected: &mut Collected,
    ) -> Result<(), CallError> {
        let splitters = self.0.catalog.splitters();
        // First what others settled: this node's own settlement is recorded when it is made.
        if let Err(error) = self.reconcile(&mut receivers.clone()).await {
            tracing::warn!(error = %chain(&error), "what others settled is not known; it is looked for again");
        }
        let mut outcome = Ok(());
        for receiver in receivers {
            outcome = self.settle(*receiver, collected).await.and(outcome);
        }
        for (splitter, royalty) in splitters {
            self.release(splitter, &royalty, collected).await;
        }
        outcome
    }

    async fn settle(&self, receiver: Address, collected: &mut Collected) -> Result<(), CallError> {
        let token = self.payee().token;
        let keeper = self.pending().sends(Kind::Settled, receiver);
        let client = self.chain_client();
        let settled = client.settle_kept(receiver, token, Some(&keeper)).await;
        let settled = settled.map_err(|error| unavailable("the chain", error))?;
        if let Some(transaction) = settled.transaction {
            collected
                .settled
                .push((receiver, settled.amount, transaction));
            self.record_for(receiver, Kind::Settled, transaction, settled.amount)
                .await?;
            keeper.over();
        }
        Ok(())
    }

    /// Empties a splitter if that is worth the gas: after a settlement to it, or when as much
    /// arrived otherwise as the smallest deposit. A failure waits for the next time.
    async fn release(&self, splitter: Address, royalty: &Royalty, collected: &mut Collected) {
        let (provider, token) = (self.payee().provider, self.payee().token);
        let settled = collected.settled.iter();
        let mut to_it =
            settled.filter(|(receiver, amount, _)| *receiver == splitter && !amount.is_zero());
        if to_it.next().is_none() && !self.holds_enough(splitter).await {
            return;
        }
        match self.chain_client().release(royalty, provider, token).await {
            Ok(Some(released)) => {
                tracing::info!(
                    %splitter,
                    publisher = %released.publisher,
                    provider = %released.provider,
                    transaction = %released.transaction,
                    "royalty paid"
                );
                collected.released.push((splitter, released));
            }
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%splitter, error = %chain(&error), "a royalty was not paid; it is tried again");
            }
        }
    }

    async fn holds_enough(&self, splitter: Address) -> bool {
        let held = self.chain_client().token_balance(splitter).await;
        let worth_it = self.config().payments.deposit_min.max(Amount::new(1));
        held.is_ok_and(|held| held >= worth_it)
    }
}
