//! Seeing a transaction through: until it is confirmed, with a better offer when it hangs.
//!
//! A transaction that is not mined in time is replaced under the same nonce, an eighth dearer each
//! time, up to the operator's cap; at the cap it is submitted again as it is, in case the pool
//! dropped it. A nonce before ours that nobody looks after (left behind by a crash) is filled.

use std::time::Duration;

use alloy::consensus::TxEip1559;
use alloy::providers::Provider;
use alloy::rpc::types::TransactionReceipt;
use tokio::time::Instant;

use super::fees::Fees;
use super::send::{Attempt, Submission};
use super::{ChainClient, ChainError, Fate, Sent};

/// What one look at the chain found of a transaction.
enum Look {
    Confirmed(Box<TransactionReceipt>),
    /// Mined, and not deep enough.
    Shallow,
    Absent,
}

impl ChainClient {
    /// Waits until one of the transaction's forms is mined and has its confirmations, for each of
    /// which there is as much time as for the first.
    pub(super) async fn see_through(
        &self,
        attempt: &mut Attempt<'_>,
    ) -> Result<TransactionReceipt, ChainError> {
        let config = &self.inner.config;
        let began = Instant::now();
        let mut replace_at = began + config.replace_after;
        let mut gap = Gap::default();
        let mut pause = POLL_FIRST;
        let mut taken = 0;
        let mut patience = config.confirm_within;
        loop {
            match self.look(&attempt.sent).await {
                Ok(Look::Confirmed(receipt)) => return Ok(*receipt),
                Ok(Look::Shallow) => {
                    taken = 0;
                    // It is mined; each further block takes its time.
                    let blocks = u32::try_from(config.confirmations).unwrap_or(u32::MAX);
                    patience = config.confirm_within.saturating_mul(blocks);
                }
                // The first looks are quick: most transactions are mined before anything is wrong.
                Ok(Look::Absent) if pause > POLL_QUICK => {
                    // An endpoint that does not answer tells nothing about the nonce.
                    let mined_count = self.mined_count().await.unwrap_or(attempt.sent.nonce);
                    let is_taken = mined_count > attempt.sent.nonce;
                    taken = if is_taken { taken + 1 } else { 0 };
                    if taken >= TAKEN_LOOKS {
                        let transaction = attempt.sent.last();
                        return Err(ChainError::Superseded { transaction });
                    }
                    if !is_taken && Instant::now() >= replace_at {
                        if mined_count < attempt.sent.nonce {
                            self.fill(mined_count, &mut gap).await;
                        } else {
                            self.replace(attempt).await;
                        }
                        replace_at = Instant::now() + config.replace_after;
                    }
                }
                Ok(Look::Absent) => {}
                // It was sent: an endpoint that is away for a moment is no reason to forget it.
                Err(error) => {
                    let hash = attempt.sent.last();
                    tracing::debug!(%error, %hash, "looking for a transaction");
                }
            }
            if began.elapsed() >= patience {
                return Err(ChainError::Dropped {
                    transaction: attempt.sent.last(),
                    waited: patience,
                });
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(POLL_LAST);
        }
    }

    /// Makes sure that a transaction submitted before is mined, or never will be: if its nonce is
    /// still free, it is used up for nothing.
    ///
    /// # Errors
    /// See [`ChainError`]; [`ChainError::Dropped`] if it is open still. Ask again.
    pub async fn conclude(&self, sent: &Sent) -> Result<Fate, ChainError> {
        let began = Instant::now();
        let mut gap = Gap::default();
        let mut fill_at = began;
        let mut pause = POLL_FIRST;
        loop {
            let fate = self.fate(sent).await?;
            if fate != Fate::Open {
                return Ok(fate);
            }
            let mined_count = self.mined_count().await?;
            if mined_count <= sent.nonce && Instant::now() >= fill_at {
                self.fill(mined_count, &mut gap).await;
                fill_at = Instant::now() + self.inner.config.replace_after;
            }
            let waited = self.inner.config.confirm_within;
            if began.elapsed() >= waited {
                let transaction = sent.last();
                return Err(ChainError::Dropped {
                    transaction,
                    waited,
                });
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(POLL_LAST);
        }
    }

    async fn look(&self, sent: &Sent) -> Result<Look, ChainError> {
        for hash in sent.hashes.iter().rev() {
            if let Some(receipt) = self.receipt(*hash).await? {
                return Ok(if self.is_deep(&receipt).await? {
                    Look::Confirmed(Box::new(receipt))
                } else {
                    Look::Shallow
                });
            }
        }
        Ok(Look::Absent)
    }

    /// Offers more for a transaction that hangs. What fails is tried again at the next turn.
    async fn replace(&self, attempt: &mut Attempt<'_>) {
        let now = self.fees_now().await.unwrap_or(attempt.fees());
        let cap = self.inner.config.fee_max;
        if attempt.sent.hashes.len() < FORMS_MAX
            && let Some(raised) = attempt.fees().raised(now, cap)
        {
            attempt.transaction.max_fee_per_gas = raised.max;
            attempt.transaction.max_priority_fee_per_gas = raised.tip;
            if let Err(error) = self.sign(attempt) {
                tracing::warn!(%error, "a replacement was not signed");
                return;
            }
            if let Err(error) = attempt.keep().await {
                // Never submitted, so nobody but us has it.
                attempt.sent.hashes.pop();
                tracing::warn!(%error, "a replacement was not kept, and so not submitted");
                return;
            }
        }
        let hash = attempt.sent.last();
        let Fees { max, tip } = attempt.fees();
        tracing::warn!(%hash, nonce = attempt.sent.nonce, max, tip, "a transaction hangs; submitted again");
        if let Err(error) = self.inner.provider.send_raw_transaction(&attempt.raw).await
            && Submission::of(&error) == Submission::Refused
        {
            let error = super::error::describe(&error);
            tracing::warn!(error, %hash, "a replacement was refused");
        }
    }

    /// Uses up a nonce that nobody here looks after, with a transaction that does nothing.
    async fn fill(&self, nonce: u64, gap: &mut Gap) {
        if self.inner.nonces.ours().contains(&nonce) {
            return;
        }
        let Ok(now) = self.fees_now().await else {
            return;
        };
        let cap = self.inner.config.fee_max;
        let before = gap.fees.filter(|_| gap.nonce == nonce);
        let fees = match before {
            Some(before) => before.raised(now, cap).unwrap_or(before),
            // Enough to replace what was offered while the chain was as busy as now.
            None => now.raised(now, cap).unwrap_or(now).capped(cap),
        };
        *gap = Gap {
            nonce,
            fees: Some(fees),
        };
        let mut filler = Attempt {
            transaction: TxEip1559 {
                chain_id: self.chain_id(),
                nonce,
                gas_limit: GAS_OF_NOTHING,
                max_fee_per_gas: fees.max,
                max_priority_fee_per_gas: fees.tip,
                to: self.address().into(),
                ..TxEip1559::default()
            },
            raw: Vec::new(),
            sent: Sent::at(nonce),
            keeper: None,
        };
        if let Err(error) = self.sign(&mut filler) {
            tracing::warn!(%error, "a filler was not signed");
            return;
        }
        tracing::warn!(
            nonce,
            max = fees.max,
            "a nonce is stuck and is used up for nothing"
        );
        if let Err(error) = self.inner.provider.send_raw_transaction(&filler.raw).await {
            let error = super::error::describe(&error);
            tracing::debug!(error, nonce, "filling a nonce");
        }
    }
}

/// The nonce that is being filled, and the last offer for it.
#[derive(Debug, Default)]
struct Gap {
    nonce: u64,
    fees: Option<Fees>,
}

/// The first pause between two looks for a transaction; it doubles each time.
const POLL_FIRST: Duration = Duration::from_millis(5);
/// Beyond this pause the looks are at what may be wrong, too.
const POLL_QUICK: Duration = Duration::from_millis(20);
/// The longest pause.
const POLL_LAST: Duration = Duration::from_secs(1);
/// So many looks in a row must see the nonce gone and the transaction nowhere: endpoints lag.
const TAKEN_LOOKS: u32 = 6;
/// Forms of one transaction: an eighth more so often is twenty times the first offer.
const FORMS_MAX: usize = 26;
/// A transfer of nothing.
const GAS_OF_NOTHING: u64 = 21_000;
