//! Deposits, refunds, settlement, withdrawals and plain signed transfers.

use alloy::primitives::{Address, B256, Bytes};
use alloy::rpc::types::TransactionReceipt;
use alloy::sol_types::{SolCall, SolEvent};
use rialto_channels::{Amount, ChannelConfig, TransferAuthorization};

use super::types::contract_config;
use super::{
    ChainClient, ChainError, DepositConsent, Deposited, KeepSent, Refunded, Settled, Withdrawn,
};
use crate::contracts::{IBatchSettlement, IErc3009};

impl ChainClient {
    /// Moves `amount` from the payer into the channel, by the payer's signed consent; this account
    /// pays the gas. Confirmed when it returns.
    ///
    /// # Errors
    /// [`ChainError::Reverted`] if the consent is bad, used or expired, or the payer has (or
    /// allows) too little: the payer's fault. See [`ChainError`] for the rest.
    pub async fn deposit(
        &self,
        config: &ChannelConfig,
        amount: Amount,
        consent: &dyn DepositConsent,
    ) -> Result<Deposited, ChainError> {
        let data = self.deposit_data(config, amount, consent)?;
        let receipt = self.send(self.contracts().settlement, data).await?;
        let event = self.event::<IBatchSettlement::Deposited>(&receipt);
        let event = event.ok_or_else(|| missing("Deposited"))?;
        Ok(Deposited {
            transaction: receipt.transaction_hash,
            block: receipt.block_number.unwrap_or_default(),
            balance: Amount::new(event.newBalance),
        })
    }

    /// Finds out whether [`deposit`](Self::deposit) would succeed now, without sending it.
    ///
    /// # Errors
    /// As [`deposit`](Self::deposit).
    pub async fn simulate_deposit(
        &self,
        config: &ChannelConfig,
        amount: Amount,
        consent: &dyn DepositConsent,
    ) -> Result<(), ChainError> {
        let data = self.deposit_data(config, amount, consent)?;
        self.simulate(self.contracts().settlement, data).await?;
        Ok(())
    }

    /// Pays the receiver everything that was claimed for it in `token` and not paid yet. Sends
    /// nothing if nothing is due.
    ///
    /// # Errors
    /// See [`ChainError`].
    pub async fn settle(&self, receiver: Address, token: Address) -> Result<Settled, ChainError> {
        self.settle_kept(receiver, token, None).await
    }

    /// As [`settle`](Self::settle); `keeper` remembers the transaction before it is submitted, so that
    /// a process that dies before it hears of the outcome can look it up.
    ///
    /// # Errors
    /// As [`settle`](Self::settle); [`ChainError::NotKept`] if the keeper fails.
    pub async fn settle_kept(
        &self,
        receiver: Address,
        token: Address,
        keeper: Option<&dyn KeepSent>,
    ) -> Result<Settled, ChainError> {
        if self.unsettled(receiver, token).await?.is_zero() {
            return Ok(Settled {
                transaction: None,
                amount: Amount::ZERO,
            });
        }
        let call = IBatchSettlement::settleCall { receiver, token };
        let data = call.abi_encode().into();
        let receipt = self
            .send_kept(self.contracts().settlement, data, keeper)
            .await?;
        // No event: somebody else settled in between.
        let event = self.event::<IBatchSettlement::Settled>(&receipt);
        Ok(Settled {
            transaction: Some(receipt.transaction_hash),
            amount: event.map_or(Amount::ZERO, |event| Amount::new(event.amount)),
        })
    }

    /// Gives `amount`, at most what is unclaimed, back to the payer. This account must be the
    /// channel's receiver or receiver authorizer. `keeper` remembers the transaction before it is
    /// submitted: a refund must not be made twice because a process forgot the first.
    ///
    /// # Errors
    /// See [`ChainError`].
    pub async fn refund(
        &self,
        config: &ChannelConfig,
        amount: Amount,
        keeper: Option<&dyn KeepSent>,
    ) -> Result<Refunded, ChainError> {
        let call = IBatchSettlement::refundCall {
            config: contract_config(config)?,
            amount: amount.get(),
        };
        let data = call.abi_encode().into();
        let receipt = self
            .send_kept(self.contracts().settlement, data, keeper)
            .await?;
        // No event: everything was claimed, nothing was left to give.
        let event = self.event::<IBatchSettlement::Refunded>(&receipt);
        Ok(Refunded {
            transaction: receipt.transaction_hash,
            amount: event.map_or(Amount::ZERO, |event| Amount::new(event.amount)),
        })
    }

    /// Starts to take `amount` out of the channel without the receiver. This account must be the
    /// channel's payer or payer authorizer. Returns the transaction.
    ///
    /// # Errors
    /// See [`ChainError`].
    pub async fn initiate_withdraw(
        &self,
        config: &ChannelConfig,
        amount: Amount,
    ) -> Result<B256, ChainError> {
        let call = IBatchSettlement::initiateWithdrawCall {
            config: contract_config(config)?,
            amount: amount.get(),
        };
        let receipt = self
            .send(self.contracts().settlement, call.abi_encode().into())
            .await?;
        Ok(receipt.transaction_hash)
    }

    /// Ends a withdrawal whose delay is over. This account must be the channel's payer or payer
    /// authorizer; the money goes to the payer.
    ///
    /// # Errors
    /// [`ChainError::Reverted`] with `WithdrawDelayNotElapsed` if it is too early.
    pub async fn finalize_withdraw(&self, config: &ChannelConfig) -> Result<Withdrawn, ChainError> {
        let call = IBatchSettlement::finalizeWithdrawCall {
            config: contract_config(config)?,
        };
        let receipt = self
            .send(self.contracts().settlement, call.abi_encode().into())
            .await?;
        let event = self.event::<IBatchSettlement::WithdrawFinalized>(&receipt);
        let event = event.ok_or_else(|| missing("WithdrawFinalized"))?;
        Ok(Withdrawn {
            transaction: receipt.transaction_hash,
            amount: Amount::new(event.amount),
        })
    }

    /// Moves tokens by the owner's EIP-3009 signature (x402 `exact`); this account pays the gas.
    /// Returns the transaction.
    ///
    /// # Errors
    /// [`ChainError::Reverted`] if the authorization is bad, used or expired, or the owner has
    /// too little: the owner's fault.
    pub async fn transfer_with_authorization(
        &self,
        authorization: &TransferAuthorization,
        signature: &[u8],
    ) -> Result<B256, ChainError> {
        let data = transfer_data(authorization, signature);
        let receipt = self.send(self.contracts().token, data).await?;
        Ok(receipt.transaction_hash)
    }

    /// Finds out whether
    /// [`transfer_with_authorization`](Self::transfer_with_authorization) would succeed now.
    ///
    /// # Errors
    /// As that method.
    pub async fn simulate_transfer(
        &self,
        authorization: &TransferAuthorization,
        signature: &[u8],
    ) -> Result<(), ChainError> {
        let data = transfer_data(authorization, signature);
        self.simulate(self.contracts().token, data).await?;
        Ok(())
    }

    /// The first event of this kind that the settlement contract emitted in a transaction.
    pub(super) fn event<E: SolEvent>(&self, receipt: &TransactionReceipt) -> Option<E> {
        let settlement = self.contracts().settlement;
        let mut logs = receipt.logs().iter();
        logs.find_map(|log| {
            let event = E::decode_log(&log.inner).ok()?;
            (event.address == settlement).then_some(event.data)
        })
    }

    fn deposit_data(
        &self,
        config: &ChannelConfig,
        amount: Amount,
        consent: &dyn DepositConsent,
    ) -> Result<Bytes, ChainError> {
        let (collector, data) = consent.collected(&self.contracts());
        let call = IBatchSettlement::depositCall {
            config: contract_config(config)?,
            amount: amount.get(),
            collector,
            collectorData: data,
        };
        Ok(call.abi_encode().into())
    }
}

fn transfer_data(authorization: &TransferAuthorization, signature: &[u8]) -> Bytes {
    let call = IErc3009::transferWithAuthorizationCall {
        from: authorization.from,
        to: authorization.to,
        value: authorization.value.to_u256(),
        validAfter: alloy::primitives::U256::from(authorization.valid_after),
        validBefore: alloy::primitives::U256::from(authorization.valid_before),
        nonce: authorization.nonce,
        signature: Bytes::copy_from_slice(signature),
    };
    call.abi_encode().into()
}

fn missing(event: &str) -> ChainError {
    ChainError::BadAnswer(format!("transaction without its {event} event"))
}
