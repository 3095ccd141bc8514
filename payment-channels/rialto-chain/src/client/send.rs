//! Sending transactions: simulate, sign, submit, wait.
//!
//! One account may send from several tasks: the nonce is taken and the transaction submitted
//! under one lock, the wait is outside it.

use std::time::Duration;

use alloy::consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy::eips::BlockId;
use alloy::eips::eip2718::Encodable2718;
use alloy::network::TxSignerSync;
use alloy::primitives::{Address, B256, Bytes};
use alloy::providers::Provider;
use alloy::rpc::types::{TransactionReceipt, TransactionRequest};
use alloy::transports::TransportError;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::error::{from_rpc, never_left};
use super::{ChainClient, ChainError};

/// The next nonce, as far as this process knows better than the endpoint; locked while a
/// transaction is submitted.
#[derive(Debug, Default)]
pub(super) struct Nonces(Mutex<Option<u64>>);

impl ChainClient {
    /// Runs a transaction at the latest block without sending it.
    pub(super) async fn simulate(&self, to: Address, data: Bytes) -> Result<Bytes, ChainError> {
        let request = self.request(to, data);
        self.inner.provider.call(request).await.map_err(from_rpc)
    }

    /// Simulates, sends, and waits for the confirmations.
    pub(super) async fn send(
        &self,
        to: Address,
        data: Bytes,
    ) -> Result<TransactionReceipt, ChainError> {
        // The estimate runs the transaction: what reverts is never sent.
        let estimate = self
            .inner
            .provider
            .estimate_gas(self.request(to, data.clone()))
            .await
            .map_err(|error| self.sort(error))?;
        let gas_limit = estimate.saturating_add(estimate / GAS_SPARE_PART);
        let hash = self.submit(to, data.clone(), gas_limit).await?;
        let confirmed = self.wait(hash).await;
        if matches!(confirmed, Err(ChainError::Dropped { .. })) {
            // Whoever sends next asks the endpoint again.
            *self.inner.nonces.0.lock().await = None;
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

    async fn submit(&self, to: Address, data: Bytes, gas_limit: u64) -> Result<B256, ChainError> {
        let fees = self
            .inner
            .provider
            .estimate_eip1559_fees()
            .await
            .map_err(from_rpc)?;
        let mut transaction = TxEip1559 {
            chain_id: self.chain_id(),
            gas_limit,
            max_fee_per_gas: fees.max_fee_per_gas,
            max_priority_fee_per_gas: fees.max_priority_fee_per_gas,
            to: to.into(),
            input: data,
            ..TxEip1559::default()
        };
        let mut known = self.inner.nonces.0.lock().await;
        let mut attempts = 0;
        loop {
            attempts += 1;
            transaction.nonce = self.next_nonce(*known).await?;
            let (hash, raw) = self.sign(transaction.clone())?;
            let Err(error) = self.inner.provider.send_raw_transaction(&raw).await else {
                *known = transaction.nonce.checked_add(1);
                return Ok(hash);
            };
            match Submission::of(&error) {
                Submission::Sent => {
                    *known = transaction.nonce.checked_add(1);
                    return Ok(hash);
                }
                Submission::Unknown => {
                    tracing::warn!(%hash, "no answer to a transaction; waiting for it all the same");
                    *known = None;
                    return Ok(hash);
                }
                Submission::StaleNonce if attempts < SUBMIT_ATTEMPTS_MAX => {
                    // Another process sends as this account, or the endpoint lags behind.
                    *known = None;
                    tokio::time::sleep(POLL_FIRST * attempts).await;
                }
                Submission::StaleNonce | Submission::Refused => {
                    *known = None;
                    return Err(self.sort(error));
                }
            }
        }
    }

    async fn next_nonce(&self, known: Option<u64>) -> Result<u64, ChainError> {
        let pending = self
            .inner
            .provider
            .get_transaction_count(self.address())
            .pending()
            .await
            .map_err(from_rpc)?;
        Ok(known.unwrap_or(0).max(pending))
    }

    fn sign(&self, mut transaction: TxEip1559) -> Result<(B256, Vec<u8>), ChainError> {
        let signature = self
            .inner
            .signer
            .sign_transaction_sync(&mut transaction)
            .map_err(ChainError::Sign)?;
        let envelope: TxEnvelope = transaction.into_signed(signature).into();
        Ok((*envelope.tx_hash(), envelope.encoded_2718()))
    }

    /// Waits until the transaction is mined and has its confirmations.
    async fn wait(&self, hash: B256) -> Result<TransactionReceipt, ChainError> {
        let waited = self.inner.config.confirm_within;
        let deadline = Instant::now() + waited;
        let mut pause = POLL_FIRST;
        loop {
            match self.confirmed(hash).await {
                Ok(Some(receipt)) => return Ok(receipt),
                Ok(None) => {}
                // It was sent: an endpoint that is away for a moment is no reason to forget it.
                Err(error) => {
                    let error = from_rpc(error);
                    tracing::debug!(%error, %hash, "looking for a transaction");
                }
            }
            if Instant::now() >= deadline {
                return Err(ChainError::Dropped {
                    transaction: hash,
                    waited,
                });
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(POLL_LAST);
        }
    }

    /// The receipt, if it is deep enough. A reorganisation takes it away again, or moves it.
    async fn confirmed(&self, hash: B256) -> Result<Option<TransactionReceipt>, TransportError> {
        let provider = &self.inner.provider;
        let Some(receipt) = provider.get_transaction_receipt(hash).await? else {
            return Ok(None);
        };
        let Some(block) = receipt.block_number else {
            return Ok(None);
        };
        let further = self.inner.config.confirmations.saturating_sub(1);
        if further == 0 {
            return Ok(Some(receipt));
        }
        let latest = provider.get_block_number().await?;
        Ok((latest >= block.saturating_add(further)).then_some(receipt))
    }

    /// Why a mined transaction failed: it runs again on the state before its block.
    async fn explain(&self, to: Address, data: Bytes, receipt: &TransactionReceipt) -> ChainError {
        let before = receipt.block_number.unwrap_or(0).saturating_sub(1);
        let call = self.inner.provider.call(self.request(to, data));
        let data = match call.block(BlockId::number(before)).await.map_err(from_rpc) {
            Err(ChainError::Reverted { data, .. }) => data,
            // The endpoint does not keep that state, or another transaction was in between.
            Ok(_) | Err(_) => Bytes::new(),
        };
        ChainError::reverted(data, Some(receipt.transaction_hash))
    }

    /// Sorts an endpoint's error about one of our transactions.
    fn sort(&self, error: TransportError) -> ChainError {
        let error = from_rpc(error);
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

/// What an error to `eth_sendRawTransaction` says about the transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Submission {
    /// The endpoint had it already.
    Sent,
    /// The connection broke: it may have arrived.
    Unknown,
    /// Somebody else used the nonce.
    StaleNonce,
    Refused,
}

impl Submission {
    fn of(error: &TransportError) -> Self {
        let Some(payload) = error.as_error_resp() else {
            return if never_left(error) {
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
/// The first pause between two looks for a transaction; it doubles each time.
const POLL_FIRST: Duration = Duration::from_millis(5);
/// The longest pause.
const POLL_LAST: Duration = Duration::from_secs(1);

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
