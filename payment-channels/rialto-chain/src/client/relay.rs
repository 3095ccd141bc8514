//! Transactions that a receiver authorizer signed and this account only pays for: what a
//! facilitator submits for other servers.
//!
//! Each is run before it is sent (the gas estimate), so what the contract refuses costs nothing.

use alloy::primitives::{B256, Bytes, U256};
use alloy::sol_types::SolCall;
use rialto_channels::{Amount, ChannelConfig, ClaimRow};

use super::claim::ROWS_MAX;
use super::types::{contract_config, contract_row};
use super::{ChainClient, ChainError, Refunded};
use crate::contracts::IBatchSettlement;

/// Claims with their receiver authorizer's signature over all of them.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedClaims {
    /// At most a hundred, all of one receiver authorizer.
    pub rows: Vec<ClaimRow>,
    /// Over the rows' `ClaimBatch`; 65 bytes, or what a contract account wants.
    pub signature: Vec<u8>,
}

/// A refund with its receiver authorizer's signature.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedRefund {
    /// The channel.
    pub config: ChannelConfig,
    /// Token base units; the contract pays at most what is not claimed.
    pub amount: Amount,
    /// The channel's refund nonce that was signed.
    pub nonce: U256,
    /// Over `Refund`.
    pub signature: Vec<u8>,
}

impl ChainClient {
    /// Claims for receivers who signed. Returns the transaction.
    ///
    /// # Errors
    /// [`ChainError::Reverted`] if a row or the signature is no good: nothing was sent.
    /// [`ChainError::OutOfRange`] for more rows than fit. See [`ChainError`] for the rest.
    pub async fn claim_signed(&self, claims: &SignedClaims) -> Result<B256, ChainError> {
        let receipt = self
            .send(self.contracts().settlement, claims.call()?)
            .await?;
        Ok(receipt.transaction_hash)
    }

    /// Refunds for a receiver who signed, after its claims if there are any: both or neither.
    ///
    /// # Errors
    /// As [`claim_signed`](Self::claim_signed).
    pub async fn refund_signed(
        &self,
        refund: &SignedRefund,
        claims: Option<&SignedClaims>,
    ) -> Result<Refunded, ChainError> {
        let data = match claims {
            None => refund.call()?,
            Some(claims) => IBatchSettlement::multicallCall {
                data: vec![claims.call()?, refund.call()?],
            }
            .abi_encode()
            .into(),
        };
        let receipt = self.send(self.contracts().settlement, data).await?;
        // No event: everything was claimed, nothing was left to give.
        let event = self.event::<IBatchSettlement::Refunded>(&receipt);
        Ok(Refunded {
            transaction: receipt.transaction_hash,
            amount: event.map_or(Amount::ZERO, |event| Amount::new(event.amount)),
        })
    }
}

impl SignedClaims {
    fn call(&self) -> Result<Bytes, ChainError> {
        if self.rows.len() > ROWS_MAX {
            return Err(ChainError::OutOfRange("number of claims"));
        }
        let rows: Result<Vec<_>, _> = self.rows.iter().map(contract_row).collect();
        let call = IBatchSettlement::claimWithSignatureCall {
            voucherClaims: rows?,
            authorizerSignature: Bytes::copy_from_slice(&self.signature),
        };
        Ok(call.abi_encode().into())
    }
}

impl SignedRefund {
    fn call(&self) -> Result<Bytes, ChainError> {
        let call = IBatchSettlement::refundWithSignatureCall {
            config: contract_config(&self.config)?,
            amount: self.amount.get(),
            nonce: self.nonce,
            receiverAuthorizerSignature: Bytes::copy_from_slice(&self.signature),
        };
        Ok(call.abi_encode().into())
    }
}

impl std::fmt::Debug for SignedClaims {
    /// Without the signature (M7).
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignedClaims")
            .field("rows", &self.rows.len())
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for SignedRefund {
    /// Without the signature (M7).
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignedRefund")
            .field("config", &self.config)
            .field("amount", &self.amount)
            .finish_non_exhaustive()
    }
}
