//! A payer as people are: a wallet that is asked rarely, several channels at once, a budget, a
//! provider that vanishes, and one that lies.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use alloy_primitives::Address;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use rialto_channels::payer::policy::OverBudget;
use rialto_channels::receipt::{SignedReceipt, verify_chain};
use rialto_channels::{Amount, SigningKey};
use rialto_gateway::client::{
    self, Budget, ClientError, PayingClient, ReceiptFault, SignRequest, Signing, Wallet,
    stored_channels, stored_receipts,
};
use rialto_gateway::x402::header::RIALTO_RECEIPT;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::mesh::{Mesh, addition};

/// Counts how often it is asked.
#[derive(Debug)]
struct Counting {
    key: SigningKey,
    asked: AtomicUsize,
}

impl Wallet for Counting {
    fn address(&self) -> Address {
        self.key.address()
    }

    fn sign<'a>(&'a self, request: &'a SignRequest) -> Signing<'a> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        Wallet::sign(&self.key, request)
    }
}

fn wallet(mesh: &Mesh) -> Arc<Counting> {
    Arc::new(Counting {
        key: mesh.key(0),
        asked: AtomicUsize::new(0),
    })
}

fn config(mesh: &Mesh, dir: &Path) -> client::Config {
    let mut config = client::Config::new(&mesh.url);
    config.store = Some(dir.to_owned());
    config.lanes_max = 3;
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wallet_signs_deposits_and_a_session_key_the_rest() {
    let mesh = Mesh::start().await;
    let dir = tempfile::tempdir().unwrap();
    let wallet = wallet(&mesh);
    let client = || PayingClient::with_wallet(config(&mesh, dir.path()), wallet.clone()).unwrap();
    let first = client();
    let quote = first.quote("types", "add", &addition(1, 1)).await.unwrap();
    for i in 0..3 {
        let answer = first.call(&quote, &addition(i, 1)).await.unwrap();
        assert_eq!(answer.receipt_fault, None);
    }
    drop(first);
    // Another program goes on with the kept key: no deposit, no question.
    let answer = client().call(&quote, &addition(1, 1)).await.unwrap();
    assert_eq!(answer.deposit, None);
    assert_eq!(answer.receipt_fault, None);
    assert_eq!(wallet.asked.load(Ordering::SeqCst), 1);

    let kept = stored_channels(dir.path()).unwrap().remove(0);
    let terms = kept.snapshot.config;
    assert_eq!(terms.payer, wallet.address());
    assert_ne!(terms.payer_authorizer, wallet.address());
    assert_eq!(kept.snapshot.charged, Amount::new(400));
    let records = stored_receipts(dir.path(), kept.snapshot.id).unwrap();
    let receipts: Vec<_> = records
        .into_iter()
        .map(|record| SignedReceipt::try_from(record).unwrap())
        .collect();
    let chain = verify_chain(&receipts, terms.receiver_authorizer).unwrap();
    assert_eq!((chain.receipts, chain.after), (4, Amount::new(400)));
    assert!(chain.previous.is_zero());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let key = client::StoredChannel::session_key(dir.path(), kept.snapshot.id);
        let mode = std::fs::metadata(key).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let refunded = client()
        .refund_channel(kept.snapshot.id, None)
        .await
        .unwrap();
    assert_eq!(refunded.amount, kept.snapshot.left());
    assert_eq!(wallet.asked.load(Ordering::SeqCst), 1);
    mesh.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_at_once_take_further_lanes_up_to_the_limit() {
    let mesh = Mesh::start().await;
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(&mesh, dir.path());
    config.calls_per_lane = 1;
    let client = PayingClient::with_wallet(config.clone(), wallet(&mesh)).unwrap();
    let quote = client.quote("types", "add", &addition(0, 0)).await.unwrap();
    let calls: Vec<_> = (0..8)
        .map(|i| {
            let (client, quote) = (client.clone(), quote.clone());
            tokio::spawn(async move { client.call(&quote, &addition(i, 1)).await.unwrap().body })
        })
        .collect();
    for (i, call) in calls.into_iter().enumerate() {
        assert_eq!(call.await.unwrap(), (i + 1).to_string());
    }
    assert_eq!(mesh.charged(), Amount::new(800));
    let salts: std::collections::BTreeSet<_> = mesh
        .node
        .channels()
        .iter()
        .map(|channel| channel.config.salt)
        .collect();
    assert_eq!((mesh.node.channels().len(), salts.len()), (3, 3));

    // Another program of the same wallet: every lane is held by the first, and a limit is a limit.
    config.lanes_max = 4;
    let other = PayingClient::with_wallet(config, wallet(&mesh)).unwrap();
    other.call(&quote, &addition(1, 1)).await.unwrap();
    assert_eq!(mesh.node.channels().len(), 4);
    drop((client, other));
    mesh.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_is_kept_over_programs() {
    let mesh = Mesh::start().await;
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(&mesh, dir.path());
    config.budget = Budget {
        day_max: Some(Amount::new(250)),
        ..Budget::default()
    };
    let client = || PayingClient::with_wallet(config.clone(), wallet(&mesh)).unwrap();
    let quote = client()
        .quote("types", "add", &addition(1, 1))
        .await
        .unwrap();
    client().call(&quote, &addition(1, 1)).await.unwrap();
    client().call(&quote, &addition(1, 2)).await.unwrap();
    match client().call(&quote, &addition(1, 3)).await {
        Err(ClientError::Budget(OverBudget::Day { spent, .. })) => {
            assert_eq!(spent, Amount::new(200));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(mesh.charged(), Amount::new(200));
    mesh.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_signed_for_another_chain() {
    let mesh = Mesh::start().await;
    let wallet = wallet(&mesh);
    let mut elsewhere = client::Config::new(&mesh.url);
    elsewhere.chain_id = Some(8453);
    let client = PayingClient::with_wallet(elsewhere, wallet.clone()).unwrap();
    match client.quote("types", "add", &addition(1, 1)).await {
        Err(ClientError::WrongChain {
            expected: 8453,
            found: 84532,
        }) => {}
        other => panic!("{other:?}"),
    }

    let mut lying = client::Config::new(&mesh.url);
    lying.rpc_url = Some(
        serve(Router::new().fallback(|| async {
            axum::Json(json!({"jsonrpc": "2.0", "id": 1, "result": "0x1"}))
        }))
        .await,
    );
    let client = PayingClient::with_wallet(lying, wallet.clone()).unwrap();
    let quote = client.quote("types", "add", &addition(1, 1)).await.unwrap();
    match client.call(&quote, &addition(1, 1)).await {
        Err(ClientError::WrongChain {
            expected: 84532,
            found: 1,
        }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(wallet.asked.load(Ordering::SeqCst), 0);
    assert!(mesh.node.channels().is_empty());
    mesh.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn money_comes_back_from_a_provider_that_vanished() {
    let mut mesh = Mesh::start().await;
    let dir = tempfile::tempdir().unwrap();
    let client = || PayingClient::with_wallet(config(&mesh, dir.path()), wallet(&mesh)).unwrap();
    let payer = client().payer();
    let before = mesh.node.token_balance(payer).await.unwrap();
    let quote = client()
        .quote("types", "add", &addition(1, 1))
        .await
        .unwrap();
    client().call(&quote, &addition(1, 1)).await.unwrap();
    let id = stored_channels(dir.path()).unwrap().remove(0).snapshot.id;
    match client().finalize(id).await {
        Err(ClientError::NotWithdrawing(channel)) => assert_eq!(channel, id),
        other => panic!("{other:?}"),
    }

    // Not at any price of gas.
    let mut thrifty = config(&mesh, dir.path());
    thrifty.fee_max = 1;
    let thrifty = PayingClient::with_wallet(thrifty, wallet(&mesh)).unwrap();
    match thrifty.withdraw(id).await {
        Err(ClientError::FeeTooHigh { needed, limit: 1 }) => assert!(needed > 1),
        other => panic!("{other:?}"),
    }
    drop(thrifty);

    // The gateway is gone; the chain's endpoint was remembered.
    let clients = [client(), client(), client(), client()];
    mesh.stop_server().await;
    let [first, second, third, last] = clients;
    let begun = first.withdraw(id).await.unwrap();
    assert!(begun.transaction.is_some());
    let again = second.withdraw(id).await.unwrap();
    assert_eq!((again.transaction, again.amount), (None, begun.amount));
    assert_eq!(again.finalizes_at, begun.finalizes_at);
    let kept = stored_channels(dir.path()).unwrap().remove(0);
    assert!(kept.snapshot.withdrawal.is_some());
    match third.finalize(id).await {
        Err(ClientError::TooEarly { finalizes_at, .. }) => {
            assert_eq!(finalizes_at, begun.finalizes_at);
        }
        other => panic!("{other:?}"),
    }
    let delay = mesh.node.payee().withdraw_delay;
    rpc(&mesh, "evm_increaseTime", json!([delay])).await;
    rpc(&mesh, "evm_mine", json!([])).await;
    let done = last.finalize(id).await.unwrap();
    let after = mesh.node.token_balance(payer).await.unwrap();
    assert_eq!(done.amount, begun.amount);
    assert_eq!(after, before.checked_sub(Amount::new(100)).unwrap());
    let kept = stored_channels(dir.path()).unwrap().remove(0);
    assert_eq!(kept.snapshot.withdrawal, None);
    assert!(kept.snapshot.left().is_zero());
    mesh.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_repeats_a_receipt_is_paid_no_more() {
    let mesh = Mesh::start().await;
    let dir = tempfile::tempdir().unwrap();
    let liar = Liar {
        target: mesh.url.clone(),
        first: Arc::default(),
    };
    let mut config = config(&mesh, dir.path());
    config.gateway = serve(Router::new().fallback(lie).with_state(liar)).await;
    let client = PayingClient::with_wallet(config, wallet(&mesh)).unwrap();
    let quote = client.quote("types", "add", &addition(1, 1)).await.unwrap();
    let honest = client.call(&quote, &addition(1, 1)).await.unwrap();
    assert_eq!(honest.receipt_fault, None);
    let lied = client.call(&quote, &addition(2, 2)).await.unwrap();
    assert_eq!(lied.body, "4");
    assert_eq!(
        lied.receipt_fault,
        Some(ReceiptFault::Untrue { field: "request" })
    );

    let broken = match client.call(&quote, &addition(3, 3)).await {
        Err(ClientError::Broken { channel, .. }) => channel,
        other => panic!("{other:?}"),
    };
    assert_eq!(mesh.charged(), Amount::new(200));
    let evidence = std::fs::read_dir(dir.path().join("evidence"))
        .unwrap()
        .count();
    assert_eq!(evidence, 1);
    let kept = stored_channels(dir.path()).unwrap().remove(0);
    assert!(kept.fault.unwrap().contains("request"));

    // With the money back the payer may go on, on another channel.
    client.refund_channel(broken, None).await.unwrap();
    let next = client.call(&quote, &addition(4, 4)).await.unwrap();
    assert_ne!(next.channel.unwrap().id, broken);
    mesh.end().await;
}

/// Passes requests on, and gives every answer but the first the first one's receipt.
#[derive(Clone)]
struct Liar {
    target: String,
    first: Arc<Mutex<Option<HeaderValue>>>,
}

async fn lie(
    State(liar): State<Liar>,
    method: Method,
    uri: Uri,
    mut headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, HeaderMap, Bytes) {
    headers.remove("host");
    let url = format!("{}{uri}", liar.target);
    let request = reqwest::Client::new()
        .request(method, url)
        .headers(headers)
        .body(body);
    let answer = request.send().await.unwrap();
    let status = answer.status();
    let mut headers = answer.headers().clone();
    headers.remove("content-length");
    headers.remove("transfer-encoding");
    if let Some(receipt) = headers.get(RIALTO_RECEIPT).cloned() {
        let first = liar.first.lock().unwrap().get_or_insert(receipt).clone();
        headers.insert(RIALTO_RECEIPT, first);
    }
    (status, headers, answer.bytes().await.unwrap())
}

async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}

async fn rpc(mesh: &Mesh, method: &str, params: Value) {
    let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    let url = &mesh.node.chain().rpc_url;
    let answer: Value = mesh
        .http
        .post(url)
        .json(&request)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert!(answer.get("error").is_none(), "{answer}");
}
