//! Royalty splitters: where they are, what they pay, and what nobody can do to them.

use alloy::primitives::{Address, Bytes, U256};
use alloy::providers::{DynProvider, Provider};
use alloy::rpc::types::TransactionRequest;
use alloy::sol_types::SolCall;
use rialto_chain::contracts::CREATE2_DEPLOYER;
use rialto_channels::Amount;
use rialto_channels::royalty::{
    Royalty, SPLITTER_FACTORY, SPLITTER_INIT_CODE_HASH, Share, splitter,
};

use crate::abi::BatchSettlement::{self, ChannelConfig};
use crate::abi::{HostileToken, RoyaltySplitter, RoyaltySplitterFactory};
use crate::chain::{Chain, GENESIS_BALANCE, Kind, emitted, events, reverts};
use crate::world::{FACTORY, TOKEN, Who, config, row};

on_both!(
    address_is_known_before_there_is_code,
    shares_have_bounds,
    channels_pay_publisher_and_provider,
    dust_is_paid_in_the_end,
    blocked_party_holds_nobody_up,
    splitter_is_not_entered_twice,
    sums_have_a_limit,
);

/// The publisher of these tests.
pub(crate) const PUBLISHER: Who = Who::Receiver2;
/// The provider of these tests.
pub(crate) const PROVIDER: Who = Who::Receiver;

const REENTERS: u8 = 4;

type Splitter = RoyaltySplitter::RoyaltySplitterInstance<DynProvider>;

fn royalty(bps: u16) -> Royalty {
    Royalty {
        publisher: PUBLISHER.address(),
        share: Share::from_bps(bps).unwrap(),
    }
}

/// A call of the factory; the binding's own `deploy` would deploy the factory.
pub(crate) fn deployment(
    publisher: Address,
    provider: Address,
    bps: u16,
) -> RoyaltySplitterFactory::deployCall {
    RoyaltySplitterFactory::deployCall {
        publisher,
        provider,
        publisherBps: bps,
    }
}

impl Chain {
    pub(crate) fn factory(
        &self,
    ) -> RoyaltySplitterFactory::RoyaltySplitterFactoryInstance<DynProvider> {
        RoyaltySplitterFactory::new(FACTORY, self.provider.clone())
    }

    pub(crate) fn splitter_at(&self, address: Address) -> Splitter {
        RoyaltySplitter::new(address, self.provider.clone())
    }

    /// Deploys the splitter of the tests' publisher and provider.
    pub(crate) async fn splitter(&self, bps: u16) -> Splitter {
        let deploy = deployment(PUBLISHER.address(), PROVIDER.address(), bps);
        let factory = self.factory();
        self.send(factory.call_builder(&deploy)).await;
        self.splitter_at(royalty(bps).receiver(PROVIDER.address()))
    }

    pub(crate) async fn hostile_token(&self) -> HostileToken::HostileTokenInstance<DynProvider> {
        let receipt = self
            .send(HostileToken::deploy_builder(self.provider.clone()))
            .await;
        HostileToken::new(receipt.contract_address.unwrap(), self.provider.clone())
    }
}

/// F1: the contract, the pure crate and the chain agree, and a second deployment is no error.
async fn address_is_known_before_there_is_code(chain: Chain) {
    let factory = chain.factory();
    assert_eq!(FACTORY, SPLITTER_FACTORY);
    assert_eq!(
        factory.INIT_CODE_HASH().call().await.unwrap(),
        SPLITTER_INIT_CODE_HASH
    );
    let (publisher, provider) = (PUBLISHER.address(), PROVIDER.address());
    for bps in [1, 500, 5000] {
        let share = Share::from_bps(bps).unwrap();
        let expected = splitter(FACTORY, SPLITTER_INIT_CODE_HASH, publisher, provider, share);
        assert_eq!(expected, royalty(bps).receiver(provider));
        let found = factory.addressOf(publisher, provider, bps).call().await;
        assert_eq!(found.unwrap(), expected);
        assert!(
            chain
                .provider
                .get_code_at(expected)
                .await
                .unwrap()
                .is_empty()
        );

        // It can be paid before it exists.
        let amount = U256::from(10_000);
        let paid = chain.token().transfer(expected, amount);
        chain.send(paid.from(Who::Payer.address())).await;
        let deploy = deployment(publisher, provider, bps);
        let call = || factory.call_builder(&deploy);
        let deployed = chain.send(call().from(Who::Stranger.address())).await;
        emitted(
            &deployed,
            &[RoyaltySplitterFactory::SplitterDeployed {
                splitter: expected,
                publisher,
                provider,
                publisherBps: bps,
            }],
        );
        let again = chain.send(call()).await;
        assert!(again.logs().is_empty(), "a second deployment does nothing");

        let splitter = chain.splitter_at(expected);
        assert_eq!(splitter.publisher().call().await.unwrap(), publisher);
        let paid_rest = splitter.call_builder(&RoyaltySplitter::providerCall {});
        assert_eq!(paid_rest.call().await.unwrap(), provider);
        assert_eq!(splitter.publisherBps().call().await.unwrap(), bps);
        let due = splitter.due(TOKEN).call().await.unwrap();
        let part = U256::from(bps);
        assert_eq!((due.toPublisher, due.toProvider), (part, amount - part));
    }
    let parameters = factory.parameters().call().await.unwrap();
    assert_eq!(parameters._0, Address::ZERO, "none is under construction");
}

async fn shares_have_bounds(chain: Chain) {
    let factory = chain.factory();
    assert_eq!(factory.BPS_MAX().call().await.unwrap(), Share::BPS_MAX);
    let (publisher, provider) = (PUBLISHER.address(), PROVIDER.address());
    for (publisher, provider, bps) in [
        (publisher, provider, 0),
        (publisher, provider, Share::BPS_MAX + 1),
        (publisher, provider, u16::MAX),
        (Address::ZERO, provider, 500),
        (publisher, Address::ZERO, 500),
    ] {
        let invalid = || RoyaltySplitterFactory::InvalidShares {};
        let deploy = deployment(publisher, provider, bps);
        reverts(factory.call_builder(&deploy), invalid()).await;
        reverts(factory.addressOf(publisher, provider, bps), invalid()).await;
    }
}

/// A channel whose receiver is the splitter: claimed, settled, released.
async fn channels_pay_publisher_and_provider(chain: Chain) {
    let receiver = royalty(500).receiver(PROVIDER.address());
    let config = ChannelConfig {
        receiver,
        ..config(Who::Payer, Who::Receiver)
    };
    chain.deposit(&config, Who::Payer, 5000, 1).await;
    chain
        .claim(vec![row(&config, Who::Session, 1999, 1999)])
        .await;
    let settled = chain.send(chain.settlement().settle(receiver, TOKEN)).await;
    emitted(
        &settled,
        &[BatchSettlement::Settled {
            receiver,
            token: TOKEN,
            sender: Who::Relay.address(),
            amount: 1999,
        }],
    );
    let splitter = chain.splitter(500).await;
    assert_eq!(*splitter.address(), receiver);
    let release = splitter.release(TOKEN).from(Who::Stranger.address());
    let receipt = chain.send(release).await;
    emitted(
        &receipt,
        &[RoyaltySplitter::Released {
            token: TOKEN,
            toPublisher: U256::from(99),
            toProvider: U256::from(1900),
        }],
    );
    let earned = async |who: Who| chain.balance(who.address()).await - GENESIS_BALANCE;
    assert_eq!(earned(PUBLISHER).await, 99);
    assert_eq!(earned(PROVIDER).await, 1900);
    assert_eq!(chain.balance(receiver).await, 0);
    let idle = chain.send(splitter.release(TOKEN)).await;
    assert!(idle.logs().is_empty(), "nothing is due");
}

/// R1: a hundred releases of one base unit pay the publisher as one release of a hundred does.
async fn dust_is_paid_in_the_end(chain: Chain) {
    let splitter = chain.splitter(500).await;
    let share = Share::from_bps(500).unwrap();
    let start = async |who: Who| chain.balance(who.address()).await;
    let before = (start(PUBLISHER).await, start(PROVIDER).await);
    let mut arrived = 0;
    for amount in [1_u64, 7, 19, 1, 1, 1, 3, 40, 1, 26] {
        let pay = chain
            .token()
            .transfer(*splitter.address(), U256::from(amount));
        chain.send(pay.from(Who::Payer.address())).await;
        chain.send(splitter.release(TOKEN)).await;
        arrived += u128::from(amount);
        let (publisher, provider) = share.split(Amount::new(arrived));
        let found = (
            start(PUBLISHER).await - before.0,
            start(PROVIDER).await - before.1,
        );
        assert_eq!(
            found,
            (publisher.get(), provider.get()),
            "R1 after {arrived}"
        );
    }
    assert_eq!(arrived, 100);
    let paid = splitter.paid(TOKEN).call().await.unwrap();
    assert_eq!((paid.toPublisher, paid.toProvider), (5, 95));
}

/// R3: who cannot be paid stays due, and the other is paid all the same.
async fn blocked_party_holds_nobody_up(chain: Chain) {
    let splitter = chain.splitter(2500).await;
    let token = chain.hostile_token().await;
    let at = *token.address();
    let (publisher, provider) = (PUBLISHER.address(), PROVIDER.address());
    let give = |amount: u64| token.give(*splitter.address(), U256::from(amount));
    let refuses = |who, yes| token.setRefuses(who, yes);
    let released = |publisher: u64, provider: u64| RoyaltySplitter::Released {
        token: at,
        toPublisher: U256::from(publisher),
        toProvider: U256::from(provider),
    };
    chain.send(give(1000)).await;
    chain.send(refuses(publisher, true)).await;
    let receipt = chain.send(splitter.release(at)).await;
    emitted(&receipt, &[released(0, 750)]);
    reverts(splitter.release(at), RoyaltySplitter::NothingReleased {}).await;
    chain.send(give(400)).await;
    let receipt = chain.send(splitter.release(at)).await;
    emitted(&receipt, &[released(0, 300)]);

    chain.send(refuses(provider, true)).await;
    chain.send(refuses(publisher, false)).await;
    chain.send(give(4)).await;
    let receipt = chain.send(splitter.release(at)).await;
    emitted(&receipt, &[released(351, 0)]);
    chain.send(refuses(provider, false)).await;
    let receipt = chain.send(splitter.release(at)).await;
    emitted(&receipt, &[released(0, 3)]);
    let left = token.balanceOf(*splitter.address()).call().await.unwrap();
    assert_eq!(left, U256::ZERO);
    let paid = splitter.paid(at).call().await.unwrap();
    assert_eq!((paid.toPublisher, paid.toProvider), (351, 1053), "R1");
}

/// R1 against a token that calls back between the two transfers: the inner release is refused, so
/// nobody is paid from the other's part.
async fn splitter_is_not_entered_twice(chain: Chain) {
    let splitter = chain.splitter(5000).await;
    let token = chain.hostile_token().await;
    let at = *token.address();
    let give = token.give(*splitter.address(), U256::from(100));
    chain.send(give).await;
    let inner = RoyaltySplitter::releaseCall { token: at }.abi_encode();
    let mode = token.setMode(REENTERS, *splitter.address(), inner.into());
    chain.send(mode).await;
    reverts(splitter.release(at), RoyaltySplitter::NothingReleased {}).await;
    chain
        .send(token.setMode(0, Address::ZERO, Bytes::new()))
        .await;
    let receipt = chain.send(splitter.release(at)).await;
    let released = events::<RoyaltySplitter::Released>(&receipt);
    assert_eq!(released[0].toPublisher, U256::from(50));
}

async fn sums_have_a_limit(chain: Chain) {
    let splitter = chain.splitter(5000).await;
    let token = chain.hostile_token().await;
    let at = *token.address();
    let give = |amount| token.give(*splitter.address(), amount);
    chain.send(give(U256::from(u128::MAX))).await;
    chain.send(splitter.release(at)).await;
    let paid = splitter.paid(at).call().await.unwrap();
    assert_eq!(paid.toPublisher, u128::MAX / 2);
    chain.send(give(U256::from(1))).await;
    reverts(splitter.release(at), RoyaltySplitter::TooMuch {}).await;
    chain.send(give(U256::MAX >> 1)).await;
    reverts(splitter.release(at), RoyaltySplitter::TooMuch {}).await;
}

/// On a public chain the factory comes through the CREATE2 deployer, to the same address. anvil has
/// that deployer.
#[test]
fn factory_has_its_address_on_every_chain() {
    crate::chain::run(Kind::Anvil, async |chain: Chain| {
        chain.remove_code(FACTORY).await;
        let input: Bytes = [[0; 32].as_slice(), &RoyaltySplitterFactory::BYTECODE]
            .concat()
            .into();
        let request = TransactionRequest::default()
            .from(Who::Stranger.address())
            .to(CREATE2_DEPLOYER)
            .input(input.into());
        let sent = chain.provider.send_transaction(request).await.unwrap();
        assert!(sent.get_receipt().await.unwrap().status());
        let code = chain.provider.get_code_at(FACTORY).await.unwrap();
        assert_eq!(code, *RoyaltySplitterFactory::DEPLOYED_BYTECODE);
        chain.splitter(500).await;
    });
}
