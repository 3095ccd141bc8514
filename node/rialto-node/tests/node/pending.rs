//! Refunds that a crash left behind between their transaction and its record.

use std::cell::Cell;

use alloy_primitives::{B256, hex};
use rialto_channels::Amount;
use rialto_node::{CallError, PaymentError, RefundRequest};
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
    let world = world
        .restart(async |data| leave_behind(&data, channel, nonce, refunded.transaction))
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
