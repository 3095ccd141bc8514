//! Our `exact` payments through somebody else's facilitator, an honest one and others.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Json;
use axum::extract::State;
use axum::routing::post;
use rialto_channels::{Address, SigningKey};
use rialto_gateway::Config;
use rialto_gateway::x402::header::{self, PAYMENT_RESPONSE, X_PAYMENT};
use rialto_node::ChainChoice;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::mesh::{Mesh, addition};
use crate::payer::{tokens, transfer};

const EARNINGS: Address = Address::repeat_byte(0xea);

/// A mesh on the other one's chain, whose host has nothing to pay gas with.
async fn penniless(chain: &Mesh, facilitator: &str) -> Mesh {
    let rpc = chain.node.chain().rpc_url.clone();
    let facilitator = facilitator.to_owned();
    Mesh::with_node(Config::default(), |config| {
        config.chain = ChainChoice::Rpc {
            url: rpc,
            chain_id: 84_532,
        };
        config.payout = Some(EARNINGS);
        config.payments.facilitator_url = Some(facilitator);
    })
    .await
}

async fn pay(mesh: &Mesh, key: &SigningKey, nonce: u8) -> (u16, Option<Value>, Value) {
    let payment = json!({
        "x402Version": 1,
        "scheme": "exact",
        "network": "base-sepolia",
        "payload": transfer(mesh, key, EARNINGS, 100, nonce),
    });
    let body = addition(1, 1);
    let request = mesh.http.post(mesh.path("/services/types/add"));
    let request = request.header(X_PAYMENT, header::encode(&payment).unwrap());
    let request = request.header("content-type", body.content_type);
    let answer = request.body(body.bytes).send().await.unwrap();
    let settled = answer.headers().get(PAYMENT_RESPONSE);
    let settled = settled.map(|header| header::decode(header.as_bytes()).unwrap());
    (
        answer.status().as_u16(),
        settled,
        answer.json().await.unwrap(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn another_host_makes_the_transfer_and_pays_the_gas() {
    let facilitator = Mesh::start().await;
    let mesh = penniless(&facilitator, &facilitator.path("/facilitator")).await;
    let key = facilitator.key(0);
    let before = tokens(&facilitator, key.address()).await;
    let (status, _, body) = pay(&mesh, &key, 1).await;
    assert_eq!((status, &body), (200, &json!(2)));
    assert_eq!(tokens(&facilitator, EARNINGS).await, 100);
    let (status, _, body) = pay(&mesh, &key, 1).await;
    assert_eq!((status, &body), (200, &json!(2)), "the stored answer");
    assert_eq!(tokens(&facilitator, EARNINGS).await, 100, "paid once");
    assert_eq!(tokens(&facilitator, key.address()).await, before - 100);

    // It stops: nothing is answered and nothing is paid.
    let (rpc, node) = (
        facilitator.node.chain().rpc_url.clone(),
        facilitator.node.clone(),
    );
    let mut facilitator = facilitator;
    facilitator.stop_server().await;
    assert!(!rpc.is_empty());
    let (status, _, body) = pay(&mesh, &key, 2).await;
    assert_eq!(status, 503, "{body}");
    let message = body["error"]["message"].as_str().unwrap();
    assert!(message.contains("the facilitator"), "{message}");
    assert_eq!(node.token_balance(EARNINGS).await.unwrap().get(), 100);
    mesh.end().await;
    facilitator.node.shutdown().await;
}

/// A facilitator that says what it is told to.
async fn puppet(verify: Value, settle: Value) -> (String, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let settling = (Arc::clone(&asked), settle);
    let router = axum::Router::new()
        .route("/verify", post(move || async move { Json(verify) }))
        .route(
            "/settle",
            post(
                |State((asked, settle)): State<(Arc<AtomicUsize>, Value)>| async move {
                    asked.fetch_add(1, Ordering::SeqCst);
                    Json(settle)
                },
            ),
        )
        .with_state(settling);
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))
        .await
        .unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, asked)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_facilitators_word_is_not_a_payment() {
    let chain = Mesh::start().await;
    let key = chain.key(0);
    let before = tokens(&chain, key.address()).await;
    let good = json!({"isValid": true});
    let made = json!({
        "success": true,
        "transaction": format!("0x{}", "11".repeat(32)),
        "network": "eip155:84532",
    });
    let failed = json!({
        "success": false, "errorReason": "no_gas", "transaction": "", "network": "eip155:84532",
    });
    let bad = json!({"isValid": false, "invalidReason": "dislike"});

    let (url, asked) = puppet(good.clone(), made).await;
    let liar = penniless(&chain, &url).await;
    let (status, _, body) = pay(&liar, &key, 1).await;
    assert_eq!(status, 503, "{body}");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    liar.end().await;

    let (url, _) = puppet(good, failed).await;
    let broke = penniless(&chain, &url).await;
    let (status, settled, body) = pay(&broke, &key, 2).await;
    assert_eq!(status, 402, "{body}");
    assert_eq!(body["error"], "facilitator_refused");
    assert!(
        body["detail"]["message"]
            .as_str()
            .unwrap()
            .contains("no_gas")
    );
    assert_eq!(settled.unwrap()["success"], false);
    broke.end().await;

    let (url, asked) = puppet(bad, Value::Null).await;
    let picky = penniless(&chain, &url).await;
    let (status, _, body) = pay(&picky, &key, 3).await;
    assert_eq!(
        (status, &body["error"]),
        (402, &json!("facilitator_refused"))
    );
    assert_eq!(asked.load(Ordering::SeqCst), 0, "never asked to settle");
    picky.end().await;
    assert_eq!(
        tokens(&chain, key.address()).await,
        before,
        "nothing was paid"
    );
    chain.end().await;
}
