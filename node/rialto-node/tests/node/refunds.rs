//! Refunds that rely on a claim, and a chain that takes the claim back.

use rialto_channels::{Amount, Depth};
use rialto_node::{CallError, PaymentError, RefundRequest};
use serde_json::json;

use crate::world::World;

fn request(world: &World) -> RefundRequest {
    RefundRequest {
        config: world.terms(1),
        channel: world.id(1),
        voucher: world.voucher(1, 100),
        amount: None,
    }
}

/// A world in which everything must lie under four blocks, and a channel that was charged 100.
async fn charged_deeply() -> World {
    let world = World::start(|config| {
        config.risk.depths = vec![Depth {
            from: Amount::new(1),
            blocks: 4,
        }];
    })
    .await;
    let payment = world.payment(1, 2_000, Some(20_000)).await;
    let (paid, ()) = tokio::join!(world.call("echo", payment), async {
        world
            .until("the deposit is made", async || {
                let view = world.client.channel(&world.terms(1)).await.unwrap();
                view.balance == Amount::new(20_000)
            })
            .await;
        mine(&world, 3).await;
    });
    paid.unwrap();
    world
}

async fn mine(world: &World, blocks: u32) {
    for _ in 0..blocks {
        world.rpc("evm_mine", json!([])).await;
    }
}

/// Waits until the claim is made, and looks whether the refund waits for more blocks.
async fn claimed_and_not_refunded(world: &World) {
    let view = async || world.client.channel(&world.terms(1)).await.unwrap();
    world
        .until("what is owed is claimed", async || {
            view().await.claimed == Amount::new(100)
        })
        .await;
    let looks = world.proxy.count("eth_call");
    world
        .until("the refund has looked for its claim", async || {
            world.proxy.count("eth_call") >= looks + 8
        })
        .await;
    assert_eq!(view().await.balance, Amount::new(20_000), "not refunded");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_is_sent_when_its_claim_is_beyond_reorganisation() {
    let world = charged_deeply().await;
    let mark = world.mark().await;
    let node = world.node.clone();
    let asked = request(&world);
    let refund = tokio::spawn(async move { node.refund(asked).await });
    claimed_and_not_refunded(&world).await;

    // Whoever asks again meanwhile is told to wait, and so is a call.
    let again = world.node.refund(request(&world)).await.unwrap_err();
    let CallError::Payment(PaymentError::Invalid { code, .. }) = again else {
        panic!("{again}");
    };
    assert!(code.ends_with("channel_busy"), "{code}");
    let payment = world.payment(1, 2_001, None).await;
    let refused = world.call("echo", payment).await.unwrap_err();
    assert!(matches!(refused, CallError::Payment(_)), "{refused}");

    world.reorganise(mark, 2, 5).await;
    claimed_and_not_refunded(&world).await;
    assert!(!refund.is_finished());
    mine(&world, 3).await;
    let refunded = refund.await.unwrap().unwrap();
    assert_eq!(refunded.amount, Amount::new(19_900));
    let view = world.client.channel(&world.terms(1)).await.unwrap();
    assert_eq!(
        (view.balance, view.claimed),
        (Amount::new(100), Amount::new(100))
    );
    assert_eq!(world.left_behind(), 0);
    world.node.shutdown().await;
}

/// Each costs the host gas: a payer could ask for its balance unit by unit.
#[tokio::test(flavor = "multi_thread")]
async fn refunds_have_a_budget() {
    let world = World::start(|_| ()).await;
    world.pay(1, 2_000, Some(20_000)).await;
    let unit = || RefundRequest {
        amount: Some(Amount::new(1)),
        ..request(&world)
    };
    for _ in 0..20 {
        world.node.refund(unit()).await.unwrap();
    }
    let nonce = world.host_nonce().await;
    let refused = world.node.refund(unit()).await.unwrap_err();
    assert!(
        matches!(refused, CallError::TooManyFailures { failed: 20, .. }),
        "{refused}"
    );
    assert_eq!(world.host_nonce().await, nonce, "no gas is spent");
    // Calls go on.
    world.pay(1, 2_001, None).await;
    world.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_that_waits_when_the_host_stops_can_be_asked_for_again() {
    let world = charged_deeply().await;
    let node = world.node.clone();
    let asked = request(&world);
    let refund = tokio::spawn(async move { node.refund(asked).await });
    claimed_and_not_refunded(&world).await;
    let world = world.restart(async |_| ()).await;
    let stopped = refund.await.unwrap().unwrap_err();
    assert!(
        matches!(stopped, CallError::Unavailable { .. }),
        "{stopped}"
    );
    mine(&world, 3).await;
    let refunded = world.node.refund(request(&world)).await.unwrap();
    assert_eq!(refunded.amount, Amount::new(19_900));
    world.node.shutdown().await;
}
