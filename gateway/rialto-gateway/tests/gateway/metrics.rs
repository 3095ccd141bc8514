//! The operator's numbers, read by Prometheus' own parsers, which nobody here wrote.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rialto_gateway::{Config, client::Body, operator};
use rialto_testkit::mesh::path_from_env;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::mesh::{Mesh, addition};

/// What a scrape said.
struct Scrape(Value);

impl Scrape {
    fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let samples = self.0["samples"].as_array().unwrap().iter();
        let named = samples.filter(|sample| sample["name"] == name);
        let mut found = named.filter(|sample| {
            let has = |(label, value): &(&str, &str)| sample["labels"][*label] == **value;
            labels.iter().all(has)
        });
        found.next().map(|sample| sample["value"].as_f64().unwrap())
    }
}

/// Serves the operator's door, asks in both formats, and has Python read them.
async fn scrape(mesh: &Mesh, config: &Config) -> Scrape {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/metrics", listener.local_addr().unwrap());
    let router = operator(mesh.node.clone(), Arc::clone(&config.requests));
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    let dir = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    let formats = [
        ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
        (
            "application/openmetrics-text;version=1.0.0,text/plain;q=0.5",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
    ];
    for (accept, wanted) in formats {
        let asked = mesh.http.get(&url).header("accept", accept);
        let answer = asked.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], wanted);
        let file = dir.path().join(files.len().to_string());
        std::fs::write(&file, answer.text().await.unwrap()).unwrap();
        files.push(file);
    }
    let missing = mesh.http.get(url.replace("metrics", "x")).send();
    assert_eq!(missing.await.unwrap().status(), 404);
    server.abort();
    let python = path_from_env("RIALTO_VENV").unwrap().join("bin/python3");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/metrics.py");
    let read = Command::new(python).arg(script).args(&files).output();
    let read = read.unwrap();
    assert!(read.status.success(), "{read:?}");
    Scrape(serde_json::from_slice(&read.stdout).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counters_say_what_happened_and_no_payer() {
    let config = Config::default();
    let mesh = Mesh::with(config.clone()).await;
    let before = scrape(&mesh, &config).await;
    let add = [("service", "types"), ("method", "add")];
    let calls = |scrape: &Scrape, outcome: &str| {
        let labels = [add[0], add[1], ("outcome", outcome)];
        scrape.value("rialto_calls_total", &labels)
    };
    assert_eq!(
        calls(&before, "ok"),
        Some(0.0),
        "there before the first call"
    );
    assert_eq!(before.0["types"]["rialto_calls"], "counter");
    assert_eq!(
        before.0["types"]["rialto_call_duration_seconds"],
        "histogram"
    );

    let client = mesh.client(0);
    let quote = client.quote("types", "add", &addition(1, 1)).await.unwrap();
    for number in 0..7 {
        client.call(&quote, &addition(number, 1)).await.unwrap();
    }
    let none = Body::json(&json!({}));
    let quote = client.quote("hostile", "trap", &none).await.unwrap();
    client.call(&quote, &none).await.unwrap_err();
    let quote = client.quote("hostile", "recurse", &none).await.unwrap();
    client.call(&quote, &none).await.unwrap_err();

    let after = scrape(&mesh, &config).await;
    assert_eq!(calls(&after, "ok"), Some(7.0));
    let of = |name: &str| after.value(name, &add);
    assert_eq!(of("rialto_call_duration_seconds_count"), Some(7.0));
    assert_eq!(of("rialto_call_guest_duration_seconds_count"), Some(7.0));
    assert_eq!(of("rialto_call_wait_duration_seconds_count"), Some(7.0));
    assert_eq!(of("rialto_calls_in_flight"), Some(0.0));
    let charged = mesh.charged().get() as f64;
    assert_eq!(
        of("rialto_earnings_charged_base_units_total"),
        Some(charged)
    );
    let books = [("account", "charged")];
    assert_eq!(
        after.value("rialto_ledger_amount_base_units", &books),
        Some(charged)
    );
    hostile_calls_are_counted(&after);
    let channels = mesh.node.channels().len() as f64;
    assert_eq!(after.value("rialto_channels", &[]), Some(channels));
    the_host_is_counted(&after);

    // Nothing of a payer: neither its address nor its channel.
    let said = after.0.to_string().to_lowercase();
    for channel in mesh.node.channels() {
        assert!(!said.contains(&format!("{:x}", channel.config.payer)));
        assert!(!said.contains(&format!("{:x}", channel.id.0)));
    }
    mesh.end().await;
}

fn hostile_calls_are_counted(after: &Scrape) {
    let trapped = |outcome| {
        let labels = [("service", "hostile"), ("outcome", outcome)];
        after.value("rialto_calls_total", &labels)
    };
    // The first of a method in the order of outcomes is `ok`, which is always there.
    assert_eq!(trapped("trapped"), Some(1.0));
    assert_eq!(trapped("stack_exhausted"), Some(1.0));
    let breach = [("service", "hostile"), ("limit", "stack")];
    assert_eq!(
        after.value("rialto_limit_breaches_total", &breach),
        Some(1.0)
    );
    let hostile = [("service", "hostile")];
    assert_eq!(after.value("rialto_instances_total", &hostile), Some(2.0));
    assert_eq!(
        after.value("rialto_guest_memory_bytes", &hostile),
        Some(0.0)
    );
    assert!(after.value("rialto_guest_memory_peak_bytes", &hostile) > Some(0.0));
    assert_eq!(after.value("rialto_reservations", &[]), Some(0.0));
}

fn the_host_is_counted(after: &Scrape) {
    let answered = |status: &str| {
        let route = ("http_route", "/services/{service}/{method}");
        let labels = [route, ("http_response_status_code", status)];
        after.value("http_server_request_duration_seconds_count", &labels)
    };
    assert_eq!(answered("200"), Some(7.0));
    assert!(answered("402") >= Some(2.0));
    assert!(after.value("process_resident_memory_bytes", &[]) > Some(0.0));
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    assert_eq!(after.value("rialto_build", &version), Some(1.0));
}

#[tokio::test]
async fn the_public_gateway_tells_nothing_of_it() {
    let mesh = Mesh::start().await;
    assert_eq!(mesh.get("/metrics").await.0, 404);
    mesh.end().await;
}
