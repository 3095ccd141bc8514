//! Random runs of a splitter against a model: whatever arrives, whoever is blocked and whenever
//! money is released, both parties get exactly their parts in the end. Each run is made on both
//! chains, so that they are compared with each other too.
//!
//! `PROPTEST_CASES` sets the number of runs; a few by default.

use alloy::primitives::{Address, U256};
use alloy::providers::DynProvider;
use alloy::sol_types::SolError;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rialto_channels::Amount;
use rialto_channels::royalty::Share;

use crate::abi::{HostileToken, RoyaltySplitter};
use crate::chain::{Chain, Kind, outcome};
use crate::splitters::{PROVIDER, PUBLISHER};

/// What a run does, step by step.
#[derive(Clone, Copy, Debug)]
enum Op {
    /// Tokens arrive.
    Give(u64),
    /// Somebody calls `release`.
    Release,
    /// The token refuses to pay the publisher from now on, or not.
    BlockPublisher(bool),
    /// The same for the provider.
    BlockProvider(bool),
}

#[derive(Debug, Default)]
struct Model {
    arrived: u128,
    publisher: u128,
    provider: u128,
    blocked: (bool, bool),
}

impl Model {
    /// Pays what is due to those who can be paid; whether `release` succeeds.
    fn release(&mut self, share: Share) -> bool {
        let (publisher, provider) = share.split(Amount::new(self.arrived));
        let due = (
            publisher.get() - self.publisher,
            provider.get() - self.provider,
        );
        let paid = (
            if self.blocked.0 { 0 } else { due.0 },
            if self.blocked.1 { 0 } else { due.1 },
        );
        self.publisher += paid.0;
        self.provider += paid.1;
        due == (0, 0) || paid != (0, 0)
    }
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        // Mostly dust: that is where rounding shows.
        4 => (0..40_u64).prop_map(Op::Give),
        1 => any::<u64>().prop_map(Op::Give),
        5 => Just(Op::Release),
        1 => any::<bool>().prop_map(Op::BlockPublisher),
        1 => any::<bool>().prop_map(Op::BlockProvider),
    ]
}

#[test]
fn random_runs_on_both_chains() {
    let config = match std::env::var_os("PROPTEST_CASES") {
        Some(_) => Config::default(),
        None => Config::with_cases(6),
    };
    let config = Config {
        max_shrink_iters: 200,
        failure_persistence: None,
        ..config
    };
    let runs = (1..=Share::BPS_MAX, prop::collection::vec(any_op(), 1..40));
    let outcome = TestRunner::new(config).run(&runs, |(bps, ops)| {
        for kind in [Kind::Dev, Kind::Anvil] {
            crate::chain::run(kind, async |chain| run(&chain, bps, &ops).await);
        }
        Ok(())
    });
    outcome.unwrap();
}

async fn run(chain: &Chain, bps: u16, ops: &[Op]) {
    let splitter = chain.splitter(bps).await;
    let token = chain.hostile_token().await;
    let share = Share::from_bps(bps).unwrap();
    let mut model = Model::default();
    for op in ops {
        match *op {
            Op::Give(amount) => {
                let give = token.give(*splitter.address(), U256::from(amount));
                chain.send(give).await;
                model.arrived += u128::from(amount);
            }
            Op::Release => {
                let call = splitter.release(*token.address());
                let refused = RoyaltySplitter::NothingReleased {}.abi_encode();
                let expected = if model.release(share) {
                    Ok(())
                } else {
                    Err(refused.into())
                };
                assert_eq!(outcome(call.clone()).await, expected, "{op:?}");
                if expected.is_ok() {
                    chain.send(call).await;
                }
            }
            Op::BlockPublisher(yes) => {
                let call = token.setRefuses(PUBLISHER.address(), yes);
                chain.send(call).await;
                model.blocked.0 = yes;
            }
            Op::BlockProvider(yes) => {
                let call = token.setRefuses(PROVIDER.address(), yes);
                chain.send(call).await;
                model.blocked.1 = yes;
            }
        }
        check(&token, &model, *splitter.address()).await;
    }
    // Once nobody is blocked any more, one release ends what many began.
    for who in [PUBLISHER, PROVIDER] {
        chain.send(token.setRefuses(who.address(), false)).await;
    }
    model.blocked = (false, false);
    model.release(share);
    chain.send(splitter.release(*token.address())).await;
    check(&token, &model, *splitter.address()).await;
    let (publisher, provider) = share.split(Amount::new(model.arrived));
    assert_eq!(
        (model.publisher, model.provider),
        (publisher.get(), provider.get()),
        "R1"
    );
}

/// R1 to R3: everyone has what the model says, and nothing is anywhere else.
async fn check(
    token: &HostileToken::HostileTokenInstance<DynProvider>,
    model: &Model,
    splitter: Address,
) {
    let left = model.arrived - model.publisher - model.provider;
    for (account, expected) in [
        (PUBLISHER.address(), model.publisher),
        (PROVIDER.address(), model.provider),
        (splitter, left),
    ] {
        let held = token.balanceOf(account).call().await.unwrap();
        assert_eq!(held, U256::from(expected), "{account}");
    }
}
