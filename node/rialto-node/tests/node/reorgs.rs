//! Blocks that are taken back under a node.

use rialto_channels::Amount;
use rialto_node::{CallError, PaymentError};
use serde_json::json;

use crate::world::{World, at_rest};

#[tokio::test(flavor = "multi_thread")]
async fn a_deposit_that_vanishes_is_made_again() {
    let world = World::start(|_| ()).await;
    let mark = world.mark().await;
    world.pay(1, 2_000, Some(20_000)).await;
    assert_eq!(world.view(1).balance, Amount::new(20_000));

    world.reorganise(mark, 3, 5).await;
    world
        .until("the deposit is on the chain again", async || {
            let view = world.client.channel(&world.terms(1)).await.unwrap();
            view.balance == Amount::new(20_000)
        })
        .await;
    world
        .until("and in the books", async || {
            world.view(1).balance == Amount::new(20_000)
        })
        .await;
    // Vouchers and charges are as they were, and worth as much.
    let view = world.view(1);
    assert_eq!(view.charged, Amount::new(100));
    assert_eq!(view.ceiling.unwrap().0, Amount::new(2_000));
    world.pay(1, 2_100, None).await;
    let collected = world.node.collect().await.unwrap();
    assert_eq!(collected.claimed, Amount::new(200));
    world.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deposit_that_vanishes_while_no_node_runs_is_made_again() {
    let world = World::start(|_| ()).await;
    let mark = world.mark().await;
    world.pay(1, 2_000, Some(20_000)).await;
    let chain = world.chain.clone();
    let world = world
        .restart(async |_| {
            let rpc = [
                ("evm_revert", json!([mark])),
                ("evm_increaseTime", json!([5])),
                ("evm_mine", json!([])),
            ];
            for (method, params) in rpc {
                chain.request(method, params).await.unwrap();
            }
        })
        .await;
    world
        .until("the deposit is on the chain again", async || {
            let view = world.client.channel(&world.terms(1)).await.unwrap();
            view.balance == Amount::new(20_000)
        })
        .await;
    world.pay(1, 2_100, None).await;
    let collected = world.node.collect().await.unwrap();
    assert_eq!(collected.claimed, Amount::new(200));
    // It is forgotten when no reorganisation reaches it.
    assert_eq!(world.kept_deposits(), 1);
    world.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deposit_is_forgotten_when_it_lies_deep() {
    let world = World::start(|config| config.risk.reorg_blocks_max = 3).await;
    world.pay(1, 2_000, Some(20_000)).await;
    assert_eq!(world.kept_deposits(), 1);
    for _ in 0..4 {
        world.rpc("evm_mine", json!([])).await;
    }
    let world = world.restart(async |_| ()).await;
    world
        .until("it is forgotten", async || world.kept_deposits() == 0)
        .await;
    assert_eq!(
        world.client.channel(&world.terms(1)).await.unwrap().balance,
        Amount::new(20_000)
    );
    world.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_consent_the_channel_serves_no_further_than_what_remains() {
    let world = World::start(|_| ()).await;
    world.pay(1, 1_000, Some(10_000)).await;
    let before = world.mark().await;
    let mut more = world.payment(1, 15_000, None).await;
    more.deposit = Some(world.deposit_under(1, 20_000, 77).await);
    world.call("echo", more).await.unwrap();
    assert_eq!(world.view(1).balance, Amount::new(30_000));

    // By now the payer's consent has expired.
    world.reorganise(before, 3, 700).await;
    world
        .until("the deposit is no longer believed in", async || {
            world.view(1).balance == Amount::new(10_000)
        })
        .await;
    let payment = world.payment(1, 15_100, None).await;
    let refused = world.call("echo", payment).await.unwrap_err();
    let CallError::Payment(PaymentError::Invalid { code, .. }) = refused else {
        panic!("{refused}");
    };
    assert!(code.ends_with("cumulative_exceeds_balance"), "{code}");
    // What remains is served, and the voucher of before is kept.
    world.pay(1, 9_000, None).await;
    let view = world.view(1);
    assert_eq!(view.charged, Amount::new(300));
    assert_eq!(view.ceiling.unwrap().0, Amount::new(15_000));
    let collected = world.node.collect().await.unwrap();
    assert_eq!(collected.claimed, Amount::new(300));
    world.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_that_vanish_are_made_again_and_counted_once() {
    let world = World::start(|config| config.risk.final_after = 4).await;
    world.pay(1, 2_000, Some(20_000)).await;
    let mark = world.mark().await;
    let first = world.node.collect().await.unwrap();
    assert_eq!(first.claimed, Amount::new(100));
    assert_eq!(first.settled.len(), 1);

    world.reorganise(mark, 6, 5).await;
    world
        .until("the claim is no longer believed in", async || {
            world.view(1).claimed.is_zero()
        })
        .await;
    let again = world.node.collect().await.unwrap();
    assert_eq!(again.claimed, Amount::new(100));
    assert_ne!(again.claims, first.claims);
    for _ in 0..5 {
        world.rpc("evm_mine", json!([])).await;
    }
    world
        .until("everything is final", async || world.left_behind() == 0)
        .await;
    let ledger = world.ledger_folder();
    world.node.shutdown().await;
    let folder = world.close();
    let ledger = at_rest(&ledger).await;
    let totals = ledger.totals().unwrap();
    assert_eq!(totals.len(), 1);
    assert_eq!(totals[0].charged, Amount::new(100));
    assert_eq!(totals[0].claimed, Amount::new(100), "once");
    assert_eq!(totals[0].settled, Amount::new(100), "once");
    drop(folder);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_deposits_wait_for_their_depth() {
    let world = World::start(|config| {
        config.risk.depths = vec![rialto_channels::Depth {
            from: Amount::new(50_000),
            blocks: 4,
        }];
    })
    .await;
    // A small one is served at once.
    world.pay(1, 2_000, Some(49_999)).await;
    let payment = world.payment(2, 60_000, Some(80_000)).await;
    let (answered, ()) = tokio::join!(world.call("echo", payment), async {
        world
            .until("the deposit is made", async || {
                let view = world.client.channel(&world.terms(2)).await.unwrap();
                view.balance == Amount::new(80_000)
            })
            .await;
        assert!(
            world
                .node
                .channel(world.id(2))
                .is_none_or(|view| view.charged.is_zero()),
            "not before three more blocks"
        );
        for _ in 0..3 {
            world.rpc("evm_mine", json!([])).await;
        }
    });
    answered.unwrap();
    assert_eq!(world.view(2).balance, Amount::new(80_000));
    world.node.shutdown().await;
}
