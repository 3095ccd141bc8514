//! A payer who takes its money out while it is being earned.

use std::time::Duration;

use rialto_channels::Amount;
use rialto_channels::payee::CLAIMS_PER_DELAY;
use rialto_testkit::proxy::Fault;

use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawal_is_answered_by_claiming_at_once() {
    let world = World::start(|_| ()).await;
    world.pay(1, 2_000, Some(20_000)).await;
    world.pay(2, 2_000, Some(20_000)).await;
    let payer = world.payer().await;
    payer
        .initiate_withdraw(&world.terms(1), Amount::new(20_000))
        .await
        .unwrap();
    world
        .until("what was charged is claimed", async || {
            let view = world.client.channel(&world.terms(1)).await.unwrap();
            view.claimed == Amount::new(100)
        })
        .await;
    // The other channel is not in danger: it waits for its turn.
    let other = world.client.channel(&world.terms(2)).await.unwrap();
    assert!(other.claimed.is_zero());
    world.node.shutdown().await;
}

/// The withdrawal leaves what is owed, and a claim costs more than it brings: it is made all the same.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_owed_outlives_a_withdrawal_unclaimed() {
    let world = World::start(|config| {
        config.payments.collect_every = Duration::from_millis(50);
        config.claims.token_per_ether = Amount::new(4_000_000_000_000_000);
    })
    .await;
    world.pay(1, 2_000, Some(20_000)).await;
    world.pay(2, 2_000, Some(20_000)).await;
    let payer = world.payer().await;
    let (terms, some) = (world.terms(1), Amount::new(5_000));
    payer.initiate_withdraw(&terms, some).await.unwrap();
    let claimed = async || world.client.channel(&terms).await.unwrap().claimed;
    world
        .until("what was charged is claimed", async || {
            claimed().await == Amount::new(100)
        })
        .await;

    // Calls go on within what the withdrawal leaves; what they are charged is claimed before its end.
    for call in 1_u128..=3 {
        world.pay(1, 2_000 + call, None).await;
    }
    let before = world.host_nonce().await;
    let pause = 900 / CLAIMS_PER_DELAY + 1;
    world
        .rpc("evm_increaseTime", serde_json::json!([pause]))
        .await;
    world.rpc("evm_mine", serde_json::json!([])).await;
    world
        .until("and what was charged since", async || {
            claimed().await == Amount::new(400)
        })
        .await;
    assert_eq!(world.host_nonce().await, before + 1, "in one transaction");

    world
        .rpc("evm_increaseTime", serde_json::json!([900]))
        .await;
    let withdrawn = payer.finalize_withdraw(&terms).await.unwrap();
    assert_eq!(withdrawn.amount, some);
    let view = world.client.channel(&terms).await.unwrap();
    assert_eq!(view.claimed, world.view(1).charged);
    let other = world.client.channel(&world.terms(2)).await.unwrap();
    assert!(
        other.claimed.is_zero(),
        "nobody withdraws there, and gas is dear"
    );
    world.node.shutdown().await;
}

/// The place on the chain of a channel whose deposit waits for its depth is not taken meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_deposit_that_waits_keeps_no_withdrawal_from_being_seen() {
    let world = World::start(|config| {
        config.risk.depths = vec![rialto_channels::Depth {
            from: Amount::new(50_000),
            blocks: 9,
        }];
    })
    .await;
    world.pay(1, 2_000, Some(20_000)).await;
    let payer = world.payer().await;
    let large = world.payment(2, 60_000, Some(80_000)).await;
    let (answered, ()) = tokio::join!(world.call("echo", large), async {
        let view = async |salt| world.client.channel(&world.terms(salt)).await.unwrap();
        world
            .until("the deposit is made", async || {
                view(2).await.balance == Amount::new(80_000)
            })
            .await;
        for salt in [2, 1] {
            let some = Amount::new(5_000);
            payer
                .initiate_withdraw(&world.terms(salt), some)
                .await
                .unwrap();
        }
        world
            .until("what was charged is claimed", async || {
                view(1).await.claimed == Amount::new(100)
            })
            .await;
        world
            .until("both withdrawals are seen", async || {
                let views = [1, 2].map(|salt| world.view(salt).withdrawal_finalizes_at);
                views.iter().all(Option::is_some)
            })
            .await;
        assert!(world.view(2).charged.is_zero(), "it waits still");
        for _ in 0..9 {
            world.rpc("evm_mine", serde_json::json!([])).await;
        }
    });
    answered.unwrap();
    world.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn even_if_no_events_can_be_had() {
    let world = World::start(|_| ()).await;
    world.pay(1, 2_000, Some(20_000)).await;
    world
        .proxy
        .next("eth_getLogs", usize::MAX, Fault::Status(503));
    let payer = world.payer().await;
    let all = Amount::new(19_000);
    payer.initiate_withdraw(&world.terms(1), all).await.unwrap();
    world
        .rpc("evm_increaseTime", serde_json::json!([301]))
        .await;
    world.rpc("evm_mine", serde_json::json!([])).await;
    // The host learns the time from the next block that it looks at for a call.
    world.pay(2, 2_000, Some(20_000)).await;
    world
        .until("what was charged is claimed", async || {
            let view = world.client.channel(&world.terms(1)).await.unwrap();
            view.claimed == Amount::new(100)
        })
        .await;
    world.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn even_if_the_claim_is_swallowed_and_the_events_are_hidden() {
    let world = World::start(|config| config.risk.replace_after = Duration::from_millis(100)).await;
    world.pay(1, 2_000, Some(20_000)).await;
    world
        .until("the chain is followed", async || {
            world.proxy.count("eth_getLogs") > 0
        })
        .await;
    // The endpoint says that nothing ever happens, and forgets what it is sent.
    world
        .proxy
        .next("eth_getLogs", usize::MAX, Fault::Say(serde_json::json!([])));
    world
        .proxy
        .next("eth_sendRawTransaction", 2, Fault::Swallow);
    let payer = world.payer().await;
    payer
        .initiate_withdraw(&world.terms(1), Amount::new(20_000))
        .await
        .unwrap();
    // A third of the delay later the channel is read whatever the events say.
    world
        .rpc("evm_increaseTime", serde_json::json!([301]))
        .await;
    world.rpc("evm_mine", serde_json::json!([])).await;
    world
        .until("what was charged is claimed", async || {
            let view = world.client.channel(&world.terms(1)).await.unwrap();
            view.claimed == Amount::new(100)
        })
        .await;
    assert!(world.proxy.count("eth_sendRawTransaction") >= 4);
    world.node.shutdown().await;
}
