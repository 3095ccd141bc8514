//! Refunds, claims and settlements that a crash left behind between their transaction and its record.

use std::cell::Cell;

use alloy_primitives::{B256, hex};
use rialto_channels::Amount;
use rialto_node::{CallError, PaymentError, RefundRequest};
use rialto_testkit::proxy::Fault;
use serde_json::json;

use crate::world::{World, at_rest};

/// What a process that is about to refund leaves in its folder.
fn leave_behind(data: &std::path::Path, channel: B256, nonce: u64, hash: B256) {
    let folder = data.join("pending");
    let item = json!({
        "what": "refund", "channel": channel, "nonce": nonce, "hashes": [hash],
    });
    let name = format!("refund-{}.json", hex::encode(channel));
    std::fs::write(folder.join(name), item.to_string()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_that_was_never_mined_is_ruled_out_before_the_channel_opens() {
    let world = World::start(|_| ()).await;
    world.pay(1, 2_000, Some(20_000)).await;
    let (channel, nonce) = (world.id(1).0, world.host_nonce().await);
    let world = world
        .restart(async |data| leave_behind(&data, channel, nonce, B256::repeat_byte(9)))
        .await;
    let ceiling = Cell::new(2_100);
    world
        .until("the channel opens", async || {
            let payment = world.payment(1, ceiling.get(), None).await;
            ceiling.set(ceiling.get() + 1);
            match world.call("echo", payment).await {
                Ok(_) => true,
                Err(CallError::Payment(PaymentError::Invalid { code, .. })) => {
                    assert!(code.ends_with("channel_busy"), "{code}");
                    false
                }
                Err(other) => panic!("{other}"),
            }
        })
        .await;
    assert_eq!(world.host_nonce().await, nonce + 1, "the nonce is used up");
    assert_eq!(world.view(1).balance, Amount::new(20_000));
    assert_eq!(world.left_behind(), 0);
    world.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_that_was_mined_is_recorded_once() {
    let world = World::start(|_| ()).await;
    world.pay(1, 2_000, Some(20_000)).await;
    let refund = RefundRequest {
        config: world.terms(1),
        channel: world.id(1),
        voucher: world.voucher(1, 100),
        amount: Some(Amount::new(5_000)),
    };
    let refunded = world.node.refund(refund).await.unwrap();
    assert_eq!(refunded.amount, Amount::new(5_000));
    assert_eq!(world.left_behind(), 0);
    let channel = world.id(1).0;
    let nonce = world.host_nonce().await - 1;
    let ledger = world.ledger_folder();
    let mined_at = world.client.now().await.unwrap().get();
    let world = world
        .restart(async |data| {
            leave_behind(&data, channel, nonce, refunded.transaction);
            // The machine's clock goes on, the chain's stands still: it has no newer block.
            while machine_secs() <= mined_at {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        })
        .await;
    world
        .until("it is looked into", async || world.left_behind() == 0)
        .await;
    world.pay(1, 3_000, None).await;
    assert_eq!(world.view(1).balance, Amount::new(15_000));
    world.node.shutdown().await;
    let folder = world.close();
    let totals = at_rest(&ledger).await.totals();
    assert_eq!(totals.unwrap()[0].refunded, Amount::new(5_000));
    drop(folder);
}

fn machine_secs() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.unwrap().as_secs()
}

/// Collects on a runtime of its own and ends that, as a crash would, when `so` has come true. The
/// host hears nothing of what it sent.
async fn crash_collecting(world: &World, so: impl AsyncFn() -> bool) {
    let receipts = "eth_getTransactionReceipt";
    world.proxy.next(receipts, usize::MAX, Fault::Status(503));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let node = world.node.clone();
    let collecting = runtime.spawn(async move { node.collect().await.map(drop) });
    world.until("it is time to crash", so).await;
    assert!(!collecting.is_finished(), "nothing was recorded");
    runtime.shutdown_background();
    assert!(collecting.await.unwrap_err().is_cancelled());
    assert_eq!(world.left_behind(), 1);
    world.proxy.heal();
}

async fn nothing_left(world: &World) {
    world
        .until("it is looked into", async || world.left_behind() == 0)
        .await;
}

/// Anyone may have the contract pay a receiver.
#[tokio::test(flavor = "multi_thread")]
async fn a_settlement_that_somebody_else_made_is_in_the_books() {
    let world = World::start(|_| ()).await;
    world.pay(1, 2_000, Some(20_000)).await;
    let (terms, payer) = (world.terms(1), world.payer().await);
    let some = Amount::new(1_000);
    payer.initiate_withdraw(&terms, some).await.unwrap();
    world
        .until("what was charged is claimed", async || {
            world.view(1).claimed == Amount::new(100)
        })
        .await;
    let before = world.earned().await;
    let paid = payer.settle(terms.receiver, terms.token).await.unwrap();
    assert_eq!(paid.amount, Amount::new(100));
    assert_eq!(world.earned().await, before + 100);
    world
        .until("the books agree with the chain", async || {
            matches!(world.node.audit().await, Ok(Ok(_)))
        })
        .await;
    world.node.shutdown().await;
    let ledger = world.ledger_folder();
    let folder = world.close();
    let totals = at_rest(&ledger).await.totals().unwrap();
    assert_eq!(totals[0].settled, Amount::new(100), "once");
    drop(folder);
}

/// Also while no node runs, and so long ago that its events are many blocks away.
#[tokio::test(flavor = "multi_thread")]
async fn a_settlement_that_somebody_else_made_while_no_node_ran_is_in_the_books() {
    let world = World::start(|config| config.risk.final_after = 2).await;
    world.pay(1, 2_000, Some(20_000)).await;
    let (terms, payer) = (world.terms(1), world.payer().await);
    payer
        .initiate_withdraw(&terms, Amount::new(1_000))
        .await
        .unwrap();
    world
        .until("what was charged is claimed", async || {
            world.view(1).claimed == Amount::new(100)
        })
        .await;
    let (before, chain) = (world.earned().await, world.chain.clone());
    let world = world
        .restart(async |_| {
            let paid = payer.settle(terms.receiver, terms.token).await.unwrap();
            assert_eq!(paid.amount, Amount::new(100));
            for _ in 0..BLOCKS_AWAY {
                chain.request("evm_mine", json!([])).await.unwrap();
            }
        })
        .await;
    assert_eq!(world.earned().await, before + 100);
    world
        .until("the books agree with the chain", async || {
            matches!(world.node.audit().await, Ok(Ok(_)))
        })
        .await;
    // Looked for again before the next payment, and found to be there.
    world.pay(1, 2_100, None).await;
    let collected = world.node.collect().await.unwrap();
    assert_eq!(collected.settled[0].1, Amount::new(100));
    world.rpc("evm_mine", json!([])).await;
    nothing_left(&world).await;
    world.node.audit().await.unwrap().unwrap();
    world.node.shutdown().await;
    let ledger = world.ledger_folder();
    let folder = world.close();
    let totals = at_rest(&ledger).await.totals().unwrap();
    assert_eq!(totals[0].settled, Amount::new(200), "each once");
    drop(folder);
}

/// More than one request for events looks at.
const BLOCKS_AWAY: u64 = 4_100;

#[tokio::test(flavor = "multi_thread")]
async fn claims_and_settlements_that_a_crash_left_behind_are_in_the_books_once() {
    let world = World::start(|_| ()).await;
    world.pay(1, 2_000, Some(20_000)).await;
    let (before, ledger) = (world.earned().await, world.ledger_folder());
    crash_collecting(&world, async || {
        let view = world.client.channel(&world.terms(1)).await.unwrap();
        view.claimed == Amount::new(100)
    })
    .await;
    let world = world.restart(async |_| ()).await;
    nothing_left(&world).await;
    assert_eq!(world.earned().await, before, "claimed, and not settled");
    crash_collecting(&world, async || world.earned().await == before + 100).await;
    let nonce = world.host_nonce().await;
    let world = world.restart(async |_| ()).await;
    nothing_left(&world).await;
    world
        .until("the channel is read again", async || {
            world.view(1).claimed == Amount::new(100)
        })
        .await;
    world.node.audit().await.unwrap().unwrap();
    assert_eq!(world.host_nonce().await, nonce, "nothing was sent again");
    world.node.shutdown().await;
    let folder = world.close();
    let totals = at_rest(&ledger).await.totals().unwrap();
    assert_eq!(totals[0].claimed, Amount::new(100));
    assert_eq!(totals[0].settled, Amount::new(100));
    drop(folder);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_recorded_or_never_mined_is_not_recorded_again() {
    let world = World::start(|_| ()).await;
    world.pay(1, 2_000, Some(20_000)).await;
    let collected = world.node.collect().await.unwrap();
    assert_eq!(world.left_behind(), 0);
    let (claim, (receiver, _, settlement)) = (collected.claims[0], collected.settled[0]);
    let (nonce, ledger) = (world.host_nonce().await, world.ledger_folder());
    let world = world
        .restart(async |data| {
            let items = [
                ("claimed", nonce - 2, claim),
                ("settled", nonce - 1, settlement),
                ("settled", nonce - 1, B256::repeat_byte(9)),
            ];
            for (kind, nonce, hash) in items {
                let item = json!({
                    "what": "sent", "kind": kind, "receiver": receiver,
                    "nonce": nonce, "hashes": [hash],
                });
                let name = format!("sent-{kind}-{nonce}-{}.json", hex::encode(hash));
                std::fs::write(data.join("pending").join(name), item.to_string()).unwrap();
            }
        })
        .await;
    nothing_left(&world).await;
    world.node.audit().await.unwrap().unwrap();
    world.node.shutdown().await;
    let folder = world.close();
    let totals = at_rest(&ledger).await.totals().unwrap();
    assert_eq!(totals[0].claimed, Amount::new(100), "once");
    assert_eq!(totals[0].settled, Amount::new(100), "once");
    drop(folder);
}
