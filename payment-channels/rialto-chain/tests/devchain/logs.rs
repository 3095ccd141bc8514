//! `eth_getLogs`: every kind of filter.

use alloy::sol_types::SolEvent;
use rialto_chain::contracts::{BATCH_SETTLEMENT, DEV_TOKEN, IErc3009};
use serde_json::{Value, json};

use crate::node::{Node, address};

#[tokio::test]
async fn filters_by_address_topics_and_blocks() {
    let node = Node::new();
    let first = node.move_tokens(0, 1, 1).await;
    let second = node.move_tokens(0, 2, 2).await;
    let third = node.move_tokens(1, 2, 3).await;
    let transfer = json!(IErc3009::Transfer::SIGNATURE_HASH);
    let word = |index: usize| json!(address(index).into_word());
    let all = json!({ "fromBlock": "earliest" });
    let edit = |field: &str, value: Value| {
        let mut filter = all.clone();
        filter[field] = value;
        filter
    };
    let receipts = [first, second, third];
    let check = async |filter: Value, expected: &[usize]| {
        let logs = node.ask("eth_getLogs", json!([filter])).await;
        let found: Vec<_> = logs.as_array().unwrap().clone();
        let expected: Vec<_> = expected
            .iter()
            .map(|index| receipts[*index]["logs"][0].clone())
            .collect();
        assert_eq!(found, expected, "{filter}");
    };
    check(all.clone(), &[0, 1, 2]).await;
    // Without a range, only the latest block is searched.
    check(json!({}), &[2]).await;
    check(edit("address", json!(DEV_TOKEN)), &[0, 1, 2]).await;
    check(edit("address", json!(BATCH_SETTLEMENT)), &[]).await;
    check(
        edit("address", json!([BATCH_SETTLEMENT, DEV_TOKEN])),
        &[0, 1, 2],
    )
    .await;
    check(edit("topics", json!([transfer])), &[0, 1, 2]).await;
    check(edit("topics", json!([transfer, word(0)])), &[0, 1]).await;
    check(edit("topics", json!([null, null, word(2)])), &[1, 2]).await;
    check(
        edit("topics", json!([null, [word(0), word(1)], [word(2)]])),
        &[1, 2],
    )
    .await;
    check(edit("topics", json!([word(0)])), &[]).await;
    check(
        json!({ "fromBlock": receipts[1]["blockNumber"], "toBlock": receipts[1]["blockNumber"] }),
        &[1],
    )
    .await;
    check(json!({ "blockHash": receipts[0]["blockHash"] }), &[0]).await;
    check(json!({ "fromBlock": "0x1000" }), &[]).await;

    let backwards = json!({ "fromBlock": "0x2", "toBlock": "0x1" });
    let error = node.refusal("eth_getLogs", json!([backwards])).await;
    assert_eq!(error.code, -32602);
    let unknown = json!({ "blockHash": format!("0x{}", "11".repeat(32)) });
    let error = node.refusal("eth_getLogs", json!([unknown])).await;
    assert_eq!(error.message, "unknown block");
}
