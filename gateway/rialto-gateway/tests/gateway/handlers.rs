//! Handlers of `wasi:http` behind the gateway: any request, paid or free, and what browsers are told.

use std::time::Duration;

use reqwest::StatusCode;
use rialto_channels::Amount;
use rialto_gateway::client::Body;
use rialto_gateway::x402::header::{self, PAYMENT_REQUIRED, PAYMENT_SIGNATURE, RIALTO_RECEIPT};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use crate::mesh::{Mesh, install_built};
use crate::payer::{transfer, voucher};

const TERMS: &str = "[limits]\ntime_ms_max = 25000\n[grants]\nhttp = []\n\
    wasi = [\"cli\", \"io\", \"clocks\", \"random\", \"filesystem\"]\n";
/// Far longer than it takes, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(30);

async fn mesh() -> Mesh {
    Mesh::with_node(rialto_gateway::Config::default(), |config| {
        let services = &config.services_dir;
        install_built(services, "site", "http", TERMS);
        let priced = format!("{TERMS}[prices.handle]\ncall = \"100\"\n");
        install_built(services, "shop", "http", &priced);
        // A response that is over has left its place.
        config.sandbox.calls_max = 1;
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
async fn what_takes_its_time_goes_out_while_it_is_written() {
    let mesh = mesh().await;
    let site = |path: &str| mesh.path(&format!("/http/site{path}"));
    let soon = mesh.http.get(site("/drip?3,1")).send().await.unwrap();
    assert_eq!(soon.headers()["content-length"], "27");
    assert_eq!(
        soon.text().await.unwrap(),
        "data: 1\n\ndata: 2\n\ndata: 3\n\n"
    );

    let mut events = mesh
        .http
        .get(site("/events?2,3600000"))
        .send()
        .await
        .unwrap();
    let header = |name: &str| events.headers().get(name).map(|it| it.to_str().unwrap());
    assert_eq!(header("content-type"), Some("text/event-stream"));
    assert_eq!(header("x-accel-buffering"), Some("no"));
    assert!(
        header("content-security-policy")
            .unwrap()
            .starts_with("sandbox")
    );
    let absent = ["content-length", "rialto-receipt-id", "trailer"];
    assert!(
        absent.iter().all(|name| header(name).is_none()),
        "nobody pays"
    );
    let first = timeout(PATIENCE, events.chunk()).await.unwrap();
    assert_eq!(
        first.unwrap().unwrap(),
        "data: 1\n\n",
        "an hour before the next"
    );
    drop(events);
    // Of no use to whoever asked with HEAD: it gets no body and does not begin one.
    let head = mesh.http.head(site("/events?3,1")).send().await.unwrap();
    assert_eq!(head.headers()["content-type"], "text/event-stream");

    let broken = mesh
        .http
        .get(site("/events?2,1,trap"))
        .send()
        .await
        .unwrap();
    assert_eq!(broken.status(), StatusCode::OK);
    assert!(broken.text().await.is_err(), "nobody takes it for whole");
    let large = mesh.http.get(site("/large?1500000")).send().await.unwrap();
    assert!(!large.headers().contains_key("content-length"));
    assert_eq!(large.bytes().await.unwrap().len(), 1_500_000);
    mesh.end().await;
}

/// The trailers over the wire, for whoever takes them; the receipt's id for everybody.
#[tokio::test(flavor = "multi_thread")]
async fn trailers_say_what_was_charged() {
    let mesh = mesh().await;
    let stop = Instant::now() + PATIENCE;
    let body = json!({ "method": "GET", "path": "/missing", "body": "" });
    let client = mesh.client(1);
    let quote = client
        .quote("shop", "handle", &Body::json(&body))
        .await
        .unwrap();
    client.call(&quote, &Body::json(&body)).await.unwrap();
    let url = mesh.path("/http/shop/events?2,1");
    let payment = voucher(&mesh, &mesh.key(1), &url).await;
    let mut socket = TcpStream::connect(mesh.url.trim_start_matches("http://"))
        .await
        .unwrap();
    let asked = format!(
        "GET /http/shop/events?2,1 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
         te: trailers\r\n{PAYMENT_SIGNATURE}: {payment}\r\n\r\n"
    );
    socket.write_all(asked.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout_at(stop, socket.read_to_string(&mut answer))
        .await
        .unwrap()
        .unwrap();
    let (head, rest) = answer.split_once("\r\n\r\n").unwrap();
    let (chunks, trailers) = rest.split_once("\r\n0\r\n").unwrap();
    assert!(
        chunks.contains("data: 1") && chunks.contains("data: 2"),
        "{answer}"
    );
    let find = |text: &str, name: &str| {
        let lines = text.lines().filter_map(|line| line.split_once(": "));
        let mut found = lines.filter(|(found, _)| found.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.to_owned()).unwrap()
    };
    let settlement: Value = header::decode(find(trailers, "payment-response").as_bytes()).unwrap();
    assert_eq!(settlement["success"], true);
    assert_eq!(settlement["extra"]["chargedAmount"], "100");
    let receipt: Value = header::decode(find(trailers, RIALTO_RECEIPT).as_bytes()).unwrap();
    assert_eq!(receipt["charged"], "100");
    let id = find(head, "rialto-receipt-id");
    assert_eq!(receipt["id"], id.as_str());
    let (status, kept) = mesh.get(&format!("/receipts/{id}")).await;
    assert_eq!((status, &kept), (200, &receipt));
    assert_eq!(mesh.charged(), Amount::new(200));
    mesh.end().await;
}

/// A client that goes in the middle: the guest is gone with it, and it pays for what it got.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_ends_the_guest() {
    let mesh = mesh().await;
    let gone = async || {
        // There is one place.
        let next = mesh.http.get(mesh.path("/http/site/missing")).send();
        let next = timeout(PATIENCE, next).await.unwrap().unwrap();
        assert_eq!(next.status(), StatusCode::NOT_FOUND);
    };
    let url = mesh.path("/http/site/events?2,3600000");
    let mut events = mesh.http.get(url).send().await.unwrap();
    assert!(events.chunk().await.unwrap().is_some());
    drop(events);
    gone().await;

    let client = mesh.client(1);
    let body = Body::json(&json!({ "method": "GET", "path": "/missing", "body": "" }));
    let quote = client.quote("shop", "handle", &body).await.unwrap();
    client.call(&quote, &body).await.unwrap();
    let url = mesh.path("/http/shop/events?1000,20");
    let payment = voucher(&mesh, &mesh.key(1), &url).await;
    let paid = mesh.http.get(&url).header(PAYMENT_SIGNATURE, &payment);
    let mut events = paid.send().await.unwrap();
    let id = events.headers()["rialto-receipt-id"]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(events.chunk().await.unwrap().is_some());
    drop(events);
    gone().await;
    let stop = Instant::now() + PATIENCE;
    let receipt = loop {
        let (status, receipt) = mesh.get(&format!("/receipts/{id}")).await;
        if status == 200 {
            break receipt;
        }
        assert!(Instant::now() < stop, "the receipt of what was delivered");
        tokio::task::yield_now().await;
    };
    assert_eq!(receipt["charged"], "100");
    // What was delivered comes again, and breaks off where it did.
    let again = mesh.http.get(&url).header(PAYMENT_SIGNATURE, &payment);
    let mut again = again.send().await.unwrap();
    assert_eq!(again.headers()["rialto-receipt-id"], id.as_str());
    let first = again.chunk().await.unwrap().unwrap();
    assert!(first.starts_with(b"data: 1\n\n"), "{first:?}");
    let end = loop {
        match again.chunk().await {
            Ok(Some(_)) => {}
            other => break other,
        }
    };
    assert!(end.is_err(), "{end:?}");
    assert_eq!(mesh.charged(), Amount::new(200));
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
