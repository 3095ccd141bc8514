//! A chain that does not answer.

use std::cell::Cell;
use std::time::Duration;

use rialto_channels::Amount;
use rialto_node::CallError;
use rialto_testkit::proxy::Fault;
use serde_json::json;

use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn serving_goes_on_within_the_risk_limit_and_then_stops() {
    let world = World::start(|config| {
        config.risk.blind_after = Duration::from_millis(100);
        config.risk.blind_max = Amount::new(250);
    })
    .await;
    world.pay(1, 2_000, Some(200_000)).await;
    world.proxy.next("*", usize::MAX, Fault::Status(503));
    let mut paid: u128 = 1;
    let refused = loop {
        let payment = world.payment(1, 2_000 + paid * 100, None).await;
        match world.call("echo", payment).await {
            Ok(_) => paid += 1,
            Err(error) => break error,
        }
        assert!(paid < 1_000, "never refused");
    };
    assert!(paid >= 3, "two calls fit the limit: {paid}");
    let CallError::Unavailable { what, source } = &refused else {
        panic!("{refused}");
    };
    assert_eq!(*what, "the chain");
    assert!(source.to_string().contains("no more than 250"), "{source}");
    assert_eq!(world.view(1).charged, Amount::new(paid * 100));
    assert!(world.view(1).in_flight.is_zero());

    world.proxy.heal();
    let ceiling = Cell::new(150_000);
    world
        .until("it goes on", async || {
            let payment = world.payment(1, ceiling.get(), None).await;
            ceiling.set(ceiling.get() + 1);
            world.call("echo", payment).await.is_ok()
        })
        .await;
    world.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_whose_view_is_old_is_not_served() {
    let world = World::start(|config| config.risk.blind_max = Amount::new(1_000_000)).await;
    world.pay(1, 2_000, Some(200_000)).await;
    // More than a third of the delay of 900 s passes on the chain.
    world.rpc("evm_increaseTime", json!([320])).await;
    world.rpc("evm_mine", json!([])).await;
    // The watcher learns the time from the newest block, and nothing of the channel.
    world.proxy.next("eth_call", usize::MAX, Fault::Status(503));
    let ceiling = Cell::new(150_000);
    world
        .until("it is refused", async || {
            let payment = world.payment(1, ceiling.get(), None).await;
            ceiling.set(ceiling.get() + 1);
            match world.call("echo", payment).await {
                Err(CallError::Unavailable { what, .. }) => what == "the chain",
                Ok(_) => false,
                Err(other) => panic!("{other}"),
            }
        })
        .await;
    let charged = world.view(1).charged;
    world.proxy.heal();
    world.pay(1, 190_000, None).await;
    assert_eq!(world.view(1).charged.get(), charged.get() + 100);
    world.node.shutdown().await;
}
