//! What the chain says now.

use alloy::eips::{BlockId, BlockNumberOrTag};
use alloy::primitives::{Address, B256, U256};
use alloy::providers::Provider;
use alloy::rpc::types::TransactionRequest;
use alloy::sol_types::SolCall;
use rialto_channels::{Amount, ChainTime, ChannelConfig, OnChainView, Withdrawal};

use super::{BlockRef, ChainClient, ChainError};
use crate::contracts::{IBatchSettlement, IErc3009};

/// A channel as seen at one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sight {
    /// What may be relied on.
    pub view: OnChainView,
    /// The balance in the newest block, which may be more than lies deep enough.
    pub newest: Amount,
    /// The block that was read.
    pub block: BlockRef,
}

/// What of a channel is claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claims {
    /// Claimed in all, in the newest block.
    pub newest: Amount,
    /// What of it counts: so deep that no reorganisation takes back more than the operator risks.
    pub deep: Amount,
}

/// A block's place and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) block: BlockRef,
    pub(super) time: ChainTime,
}

impl ChainClient {
    /// The contract's state of a channel, all of one block. A channel that nobody funded is all
    /// zeros.
    ///
    /// # Errors
    /// See [`ChainError`].
    pub async fn channel(&self, config: &ChannelConfig) -> Result<OnChainView, ChainError> {
        Ok(self.sight(config).await?.view)
    }

    /// As [`channel`](Self::channel), with the block that was read. Of the balance only what lies
    /// deep enough by the configured depths is shown: what a reorganisation could take away counts
    /// only up to the amount that the operator risks.
    ///
    /// # Errors
    /// See [`ChainError`].
    pub async fn sight(&self, config: &ChannelConfig) -> Result<Sight, ChainError> {
        let head = self.head().await?;
        let id = config.id(&self.domain()).0;
        let settlement = self.contracts().settlement;
        let at = BlockId::number(head.block.number);
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
        let newest = Amount::new(channel.balance);
        Ok(Sight {
            view: OnChainView {
                balance: self.deep_enough(id, newest, head.block.number).await?,
                claimed: Amount::new(channel.totalClaimed),
                refund_nonce,
                withdrawal,
                read_at: head.time,
            },
            newest,
            block: head.block,
        })
    }

    /// What of a channel is claimed, and how much of it lies deep enough by the configured depths.
    ///
    /// # Errors
    /// See [`ChainError`].
    pub async fn claims(&self, config: &ChannelConfig) -> Result<Claims, ChainError> {
        let head = self.head().await?.block.number;
        let id = config.id(&self.domain()).0;
        let (_, newest) = self.held(id, head).await?;
        let mut deep = newest;
        for step in self.inner.config.depths.concerning(newest) {
            let (_, then) = self.held_before(id, head, step.blocks).await?;
            deep = deep.min(step.counts(then, newest));
        }
        Ok(Claims { newest, deep })
    }

    /// What of a balance counts, by how deep it lies.
    async fn deep_enough(&self, id: B256, newest: Amount, head: u64) -> Result<Amount, ChainError> {
        let mut counts = newest;
        for step in self.inner.config.depths.concerning(newest) {
            let (then, _) = self.held_before(id, head, step.blocks).await?;
            counts = counts.min(step.counts(then, newest));
        }
        Ok(counts)
    }

    /// Balance and total claimed as `blocks` blocks hold them.
    async fn held_before(
        &self,
        id: B256,
        head: u64,
        blocks: u64,
    ) -> Result<(Amount, Amount), ChainError> {
        match head.checked_add(1).and_then(|n| n.checked_sub(blocks)) {
            Some(number) => self.held(id, number).await,
            // Blocks before the first hold nothing.
            None => Ok((Amount::ZERO, Amount::ZERO)),
        }
    }

    async fn held(&self, id: B256, number: u64) -> Result<(Amount, Amount), ChainError> {
        let call = IBatchSettlement::channelsCall { channelId: id };
        let settlement = self.contracts().settlement;
        let then = self.read(settlement, call, BlockId::number(number)).await?;
        Ok((Amount::new(then.balance), Amount::new(then.totalClaimed)))
    }

    /// What was claimed for the receiver in `token`, and settled to it, since the beginning.
    ///
    /// # Errors
    /// See [`ChainError`].
    pub async fn receiver_totals(
        &self,
        receiver: Address,
        token: Address,
    ) -> Result<(Amount, Amount), ChainError> {
        self.totals_at(receiver, token, BlockId::latest()).await
    }

    /// What was settled to the receiver in `token` up to block `number`, since the beginning.
    ///
    /// # Errors
    /// See [`ChainError`].
    pub async fn settled_at(
        &self,
        receiver: Address,
        token: Address,
        number: u64,
    ) -> Result<Amount, ChainError> {
        let totals = self.totals_at(receiver, token, BlockId::number(number));
        totals.await.map(|(_, settled)| settled)
    }

    /// What was claimed for the receiver in `token` and not paid out yet.
    ///
    /// # Errors
    /// See [`ChainError`].
    pub async fn unsettled(&self, receiver: Address, token: Address) -> Result<Amount, ChainError> {
        let (claimed, settled) = self.receiver_totals(receiver, token).await?;
        claimed
            .checked_sub(settled)
            .map_err(|_| self.nonsense("settled more than was claimed"))
    }

    async fn totals_at(
        &self,
        receiver: Address,
        token: Address,
        at: BlockId,
    ) -> Result<(Amount, Amount), ChainError> {
        let call = IBatchSettlement::receiversCall { receiver, token };
        let totals = self.read(self.contracts().settlement, call, at).await?;
        Ok((
            Amount::new(totals.totalClaimed),
            Amount::new(totals.totalSettled),
        ))
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
            .map_err(|error| self.failed(error))
    }

    /// What a unit of gas costs now, in wei.
    ///
    /// # Errors
    /// See [`ChainError`].
    pub async fn gas_price(&self) -> Result<u128, ChainError> {
        let price = self.inner.provider.get_gas_price().await;
        price.map_err(|error| self.failed(error))
    }

    /// The time of the latest block.
    ///
    /// # Errors
    /// See [`ChainError`].
    pub async fn now(&self) -> Result<ChainTime, ChainError> {
        Ok(self.head().await?.time)
    }

    /// The time of a transaction's block; none if it is not mined, or not any more.
    ///
    /// # Errors
    /// See [`ChainError`].
    pub async fn mined_at(&self, transaction: B256) -> Result<Option<ChainTime>, ChainError> {
        let Some(outcome) = self.outcome_of(transaction).await? else {
            return Ok(None);
        };
        let block = self.block(outcome.block.into()).await?;
        Ok(block.map(|block| block.time))
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
            .map_err(|error| self.failed(error))
    }

    /// The hash of the block of this number; none if the chain is not so long.
    ///
    /// # Errors
    /// See [`ChainError`].
    pub async fn block_hash(&self, number: u64) -> Result<Option<B256>, ChainError> {
        let block = self.block(BlockNumberOrTag::Number(number)).await?;
        Ok(block.map(|block| block.block.hash))
    }

    /// The latest block.
    pub(super) async fn head(&self) -> Result<Head, ChainError> {
        let head = self.block(BlockNumberOrTag::Latest).await?;
        head.ok_or_else(|| self.nonsense("no latest block"))
    }

    /// The block of this number, if the chain is so long.
    pub(super) async fn block(&self, at: BlockNumberOrTag) -> Result<Option<Head>, ChainError> {
        let block = self.inner.provider.get_block_by_number(at).await;
        let block = block.map_err(|error| self.failed(error))?;
        Ok(block.map(|block| Head {
            block: BlockRef {
                number: block.header.number,
                hash: block.header.hash,
            },
            time: ChainTime::new(block.header.timestamp),
        }))
    }

    pub(super) async fn read<C: SolCall>(
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
            .map_err(|error| self.failed(error))?;
        C::abi_decode_returns(&answer).map_err(|error| self.nonsense(error.to_string()))
    }
}
