//! Deposits: what arrives is credited to the channel that the payer signed for, and only that.

use alloy::primitives::{Address, Bytes, U256, Uint};
use alloy::sol_types::SolValue;

use crate::abi::BatchSettlement::{self, ChannelConfig};
use crate::abi::{HostileToken, TestCollector};
use crate::chain::{Chain, GENESIS_BALANCE, emitted, events, reverts};
use crate::world::{COLLECTOR, Consent, SETTLEMENT, Who, config, id};

on_both!(
    credits_and_announces,
    refuses_incomplete_configs,
    refuses_delays_out_of_range,
    refuses_nothing_and_nobody,
    refuses_more_than_fits,
    refuses_what_did_not_arrive,
    emptied_channel_opens_again
);

async fn credits_and_announces(chain: Chain) {
    let config = config(Who::Payer, Who::Receiver);
    let first = chain.deposit(&config, Who::Payer, 1000, 1).await;
    let created = BatchSettlement::ChannelCreated {
        channelId: id(&config),
        config: config.clone(),
    };
    emitted(&first, &[created]);
    let sender = Who::Relay.address();
    let deposited = |amount, new_balance| BatchSettlement::Deposited {
        channelId: id(&config),
        sender,
        amount,
        newBalance: new_balance,
    };
    emitted(&first, &[deposited(1000, 1000)]);

    let second = chain.deposit(&config, Who::Payer, 500, 2).await;
    assert_eq!(events::<BatchSettlement::ChannelCreated>(&second), []);
    emitted(&second, &[deposited(500, 1500)]);

    assert_eq!(chain.channel(&config).await, (1500, 0));
    assert_eq!(
        chain.balance(Who::Payer.address()).await,
        GENESIS_BALANCE - 1500
    );
    assert_eq!(chain.balance(SETTLEMENT).await, 1500);
    assert_eq!(chain.balance(COLLECTOR).await, 0, "C2");
}

async fn refuses_incomplete_configs(chain: Chain) {
    let good = config(Who::Payer, Who::Receiver);
    let zero = Address::ZERO;
    for bad in [
        ChannelConfig {
            payer: zero,
            ..good.clone()
        },
        ChannelConfig {
            receiver: zero,
            ..good.clone()
        },
        ChannelConfig {
            receiverAuthorizer: zero,
            ..good.clone()
        },
        ChannelConfig {
            token: zero,
            ..good
        },
    ] {
        let call = chain.deposit_call(&bad, Who::Payer, &Consent::new(1, 1));
        reverts(call, BatchSettlement::InvalidChannel {}).await;
    }
}

async fn refuses_delays_out_of_range(chain: Chain) {
    let good = config(Who::Payer, Who::Receiver);
    let with = |delay: u64| ChannelConfig {
        withdrawDelay: Uint::from(delay),
        ..good.clone()
    };
    for delay in [0, 899, 2_592_001, (1 << 40) - 1] {
        let call = chain.deposit_call(&with(delay), Who::Payer, &Consent::new(1, 1));
        reverts(call, BatchSettlement::WithdrawDelayOutOfRange {}).await;
    }
    for delay in [900, 2_592_000] {
        chain.deposit(&with(delay), Who::Payer, 1, delay).await;
    }
}

async fn refuses_nothing_and_nobody(chain: Chain) {
    let config = config(Who::Payer, Who::Receiver);
    let call = chain.deposit_call(&config, Who::Payer, &Consent::new(0, 1));
    reverts(call, BatchSettlement::ZeroDeposit {}).await;
    let call = chain
        .settlement()
        .deposit(config, 1, Address::ZERO, Bytes::new());
    reverts(call, BatchSettlement::InvalidCollector {}).await;
}

async fn refuses_more_than_fits(chain: Chain) {
    let (token, collector) = chain.hostile().await;
    let config = ChannelConfig {
        token,
        ..config(Who::Payer, Who::Receiver)
    };
    let deposit = |amount: u128, delivered: u128| {
        let data = delivery(U256::from(delivered));
        chain
            .settlement()
            .deposit(config.clone(), amount, collector, data)
    };
    chain.send(deposit(u128::MAX - 1, u128::MAX - 1)).await;
    reverts(deposit(2, 2), BatchSettlement::DepositOverflow {}).await;
    chain.send(deposit(1, 1)).await;
    assert_eq!(chain.channel(&config).await, (u128::MAX, 0));
}

/// I9.
async fn refuses_what_did_not_arrive(chain: Chain) {
    let (token, collector) = chain.hostile().await;
    let config = ChannelConfig {
        token,
        ..config(Who::Payer, Who::Receiver)
    };
    for delivered in [0_u64, 99, 101] {
        let data = delivery(U256::from(delivered));
        let call = chain
            .settlement()
            .deposit(config.clone(), 100, collector, data);
        reverts(call, BatchSettlement::DepositCollectionFailed {}).await;
    }
}

async fn emptied_channel_opens_again(chain: Chain) {
    let config = config(Who::Payer, Who::Receiver);
    chain.deposit(&config, Who::Payer, 1000, 1).await;
    chain
        .send(
            chain
                .settlement()
                .refund(config.clone(), 1000)
                .from(Who::Host.address()),
        )
        .await;
    let again = chain.deposit(&config, Who::Payer, 1000, 2).await;
    assert_eq!(events::<BatchSettlement::ChannelCreated>(&again).len(), 1);

    // Not so once something was claimed.
    chain.claim(vec![row_of(&config)]).await;
    chain
        .send(
            chain
                .settlement()
                .refund(config.clone(), 1000)
                .from(Who::Host.address()),
        )
        .await;
    let more = chain.deposit(&config, Who::Payer, 1000, 3).await;
    assert_eq!(events::<BatchSettlement::ChannelCreated>(&more), []);
}

fn row_of(config: &ChannelConfig) -> BatchSettlement::VoucherClaim {
    crate::world::row(config, Who::Session, 1, 1)
}

/// What [`TestCollector`] is told to deliver.
fn delivery(amount: U256) -> Bytes {
    (amount, Address::ZERO, Bytes::new())
        .abi_encode_params()
        .into()
}

impl Chain {
    /// Deploys a token that misbehaves on demand, and a collector for it.
    pub(crate) async fn hostile(&self) -> (Address, Address) {
        let token = self
            .send(HostileToken::deploy_builder(self.provider.clone()))
            .await;
        let collector = self
            .send(TestCollector::deploy_builder(self.provider.clone()))
            .await;
        (
            token.contract_address.unwrap(),
            collector.contract_address.unwrap(),
        )
    }
}
