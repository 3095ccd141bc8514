//! Calls paid by one EIP-3009 transfer each (x402 `exact`), for clients without channels.
//!
//! Order: verify, run, make the answer durable, transfer, hand the answer out. A crash before the
//! transfer charges nothing; one after it leaves the stored answer, which the same payment fetches.
//! An answer goes out only for a transfer that was made: a used nonce is no proof of it.

use alloy_primitives::{Address, B256, keccak256};
use rialto_chain::client::{ChainError, KeepError, TransferFate};
use rialto_channels::digest::transfer_authorization;
use rialto_channels::{Amount, Signature, TokenDomain, recover};
use rialto_ledger::PaymentRecord;
use tokio::sync::OwnedSemaphorePermit;

use crate::Node;
use crate::api::{CallError, CallOutcome, ExactPayment, PaymentError};
use crate::calls::{Job, Stay, record};
use crate::catalog::chain;
use crate::digest;
use crate::money::{Arrival, Work, unrecorded};
use crate::receipts::Paid;
use crate::reject::unavailable;
use crate::turns::Turn;

impl Node {
    pub(crate) async fn call_exact(
        &self,
        mut job: Job,
        payment: ExactPayment,
        permit: OwnedSemaphorePermit,
    ) -> Result<CallOutcome, CallError> {
        let receiver = job.service.receiver;
        self.check_exact(&payment, receiver, job.price)?;
        let transfer = digest::exact_key(&payment);
        let key = digest::exact_payment_key(&payment);
        // By its name first, then by its transfer: every call in this order, so none waits for ever.
        let named = if key == transfer {
            None
        } else {
            Some(self.turns().take(key).await)
        };
        let stay = ((self.turns().take(transfer).await, permit), named);
        let id = self.exact_receipt_id(&transfer);
        job.id = id;
        let work = match self.arrive(key).await? {
            Arrival::Now(work) => Ok(work),
            Arrival::Before(stored) => Err(stored),
        };
        if let Err(stored) = &work {
            if key != transfer && stored.receipt.receipt.id != id {
                return Err(CallError::Conflict(format!(
                    "this payment id was used with another transfer; its receipt is {}",
                    stored.receipt.receipt.id
                )));
            }
            let mut outcome = self.replay(stored, &job.request, None)?;
            outcome.transaction = self.settle_exact(None, payment, stay).await?;
            return Ok(outcome);
        }
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
        self.check_on_chain(&payment).await?;
        self.foreign_verify(&payment).await?;
        let (facts, outcome) = self.execute(job).await?;
        let paid = Paid::once(payment.authorization.from, facts.price);
        let receipt = facts.receipt(&outcome, &paid, self.now()).sign(self.key());
        let answered = record(key, &receipt, &outcome.body);
        let answered = work.ok().map(|work| (answered, work));
        let transaction = self.settle_exact(answered, payment, stay).await?;
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

    /// Stores the answer if it is a new one, then makes the transfer. A task of its own, which
    /// keeps the payment's turn: carried through even if the caller goes away.
    async fn settle_exact(
        &self,
        answered: Option<(PaymentRecord, Work)>,
        payment: ExactPayment,
        stay: ExactStay,
    ) -> Result<Option<(B256, Amount)>, CallError> {
        let node = self.clone();
        let task = tokio::spawn(async move {
            let _stay = stay;
            // Before the answer is stored: from then on the transfer is owed, whatever happens to
            // this process. After a crash it is made only if the answer was stored (M3).
            let keeper = node.pending().exact(&payment).await;
            let keeper = keeper.map_err(|error| unavailable("the books", Unkept(error)))?;
            if let Some((payment, work)) = answered {
                node.record_payment(payment, work).await?;
            }
            let made = node.transfer(&payment).await;
            if matches!(made, Ok(_) | Err(CallError::Payment(_))) {
                keeper.over();
            }
            made.map(Some)
        });
        task.await
            .map_err(|error| unavailable("the transfer", error))?
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
            TransferFate::Open => match &self.0.foreign {
                Some(foreign) => self.foreign_settle(foreign, payment).await?,
                None => client
                    .transfer_with_authorization(authorization, &payment.signature)
                    .await
                    .map_err(failed)?,
            },
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

    /// What a receipt of this transfer is called: the same whenever it is asked, and guessed by
    /// nobody who does not have the host's key, since receipts are read by their names.
    pub(crate) fn exact_receipt_id(&self, transfer: &[u8; 32]) -> B256 {
        let name = keccak256([b"rialto exact receipt v1\0".as_slice(), transfer].concat());
        keccak256(self.key().sign(name).to_bytes())
    }

    /// Everything that can be known of a transfer of `price` to `to` without the chain.
    pub(crate) fn check_exact(
        &self,
        payment: &ExactPayment,
        to: Address,
        price: Amount,
    ) -> Result<(), PaymentError> {
        let refused = |code, message: String| Err(PaymentError::Invalid { code, message });
        let authorization = &payment.authorization;
        let payee = self.payee();
        if authorization.to != to {
            let message = format!("the transfer pays {}, not {to}", authorization.to);
            return refused("invalid_exact_evm_payload_recipient_mismatch", message);
        }
        if authorization.value != price {
            let message = format!(
                "the transfer is of {}, the price is {price}",
                authorization.value
            );
            return refused(
                "invalid_exact_evm_payload_authorization_value_mismatch",
                message,
            );
        }
        let now = self.now().get();
        if authorization.valid_after > now {
            let message = "the transfer is not valid yet".to_owned();
            return refused(
                "invalid_exact_evm_payload_authorization_valid_after",
                message,
            );
        }
        if authorization.valid_before <= now.saturating_add(TRANSFER_SECONDS) {
            let message = "the transfer expires too soon".to_owned();
            return refused(
                "invalid_exact_evm_payload_authorization_valid_before",
                message,
            );
        }
        let domain = TokenDomain {
            chain_id: payee.chain_id,
            token: payee.token,
            name: payee.token_name.clone(),
            version: payee.token_version.clone(),
        };
        let signer = Signature::parse(&payment.signature).and_then(|signature| {
            recover(transfer_authorization(&domain, authorization), &signature)
        });
        match signer {
            Ok(signer) if signer == authorization.from => Ok(()),
            Ok(_) => refused(
                "invalid_exact_evm_payload_signature",
                "the transfer is signed by another key".to_owned(),
            ),
            Err(error) => refused(
                "invalid_exact_evm_payload_signature",
                format!("the signature is no good: {error}"),
            ),
        }
    }

    /// Whether the transfer can still be made.
    pub(crate) async fn check_on_chain(&self, payment: &ExactPayment) -> Result<(), CallError> {
        let client = self.chain_client();
        let authorization = &payment.authorization;
        let failed = |error| unavailable("the chain", error);
        if client
            .authorization_used(authorization.from, authorization.nonce)
            .await
            .map_err(failed)?
        {
            let code = "invalid_exact_evm_nonce_already_used";
            let message = "this transfer was made before, and not for this call".to_owned();
            return Err(PaymentError::Invalid { code, message }.into());
        }
        let balance = client
            .token_balance(authorization.from)
            .await
            .map_err(failed)?;
        if balance < authorization.value {
            let message = format!(
                "the payer holds {balance}, the price is {}",
                authorization.value
            );
            return Err(PaymentError::Invalid {
                code: "insufficient_funds",
                message,
            }
            .into());
        }
        Ok(())
    }
}

/// A transfer could not be remembered.
#[derive(Debug, thiserror::Error)]
#[error("a transfer could not be remembered before its call was answered")]
struct Unkept(#[source] KeepError);

/// What a call holds until its transfer is made; with a payment id, the id's turn too.
type ExactStay = (Stay, Option<Turn>);

/// A transaction takes this long to be included on a slow day.
const TRANSFER_SECONDS: u64 = 6;
