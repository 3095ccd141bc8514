//! The two kinds of chain that the tests run on.

use alloy::transports::http::reqwest::Client;
use rialto_chain::client::{ChainClient, ClientConfig};
use rialto_chain::contracts::DEV_CHAIN_ID;
use rialto_chain::devchain::{Config, DEV_ACCOUNTS, DevChain, Server};
use rialto_chain::install::install;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::anvil::{AnvilProcess, start_anvil};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Dev,
    Anvil,
}

/// A running chain with the contracts in place; it ends with this value.
pub(crate) struct Chain {
    pub(crate) kind: Kind,
    pub(crate) url: String,
    http: Client,
    _host: Host,
}

enum Host {
    Dev { _server: Server },
    Anvil { _process: AnvilProcess },
}

/// Runs one test on a fresh chain.
pub(crate) fn run(kind: Kind, test: impl AsyncFnOnce(Chain)) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async { test(Chain::start(kind).await).await });
}

impl Chain {
    async fn start(kind: Kind) -> Self {
        let (url, host) = match kind {
            Kind::Dev => {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let chain = DevChain::open(Config::default()).unwrap();
                let server = chain.serve(listener).unwrap();
                (server.url(), Host::Dev { _server: server })
            }
            Kind::Anvil => {
                let (url, process) = start_anvil(DEV_CHAIN_ID);
                install(&url, &[]).await.unwrap();
                (url, Host::Anvil { _process: process })
            }
        };
        Self {
            kind,
            url,
            http: Client::new(),
            _host: host,
        }
    }

    /// A client as one of the development accounts.
    pub(crate) async fn client(&self, index: usize) -> ChainClient {
        ChainClient::connect(self.config(index)).await.unwrap()
    }

    pub(crate) fn config(&self, index: usize) -> ClientConfig {
        ClientConfig::new(&self.url, DEV_CHAIN_ID, DEV_ACCOUNTS[index].key)
    }

    pub(crate) async fn rpc(&self, method: &str, params: Value) -> Value {
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let answer = self
            .http
            .post(&self.url)
            .header("content-type", "application/json")
            .body(request.to_string())
            .send()
            .await
            .unwrap();
        let answer: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
        answer["result"].clone()
    }

    /// Lets chain time pass.
    pub(crate) async fn advance(&self, secs: u64) {
        self.rpc("evm_increaseTime", json!([secs])).await;
        self.mine().await;
    }

    pub(crate) async fn mine(&self) {
        self.rpc("evm_mine", json!([])).await;
    }
}
