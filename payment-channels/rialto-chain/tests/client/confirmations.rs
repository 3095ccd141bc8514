//! When a transaction counts, and what happens when it never does.

use std::time::Duration;

use rialto_chain::client::{ChainClient, ChainError};
use rialto_channels::Amount;
use serde_json::json;

use crate::chain::{Chain, Kind};
use crate::people::{HOST, channel, consent, fund};

on_both!(
    nothing_counts_before_its_confirmations,
    what_is_never_confirmed_is_reported,
    a_dropped_transaction_does_not_block_the_next,
);

async fn nothing_counts_before_its_confirmations(chain: Chain) {
    let mut config = chain.config(HOST);
    config.confirmations = 3;
    let patient = ChainClient::connect(config).await.unwrap();
    let hasty = chain.client(HOST).await;
    let start = hasty.block_number().await.unwrap();
    let channel = channel(0);
    let consent = consent(&patient, &channel, Amount::new(5), 0).await;
    let task = {
        let patient = patient.clone();
        tokio::spawn(async move { patient.deposit(&channel, Amount::new(5), &consent).await })
    };
    while hasty.channel(&channel).await.unwrap().balance.is_zero() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(patient.events(start + 1).await.unwrap().0, []);
    chain.mine().await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!task.is_finished(), "two blocks are not three");
    chain.mine().await;
    task.await.unwrap().unwrap();
    assert_eq!(patient.events(start + 1).await.unwrap().0.len(), 1);
}

async fn what_is_never_confirmed_is_reported(chain: Chain) {
    let mut config = chain.config(HOST);
    config.confirmations = 3;
    config.confirm_within = Duration::from_millis(50);
    let client = ChainClient::connect(config).await.unwrap();
    let channel = channel(0);
    let consent = consent(&client, &channel, Amount::new(5), 0).await;
    let error = client
        .deposit(&channel, Amount::new(5), &consent)
        .await
        .unwrap_err();
    let ChainError::Dropped { waited, .. } = error else {
        panic!("{error:?}");
    };
    assert_eq!(waited, Duration::from_millis(150), "for each of them");
}

async fn a_dropped_transaction_does_not_block_the_next(chain: Chain) {
    if chain.kind == Kind::Dev {
        // The development chain mines at once; take the block back instead.
        let client = chain.client(HOST).await;
        let snapshot = chain.rpc("evm_snapshot", json!([])).await;
        fund(&client, &channel(0), 5).await;
        chain.rpc("evm_revert", json!([snapshot])).await;
        // The client believes in a nonce that the chain has forgotten: one refusal, then
        // the chain's own count.
        fund(&client, &channel(1), 6).await;
        return;
    }
    let mut config = chain.config(HOST);
    config.confirm_within = Duration::from_millis(50);
    let client = ChainClient::connect(config).await.unwrap();
    let consent = consent(&client, &channel(0), Amount::new(5), 0).await;
    chain.rpc("evm_setAutomine", json!([false])).await;
    let error = client
        .deposit(&channel(0), Amount::new(5), &consent)
        .await
        .unwrap_err();
    let ChainError::Dropped { transaction, .. } = error else {
        panic!("{error:?}");
    };
    chain
        .rpc("anvil_dropTransaction", json!([transaction]))
        .await;
    chain.rpc("evm_setAutomine", json!([true])).await;
    fund(&client, &channel(1), 6).await;
}
