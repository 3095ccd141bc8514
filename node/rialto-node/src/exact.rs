//! Calls paid by one EIP-3009 transfer each (x402 `exact`), for clients without channels.
//!
//! Order: verify, run, make the answer durable, transfer, hand the answer out. A crash before the
//! transfer charges nothing; one after it leaves the stored answer, which the same payment fetches.
//! An answer goes out only for a transfer that was made: a used nonce is no proof of it.

use alloy_primitives::B256;
use rialto_chain::client::{ChainError, TransferFate};
use rialto_channels::digest::transfer_authorization;
use rialto_channels::{Amount, Signature, TokenDomain, recover};
use rialto_ledger::{Entry, PaymentRecord};
use tokio::sync::OwnedSemaphorePermit;

use crate::Node;
use crate::api::{CallError, CallOutcome, ExactPayment, PaymentError};
use crate::calls::{Job, Stay, record};
use crate::catalog::chain;
use crate::digest;
use crate::receipts::Paid;
use crate::reject::unavailable;

impl Node {
    pub(crate) async fn call_exact(
        &self,
        job: Job,
        payment: ExactPayment,
        permit: OwnedSemaphorePermit,
    ) -> Result<CallOutcome, CallError> {
        self.check_exact(&payment, job.price)?;
        let key = digest::exact_key(&payment);
        let turn = self.turns().take(key).await;
        let stay: Stay = (turn, permit);
        if let Some(stored) = self
            .ledger()
            .payment(&key)
            .map_err(|error| unavailable("the ledger", error))?
        {
            let mut outcome = self.replay(&stored, &job.request, None)?;
            outcome.transaction = self.settle_exact(None, payment, stay).await?;
            return Ok(outcome);
        }
        self.check_on_chain(&payment).await?;
        let (facts, outcome) = self.execute(job).await?;
        let paid = Paid::once(payment.authorization.from, facts.price);
        let receipt = facts.receipt(&outcome, &paid, self.now()).sign(self.key());
        let answered = record(key, &receipt, &outcome.body);
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

    /// Stores the answer if it is a new one, then makes the transfer. A task of its own, which
    /// keeps the payment's turn: carried through even if the caller goes away.
    async fn settle_exact(
        &self,
        answered: Option<PaymentRecord>,
        payment: ExactPayment,
        stay: Stay,
    ) -> Result<Option<(B256, Amount)>, CallError> {
        let node = self.clone();
        let task = tokio::spawn(async move {
            let _stay = stay;
            if let Some(payment) = answered {
                let entry = Entry::Charge {
                    snapshot: None,
                    payment,
                };
                let stored = node.ledger().commit(entry).await;
                stored.map_err(|error| unavailable("the ledger", error))?;
            }
            node.transfer(&payment).await.map(Some)
        });
        task.await
            .map_err(|error| unavailable("the transfer", error))?
    }

    /// Submits the transfer unless the chain has it already.
    async fn transfer(&self, payment: &ExactPayment) -> Result<(B256, Amount), CallError> {
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
            TransferFate::Open => client
                .transfer_with_authorization(authorization, &payment.signature)
                .await
                .map_err(failed)?,
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

    fn check_exact(&self, payment: &ExactPayment, price: Amount) -> Result<(), PaymentError> {
        let refused = |code, message: String| Err(PaymentError::Invalid { code, message });
        let authorization = &payment.authorization;
        let payee = self.payee();
        if authorization.to != payee.receiver {
            let message = format!(
                "the transfer pays {}, not {}",
                authorization.to, payee.receiver
            );
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

    async fn check_on_chain(&self, payment: &ExactPayment) -> Result<(), CallError> {
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

/// A transaction takes this long to be included on a slow day.
const TRANSFER_SECONDS: u64 = 6;
