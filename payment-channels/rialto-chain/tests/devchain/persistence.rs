//! What survives a restart, a crash, and a revert.

use std::path::Path;

use alloy::primitives::{Address, U256};
use rialto_chain::devchain::{Config, DevChain, LogError, OpenError};
use serde_json::{Value, json};

use crate::node::{Node, address, plain, signed};

fn in_folder(dir: &Path) -> Config {
    Config {
        dir: Some(dir.to_owned()),
        ..Config::default()
    }
}

async fn all_blocks(node: &Node) -> Vec<Value> {
    let mut blocks = Vec::new();
    for number in 0..=node.number().await {
        let number = json!([format!("{number:#x}"), true]);
        blocks.push(node.ask("eth_getBlockByNumber", number).await);
    }
    blocks
}

/// Every kind of step once, and some twice.
async fn live(node: &Node) {
    node.move_tokens(0, 1, 5).await;
    node.ask("evm_increaseTime", json!([1_000])).await;
    node.ask("anvil_setBalance", json!([address(3), "0x1234"]))
        .await;
    node.ask("anvil_setCode", json!([Address::repeat_byte(1), "0x6000"]))
        .await;
    let word = format!("0x{}", "07".repeat(32));
    node.ask(
        "anvil_setStorageAt",
        json!([Address::repeat_byte(1), "0x2", word]),
    )
    .await;
    node.ask("anvil_setNonce", json!([Address::repeat_byte(2), 9]))
        .await;
    node.move_tokens(2, 1, 6).await;
    node.ask("evm_mine", json!([])).await;
    node.send(&signed(4, plain())).await.unwrap();
}

#[tokio::test]
async fn the_same_blocks_come_out_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::open(in_folder(dir.path()));
    live(&node).await;
    let before = all_blocks(&node).await;
    drop(node);
    for _ in 0..2 {
        let node = Node::open(in_folder(dir.path()));
        assert_eq!(all_blocks(&node).await, before);
        assert_eq!(node.balance(address(3)).await, U256::from(0x1234));
        assert_eq!(node.nonce(Address::repeat_byte(2)).await, 9);
    }
    let node = Node::open(in_folder(dir.path()));
    let pending_ahead = node.ask("evm_increaseTime", json!([0])).await;
    assert_eq!(pending_ahead, 1_000);
    let receipt = node.move_tokens(1, 0, 1).await;
    assert_eq!(receipt["status"], "0x1");
}

#[tokio::test]
async fn a_torn_tail_is_cut_and_the_chain_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("blocks.log");
    let node = Node::open(in_folder(dir.path()));
    node.move_tokens(0, 1, 5).await;
    let kept = all_blocks(&node).await;
    drop(node);
    let whole_before = std::fs::read(&log).unwrap();
    let node = Node::open(in_folder(dir.path()));
    node.move_tokens(0, 1, 6).await;
    drop(node);
    let whole = std::fs::read(&log).unwrap();
    // Whatever part of the last record reached the disk, the chain is the one before it.
    for cut in [
        whole_before.len() + 1,
        whole_before.len() + 13,
        whole.len() - 1,
    ] {
        std::fs::write(&log, &whole[..cut]).unwrap();
        let node = Node::open(in_folder(dir.path()));
        assert_eq!(all_blocks(&node).await, kept);
        drop(node);
        assert_eq!(std::fs::read(&log).unwrap(), whole_before);
    }
    let node = Node::open(in_folder(dir.path()));
    node.move_tokens(0, 1, 7).await;
    assert_eq!(node.tokens(address(1)).await, 1_000_000_000_012);
    drop(node);
    let node = Node::open(in_folder(dir.path()));
    assert_eq!(node.tokens(address(1)).await, 1_000_000_000_012);
}

#[tokio::test]
async fn damage_and_foreign_folders_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("blocks.log");
    let node = Node::open(in_folder(dir.path()));
    node.move_tokens(0, 1, 5).await;
    let in_use = DevChain::open(in_folder(dir.path())).unwrap_err();
    assert!(matches!(in_use, OpenError::Log(LogError::InUse { .. })));
    drop(node);

    let other = Config {
        chain_id: 1,
        ..in_folder(dir.path())
    };
    let error = DevChain::open(other).unwrap_err();
    let foreign = LogError::OtherGenesis {
        path: log.clone(),
        found: Default::default(),
        expected: Default::default(),
    };
    assert!(matches!(&error, OpenError::Log(error)
            if std::mem::discriminant(error) == std::mem::discriminant(&foreign)));

    let mut bytes = std::fs::read(&log).unwrap();
    bytes[60] ^= 1;
    std::fs::write(&log, &bytes).unwrap();
    let error = DevChain::open(in_folder(dir.path())).unwrap_err();
    assert!(matches!(error, OpenError::Log(LogError::Damaged { .. })));
    assert_eq!(std::fs::read(&log).unwrap(), bytes, "left as it was");
}

#[tokio::test]
async fn a_revert_takes_back_blocks_state_clock_and_log() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::open(in_folder(dir.path()));
    node.move_tokens(0, 1, 5).await;
    let before = all_blocks(&node).await;
    let snapshot = node.ask("evm_snapshot", json!([])).await;
    live(&node).await;
    let later = node.ask("evm_snapshot", json!([])).await;
    let undone = node.move_tokens(0, 1, 9).await;
    assert_eq!(node.ask("evm_revert", json!([snapshot])).await, true);
    assert_eq!(all_blocks(&node).await, before);
    assert_eq!(node.ask("evm_increaseTime", json!([0])).await, 0);
    assert_eq!(node.tokens(address(1)).await, 1_000_000_000_005);
    let gone = json!([undone["transactionHash"]]);
    assert!(node.ask("eth_getTransactionReceipt", gone).await.is_null());
    // A mark is used once, and later marks are gone with what they marked.
    assert_eq!(node.ask("evm_revert", json!([snapshot])).await, false);
    assert_eq!(node.ask("evm_revert", json!([later])).await, false);
    node.move_tokens(0, 1, 2).await;
    let after = all_blocks(&node).await;
    drop(node);
    let node = Node::open(in_folder(dir.path()));
    assert_eq!(all_blocks(&node).await, after);
}
