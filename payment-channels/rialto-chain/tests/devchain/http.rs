//! JSON-RPC over HTTP: batches, limits, refusals, shutdown.

use alloy::providers::{Provider, ProviderBuilder};
use alloy::transports::http::reqwest::{Client, StatusCode};
use rialto_chain::devchain::Server;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::node::Node;

async fn served() -> (Node, Server) {
    let node = Node::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = node.0.serve(listener).unwrap();
    (node, server)
}

async fn post(server: &Server, body: impl Into<String>) -> (StatusCode, Option<Value>) {
    let answer = Client::new()
        .post(server.url())
        .header("content-type", "application/json; charset=utf-8")
        .body(body.into())
        .send()
        .await
        .unwrap();
    let status = answer.status();
    let text = answer.text().await.unwrap();
    (status, serde_json::from_str(&text).ok())
}

#[tokio::test]
async fn alloy_speaks_to_it() {
    let (_node, server) = served().await;
    let provider = ProviderBuilder::new().connect_http(server.url().parse().unwrap());
    assert_eq!(provider.get_chain_id().await.unwrap(), 84_532);
    assert_eq!(provider.get_block_number().await.unwrap(), 1);
    server.shutdown().await.unwrap();
    assert!(provider.get_block_number().await.is_err());
}

#[tokio::test]
async fn batches_are_answered_in_order_and_notifications_not_at_all() {
    let (_node, server) = served().await;
    let batch = json!([
        { "jsonrpc": "2.0", "id": 7, "method": "eth_chainId" },
        { "jsonrpc": "2.0", "method": "eth_chainId" },
        { "jsonrpc": "2.0", "id": "x", "method": "no_such" },
        5,
    ]);
    let (status, answer) = post(&server, batch.to_string()).await;
    assert_eq!(status, StatusCode::OK);
    let answer = answer.unwrap();
    assert_eq!(answer.as_array().unwrap().len(), 3);
    assert_eq!(
        answer[0],
        json!({ "jsonrpc": "2.0", "id": 7, "result": "0x14a34" })
    );
    assert_eq!(answer[1]["id"], "x");
    assert_eq!(answer[1]["error"]["code"], -32601);
    assert_eq!(answer[2]["error"]["code"], -32600);
    let alone = json!({ "jsonrpc": "2.0", "method": "eth_chainId" });
    let (status, answer) = post(&server, alone.to_string()).await;
    assert_eq!((status, answer), (StatusCode::NO_CONTENT, None));
}

#[tokio::test]
async fn bad_requests_are_refused() {
    let (_node, server) = served().await;
    let check = async |body: String, code: i64| {
        let (status, answer) = post(&server, body).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(answer.unwrap()["error"]["code"], code);
    };
    check("{".to_owned(), -32700).await;
    check("[]".to_owned(), -32600).await;
    check("{}".to_owned(), -32600).await;
    let many: Vec<_> = (0..1_001).map(|id| json!({ "id": id })).collect();
    check(json!(many).to_string(), -32600).await;

    let (status, _) = post(&server, " ".repeat(2 * 1024 * 1024 + 1)).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    let plain = Client::new().post(server.url()).body("{}").send().await;
    assert_eq!(plain.unwrap().status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
}
