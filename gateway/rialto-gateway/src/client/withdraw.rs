//! Taking money back from a provider that does not answer: the contract's own withdrawal. It is
//! begun by a transaction of the wallet, waits for the channel's delay, in which the provider may
//! still claim what was signed, and is finished by another transaction.
//!
//! The chain remembers where it stands, so either step may be repeated after a crash.

use std::time::Duration;

use alloy_primitives::{Address, B256, U256};
use rialto_channels::payer::{PayError, PayerChannel};
use rialto_channels::{Amount, ChainTime, ChannelConfig, ChannelId, OnChainView, SettlementDomain};

use super::account::believed;
use super::rpc::{Rpc, selector};
use super::store::ChannelFile;
use super::store::places::Keep;
use super::{ClientError, PayingClient, StoredChannel, settlement, stored_channels};
use crate::x402::SETTLEMENT;

/// A withdrawal that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withdrawing {
    /// The channel.
    pub channel: ChannelId,
    /// What is asked back; the provider may still claim what was signed before.
    pub amount: Amount,
    /// From when on it can be finished, by the chain's clock.
    pub finalizes_at: ChainTime,
    /// The newest block's time.
    pub now: ChainTime,
    /// The transaction that began it, if this call sent it.
    pub transaction: Option<B256>,
}

/// A withdrawal that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withdrawn {
    /// The channel.
    pub channel: ChannelId,
    /// What came back to the wallet.
    pub amount: Amount,
    /// The transaction.
    pub transaction: B256,
}

impl PayingClient {
    /// Begins to take back everything that was not charged, or shows the withdrawal that was begun
    /// before.
    ///
    /// # Errors
    /// [`ClientError::Pay`] when nothing is left, [`ClientError::NoGas`] when the wallet cannot
    /// pay the fee, [`ClientError::Chain`], [`ClientError::Wallet`].
    pub async fn withdraw(&self, id: ChannelId) -> Result<Withdrawing, ClientError> {
        let (file, mut stored) = self.take(id).await?;
        let rpc = self.rpc_of(stored.chain_id, stored.rpc_url.clone()).await?;
        let config = stored.snapshot.config;
        let mut view = rpc.channel(id, &config).await?;
        self.adopt(&mut stored, &view, rpc);
        file.save(&stored, Keep::Now)?;
        let mut transaction = None;
        if view.withdrawal.is_none() {
            let amount = stored.snapshot.left();
            if amount.is_zero() {
                return Err(PayError::NothingLeft.into());
            }
            let purpose = format!("begin to withdraw {amount} base units from channel {id}");
            let data = initiate(&config, amount);
            transaction = Some(self.transact(rpc, SETTLEMENT, data, purpose).await?);
            view = rpc.channel(id, &config).await?;
            self.adopt(&mut stored, &view, rpc);
            file.save(&stored, Keep::Now)?;
        }
        let withdrawal = view.withdrawal.ok_or(ClientError::NotWithdrawing(id))?;
        Ok(Withdrawing {
            channel: id,
            amount: withdrawal.amount,
            finalizes_at: withdrawal.finalizes_at,
            now: view.read_at,
            transaction,
        })
    }

    /// Finishes a withdrawal whose delay is over.
    ///
    /// # Errors
    /// [`ClientError::TooEarly`], [`ClientError::NotWithdrawing`]; else as
    /// [`withdraw`](Self::withdraw).
    pub async fn finalize(&self, id: ChannelId) -> Result<Withdrawn, ClientError> {
        let (file, mut stored) = self.take(id).await?;
        let rpc = self.rpc_of(stored.chain_id, stored.rpc_url.clone()).await?;
        let config = stored.snapshot.config;
        let before = rpc.channel(id, &config).await?;
        self.adopt(&mut stored, &before, rpc);
        file.save(&stored, Keep::Now)?;
        let withdrawal = before.withdrawal.ok_or(ClientError::NotWithdrawing(id))?;
        let data = configured(FINALIZE, &config, &[]);
        // The next block's time counts, not the newest one's: only the contract knows.
        if let Err(refused) = rpc.gas(self.payer(), SETTLEMENT, &data).await {
            let (finalizes_at, now) = (withdrawal.finalizes_at, before.read_at);
            return Err(match now < finalizes_at {
                true => ClientError::TooEarly { finalizes_at, now },
                false => refused,
            });
        }
        let purpose = format!("finish the withdrawal from channel {id}");
        let transaction = self.transact(rpc, SETTLEMENT, data, purpose).await?;
        let after = rpc.channel(id, &config).await?;
        self.adopt(&mut stored, &after, rpc);
        file.save(&stored, Keep::Now)?;
        let amount = before.balance.saturating_sub(after.balance);
        Ok(Withdrawn {
            channel: id,
            amount,
            transaction,
        })
    }

    /// Reads a kept channel's state from its chain, and keeps it.
    ///
    /// # Errors
    /// [`ClientError::UnknownChannel`], [`ClientError::Chain`].
    pub async fn refresh(&self, id: ChannelId) -> Result<StoredChannel, ClientError> {
        let (file, mut stored) = self.take(id).await?;
        let rpc = self.rpc_of(stored.chain_id, stored.rpc_url.clone()).await?;
        let view = rpc.channel(id, &stored.snapshot.config).await?;
        self.adopt(&mut stored, &view, rpc);
        file.save(&stored, Keep::Now)?;
        Ok(stored)
    }

    /// What the wallet holds: tokens of this kind, and wei of the chain's own coin.
    ///
    /// # Errors
    /// [`ClientError::Chain`], [`ClientError::WrongChain`].
    pub async fn holdings(
        &self,
        chain_id: u64,
        token: Address,
    ) -> Result<(Amount, u128), ClientError> {
        let rpc = self.rpc_of(chain_id, None).await?;
        let payer = self.payer();
        tokio::try_join!(rpc.tokens(token, payer), rpc.coins(payer))
    }

    pub(super) fn stored(&self, id: ChannelId) -> Result<StoredChannel, ClientError> {
        let kept = match &self.inner.config.store {
            Some(dir) => stored_channels(dir)?,
            None => Vec::new(),
        };
        kept.into_iter()
            .find(|stored| stored.snapshot.id == id)
            .ok_or(ClientError::UnknownChannel(id))
    }

    /// Takes a kept channel for ourselves; calls of this client open it again afterwards.
    async fn take(&self, id: ChannelId) -> Result<(ChannelFile, StoredChannel), ClientError> {
        let Some(dir) = &self.inner.config.store else {
            return Err(ClientError::UnknownChannel(id));
        };
        self.inner.channels.lock().await.remove(&id);
        self.stored(id)?;
        let file = ChannelFile::open(dir, id, LOCK_WAIT).await?;
        let stored = file.load()?.ok_or(ClientError::UnknownChannel(id))?;
        Ok((file, stored))
    }

    fn adopt(&self, stored: &mut StoredChannel, view: &OnChainView, rpc: &Rpc) {
        let domain: SettlementDomain = settlement(stored.chain_id);
        let snapshot = stored.snapshot.clone();
        let mut payer = PayerChannel::restore(domain, snapshot, self.inner.config.limits);
        let signed = payer.state().signed_max;
        payer.on_chain_view(&believed(view, signed, self.source()));
        stored.snapshot = payer.state().clone();
        stored.rpc_url = Some(rpc.url().to_owned());
    }
}

fn initiate(config: &ChannelConfig, amount: Amount) -> Vec<u8> {
    configured(INITIATE, config, &[amount.to_u256()])
}

/// A call whose first argument is the channel's terms: all of it is static, a word each.
fn configured(function: &str, config: &ChannelConfig, more: &[U256]) -> Vec<u8> {
    let words = [
        config.payer.into_word(),
        config.payer_authorizer.into_word(),
        config.receiver.into_word(),
        config.receiver_authorizer.into_word(),
        config.token.into_word(),
        B256::from(U256::from(config.withdraw_delay)),
        config.salt,
    ];
    let mut data = selector(function).to_vec();
    for word in words
        .into_iter()
        .chain(more.iter().map(|word| B256::from(*word)))
    {
        data.extend_from_slice(word.as_slice());
    }
    data
}

const INITIATE: &str =
    "initiateWithdraw((address,address,address,address,address,uint40,bytes32),uint128)";
const FINALIZE: &str = "finalizeWithdraw((address,address,address,address,address,uint40,bytes32))";
const LOCK_WAIT: Duration = Duration::from_secs(10);
