//! The chain's clock: it follows the wall, and tests move it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use alloy::primitives::{Address, U256};
use rialto_chain::devchain::Config;
use serde_json::json;

use crate::node::{Node, plain, quantity, signed};

async fn latest_time(node: &Node) -> u64 {
    quantity(&node.latest().await["timestamp"])
}

fn wall() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

#[tokio::test]
async fn a_fresh_chain_tells_the_present_time() {
    let node = Node::new();
    assert_eq!(node.number().await, 1);
    assert!(latest_time(&node).await.abs_diff(wall()) <= 2);
}

#[tokio::test]
async fn time_travels_forward_only() {
    let node = Node::new();
    let start = latest_time(&node).await;
    assert_eq!(node.ask("evm_increaseTime", json!([900])).await, 900);
    assert_eq!(node.ask("evm_increaseTime", json!(["0x64"])).await, 1_000);
    assert_eq!(latest_time(&node).await, start);
    node.ask("evm_mine", json!([])).await;
    assert!(latest_time(&node).await.abs_diff(start + 1_000) <= 2);

    let exact = start + 5_000;
    node.ask("evm_setNextBlockTimestamp", json!([exact])).await;
    node.send(&signed(0, plain())).await.unwrap();
    assert_eq!(latest_time(&node).await, exact);
    // The clock runs on from there.
    node.ask("evm_mine", json!([])).await;
    assert!(latest_time(&node).await.abs_diff(exact) <= 2);

    let past = json!([start]);
    let error = node.refusal("evm_setNextBlockTimestamp", past).await;
    assert_eq!(error.code, -32602);
    node.ask("evm_mine", json!([exact + 77])).await;
    assert_eq!(latest_time(&node).await, exact + 77);
}

#[tokio::test]
async fn calls_at_the_tip_see_the_present_and_old_blocks_their_own_time() {
    let node = Node::new();
    let clock = Address::repeat_byte(0xc1);
    // TIMESTAMP PUSH0 MSTORE PUSH1 32 PUSH0 RETURN
    node.ask("anvil_setCode", json!([clock, "0x425f5260205ff3"]))
        .await;
    let block = node.latest().await;
    node.ask("evm_increaseTime", json!([500])).await;
    let told = async |block: serde_json::Value| -> u64 {
        let answer = node.ask("eth_call", json!([{ "to": clock }, block])).await;
        serde_json::from_value::<U256>(answer).unwrap().to()
    };
    let then = quantity(&block["timestamp"]);
    assert!(told(json!("latest")).await.abs_diff(then + 500) <= 2);
    assert_eq!(told(block["number"].clone()).await, then);
}

#[tokio::test]
async fn many_blocks_can_be_mined_apart() {
    let node = Node::new();
    let (height, start) = (node.number().await, latest_time(&node).await);
    node.ask("anvil_mine", json!(["0x5", "0xa"])).await;
    assert_eq!(node.number().await, height + 5);
    assert!(latest_time(&node).await.abs_diff(start + 40) <= 2);
    let error = node.refusal("anvil_mine", json!([10_001])).await;
    assert_eq!(error.code, -32005);
}

#[tokio::test]
async fn an_idle_chain_keeps_up_with_the_clock() {
    let node = Node::open(Config {
        idle_block_interval: Some(Duration::from_millis(20)),
        ..Config::default()
    });
    let height = node.number().await;
    node.ask("evm_increaseTime", json!([60])).await;
    let mut looks = 0;
    while node.number().await == height {
        looks += 1;
        assert!(looks < 1_000, "no idle block");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(latest_time(&node).await.abs_diff(wall() + 60) <= 2);
}
