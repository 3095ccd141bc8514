//! More than a host takes: told before any work or money, with when to come again, and nothing is charged.

use std::time::{Duration, Instant};

use reqwest::Response;
use rialto_gateway::client::{self, Body, ClientError, PayingClient};
use rialto_gateway::x402::header::PAYMENT_RESPONSE;
use rialto_node::{DoorLoad, PayerTerms};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::forged::Forger;
use crate::mesh::{Mesh, addition};

/// Far longer than it takes, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);

/// The first payer, whom every development chain knows.
const FIRST: &str = "0x9965507D1a55bcC2695C58ba16FB37d819B0A4dc";

/// A mesh whose hostile guests run as long as somebody waits for them.
async fn mesh(change: impl FnOnce(&mut rialto_node::Config)) -> Mesh {
    Mesh::with_node(rialto_gateway::Config::default(), |config| {
        let own = [("time_ms_max", 100_000), ("cpu_ms_max", 60_000)];
        let own = own.map(|(name, value)| (name.to_owned(), value));
        config.sandbox.time_ms_max = 100_000;
        config.sandbox.services = [("hostile".to_owned(), own.into())].into();
        change(config);
    })
    .await
}

/// A client that takes no for an answer.
fn impatient(mesh: &Mesh, index: usize) -> PayingClient {
    let config = client::Config {
        attempts: 1,
        ..client::Config::new(&mesh.url)
    };
    PayingClient::new(config, mesh.key(index)).unwrap()
}

/// A call that computes until it is aborted.
async fn spin(client: &PayingClient) -> JoinHandle<()> {
    let body = Body::json(&json!({}));
    let quote = client.quote("hostile", "spin", &body).await.unwrap();
    let client = client.clone();
    tokio::spawn(async move {
        let ended = client.call(&quote, &body).await;
        panic!("it ended: {ended:?}");
    })
}

async fn until(mesh: &Mesh, seen: impl Fn(&DoorLoad) -> bool) {
    let begun = Instant::now();
    while !seen(&mesh.node.door()) {
        assert!(begun.elapsed() < PATIENCE, "{:?}", mesh.node.door());
        tokio::task::yield_now().await;
    }
}

/// Ends these calls as their callers do, by going away, and waits until their guests are gone.
async fn give_up(mesh: Mesh, calls: impl IntoIterator<Item = JoinHandle<()>>) {
    for call in calls {
        call.abort();
        assert!(call.await.unwrap_err().is_cancelled());
    }
    until(&mesh, |door| door.running == 0 && door.waiting == 0).await;
    mesh.end().await;
}

/// A refusal that says when to come again.
async fn refused(response: Response, status: u16, code: &str) {
    assert_eq!(response.status().as_u16(), status, "{code}");
    assert!(!response.headers().contains_key(PAYMENT_RESPONSE));
    let after = response.headers()["retry-after"]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(after.parse::<u64>().unwrap() >= 1);
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["error"]["code"], code);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payer_with_as_much_as_it_may_have_is_told_and_others_are_served() {
    let mesh = mesh(|config| {
        config.payers.usual = PayerTerms {
            calls_max: Some(1),
            queue_max: Some(1),
            ..PayerTerms::default()
        };
    })
    .await;
    let forger = Forger::on(mesh).await;
    let mesh = &forger.mesh;
    let payer = mesh.client(0);
    let mut calls = vec![spin(&payer).await];
    until(mesh, |door| door.running == 1).await;
    calls.push(spin(&payer).await);
    until(mesh, |door| door.waiting == 1).await;
    let before = mesh.charged();
    let voucher = forger.voucher(5_000);
    refused(
        forger.send(&forger.payment(&voucher), 1).await,
        429,
        "too_many_calls",
    )
    .await;
    assert_eq!(mesh.charged(), before);
    let other = mesh.client(1);
    let quote = other.quote("types", "add", &addition(1, 1)).await.unwrap();
    other.call(&quote, &addition(1, 1)).await.unwrap();
    assert_eq!(mesh.node.door().waiting, 1, "it waits, and passes nobody");
    give_up(forger.mesh, calls).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_host_refuses_before_any_work() {
    let mesh = mesh(|config| {
        config.sandbox.calls_max = 1;
        config.sandbox.queue_max = 1;
        config.sandbox.service_queue_max = 1;
    })
    .await;
    let payer = mesh.client(0);
    // Or its second call would wait for the first one's deposit.
    let quote = payer.quote("types", "add", &addition(1, 1)).await.unwrap();
    payer.call(&quote, &addition(1, 1)).await.unwrap();
    let before = mesh.charged();
    let mut calls = vec![spin(&payer).await];
    until(&mesh, |door| door.running == 1).await;
    calls.push(spin(&payer).await);
    until(&mesh, |door| door.waiting == 1).await;
    let admitted = mesh.node.door().admitted;
    let free = mesh.http.post(mesh.path("/services/types/nothing"));
    refused(free.send().await.unwrap(), 503, "overloaded").await;
    assert_eq!(mesh.node.door().admitted, admitted);
    assert_eq!(mesh.charged(), before);
    give_up(mesh, calls).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn long_calls_are_refused_by_a_name_of_their_own() {
    let mesh = mesh(|config| config.sandbox.background_max = 1).await;
    let long = spin(&mesh.client(0)).await;
    until(&mesh, |door| door.background == 1).await;
    let (other, body) = (impatient(&mesh, 1), Body::json(&json!({})));
    let quote = other.quote("hostile", "spin", &body).await.unwrap();
    match other.call(&quote, &body).await {
        Err(ClientError::Refused { status, code, .. }) => {
            assert_eq!((status, code.as_str()), (503, "too_many_long_calls"));
        }
        ended => panic!("{ended:?}"),
    }
    assert!(mesh.charged().is_zero());
    let quote = other.quote("types", "add", &addition(1, 1)).await.unwrap();
    other.call(&quote, &addition(1, 1)).await.unwrap();
    give_up(mesh, [long]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_has_the_time_and_size_that_are_said_of_it() {
    let mesh = Mesh::with_node(rialto_gateway::Config::default(), |config| {
        let terms = PayerTerms {
            time_ms_max: Some(200),
            input_bytes_max: Some(30),
            ..PayerTerms::default()
        };
        config.payers.accounts = [(FIRST.parse().unwrap(), terms)].into();
    })
    .await;
    let (payer, other) = (impatient(&mesh, 0), impatient(&mesh, 1));
    assert_eq!(payer.payer().to_string(), FIRST);
    let large = addition(1_000_000_000, 1_000_000_000);
    let call = async |client: &PayingClient, service: &str, method: &str, body: &Body| {
        let quote = client.quote(service, method, body).await.unwrap();
        match client.call(&quote, body).await {
            Ok(_) => (200, String::new(), String::new()),
            Err(ClientError::Refused {
                status,
                code,
                message,
                ..
            }) => (status, code, message),
            Err(other) => panic!("{other:?}"),
        }
    };
    let (status, code, message) = call(&payer, "types", "add", &large).await;
    assert_eq!((status, code.as_str()), (413, "body_too_large"));
    assert!(message.contains("30"), "{message}");
    let (status, ..) = call(&other, "types", "add", &large).await;
    assert_eq!(status, 200);
    let (status, code, message) = call(&payer, "hostile", "spin", &Body::json(&json!({}))).await;
    assert_eq!((status, code.as_str()), (504, "service_timeout"));
    // What is left of it when the guest begins.
    let ms = message
        .split_whitespace()
        .find_map(|word| word.parse::<u64>().ok());
    assert!(ms.is_some_and(|ms| ms <= 200), "{message}");
    mesh.end().await;
}
