//! Sending transactions: simulate, sign, keep, submit, see through.
//!
//! One account may send from several tasks: the nonce is taken and the transaction submitted
//! under one lock, the wait is outside it.
//! Non-goals: several nonces for one order. A transaction that was perhaps sent is only ever
//! replaced under its own nonce, so that one of its forms is mined at most.

use std::collections::BTreeSet;
use std::time::Duration;

use alloy::consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy::eips::BlockId;
use alloy::eips::eip2718::Encodable2718;
use alloy::network::TxSignerSync;
use alloy::primitives::{Address, Bytes};
use alloy::providers::Provider;
use alloy::rpc::types::{TransactionReceipt, TransactionRequest};
use alloy::transports::TransportError;
use tokio::sync::Mutex;

use super::error::never_left;
use super::fees::Fees;
use super::kept::KeepSent;
use super::{ChainClient, ChainError, Sent};

/// The next nonce, as far as this process knows better than the endpoint; locked while a
/// transaction is submitted.
#[derive(Debug, Default)]
pub(super) struct Nonces {
    next: Mutex<Option<u64>>,
    /// Those of transactions that are being seen through here.
    ours: std::sync::Mutex<BTreeSet<u64>>,
}

/// A transaction on its way, in the form that was submitted last.
#[derive(Debug)]
pub(super) struct Attempt<'k> {
    pub(super) transaction: TxEip1559,
    pub(super) raw: Vec<u8>,
    pub(super) sent: Sent,
    pub(super) keeper: Option<&'k dyn KeepSent>,
}

impl ChainClient {
    /// Runs a transaction at the latest block without sending it.
    pub(super) async fn simulate(&self, to: Address, data: Bytes) -> Result<Bytes, ChainError> {
        let request = self.request(to, data);
        let answer = self.inner.provider.call(request).await;
        answer.map_err(|error| self.failed(error))
    }

    /// Simulates, sends, and waits for the confirmations.
    pub(super) async fn send(
        &self,
        to: Address,
        data: Bytes,
    ) -> Result<TransactionReceipt, ChainError> {
        self.send_kept(to, data, None).await
    }

    /// As [`send`](Self::send), with every form of the transaction kept before it is submitted.
    pub(super) async fn send_kept(
        &self,
        to: Address,
        data: Bytes,
        keeper: Option<&dyn KeepSent>,
    ) -> Result<TransactionReceipt, ChainError> {
        // The estimate runs the transaction: what reverts is never sent.
        let estimate = self
            .inner
            .provider
            .estimate_gas(self.request(to, data.clone()))
            .await
            .map_err(|error| self.sort(error))?;
        let fees = self.fees_now().await?.capped(self.inner.config.fee_max);
        let mut attempt = Attempt {
            transaction: TxEip1559 {
                chain_id: self.chain_id(),
                gas_limit: estimate.saturating_add(estimate / GAS_SPARE_PART),
                max_fee_per_gas: fees.max,
                max_priority_fee_per_gas: fees.tip,
                to: to.into(),
                input: data.clone(),
                ..TxEip1559::default()
            },
            raw: Vec::new(),
            sent: Sent::default(),
            keeper,
        };
        self.submit(&mut attempt).await?;
        let _ours = self.inner.nonces.see_through(attempt.sent.nonce);
        let confirmed = self.see_through(&mut attempt).await;
        if matches!(
            confirmed,
            Err(ChainError::Dropped { .. } | ChainError::Superseded { .. })
        ) {
            // Whoever sends next asks the endpoint again.
            self.inner.nonces.forget().await;
        }
        let receipt = confirmed?;
        if receipt.status() {
            Ok(receipt)
        } else {
            Err(self.explain(to, data, &receipt).await)
        }
    }

    fn request(&self, to: Address, data: Bytes) -> TransactionRequest {
        TransactionRequest::default()
            .from(self.address())
            .to(to)
            .input(data.into())
    }

    /// What the endpoint advises to offer.
    pub(super) async fn fees_now(&self) -> Result<Fees, ChainError> {
        let fees = self.inner.provider.estimate_eip1559_fees().await;
        let fees = fees.map_err(|error| self.failed(error))?;
        Ok(Fees {
            max: fees.max_fee_per_gas,
            tip: fees.max_priority_fee_per_gas,
        })
    }

    async fn submit(&self, attempt: &mut Attempt<'_>) -> Result<(), ChainError> {
        let mut known = self.inner.nonces.next.lock().await;
        let mut attempts = 0;
        loop {
            attempts += 1;
            let pending = self.pending_count().await?;
            attempt.transaction.nonce = known.unwrap_or(0).max(pending);
            attempt.sent = Sent::at(attempt.transaction.nonce);
            self.sign(attempt)?;
            // Forms that were never submitted are harmless: nobody else has them.
            attempt.keep().await?;
            let next = attempt.transaction.nonce.checked_add(1);
            let Err(error) = self.inner.provider.send_raw_transaction(&attempt.raw).await else {
                *known = next;
                return Ok(());
            };
            match Submission::of(&error) {
                Submission::Sent => {
                    *known = next;
                    return Ok(());
                }
                Submission::Unknown => {
                    let hash = attempt.sent.last();
                    tracing::warn!(%hash, "no answer to a transaction; waiting for it all the same");
                    *known = None;
                    return Ok(());
                }
                Submission::StaleNonce if attempts < SUBMIT_ATTEMPTS_MAX => {
                    // Another process sends as this account, or the endpoint lags behind.
                    *known = None;
                    tokio::time::sleep(RETRY_PAUSE * attempts).await;
                }
                Submission::StaleNonce | Submission::Refused => {
                    *known = None;
                    return Err(self.sort(error));
                }
            }
        }
    }

    /// The account's transactions, those that wait to be mined included.
    async fn pending_count(&self) -> Result<u64, ChainError> {
        let count = self.inner.provider.get_transaction_count(self.address());
        count.pending().await.map_err(|error| self.failed(error))
    }

    /// The account's mined transactions.
    pub(super) async fn mined_count(&self) -> Result<u64, ChainError> {
        let count = self.inner.provider.get_transaction_count(self.address());
        count.latest().await.map_err(|error| self.failed(error))
    }

    /// Signs the transaction as it stands and adds the form to those that may be mined.
    pub(super) fn sign(&self, attempt: &mut Attempt<'_>) -> Result<(), ChainError> {
        let mut transaction = attempt.transaction.clone();
        let signature = self
            .inner
            .signer
            .sign_transaction_sync(&mut transaction)
            .map_err(ChainError::Sign)?;
        let envelope: TxEnvelope = transaction.into_signed(signature).into();
        attempt.sent.hashes.push(*envelope.tx_hash());
        attempt.raw = envelope.encoded_2718();
        Ok(())
    }

    /// Why a mined transaction failed: it runs again on the state before its block.
    async fn explain(&self, to: Address, data: Bytes, receipt: &TransactionReceipt) -> ChainError {
        let before = receipt.block_number.unwrap_or(0).saturating_sub(1);
        let call = self.inner.provider.call(self.request(to, data));
        let answer = call.block(BlockId::number(before)).await;
        let data = match answer.map_err(|error| self.failed(error)) {
            Err(ChainError::Reverted { data, .. }) => data,
            // The endpoint does not keep that state, or another transaction was in between.
            Ok(_) | Err(_) => Bytes::new(),
        };
        ChainError::reverted(data, Some(receipt.transaction_hash))
    }

    /// Sorts an endpoint's error about one of our transactions.
    fn sort(&self, error: TransportError) -> ChainError {
        let error = self.failed(error);
        if let ChainError::Refused { message, .. } = &error
            && is_poverty(message)
        {
            return ChainError::InsufficientFunds {
                account: self.address(),
                message: message.clone(),
            };
        }
        error
    }
}

impl Attempt<'_> {
    pub(super) fn fees(&self) -> Fees {
        Fees {
            max: self.transaction.max_fee_per_gas,
            tip: self.transaction.max_priority_fee_per_gas,
        }
    }

    pub(super) async fn keep(&self) -> Result<(), ChainError> {
        match self.keeper {
            Some(keeper) => keeper.keep(&self.sent).await.map_err(ChainError::NotKept),
            None => Ok(()),
        }
    }
}

impl Nonces {
    /// Marks a nonce as looked after until the guard is dropped.
    fn see_through(&self, nonce: u64) -> Ours<'_> {
        self.ours().insert(nonce);
        Ours {
            nonces: self,
            nonce,
        }
    }

    /// The chain took blocks back, and with them what this process knows better.
    pub(super) async fn forget(&self) {
        *self.next.lock().await = None;
    }

    pub(super) fn ours(&self) -> std::sync::MutexGuard<'_, BTreeSet<u64>> {
        self.ours
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

struct Ours<'n> {
    nonces: &'n Nonces,
    nonce: u64,
}

impl Drop for Ours<'_> {
    fn drop(&mut self) {
        self.nonces.ours().remove(&self.nonce);
    }
}

/// What an error to `eth_sendRawTransaction` says about the transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Submission {
    /// The endpoint had it already.
    Sent,
    /// The connection broke: it may have arrived.
    Unknown,
    /// Somebody else used the nonce.
    StaleNonce,
    Refused,
}

impl Submission {
    pub(super) fn of(error: &TransportError) -> Self {
        let Some(payload) = error.as_error_resp() else {
            let refused = never_left(error) || super::endpoints::other_chain(error).is_some();
            return if refused {
                Self::Refused
            } else {
                Self::Unknown
            };
        };
        let words = payload.message.to_lowercase();
        if words.contains("already known") || words.contains("already imported") {
            Self::Sent
        } else if words.contains("nonce too") || words.contains("replacement transaction") {
            Self::StaleNonce
        } else {
            Self::Refused
        }
    }
}

fn is_poverty(message: &str) -> bool {
    let message = message.to_lowercase();
    message.contains("insufficient funds") || message.contains("exceeds allowance")
}

/// One part in this many is added to a gas estimate, for state that changes in between.
const GAS_SPARE_PART: u64 = 4;
/// How often a transaction is signed anew because its nonce was taken.
const SUBMIT_ATTEMPTS_MAX: u32 = 16;
/// The first pause before it is; each is longer by as much.
const RETRY_PAUSE: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::transports::{RpcError, TransportErrorKind};

    fn response(message: &str) -> TransportError {
        let payload = serde_json::json!({ "code": -32_000, "message": message });
        RpcError::ErrorResp(serde_json::from_value(payload).unwrap())
    }

    #[test]
    fn submission_errors_are_told_apart() {
        let check = |error: TransportError, expected| assert_eq!(Submission::of(&error), expected);
        check(response("already known"), Submission::Sent);
        check(response("nonce too low: next 4"), Submission::StaleNonce);
        check(response("Nonce too high"), Submission::StaleNonce);
        check(
            response("replacement transaction underpriced"),
            Submission::StaleNonce,
        );
        check(response("exceeds block gas limit"), Submission::Refused);
        check(
            TransportErrorKind::custom_str("connection reset"),
            Submission::Unknown,
        );
    }

    #[test]
    fn poverty_is_recognised() {
        assert!(is_poverty("Insufficient funds for gas * price + value"));
        assert!(!is_poverty("nonce too low"));
    }
}
