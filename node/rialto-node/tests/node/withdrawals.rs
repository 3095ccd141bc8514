//! A payer who takes its money out while it is being earned.

use std::time::Duration;

use rialto_channels::Amount;
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
