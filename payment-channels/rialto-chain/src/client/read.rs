//! What the chain says now.

use alloy::eips::{BlockId, BlockNumberOrTag};
use alloy::primitives::{Address, B256, U256};
use alloy::providers::Provider;
use alloy::rpc::types::TransactionRequest;
use alloy::sol_types::SolCall;
use rialto_channels::{Amount, ChainTime, ChannelConfig, OnChainView, Withdrawal};

use super::error::from_rpc;
use super::{ChainClient, ChainError};
use crate::contracts::{IBatchSettlement, IErc3009};

impl ChainClient {
    /// The contract's state of a channel, all of one block. A channel that nobody funded is all
    /// zeros.
    ///
    /// # Errors
    /// See [`ChainError`].
    pub async fn channel(&self, config: &ChannelConfig) -> Result<OnChainView, ChainError> {
        let (number, read_at) = self.latest().await?;
        let id = config.id(&self.domain()).0;
        let settlement = self.contracts().settlement;
        let at = BlockId::number(number);
        let channels = IBatchSettlement::channelsCall { channelId: id };
        let withdrawals = IBatchSettlement::pendingWithdrawalsCall { channelId: id };
        let nonce = IBatchSettlement::refundNonceCall { channelId: id };
        let (channel, withdrawal, refund_nonce) = tokio::try_join!(
            self.read(settlement, channels, at),
            self.read(settlement, withdrawals, at),
            self.read(settlement, nonce, at),
        )?;
        let initiated_at = withdrawal.initiatedAt.to::<u64>();
        let withdrawal = if initiated_at == 0 {
            None
        } else {
            let finalizes_at = ChainTime::new(initiated_at).checked_add(config.withdraw_delay);
            Some(Withdrawal {
                amount: Amount::new(withdrawal.amount),
                finalizes_at: finalizes_at.ok_or(ChainError::OutOfRange("withdrawal delay"))?,
            })
        };
        Ok(OnChainView {
            balance: Amount::new(channel.balance),
            claimed: Amount::new(channel.totalClaimed),
            refund_nonce,
            withdrawal,
            read_at,
        })
    }

    /// What was claimed for the receiver in `token` and not paid out yet.
    ///
    /// # Errors
    /// See [`ChainError`].
    pub async fn unsettled(&self, receiver: Address, token: Address) -> Result<Amount, ChainError> {
        let call = IBatchSettlement::receiversCall { receiver, token };
        let totals = self
            .read(self.contracts().settlement, call, BlockId::latest())
            .await?;
        Amount::new(totals.totalClaimed)
            .checked_sub(Amount::new(totals.totalSettled))
            .map_err(|_| ChainError::BadAnswer("settled more than was claimed".to_owned()))
    }

    /// What the account holds of the token, in base units.
    ///
    /// # Errors
    /// [`ChainError::OutOfRange`] if it does not fit 128 bits.
    pub async fn token_balance(&self, account: Address) -> Result<Amount, ChainError> {
        let call = IErc3009::balanceOfCall { account };
        let balance = self
            .read(self.contracts().token, call, BlockId::latest())
            .await?;
        let balance =
            u128::try_from(balance).map_err(|_| ChainError::OutOfRange("token balance"))?;
        Ok(Amount::new(balance))
    }

    /// Whether the EIP-3009 nonce was used or cancelled.
    ///
    /// # Errors
    /// See [`ChainError`].
    pub async fn authorization_used(
        &self,
        authorizer: Address,
        nonce: B256,
    ) -> Result<bool, ChainError> {
        let call = IErc3009::authorizationStateCall { authorizer, nonce };
        self.read(self.contracts().token, call, BlockId::latest())
            .await
    }

    /// What the account can spend on gas, in wei.
    ///
    /// # Errors
    /// See [`ChainError`].
    pub async fn eth_balance(&self, account: Address) -> Result<U256, ChainError> {
        self.inner
            .provider
            .get_balance(account)
            .await
            .map_err(from_rpc)
    }

    /// The time of the latest block.
    ///
    /// # Errors
    /// See [`ChainError`].
    pub async fn now(&self) -> Result<ChainTime, ChainError> {
        Ok(self.latest().await?.1)
    }

    /// The number of the latest block.
    ///
    /// # Errors
    /// See [`ChainError`].
    pub async fn block_number(&self) -> Result<u64, ChainError> {
        self.inner
            .provider
            .get_block_number()
            .await
            .map_err(from_rpc)
    }

    async fn latest(&self) -> Result<(u64, ChainTime), ChainError> {
        let block = self
            .inner
            .provider
            .get_block_by_number(BlockNumberOrTag::Latest)
            .await
            .map_err(from_rpc)?
            .ok_or_else(|| ChainError::BadAnswer("no latest block".to_owned()))?;
        let header = block.header;
        Ok((header.number, ChainTime::new(header.timestamp)))
    }

    async fn read<C: SolCall>(
        &self,
        to: Address,
        call: C,
        at: BlockId,
    ) -> Result<C::Return, ChainError> {
        let request = TransactionRequest::default()
            .to(to)
            .input(call.abi_encode().into());
        let answer = self
            .inner
            .provider
            .call(request)
            .block(at)
            .await
            .map_err(from_rpc)?;
        C::abi_decode_returns(&answer).map_err(|error| ChainError::BadAnswer(error.to_string()))
    }
}
