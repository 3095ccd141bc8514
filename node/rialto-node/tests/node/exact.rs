//! `exact` payments and a host that dies: who paid is answered, once.

use bytes::Bytes;
use rialto_node::{Arguments, CallError, CallOutcome, CallRequest, ExactPayment, Node, Payment};
use rialto_testkit::proxy::Fault;
use serde_json::json;

use crate::world::World;

/// More than the ledger keeps of an answer.
const LARGE: usize = 200_000;

pub(crate) fn request(payment: &ExactPayment, method: &str, text_bytes: usize) -> CallRequest {
    let arguments = match method {
        "echo" => json!({ "text": "x".repeat(text_bytes) }),
        _ => json!({}),
    };
    CallRequest {
        price_max: rialto_channels::Amount::new(u128::MAX),
        service: "hostile".to_owned(),
        method: method.to_owned(),
        arguments: Arguments::Json(Bytes::from(arguments.to_string())),
        body_digest: [7; 32],
        body_bytes: 20,
        payment: Payment::Exact(Box::new(payment.clone())),
        lineage: rialto_node::Lineage::default(),
    }
}

/// Calls on a runtime of its own and ends that, as a crash would, when `so` has come true.
async fn crash_when(world: &World, payment: &ExactPayment, so: impl AsyncFn() -> bool) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (node, request) = (world.node.clone(), request(payment, "echo", LARGE));
    let call = runtime.spawn(async move { node.call(request).await });
    world.until("it is time to crash", so).await;
    assert!(!call.is_finished(), "nothing was answered");
    runtime.shutdown_background();
    assert!(call.await.unwrap_err().is_cancelled());
}

async fn again(node: &Node, payment: &ExactPayment) -> CallOutcome {
    let outcome = node.call(request(payment, "echo", LARGE)).await.unwrap();
    assert_eq!(outcome.body.len(), LARGE + 2);
    assert_eq!(outcome.transaction.unwrap().1.get(), 100);
    outcome
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_that_was_made_before_a_crash_is_answered_after_it() {
    let world = World::start(|_| ()).await;
    let (payment, before) = (world.transfer(1).await, world.earned().await);
    // The transfer is made, and the host does not hear of it.
    let receipts = "eth_getTransactionReceipt";
    world.proxy.next(receipts, usize::MAX, Fault::Status(503));
    crash_when(&world, &payment, async || {
        world.earned().await == before + 100
    })
    .await;
    world.proxy.heal();
    let chain = world.chain.clone();
    let world = world
        .restart(async |_| {
            // When the payer asks again, its signature has expired.
            for (method, params) in [
                ("evm_increaseTime", json!([4_000])),
                ("evm_mine", json!([])),
            ] {
                chain.request(method, params).await.unwrap();
            }
        })
        .await;
    let answer = again(&world.node, &payment).await;
    assert!(answer.replayed, "not executed again");
    let receipt = answer.receipt.unwrap();
    assert_eq!(again(&world.node, &payment).await.receipt.unwrap(), receipt);
    assert_eq!(world.earned().await, before + 100, "paid once");
    // It buys nothing else, and not by another request.
    let other = world.node.call(request(&payment, "echo", 5)).await;
    assert_eq!(
        other.unwrap().body.len(),
        LARGE + 2,
        "the body's digest names the request"
    );
    let trap = world.node.call(request(&payment, "trap", 0)).await;
    assert!(matches!(trap, Err(CallError::Conflict(_))));
    assert_eq!(world.left_behind(), 0);
    world.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_that_a_crash_prevented_is_made_and_answered_after_it() {
    let world = World::start(|_| ()).await;
    let (payment, before) = (world.transfer(1).await, world.earned().await);
    let send = "eth_sendRawTransaction";
    world.proxy.next(send, usize::MAX, Fault::Swallow);
    let sent = world.proxy.count(send);
    crash_when(&world, &payment, async || world.proxy.count(send) > sent).await;
    world.proxy.heal();
    let world = world.restart(async |_| ()).await;
    world
        .until("the transfer is made", async || {
            world.earned().await == before + 100
        })
        .await;
    assert!(again(&world.node, &payment).await.replayed);
    assert_eq!(world.earned().await, before + 100, "paid once");
    world
        .until("it is over", async || world.left_behind() == 0)
        .await;
    world.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_that_a_reorganisation_takes_back_is_made_again() {
    let world = World::start(|config| config.risk.final_after = 4).await;
    let (payment, before) = (world.transfer(1).await, world.earned().await);
    let mark = world.mark().await;
    again(&world.node, &payment).await;
    world.reorganise(mark, 2, 5).await;
    assert_eq!(world.earned().await, before, "taken back");
    world
        .until("the transfer is made again", async || {
            world.earned().await == before + 100
        })
        .await;
    assert_eq!(world.left_behind(), 1, "not for good yet");
    for _ in 0..3 {
        world.rpc("evm_mine", json!([])).await;
    }
    world
        .until("it is over", async || world.left_behind() == 0)
        .await;
    world.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn transfers_of_calls_that_fail_have_a_budget() {
    let world = World::start(|config| config.risk.failures_max = 3).await;
    let before = world.earned().await;
    for nonce in 1..=3 {
        let payment = world.transfer(nonce).await;
        let failed = world.node.call(request(&payment, "trap", 0)).await;
        assert!(matches!(failed, Err(CallError::Service(_))));
    }
    let payment = world.transfer(4).await;
    let refused = world.node.call(request(&payment, "echo", 5)).await;
    let Err(CallError::TooManyFailures { failed, .. }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(failed, 3);
    assert_eq!(world.earned().await, before, "nothing was charged");
    // A channel of the same payer has its own.
    world.pay(1, 2_000, Some(20_000)).await;
    world.node.shutdown().await;
}
