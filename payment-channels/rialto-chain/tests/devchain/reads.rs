//! Calls, estimates, history, fees, and what genesis holds.

use alloy::eips::eip1559::BaseFeeParams;
use alloy::primitives::{Address, B256, U256, hex};
use alloy::rpc::types::Block;
use alloy::sol_types::{SolCall, SolError};
use rialto_chain::contracts::{
    BATCH_SETTLEMENT, DEV_TOKEN, ERC3009_DEPOSIT_COLLECTOR, IBatchSettlement,
};
use rialto_chain::devchain::{Config, DEV_ACCOUNTS};
use rialto_registry::erc8004::{TESTNET_IDENTITY, TESTNET_REPUTATION};
use serde_json::json;

use crate::node::{Node, address, quantity};

const ONE_MILLION_USDC: u64 = 1_000_000_000_000;

#[tokio::test]
async fn genesis_has_the_contracts_and_funds_every_account() {
    let extra = Address::repeat_byte(0x11);
    let node = Node::open(Config {
        extra_accounts: vec![extra],
        ..Config::default()
    });
    assert_eq!(node.ask("eth_chainId", json!([])).await, "0x14a34");
    assert_eq!(node.ask("net_version", json!([])).await, "84532");
    assert_eq!(node.ask("eth_accounts", json!([])).await, json!([]));
    for contract in [
        BATCH_SETTLEMENT,
        ERC3009_DEPOSIT_COLLECTOR,
        DEV_TOKEN,
        TESTNET_IDENTITY,
        TESTNET_REPUTATION,
    ] {
        let code = node.ask("eth_getCode", json!([contract, "latest"])).await;
        assert!(code.as_str().unwrap().len() > 100);
    }
    let accounts = DEV_ACCOUNTS.iter().map(|account| account.address);
    for account in accounts.chain([extra]) {
        assert_eq!(node.tokens(account).await, ONE_MILLION_USDC);
        let wei = node.balance(account).await;
        assert_eq!(wei, U256::from(10).pow(U256::from(22)));
    }
    let supply = json!({ "to": DEV_TOKEN, "data": "0x18160ddd" });
    let supply = node.ask("eth_call", json!([supply])).await;
    let supply: U256 = serde_json::from_value(supply).unwrap();
    assert_eq!(supply, U256::from(11 * ONE_MILLION_USDC));
    assert_eq!(node.0.keys().len(), 10);
}

#[tokio::test]
async fn genesis_depends_on_chain_id_and_accounts_only() {
    let hash = |config: Config| Node::open(config).0.genesis_hash();
    let usual = hash(Config::default());
    assert_eq!(usual, hash(Config::default()));
    let other_chain = Config {
        chain_id: 1,
        ..Config::default()
    };
    assert_ne!(usual, hash(other_chain));
    let other_accounts = Config {
        extra_accounts: vec![Address::ZERO],
        ..Config::default()
    };
    assert_ne!(usual, hash(other_accounts));
}

#[tokio::test]
async fn reverts_carry_their_data_and_name() {
    let node = Node::new();
    let call = IBatchSettlement::claimCall {
        voucherClaims: Vec::new(),
    };
    let call = json!({ "to": BATCH_SETTLEMENT, "data": hex::encode_prefixed(call.abi_encode()) });
    let selector = hex::encode_prefixed(IBatchSettlement::EmptyBatch::SELECTOR);
    for method in ["eth_call", "eth_estimateGas"] {
        let error = node.refusal(method, json!([call])).await;
        assert_eq!(error.code, 3);
        assert_eq!(error.message, "execution reverted: EmptyBatch");
        assert_eq!(error.data, Some(json!(selector)));
    }
}

#[tokio::test]
async fn calls_need_no_money_and_change_nothing() {
    let node = Node::new();
    let height = node.number().await;
    let pauper = Address::repeat_byte(0x99);
    let call = json!({ "from": pauper, "to": address(0), "gas": "0x5208" });
    assert_eq!(node.ask("eth_call", json!([call])).await, "0x");
    let call = json!({ "from": pauper, "to": address(0), "value": "0x1" });
    let error = node.refusal("eth_call", json!([call])).await;
    assert!(error.message.contains("insufficient funds"));
    assert_eq!(node.number().await, height);
}

#[tokio::test]
async fn an_estimate_is_enough_and_not_much_more() {
    let node = Node::new();
    let plain = json!({ "from": address(0), "to": address(1), "value": "0x1" });
    let gas = node.ask("eth_estimateGas", json!([plain])).await;
    assert_eq!(quantity(&gas), 21_000);
    // Passes on all but a 64th of its gas (EIP-150), and fails if that was too little.
    let writer = Address::repeat_byte(0xb1);
    let caller = Address::repeat_byte(0xca);
    // PUSH1 1 PUSH0 SSTORE
    node.ask("anvil_setCode", json!([writer, "0x60015f55"]))
        .await;
    // CALL(gas, writer, 0, 0, 0, 0, 0), then STOP if it succeeded, else INVALID.
    let code = format!("0x5f5f5f5f5f73{}5af1602057fe5b00", hex::encode(writer));
    node.ask("anvil_setCode", json!([caller, code])).await;
    let call = json!({ "from": address(0), "to": caller });
    let gas = quantity(&node.ask("eth_estimateGas", json!([call])).await);
    let with = |gas: u64| json!([{ "from": address(0), "to": caller, "gas": format!("{gas:#x}") }]);
    node.ask("eth_call", with(gas)).await;
    assert!((45_000..50_000).contains(&gas), "{gas}");
}

#[tokio::test]
async fn old_states_can_be_read() {
    let node = Node::new();
    let before = node.latest().await;
    node.move_tokens(0, 1, 7).await;
    node.ask("anvil_setBalance", json!([address(5), "0x5"]))
        .await;
    node.move_tokens(0, 1, 8).await;
    let call = json!({
        "to": DEV_TOKEN,
        "data": format!("0x70a08231{}", hex::encode(address(1).into_word())),
    });
    let by_hash = json!({ "blockHash": before["hash"] });
    for (block, expected) in [
        (before["number"].clone(), 0),
        (by_hash, 0),
        (json!("earliest"), 0),
        (json!("latest"), 15),
        (json!("pending"), 15),
    ] {
        let answer = node.ask("eth_call", json!([call, block])).await;
        let balance: U256 = serde_json::from_value(answer).unwrap();
        assert_eq!(balance, U256::from(ONE_MILLION_USDC + expected));
    }
    let old = json!([address(5), before["number"]]);
    let old: U256 = serde_json::from_value(node.ask("eth_getBalance", old).await).unwrap();
    assert_eq!(old, U256::from(10).pow(U256::from(22)));
    let nonce = json!([address(0), before["number"]]);
    let nonce = node.ask("eth_getTransactionCount", nonce).await;
    assert_eq!(quantity(&nonce), 0);
    let future = json!([address(0), "0x1000"]);
    let error = node.refusal("eth_getBalance", future).await;
    assert_eq!(error.message, "header not found");
}

#[tokio::test]
async fn headers_hash_to_their_block_and_fees_follow_eip_1559() {
    let node = Node::new();
    for _ in 0..3 {
        node.move_tokens(0, 1, 1).await;
    }
    let mut parent: Option<Block> = None;
    for number in 0..=node.number().await {
        let number = json!([format!("{number:#x}"), true]);
        let block = node.ask("eth_getBlockByNumber", number).await;
        let block: Block = serde_json::from_value(block).unwrap();
        let by_hash = json!([block.header.hash, false]);
        assert!(node.ask("eth_getBlockByHash", by_hash).await.is_object());
        assert_eq!(block.header.inner.hash_slow(), block.header.hash);
        if let Some(parent) = parent {
            assert_eq!(block.header.parent_hash, parent.header.hash);
            let fee = parent
                .header
                .inner
                .next_block_base_fee(BaseFeeParams::ethereum());
            assert_eq!(block.header.base_fee_per_gas, fee);
        }
        parent = Some(block);
    }
    let history = node
        .ask("eth_feeHistory", json!(["0xa", "latest", [25.0, 75.0]]))
        .await;
    assert_eq!(history["oldestBlock"], "0x0");
    assert_eq!(history["baseFeePerGas"].as_array().unwrap().len(), 6);
    assert_eq!(history["reward"][4], json!(["0x1", "0x1"]));
    assert_eq!(history["reward"][0], json!(["0x0", "0x0"]));
    assert!(quantity(&node.ask("eth_gasPrice", json!([])).await) > 1_000_000_000);
    // An answer has each percentile for each block.
    let many = json!(["0x400", "latest", vec![50.0; 101]]);
    let error = node.refusal("eth_feeHistory", many).await;
    assert!(error.message.contains("at most 100"), "{error}");
}

#[tokio::test]
async fn overrides_set_code_storage_balance_and_nonce() {
    let node = Node::new();
    let account = Address::repeat_byte(0x55);
    node.ask("anvil_setCode", json!([account, "0x00"])).await;
    node.ask("anvil_setBalance", json!([account, "0xff"])).await;
    node.ask("anvil_setNonce", json!([account, 7])).await;
    let word = B256::repeat_byte(9);
    node.ask("anvil_setStorageAt", json!([account, "0x1", word]))
        .await;
    let code = node.ask("eth_getCode", json!([account, "latest"])).await;
    assert_eq!(code, "0x00");
    assert_eq!(node.balance(account).await, U256::from(255));
    assert_eq!(node.nonce(account).await, 7);
    let stored = node.ask("eth_getStorageAt", json!([account, "0x1", "latest"]));
    assert_eq!(stored.await, json!(word));
}

#[tokio::test]
async fn bad_parameters_say_which() {
    let node = Node::new();
    let check = async |method, params, words: &str| {
        let error = node.refusal(method, params).await;
        assert_eq!(error.code, -32602);
        assert!(error.message.contains(words), "{}", error.message);
    };
    check("eth_getBalance", json!([]), "missing parameter 0: address").await;
    check("eth_getBalance", json!(["0x12"]), "parameter 0, address").await;
    check("eth_getBalance", json!({ "a": 1 }), "expected a list").await;
    check("eth_call", json!([{}, "soon"]), "parameter 1, block").await;
    let overrides = json!([{}, "latest", { address(0).to_string(): {} }]);
    check("eth_call", overrides, "state overrides").await;
    let error = node.refusal("eth_sign", json!([])).await;
    assert_eq!(error.code, -32601);
}
