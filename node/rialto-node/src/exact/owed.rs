//! Transfers that are owed for answers: made after a crash, made again after a reorganisation, watched
//! once the chain refused them, and taken out of the books when they can never come.
//!
//! What was refused is not tried again behind its caller's back: the caller was told that the payment
//! failed and may have paid anew (M3: nothing is charged for a call that failed). Who sends the same
//! payment again has it tried again, and gets the answer when it is made.
//! Not here: the order in which an answer is stored, paid for and handed out.

use alloy_primitives::B256;
use rialto_chain::client::{ChainError, TransferFate, TransferProspect};
use rialto_channels::Amount;
use rialto_channels::receipt::Receipt;
use rialto_ledger::{Entry, Movement};

use crate::Node;
use crate::api::{CallError, ExactPayment, PaymentError};
use crate::catalog::chain;
use crate::digest;
use crate::money::unrecorded;
use crate::pending::{ExactKeeper, Item, Owed, Unkept};
use crate::reject::unavailable;

impl Node {
    /// A call that was answered is paid for, if its payer's consent is still good. One that was not
    /// is not (M3). One whose transfer was refused is only watched.
    pub(crate) async fn resolve_exact(&self, owed: &Owed, item: &Item) -> Result<(), CallError> {
        let payment = owed.payment();
        let id = self.exact_receipt_id(&digest::exact_key(&payment));
        let answered = self.ledger().receipt(&id).await;
        let mut is_over = answered.map_err(unrecorded)?.is_none();
        if !is_over && !owed.is_refused() {
            match self.transfer(&payment).await {
                Ok((transaction, amount)) => {
                    if !self.is_transfer_final(transaction).await? {
                        return Ok(());
                    }
                    tracing::info!(%transaction, %amount, "a transfer is made for good");
                    is_over = true;
                }
                Err(CallError::Payment(error)) => {
                    tracing::warn!(receipt = %id, %error, "the transfer for an answered call is refused; what becomes of it is watched");
                    let refused = Item::Exact(owed.clone().into_refused());
                    let kept = self.pending().keep_aside(refused).await;
                    kept.map_err(|error| unavailable("the books", Unkept(error)))?;
                }
                Err(other) => return Err(other),
            }
        }
        if is_over || self.is_lost(owed).await? {
            self.pending().forget(item);
        }
        Ok(())
    }

    /// Blocks, its own included, under which something counts for good.
    pub(crate) fn blocks_until_final(&self) -> u64 {
        let confirmations = self.config().payments.confirmations.max(1);
        self.config().risk.final_after.max(confirmations)
    }

    /// Whether no reorganisation is expected to take a transfer back. Until then it is made again
    /// if it vanishes.
    pub(crate) async fn is_transfer_final(&self, transaction: B256) -> Result<bool, CallError> {
        let deep = self.blocks_until_final().saturating_sub(1);
        if deep == 0 {
            return Ok(true);
        }
        let failed = |error| unavailable("the chain", error);
        let client = self.chain_client();
        let head = client.block_number().await.map_err(failed)?;
        let outcome = client.outcome_of(transaction).await.map_err(failed)?;
        Ok(outcome.is_some_and(|outcome| head >= outcome.block.saturating_add(deep)))
    }

    /// The caller is told that the transfer was refused. Whether it is over.
    pub(super) async fn after_refusal(&self, keeper: &ExactKeeper) -> Result<bool, CallError> {
        let kept = keeper.refused().await;
        kept.map_err(|error| unavailable("the books", Unkept(error)))?;
        self.is_lost(keeper.owed()).await
    }

    /// Whether a transfer that was refused is over: made all the same, by whoever had its signature,
    /// or certain never to come. Then what was booked for its answer is taken back.
    async fn is_lost(&self, owed: &Owed) -> Result<bool, CallError> {
        let payment = owed.payment();
        let authorization = &payment.authorization;
        let id = self.exact_receipt_id(&digest::exact_key(&payment));
        let stored = self.ledger().receipt(&id).await.map_err(unrecorded)?;
        let Some(stored) = stored else {
            // Never answered, so never booked.
            return Ok(true);
        };
        let deep = self.blocks_until_final();
        let client = self.chain_client();
        let since = owed.since().unwrap_or_default();
        let prospect = client.transfer_prospect(authorization, since, deep).await;
        match prospect.map_err(|error| unavailable("the chain", error))? {
            TransferProspect::Open => return Ok(false),
            TransferProspect::Made(transaction) => {
                return self.is_transfer_final(transaction).await;
            }
            TransferProspect::Spent | TransferProspect::Expired => {}
            TransferProspect::Untold => {
                let given_up = authorization.valid_before.saturating_add(UNTOLD_SECONDS);
                let is_over = self.now().get() >= given_up;
                if is_over {
                    tracing::error!(receipt = %id, payer = %authorization.from, nonce = %authorization.nonce, "how a transfer's nonce was used is not found: it stays in the books as paid; look it up on the chain");
                }
                return Ok(is_over);
            }
        }
        self.take_back(&stored.receipt).await.map(|()| true)
    }

    /// Takes out of the books what was booked for an answer that will never be paid for; once,
    /// however often it is said.
    async fn take_back(&self, receipt: &Receipt) -> Result<(), CallError> {
        let id = receipt.id;
        tracing::warn!(receipt = %id, amount = %receipt.charged, payer = %receipt.payer, "an answered call will never be paid for: it is taken out of the books");
        let unpaid = Movement {
            transaction: id,
            receiver: receipt.provider,
            token: receipt.token,
            amount: receipt.charged,
        };
        let entered = self.ledger().commit(Entry::Unpaid(unpaid)).await;
        entered.map_err(unrecorded)
    }

    /// Submits the transfer unless the chain has it already.
    pub(crate) async fn transfer(
        &self,
        payment: &ExactPayment,
    ) -> Result<(B256, Amount), CallError> {
        let refused =
            |code, message| -> CallError { PaymentError::Settlement { code, message }.into() };
        let failed = |error: ChainError| {
            if error.revert().is_some() {
                refused("invalid_exact_evm_transaction_failed", chain(&error))
            } else {
                unavailable("the chain", error)
            }
        };
        let client = self.chain_client();
        let authorization = &payment.authorization;
        let transaction = match client.transfer_fate(authorization).await.map_err(failed)? {
            TransferFate::Open => {
                let made = match &self.0.foreign {
                    Some(foreign) => self.foreign_settle(foreign, payment).await,
                    None => client
                        .transfer_with_authorization(authorization, &payment.signature)
                        .await
                        .map_err(failed),
                };
                match made {
                    Ok(transaction) => transaction,
                    // Anyone who saw the signature may have been faster: it counts that it is made.
                    Err(CallError::Payment(error)) => {
                        match client.transfer_fate(authorization).await.map_err(failed)? {
                            TransferFate::Made(transaction) => transaction,
                            TransferFate::Open | TransferFate::Spent => return Err(error.into()),
                        }
                    }
                    Err(other) => return Err(other),
                }
            }
            TransferFate::Made(transaction) => transaction,
            // Otherwise a payer could cancel the transfer and fetch the answer for nothing.
            TransferFate::Spent => {
                let message = "the transfer was cancelled, or its nonce used for another";
                return Err(refused(
                    "invalid_exact_evm_nonce_already_used",
                    message.to_owned(),
                ));
            }
        };
        Ok((transaction, authorization.value))
    }
}

/// How long after its end a transfer is looked for whose nonce is gone and nobody knows how.
const UNTOLD_SECONDS: u64 = 86_400;
