//! Handlers of `wasi:http` behind the gateway: any request, paid or free, and what browsers are told.

use std::fs;

use reqwest::StatusCode;
use rialto_channels::Amount;
use rialto_gateway::client::Body;
use rialto_gateway::x402::header::{self, PAYMENT_REQUIRED, PAYMENT_SIGNATURE, RIALTO_RECEIPT};
use rialto_testkit::guests;
use rialto_testkit::mesh::path_from_env;
use serde_json::{Value, json};

use crate::mesh::{Mesh, install};
use crate::payer::transfer;

const GRANTS: &str = "[grants]\nhttp = []\n\
    wasi = [\"cli\", \"io\", \"clocks\", \"random\", \"filesystem\"]\n";

async fn mesh() -> Mesh {
    Mesh::with_node(rialto_gateway::Config::default(), |config| {
        let services = &config.services_dir;
        let built = path_from_env("RIALTO_TEST_GUESTS").unwrap();
        let priced = format!("{GRANTS}[prices.handle]\ncall = \"100\"\n");
        for (name, terms) in [("site", GRANTS), ("shop", priced.as_str())] {
            install(services, name, guests::TYPES, terms);
            let component = built.join("http/component.wasm");
            fs::copy(component, services.join(name).join("component.wasm")).unwrap();
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn any_request_reaches_a_free_handler_as_it_is() {
    let mesh = mesh().await;
    let site = |path: &str| mesh.path(&format!("/http/site{path}"));
    let sent = mesh.http.put(site("/about?a=b%20c")).send().await.unwrap();
    assert_eq!(sent.status(), StatusCode::OK);
    let policy = sent.headers()["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("sandbox"), "{policy}");
    let host = mesh.url.trim_start_matches("http://").to_owned();
    assert_eq!(
        sent.text().await.unwrap(),
        format!("Method::Put {host} a=b%20c")
    );

    let sent = mesh
        .http
        .post(site("/echo"))
        .header("x-one", "1")
        .header("x-payment-note", "for the gateway")
        .header("cookie", "secret=1")
        .body("some bytes")
        .send()
        .await
        .unwrap();
    assert_eq!(sent.headers()["x-one"], "1");
    assert!(!sent.headers().contains_key("x-payment-note"));
    assert_eq!(sent.text().await.unwrap(), "some bytes");

    for (path, status) in [("/missing", 404), ("/broken", 503), ("", 400), ("/", 400)] {
        let sent = mesh.http.get(site(path)).send().await.unwrap();
        assert_eq!(sent.status().as_u16(), status, "{path}");
    }
    for (path, status, code) in [
        ("/http/site/trap", 502, "service_crashed"),
        ("/http/site/silent", 502, "service_crashed"),
        ("/http/types/x", 404, "method_unknown"),
        ("/http/nobody/x", 404, "service_unknown"),
    ] {
        let (found, body) = mesh.get(path).await;
        assert_eq!(
            (found, &body["error"]["code"]),
            (status, &json!(code)),
            "{path}"
        );
    }
    mesh.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_priced_handler_is_paid_by_transfer_and_by_channel() {
    let mesh = mesh().await;
    let url = mesh.path("/http/shop/about?paid");
    let asked = mesh.http.get(&url).send().await.unwrap();
    assert_eq!(asked.status(), StatusCode::PAYMENT_REQUIRED);
    let required: Value = header::decode(asked.headers()[PAYMENT_REQUIRED].as_bytes()).unwrap();
    assert_eq!(required["resource"]["url"], mesh.path("/http/shop"));

    let receiver = mesh.node.payee().receiver;
    let payment = json!({
        "x402Version": 2,
        "accepted": required["accepts"][1],
        "payload": transfer(&mesh, &mesh.key(0), receiver, 100, 1),
    });
    let payment = header::encode(&payment).unwrap();
    let pay = || mesh.http.get(&url).header(PAYMENT_SIGNATURE, &payment);
    let paid = pay().send().await.unwrap();
    assert_eq!(paid.status(), StatusCode::OK);
    assert!(paid.headers().contains_key(RIALTO_RECEIPT));
    assert_eq!(paid.headers()["cache-control"], "private, no-store");
    let first = paid.text().await.unwrap();
    assert!(
        first.starts_with("GET ") && first.ends_with(" paid"),
        "{first}"
    );
    let again = pay().send().await.unwrap().text().await.unwrap();
    assert_eq!(again, first, "the stored answer");
    let elsewhere = mesh.path("/http/shop/about?other");
    let other = mesh.http.get(elsewhere).header(PAYMENT_SIGNATURE, &payment);
    let other = other.send().await.unwrap();
    assert_eq!(other.status(), StatusCode::CONFLICT, "another request");

    let client = mesh.client(1);
    let body = |path: &str| Body::json(&json!({ "method": "GET", "path": path, "body": "" }));
    let quote = client
        .quote("shop", "handle", &body("/about"))
        .await
        .unwrap();
    let answer = client.call(&quote, &body("/about")).await.unwrap();
    assert_eq!(
        (answer.charged, answer.receipt_fault),
        (Amount::new(100), None)
    );
    assert!(client.call(&quote, &body("/broken")).await.is_err());
    assert_eq!(mesh.charged(), Amount::new(100), "a failure is free");
    mesh.end().await;
}
