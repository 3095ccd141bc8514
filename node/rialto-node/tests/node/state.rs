//! What services keep: by service and payer, across restarts and versions, within quotas, and with no
//! update lost.

use std::path::Path;

use bytes::Bytes;
use rialto_node::{Arguments, CallError, CallRequest, ExactPayment, Node, Payment};
use rialto_testkit::mesh::path_from_env;
use serde_json::{Value, json};

use crate::world::{OTHER_PAYER, PAYER, World};

fn install(services: &Path, name: &str, version: &str, rest: &str) {
    let dir = services.join(name);
    std::fs::create_dir_all(&dir).unwrap();
    let guest = path_from_env("RIALTO_TEST_GUESTS").unwrap();
    let component = guest.join("state/component.wasm");
    std::fs::copy(component, dir.join("component.wasm")).unwrap();
    let manifest = format!(
        "name = \"{name}\"\nversion = \"{version}\"\ndescription = \"Keeps keys.\"\n\
         license = \"Apache-2.0\"\n{rest}"
    );
    std::fs::write(dir.join("service.toml"), manifest).unwrap();
}

const REST: &str = "[grants]\nkey_value = true\n\
    wasi = [\"cli\", \"io\", \"clocks\", \"random\", \"filesystem\"]\n\
    [limits]\nkey_value_bytes_max = 100000\n[prices.count]\ncall = \"100\"\n";

async fn start() -> World {
    World::start(|config| {
        install(&config.services_dir, "keeps", "0.1.0", REST);
        install(&config.services_dir, "other", "0.1.0", REST);
        let limits = [("key_value_bytes_max".to_owned(), 5_000)];
        let rules = config.sandbox.services.entry("other".to_owned());
        rules.or_default().extend(limits);
    })
    .await
}

fn request(service: &str, method: &str, arguments: &Value, payment: Payment) -> CallRequest {
    CallRequest {
        service: service.to_owned(),
        method: method.to_owned(),
        arguments: Arguments::Json(Bytes::from(arguments.to_string())),
        body_digest: rand::random(),
        body_bytes: 20,
        price_max: rialto_channels::Amount::new(u128::MAX),
        payment,
        lineage: rialto_node::Lineage::default(),
    }
}

async fn free(node: &Node, service: &str, method: &str, arguments: Value) -> Value {
    let request = request(service, method, &arguments, Payment::None);
    let outcome = node.call(request).await.unwrap();
    serde_json::from_slice(&outcome.body).unwrap()
}

/// What the payer's own counter says after a paid call.
async fn count(node: &Node, payment: ExactPayment) -> Value {
    let arguments = json!({ "of_caller": true, "key": "calls" });
    let payment = Payment::Exact(Box::new(payment));
    let request = request("keeps", "count", &arguments, payment);
    let outcome = node.call(request).await.unwrap();
    assert_eq!(outcome.charged.get(), 100);
    serde_json::from_slice(&outcome.body).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_service_keeps_is_its_own_and_stays() {
    let world = start().await;
    let get = json!({ "of_caller": false, "key": "k" });
    let set = json!({ "of_caller": false, "key": "k", "value": "kept" });
    free(&world.node, "keeps", "set", set).await;
    assert_eq!(free(&world.node, "keeps", "get", get.clone()).await, "kept");
    assert_eq!(
        free(&world.node, "other", "get", get.clone()).await,
        Value::Null
    );
    // Payers have a counter each.
    let payment = world.transfer_of(PAYER, 1).await;
    assert_eq!(count(&world.node, payment).await, 1);
    let payment = world.transfer_of(PAYER, 2).await;
    assert_eq!(count(&world.node, payment).await, 2);
    let payment = world.transfer_of(OTHER_PAYER, 3).await;
    assert_eq!(count(&world.node, payment).await, 1);
    let unpaid = json!({ "of_caller": true, "key": "calls" });
    let unpaid = request("keeps", "get", &unpaid, Payment::None);
    let error = world.node.call(unpaid).await.unwrap_err();
    assert!(matches!(error, CallError::Service(_)), "{error}");
    // A new version finds it.
    let world = world
        .restart(async |data| {
            let services = data.parent().unwrap().join("services");
            install(&services, "keeps", "0.2.0", REST);
        })
        .await;
    assert_eq!(free(&world.node, "keeps", "get", get).await, "kept");
    let payment = world.transfer_of(PAYER, 4).await;
    assert_eq!(count(&world.node, payment).await, 3);
    world.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn quotas_are_the_manifests_or_the_operators() {
    let world = start().await;
    let fill = json!({ "of_caller": false, "bytes": 1_000 });
    let filled = free(&world.node, "keeps", "fill", fill.clone()).await;
    // 1,000 bytes of value, 6 or 7 of key, and 64 for the entry.
    assert_eq!(filled[0], 93);
    let text = filled[1].as_str().unwrap();
    assert!(
        text.contains("its quota is 100000 (key_value_bytes_max)"),
        "{text}"
    );
    assert_eq!(free(&world.node, "other", "fill", fill).await[0], 4);
    world.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_calls_lose_no_update() {
    let world = start().await;
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..96 {
        let node = world.node.clone();
        calls.spawn(async move {
            // By increments, which the store makes, and by swaps, which the guest tries until they hold.
            let arguments = json!({ "key": "sum", "delta": 1 });
            free(&node, "keeps", "increment", arguments).await;
            let arguments = json!({ "key": format!("own {number}") });
            free(&node, "keeps", "swap_late", arguments).await;
        });
    }
    calls.join_all().await;
    let sum = json!({ "of_caller": false, "key": "sum" });
    assert_eq!(free(&world.node, "keeps", "get", sum).await, "96");
    let mut calls = tokio::task::JoinSet::new();
    for nonce in 10..42 {
        let payment = world.transfer_of(PAYER, nonce).await;
        let node = world.node.clone();
        calls.spawn(async move { count(&node, payment).await });
    }
    let mut seen = calls.join_all().await;
    seen.sort_by_key(Value::as_u64);
    assert_eq!(seen, (1..=32).map(Value::from).collect::<Vec<_>>());
    world.node.shutdown().await;
}
