//! Calls paid by one EIP-3009 transfer each (x402 `exact`), for clients without channels.
//!
//! Order: verify, run, make the answer durable, transfer, hand the answer out. A crash before the
//! transfer charges nothing; one after it leaves the stored answer, which the same payment fetches,
//! however large it is and whatever became of price and validity meanwhile.
//! An answer goes out only for a transfer that was made: a used nonce is no proof of it.
//! A transfer that the chain refuses after its answer was stored stays remembered until it is certain
//! that it never comes, and then what was booked for it is taken back.

mod check;
mod owed;

use std::sync::Arc;

use alloy_primitives::{B256, keccak256};
use bytes::Bytes;
use rialto_channels::Amount;
use rialto_ledger::{PaymentRecord, StoredAnswer};
use tokio::sync::OwnedSemaphorePermit;
use tracing::Instrument as _;

use crate::Node;
use crate::api::{CallError, CallOutcome, ExactPayment, PaymentError};
use crate::calls::{Job, Stay, record};
use crate::catalog::{Code, chain};
use crate::digest;
use crate::money::{Arrival, Work, unrecorded};
use crate::pending::Unkept;
use crate::promises::Promise;
use crate::receipts::Paid;
use crate::reject::unavailable;
use crate::turns::Turn;
use check::{INSUFFICIENT_FUNDS, Unused};

impl Node {
    pub(crate) async fn call_exact(
        &self,
        mut job: Job,
        payment: ExactPayment,
        permit: OwnedSemaphorePermit,
    ) -> Result<CallOutcome, CallError> {
        tracing::info_span!("payment.verify").in_scope(|| self.check_signature(&payment))?;
        let transfer = digest::exact_key(&payment);
        let key = digest::exact_payment_key(&payment);
        let id = self.exact_receipt_id(&transfer);
        job.id = id;
        if let Err(refused) = self.check_for_job(&payment, &job) {
            // Prices change and signatures expire: one that was answered before is still answered.
            let stored = self.ledger().receipt(&id).await.map_err(unrecorded)?;
            if stored.is_none() {
                return Err(refused.into());
            }
        }
        // By its name first, then by its transfer: every call in this order, so none waits for ever.
        let named = if key == transfer {
            None
        } else {
            Some(self.turns().take(key).await)
        };
        let stay = ((self.turns().take(transfer).await, permit), named);
        let work = match self.arrive(key).await? {
            Arrival::Now(work) => work,
            Arrival::Before(stored) => {
                return self.replay_exact(*stored, &job, payment, stay).await;
            }
        };
        // Among replicas, the turn of the transfer: given up when this call ends.
        let _transfer = match self.ledger().shared() {
            Some(_) if key != transfer => Some(self.arrive(transfer).await?),
            Some(_) | None => None,
        };
        if self
            .ledger()
            .receipt(&id)
            .await
            .map_err(unrecorded)?
            .is_some()
        {
            return Err(CallError::Conflict(format!(
                "this transfer paid for another payment id; its receipt is {id}"
            )));
        }
        let code = self.0.catalog.code(&job.service).await?;
        let attempt = self.failures().begin_transfer(payment.authorization.from)?;
        let ran = self.run_exact((job, code), payment, key, work, stay);
        attempt.of(ran).await
    }

    /// Runs a call whose payment was never used, and makes the transfer.
    async fn run_exact(
        &self,
        (job, code): (Job, Arc<Code>),
        payment: ExactPayment,
        key: [u8; 32],
        work: Work,
        stay: ExactStay,
    ) -> Result<CallOutcome, CallError> {
        let (promise, since) = self.promise(&payment).await?;
        self.foreign_verify(&payment).await?;
        let payer = Some(payment.authorization.from);
        let (facts, outcome) = self.execute(job, code, payer).await?;
        // `exact` pays the quoted price, whatever the meter says.
        let paid = Paid::once(payment.authorization.from, facts.price);
        let receipt = facts.receipt(&outcome, &paid, self.now()).sign(self.key());
        let answered = Answered {
            record: record(key, &receipt, &outcome.body, facts.extent),
            body: outcome.body.clone(),
            work,
            promise,
            since,
        };
        let transaction = self.settle_exact(Some(answered), payment, stay).await?;
        Ok(CallOutcome {
            body: outcome.body,
            charged: paid.charged,
            payer: Some(paid.payer),
            channel: None,
            transaction,
            receipt: Some(receipt),
            replayed: false,
        })
    }

    /// The stored answer of a payment that was used before, once its transfer is made.
    async fn replay_exact(
        &self,
        mut stored: PaymentRecord,
        job: &Job,
        payment: ExactPayment,
        stay: ExactStay,
    ) -> Result<CallOutcome, CallError> {
        let id = stored.receipt.receipt.id;
        if id != job.id {
            return Err(CallError::Conflict(format!(
                "this payment id was used with another transfer; its receipt is {id}"
            )));
        }
        // The nonce alone names a transfer. Another one under it, of less or to somebody else, pays for
        // nothing: here it has not been compared with the price, which may have changed since.
        let (receipt, transfer) = (&stored.receipt.receipt, &payment.authorization);
        // The version that was paid may have had another royalty.
        let is_ours = self.book().knows_receiver(&transfer.to) || transfer.to == receipt.provider;
        if transfer.value != receipt.charged || !is_ours {
            return Err(CallError::Conflict(format!(
                "this nonce was used with another transfer, of {}; its receipt is {id}",
                receipt.charged
            )));
        }
        if stored.answer.is_none() {
            let transfer = digest::exact_key(&payment);
            stored.answer = self.large_answer(&transfer).await?;
        }
        let mut outcome = self.replay(&stored, &job.request, None)?;
        outcome.transaction = self.settle_exact(None, payment, stay).await?;
        Ok(outcome)
    }

    /// Everything that can be known of a transfer for this job without the chain. It must stay
    /// valid for as long as the call may take: it is made after the work.
    fn check_for_job(&self, payment: &ExactPayment, job: &Job) -> Result<(), PaymentError> {
        let limits = job.service.view.manifest.limits();
        let work_secs = limits.time_max().as_secs().saturating_add(1);
        self.check_transfer(payment, job.service.receiver, job.price, work_secs)
    }

    /// Takes the price out of what the payer holds and has not promised to other calls. With a block
    /// in which the transfer was not made.
    async fn promise(&self, payment: &ExactPayment) -> Result<(Promise, u64), CallError> {
        let Unused { balance, block } = self.check_on_chain(payment).await?;
        let (payer, price) = (payment.authorization.from, payment.authorization.value);
        let promise = self.promises().make(payer, price, balance);
        let promise = promise.map(|promise| (promise, block));
        promise.ok_or_else(|| {
            let message =
                format!("the payer holds {balance}, which its other calls under way will take");
            let code = INSUFFICIENT_FUNDS;
            PaymentError::Invalid { code, message }.into()
        })
    }

    /// An answer that was too large for the ledger.
    async fn large_answer(&self, transfer: &[u8; 32]) -> Result<Option<StoredAnswer>, CallError> {
        let (answers, transfer) = (self.answers().clone(), *transfer);
        let read = tokio::task::spawn_blocking(move || answers.read(&transfer)).await;
        let body = read
            .map_err(|error| unavailable("the answer", error))?
            .map_err(|error| unavailable("the answer", error))?;
        Ok(body.map(|body| StoredAnswer {
            content_type: "application/json".to_owned(),
            body: body.to_vec(),
        }))
    }

    /// Makes an answer durable that is too large for the ledger.
    async fn keep_large_answer(
        &self,
        payment: &ExactPayment,
        answered: &Answered,
    ) -> Result<(), CallError> {
        if answered.record.answer.is_some() {
            return Ok(());
        }
        let (answers, transfer) = (self.answers().clone(), digest::exact_key(payment));
        let body = answered.body.clone();
        let kept = tokio::task::spawn_blocking(move || answers.keep(&transfer, &body)).await;
        kept.map_err(|error| unavailable("the answer", error))?
            .map_err(|error| unavailable("the answer", error))
    }

    /// Stores the answer if it is a new one, then makes the transfer. A task of its own, which
    /// keeps the payment's turn: carried through even if the caller goes away.
    async fn settle_exact(
        &self,
        answered: Option<Answered>,
        payment: ExactPayment,
        stay: ExactStay,
    ) -> Result<Option<(B256, Amount)>, CallError> {
        let node = self.clone();
        let settling = async move {
            let _stay = stay;
            // Before the answer is stored: from then on the transfer is owed, whatever happens to
            // this process. After a crash it is made only if the answer was stored (M3).
            let since = answered.as_ref().map(|answered| answered.since);
            let keeper = node.pending().exact(&payment, since).await;
            let keeper = keeper.map_err(|error| unavailable("the books", Unkept(error)))?;
            let _promise = match answered {
                Some(answered) => {
                    node.keep_large_answer(&payment, &answered).await?;
                    node.record_payment(answered.record, answered.work).await?;
                    Some(answered.promise)
                }
                None => None,
            };
            let made = node.transfer(&payment).await;
            let is_over = match &made {
                Ok((transaction, _)) => node.is_transfer_final(*transaction).await,
                Err(CallError::Payment(_)) => node.after_refusal(&keeper).await,
                Err(_) => Ok(false),
            };
            match is_over {
                Ok(true) => keeper.over(),
                Ok(false) => {}
                Err(error) => {
                    tracing::debug!(error = %chain(&error), "a transfer is looked into again");
                }
            }
            made.map(Some)
        };
        let task = tokio::spawn(settling.in_current_span());
        task.await
            .map_err(|error| unavailable("the transfer", error))?
    }

    /// What a receipt of this transfer is called: the same whenever it is asked, and guessed by
    /// nobody who does not have the host's key, since receipts are read by their names.
    pub(crate) fn exact_receipt_id(&self, transfer: &[u8; 32]) -> B256 {
        let name = keccak256([b"rialto exact receipt v1\0".as_slice(), transfer].concat());
        keccak256(self.key().sign(name).to_bytes())
    }
}

/// A new answer, and the right to record it.
struct Answered {
    record: PaymentRecord,
    body: Bytes,
    work: Work,
    promise: Promise,
    /// A block in which the transfer was not made.
    since: u64,
}

/// What a call holds until its transfer is made; with a payment id, the id's turn too.
type ExactStay = (Stay, Option<Turn>);
