//! Connecting, and the errors that are not the contract's.

use std::time::Duration;

use alloy::primitives::{Address, B256};
use rialto_chain::client::{ChainClient, ChainError, ClientConfig, ConnectError};
use rialto_chain::contracts::DEV_CHAIN_ID;
use rialto_channels::Amount;
use tokio::net::TcpListener;

use crate::chain::Chain;
use crate::people::{HOST, channel, consent};

on_both!(
    the_right_chain_and_contracts_are_demanded,
    an_account_without_gas_is_told_so,
);

async fn the_right_chain_and_contracts_are_demanded(chain: Chain) {
    let mut config = chain.config(HOST);
    config.chain_id = 8_453;
    let error = ChainClient::connect(config).await.unwrap_err();
    assert!(matches!(
        error,
        ConnectError::WrongChain {
            expected: 8_453,
            found: DEV_CHAIN_ID
        }
    ));
    let mut config = chain.config(HOST);
    config.contracts.collector = Address::repeat_byte(5);
    let error = ChainClient::connect(config).await.unwrap_err();
    assert!(matches!(
        error,
        ConnectError::MissingContract { address } if address == Address::repeat_byte(5)
    ));
    let mut config = chain.config(HOST);
    config.key = B256::ZERO;
    let error = ChainClient::connect(config).await.unwrap_err();
    assert!(matches!(error, ConnectError::Key));
}

async fn an_account_without_gas_is_told_so(chain: Chain) {
    let mut config = chain.config(HOST);
    config.key = B256::repeat_byte(0x42);
    let pauper = ChainClient::connect(config).await.unwrap();
    let consent = consent(&pauper, &channel(0), Amount::new(5), 0).await;
    let error = pauper
        .deposit(&channel(0), Amount::new(5), &consent)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, ChainError::InsufficientFunds { account, .. } if *account == pauper.address()),
        "{error:?}"
    );
}

#[tokio::test]
async fn endpoints_that_are_not_there_or_not_chains() {
    let key = B256::repeat_byte(1);
    let connect = async |url: String| {
        let mut config = ClientConfig::new(url, DEV_CHAIN_ID, key);
        config.call_timeout = Duration::from_millis(200);
        ChainClient::connect(config).await.unwrap_err()
    };
    assert!(matches!(
        connect("no url".to_owned()).await,
        ConnectError::Url
    ));
    // A port that was free a moment ago.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = connect(format!("http://{address}")).await;
    assert!(matches!(
        error,
        ConnectError::Chain(ChainError::Unreachable(_))
    ));
    // Takes the connection and never answers.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let error = connect(format!("http://{address}")).await;
    assert!(matches!(
        error,
        ConnectError::Chain(ChainError::Unreachable(_))
    ));
}

#[test]
fn debug_shows_neither_key_nor_url() {
    let config = ClientConfig::new("https://rpc.example/secret", 1, B256::repeat_byte(0xab));
    let shown = format!("{config:?}");
    assert!(!shown.contains("abab") && !shown.contains("secret"));
}
