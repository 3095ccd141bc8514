//! Connections that misbehave, and a shutdown that does not.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use rialto_gateway::Config;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::mesh::{Mesh, addition};

const PATIENCE: Duration = Duration::from_secs(20);

fn tight() -> Config {
    Config {
        body_bytes_max: 1000,
        head_timeout: Duration::from_millis(300),
        body_timeout: Duration::from_millis(600),
        body_pause_max: Duration::from_millis(300),
        connections_max: 4,
        drain: Duration::from_secs(10),
        ..Config::default()
    }
}

async fn connect(mesh: &Mesh) -> TcpStream {
    let address = mesh.url.strip_prefix("http://").unwrap();
    TcpStream::connect(address).await.unwrap()
}

/// Writes `request` and reads until the server closes.
async fn exchange(mesh: &Mesh, request: &[u8]) -> String {
    let mut stream = connect(mesh).await;
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut answer))
        .await
        .unwrap()
        .ok();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_large_or_too_slow_is_refused() {
    let mesh = Mesh::with(tight()).await;
    let head = "POST /services/types/add HTTP/1.1\r\nhost: h\r\n\
        content-type: application/json\r\nconnection: close\r\n";
    let announced = format!("{head}content-length: 5000\r\n\r\n");
    assert!(
        exchange(&mesh, announced.as_bytes())
            .await
            .contains("body_too_large")
    );

    let chunk = format!("200\r\n{}\r\n", "x".repeat(0x200));
    let chunked = format!("{head}transfer-encoding: chunked\r\n\r\n{chunk}{chunk}0\r\n\r\n");
    let answer = exchange(&mesh, chunked.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");

    let stalled = format!("{head}content-length: 10\r\n\r\nabc");
    let answer = exchange(&mesh, stalled.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");

    let broken = b"GET / HTTP/1.1\r\nhost: h\r\nnonsense\r\n\r\n";
    assert!(exchange(&mesh, broken).await.starts_with("HTTP/1.1 400"));
    let long = format!(
        "GET / HTTP/1.1\r\nhost: h\r\nx: {}\r\n\r\n",
        "y".repeat(100_000)
    );
    assert!(
        exchange(&mesh, long.as_bytes())
            .await
            .starts_with("HTTP/1.1 431")
    );
    mesh.end().await;
}

/// A client that writes on while the answer arrives reads that answer, and may go on.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_read_by_a_client_that_is_still_writing() {
    let mesh = Mesh::with(tight()).await;
    let body = 3000;
    let head = format!(
        "POST /services/types/add HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\n\
         content-length: {body}\r\n\r\n"
    );
    let mut stream = connect(&mesh).await;
    stream.write_all(head.as_bytes()).await.unwrap();
    for _ in 0..3 {
        // Long enough for a server that closes at once to have closed.
        tokio::time::sleep(Duration::from_millis(50)).await;
        stream.write_all(&[b' '; 1000]).await.unwrap();
    }
    let next = b"GET /health HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";
    stream.write_all(next).await.unwrap();
    let mut answers = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut answers)).await;
    read.unwrap().unwrap();
    let answers = String::from_utf8_lossy(&answers);
    assert!(answers.starts_with("HTTP/1.1 413"), "{answers}");
    assert!(answers.contains("HTTP/1.1 200"), "{answers}");
    mesh.end().await;
}

/// What is thrown away is bounded too.
#[tokio::test(flavor = "multi_thread")]
async fn an_endless_refused_body_is_cut() {
    let mesh = Mesh::with(tight()).await;
    let mut stream = connect(&mesh).await;
    let head = "POST /services/types/add HTTP/1.1\r\nhost: h\r\n\
        content-length: 99999999999\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let cut = timeout(PATIENCE, async {
        while stream.write_all(&[b' '; 4096]).await.is_ok() {}
    });
    assert!(cut.await.is_ok(), "the rest was taken without end");
    mesh.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_say_nothing_do_not_keep_others_out() {
    let mesh = Mesh::with(tight()).await;
    let mut idle = Vec::new();
    for said in ["", "G", "PRI * HTTP/2.0\r\n", "GET / HTTP/1.1\r\nhost"] {
        let mut stream = connect(&mesh).await;
        stream.write_all(said.as_bytes()).await.unwrap();
        idle.push(stream);
    }
    // All four places are taken; each is given up after its time.
    let answer = timeout(PATIENCE, mesh.http.get(mesh.path("/health")).send()).await;
    assert!(answer.unwrap().unwrap().status().is_success());
    for mut stream in idle {
        let mut rest = Vec::new();
        let closed = timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
        assert!(closed.is_ok(), "an idle connection was kept");
    }
    mesh.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_http_versions_are_spoken() {
    let mesh = Mesh::start().await;
    let second = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http::<Empty<Bytes>>();
    let uri = mesh.path("/health").parse().unwrap();
    let response = second.get(uri).await.unwrap();
    assert_eq!(response.version(), http::Version::HTTP_2);
    assert_eq!(response.status().as_u16(), 200);
    let first = mesh.http.get(mesh.path("/health")).send().await.unwrap();
    assert_eq!(first.version(), http::Version::HTTP_11);
    mesh.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_lets_a_call_finish() {
    let mut mesh = Mesh::start().await;
    let client = mesh.client(0);
    let quote = client.quote("types", "add", &addition(1, 1)).await.unwrap();
    client.call(&quote, &addition(1, 1)).await.unwrap();
    let idle = connect(&mesh).await;
    let url = mesh.path("/services/hostile/spin");
    // `spin` takes its whole time limit, which leaves time to ask for the shutdown meanwhile.
    let quote = client
        .quote(
            "hostile",
            "spin",
            &rialto_gateway::client::Body::json(&serde_json::json!({})),
        )
        .await
        .unwrap();
    let spinning = tokio::spawn({
        let client = client.clone();
        async move {
            let body = rialto_gateway::client::Body::json(&serde_json::json!({}));
            client.call(&quote, &body).await
        }
    });
    while mesh
        .node
        .channels()
        .iter()
        .all(|channel| channel.in_flight.is_zero())
    {
        tokio::task::yield_now().await;
    }
    mesh.stop_server().await;
    let answer = spinning.await.unwrap();
    match answer {
        Err(rialto_gateway::client::ClientError::Refused { code, .. }) => {
            assert_eq!(code, "service_timeout");
        }
        other => panic!("the call was cut: {other:?}"),
    }
    drop(idle);
    assert!(mesh.http.get(url).send().await.is_err());
    mesh.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_header_of_the_wrong_size_is_the_callers_fault() {
    let mesh = Mesh::start().await;
    let url = mesh.path("/services/types/add");
    for size in [16 * 1024 + 1, 40 * 1024] {
        let request = mesh
            .http
            .post(&url)
            .header("payment-signature", "A".repeat(size));
        let response = request.body("{}").send().await.unwrap();
        assert_eq!(response.status().as_u16(), 400);
        let body: Value = response.json().await.unwrap();
        assert_eq!(body["error"]["code"], "payment_malformed");
    }
    mesh.end().await;
}
