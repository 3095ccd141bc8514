//! Transactions: mined at once, or refused with words that libraries know.

use alloy::consensus::{SignableTransaction, TxEip1559, TxEnvelope, TxLegacy};
use alloy::eips::eip2718::Encodable2718;
use alloy::network::TxSignerSync;
use alloy::primitives::{Address, Bytes, Signature, TxKind, U256};
use serde_json::json;

use crate::node::{Node, address, plain, plain_2930, plain_legacy, quantity, signed, signer};

#[tokio::test]
async fn a_transfer_is_mined_in_a_block_of_its_own() {
    let node = Node::new();
    let (before, height) = (node.latest().await, node.number().await);
    let value = U256::from(5);
    let hash = node
        .send(&signed(0, TxEip1559 { value, ..plain() }))
        .await
        .unwrap();
    assert_eq!(node.number().await, height + 1);
    let block = node.latest().await;
    assert_eq!(block["parentHash"], before["hash"]);
    assert_eq!(block["transactions"], json!([hash]));
    assert_eq!(quantity(&block["gasUsed"]), 21_000);

    let receipt = node.ask("eth_getTransactionReceipt", json!([hash])).await;
    assert_eq!(receipt["status"], "0x1");
    assert_eq!(receipt["blockHash"], block["hash"]);
    assert_eq!(receipt["type"], "0x2");
    assert_eq!(receipt["from"], json!(address(0)));
    assert_eq!(receipt["to"], json!(address(9)));
    let tx = node.ask("eth_getTransactionByHash", json!([hash])).await;
    assert_eq!(tx["blockNumber"], block["number"]);
    assert_eq!(tx["from"], json!(address(0)));

    let paid = u128::from(quantity(&receipt["effectiveGasPrice"])) * 21_000;
    let ether = U256::from(10_000) * U256::from(10).pow(U256::from(18));
    assert_eq!(node.balance(address(9)).await, ether + value);
    assert_eq!(
        node.balance(address(0)).await,
        ether - value - U256::from(paid)
    );
    assert_eq!(node.nonce(address(0)).await, 1);
}

#[tokio::test]
async fn all_plain_transaction_types_are_taken() {
    let node = Node::new();
    let raws = [
        signed(1, plain()),
        signed(2, plain_legacy()),
        signed(3, plain_2930()),
    ];
    for (raw, kind) in raws.iter().zip(["0x2", "0x0", "0x1"]) {
        let hash = node.send(raw).await.unwrap();
        let receipt = node.ask("eth_getTransactionReceipt", json!([hash])).await;
        assert_eq!(receipt["type"], kind);
        assert_eq!(receipt["status"], "0x1");
    }
}

#[tokio::test]
async fn refused_transactions_change_nothing() {
    let node = Node::new();
    node.send(&signed(0, plain())).await.unwrap();
    let height = node.number().await;
    let next = TxEip1559 {
        nonce: 1,
        ..plain()
    };
    let tx = |edit: fn(&mut TxEip1559)| {
        let mut tx = next.clone();
        edit(&mut tx);
        signed(0, tx)
    };
    let unprotected = TxLegacy {
        chain_id: None,
        nonce: 1,
        ..plain_legacy()
    };
    let table: Vec<(Bytes, &str)> = vec![
        (signed(0, plain()), "already known"),
        (
            tx(|tx| {
                tx.nonce = 0;
                tx.gas_limit = 22_000;
            }),
            "nonce too low: next nonce 1, tx nonce 0",
        ),
        (tx(|tx| tx.nonce = 2), "nonce too high"),
        (
            tx(|tx| tx.value = U256::MAX >> 8),
            "insufficient funds for gas * price + value",
        ),
        (
            tx(|tx| tx.max_fee_per_gas = 1),
            "max fee per gas less than block base fee",
        ),
        (
            tx(|tx| tx.max_priority_fee_per_gas = u128::MAX),
            "max priority fee per gas higher than max fee per gas",
        ),
        (
            tx(|tx| tx.gas_limit = 30_000_001),
            "exceeds block gas limit",
        ),
        (tx(|tx| tx.gas_limit = 20_999), "intrinsic gas too low"),
        (
            tx(|tx| tx.chain_id = 1),
            "invalid chain id for signer: have 1 want 84532",
        ),
        (signed(0, unprotected), "only replay-protected"),
        (high_s(next.clone()), "invalid transaction v, r, s values"),
        (Bytes::from_static(&[2, 3]), "raw transaction"),
        (Bytes::new(), "raw transaction"),
    ];
    for (raw, words) in table {
        let error = node.send(&raw).await.unwrap_err();
        assert!(
            error.message.contains(words),
            "{} has no {words}",
            error.message
        );
        assert!(error.data.is_none());
    }
    assert_eq!(node.number().await, height);
    assert_eq!(node.nonce(address(0)).await, 1);
}

/// The same transaction with the other of the two signatures that fit it (EIP-2 forbids it).
fn high_s(mut tx: TxEip1559) -> Bytes {
    let order = U256::from_str_radix(
        "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141",
        16,
    );
    let good = signer(0).sign_transaction_sync(&mut tx).unwrap();
    let bad = Signature::new(good.r(), order.unwrap() - good.s(), !good.v());
    TxEnvelope::from(tx.into_signed(bad)).encoded_2718().into()
}

#[tokio::test]
async fn a_failed_transaction_is_mined_and_pays_its_gas() {
    let node = Node::new();
    let reverting = Address::repeat_byte(0x77);
    // PUSH0 PUSH0 REVERT
    node.ask("anvil_setCode", json!([reverting, "0x5f5ffd"]))
        .await;
    let tx = TxEip1559 {
        to: reverting.into(),
        gas_limit: 50_000,
        value: U256::from(3),
        ..plain()
    };
    let hash = node.send(&signed(0, tx)).await.unwrap();
    let receipt = node.ask("eth_getTransactionReceipt", json!([hash])).await;
    assert_eq!(receipt["status"], "0x0");
    assert_eq!(receipt["logs"], json!([]));
    assert_eq!(node.balance(reverting).await, U256::ZERO);
    assert_eq!(node.nonce(address(0)).await, 1);
}

#[tokio::test]
async fn a_contract_is_created_where_its_sender_and_nonce_say() {
    let node = Node::new();
    // Returns the code 0x42: PUSH1 42 PUSH0 MSTORE8 PUSH1 1 PUSH0 RETURN.
    let init = Bytes::from_static(&[0x60, 0x42, 0x5f, 0x53, 0x60, 1, 0x5f, 0xf3]);
    let tx = TxEip1559 {
        to: TxKind::Create,
        input: init,
        gas_limit: 100_000,
        ..plain()
    };
    let hash = node.send(&signed(4, tx)).await.unwrap();
    let receipt = node.ask("eth_getTransactionReceipt", json!([hash])).await;
    assert_eq!(receipt["contractAddress"], json!(address(4).create(0)));
    let code = node.ask("eth_getCode", json!([address(4).create(0), "latest"]));
    assert_eq!(code.await, "0x42");
}
