//! Streams over HTTP: events as they come, the charge for what was delivered, and nothing left behind.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use reqwest::StatusCode;
use rialto_channels::Amount;
use rialto_gateway::client::mesh::{Ask, Directory, Finding, MeshClient};
use rialto_gateway::client::{Body, ClientError, Config, Heard, Leave};
use rialto_registry::Name;
use rialto_testkit::guests;
use rialto_testkit::mesh::path_from_env;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::mesh::{Mesh, install};

/// Far longer than it takes, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(30);
const GRANTS: &str = "[grants]\nwasi = [\"cli\", \"io\", \"clocks\", \"random\", \"filesystem\"]\n";

pub(crate) async fn mesh() -> Mesh {
    mesh_with(rialto_gateway::Config::default()).await
}

/// A mesh of streams, free and paid, that has one place.
pub(crate) async fn mesh_with(config: rialto_gateway::Config) -> Mesh {
    Mesh::with_node(config, |config| {
        let built = path_from_env("RIALTO_TEST_GUESTS").unwrap();
        let mut terms = String::new();
        for method in ["count", "words", "endless", "crash", "refuse"] {
            terms.push_str(&format!(
                "[prices.{method}]\ncall = \"100\"\nper_output_kib = \"7\"\nmax = \"500\"\n"
            ));
        }
        for (name, prices) in [("free", ""), ("paid", terms.as_str())] {
            let services = &config.services_dir;
            install(services, name, guests::TYPES, "");
            let folder = services.join(name);
            fs::copy(
                built.join("stream/component.wasm"),
                folder.join("component.wasm"),
            )
            .unwrap();
            let manifest = fs::read_to_string(folder.join("service.toml")).unwrap();
            let manifest = manifest.replace("time_ms_max = 1500", "time_ms_max = 25000");
            fs::write(
                folder.join("service.toml"),
                format!("{manifest}{GRANTS}{prices}"),
            )
            .unwrap();
        }
        // A stream that is over has left its place to the next one.
        config.sandbox.calls_max = 1;
    })
    .await
}

impl Mesh {
    async fn events(&self, path: &str, body: Value) -> reqwest::Response {
        let request = self.http.post(self.path(path)).json(&body);
        let request = request.header("accept", "text/event-stream");
        request.send().await.unwrap()
    }

    /// The only place is free, so the guest before is gone.
    pub(crate) async fn place_is_free(&self) {
        let body = json!({ "to": 1 });
        let call = self
            .http
            .post(self.path("/services/free/count"))
            .json(&body);
        let sent = timeout(PATIENCE, call.send()).await.unwrap().unwrap();
        assert_eq!(sent.status(), StatusCode::OK);
    }

    pub(crate) async fn charged_is(&self, expected: u128) {
        let give_up = Instant::now() + PATIENCE;
        while self.charged() != Amount::new(expected) {
            assert!(Instant::now() < give_up, "charged {}", self.charged());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn count(to: u32) -> Body {
    Body::json(&json!({ "to": to }))
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_for_those_who_ask_and_arrays_for_others() {
    let mesh = mesh().await;
    let sent = mesh
        .events("/services/free/words", json!({ "text": "a b" }))
        .await;
    assert_eq!(sent.status(), StatusCode::OK);
    let header = |name: &str| sent.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("content-type"), "text/event-stream");
    assert_eq!(header("cache-control"), "private, no-store");
    assert_eq!(header("x-accel-buffering"), "no");
    let expected = "event: item\ndata: \"a \"\n\nevent: item\ndata: \"b\"\n\n\
                    event: end\ndata: {\"items\":2,\"charged\":\"0\"}\n\n";
    assert_eq!(sent.text().await.unwrap(), expected);

    let plain = mesh.http.post(mesh.path("/services/free/words"));
    let plain = plain.json(&json!({ "text": "a b" })).send().await.unwrap();
    assert_eq!(plain.headers()["content-type"], "application/json");
    assert_eq!(plain.text().await.unwrap(), r#"["a ","b"]"#);
    // A method that does not stream answers as ever.
    let other = mesh
        .events("/services/types/text", json!({ "text": "x" }))
        .await;
    assert_eq!(other.headers()["content-type"], "application/json");

    let (_, document) = mesh.get("/openapi.json").await;
    let content = &document["paths"]["/services/paid/count"]["post"]["responses"]["200"]["content"];
    assert_eq!(content["application/json"]["schema"]["type"], "array");
    let events = &content["text/event-stream"]["schema"];
    assert_eq!(events["contentSchema"]["title"], "step");
    mesh.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_tells_its_progress_to_agents_who_ask() {
    let mesh = mesh().await;
    let call = async |token: Value| {
        let arguments = json!({ "text": "a b" });
        let meta = json!({ "progressToken": token });
        let params = json!({ "name": "free_words", "arguments": arguments, "_meta": meta });
        let body = json!({ "jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": params });
        mesh.events("/mcp", body).await
    };
    let told = call(json!("p")).await;
    assert_eq!(told.headers()["content-type"], "text/event-stream");
    let text = told.text().await.unwrap();
    let messages = text.lines().filter_map(|line| line.strip_prefix("data: "));
    let messages: Vec<Value> = messages
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let progress = |number: u64, text: &str| {
        let params = json!({ "progressToken": "p", "progress": number, "message": text });
        json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": params })
    };
    assert_eq!(messages[..2], [progress(1, "a "), progress(2, "b")]);
    let result = &messages[2]["result"];
    assert_eq!(messages[2]["id"], 3);
    assert_eq!(
        result["structuredContent"],
        json!({ "result": ["a ", "b"] })
    );
    // Who gives no token hears the whole at once.
    let whole: Value = call(Value::Null).await.json().await.unwrap();
    assert_eq!(
        whole["result"]["structuredContent"],
        result["structuredContent"]
    );
    mesh.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_goes_away_cancels_its_tool() {
    let mesh = mesh().await;
    let meta = json!({ "progressToken": 1 });
    let arguments = json!({ "pause_ms": 10 });
    let params = json!({ "name": "free_endless", "arguments": arguments, "_meta": meta });
    let body = json!({ "jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": params });
    let mut sent = mesh.events("/mcp", body).await;
    let first = timeout(PATIENCE, sent.chunk()).await.unwrap().unwrap();
    assert!(first.unwrap().starts_with(b"event: message\ndata: "));
    drop(sent);
    mesh.place_is_free().await;
    mesh.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_reads_events_as_they_come() {
    let mesh = mesh().await;
    let sent = mesh
        .events("/services/free/endless", json!({ "pause_ms": 10 }))
        .await;
    let bytes = futures_util::stream::unfold(sent, |mut sent| async {
        let chunk = sent.chunk().await.transpose()?;
        Some((chunk, sent))
    });
    let mut events = Box::pin(sse_stream::SseByteStream::new(bytes));
    for number in 1..=20 {
        let event = timeout(PATIENCE, events.next()).await.unwrap();
        let event = event.unwrap().unwrap();
        assert_eq!(event.event.as_deref(), Some("item"));
        assert_eq!(event.data, Some(number.to_string()));
    }
    drop(events);
    mesh.place_is_free().await;
    mesh.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_first_item_the_status_is_the_ordinary_one() {
    let mesh = mesh().await;
    for (path, body, status, code) in [
        ("/services/paid/count", json!({ "to": 1 }), 402, None),
        (
            "/services/free/words",
            json!({ "text": "" }),
            422,
            Some("service_refused"),
        ),
        (
            "/services/free/refuse",
            json!({ "after": 0 }),
            422,
            Some("service_refused"),
        ),
        (
            "/services/free/crash",
            json!({ "after": 0 }),
            502,
            Some("service_crashed"),
        ),
        (
            "/services/free/count",
            json!({ "to": "x" }),
            400,
            Some("arguments_invalid"),
        ),
        (
            "/services/free/nothing",
            json!({}),
            404,
            Some("method_unknown"),
        ),
    ] {
        let sent = mesh.events(path, body).await;
        assert_eq!(sent.status().as_u16(), status, "{path}");
        assert_eq!(sent.headers()["content-type"], "application/json", "{path}");
        let answer: Value = sent.json().await.unwrap();
        if let Some(code) = code {
            assert_eq!(answer["error"]["code"], code, "{path}");
        }
    }
    // Later it is an event.
    let sent = mesh
        .events("/services/free/crash", json!({ "after": 1 }))
        .await;
    assert_eq!(sent.status(), StatusCode::OK);
    let text = sent.text().await.unwrap();
    let (item, last) = text.split_once("event: error\ndata: ").unwrap();
    assert_eq!(item, "event: item\ndata: 1\n\n");
    let last: Value = serde_json::from_str(last.trim_end()).unwrap();
    assert_eq!(
        (&last["status"], &last["charged"]),
        (&json!(502), &json!("0"))
    );
    assert_eq!(last["error"]["code"], "service_crashed");
    mesh.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_pays_hears_every_item_and_checks_the_receipt() {
    let mesh = mesh().await;
    let client = mesh.client(0);
    let quote = client.quote("paid", "count", &count(3)).await.unwrap();
    let mut heard = Vec::new();
    let answer = client
        .stream(&quote, &count(3), |part| match part {
            Heard::Item(item) => heard.push(String::from_utf8(item.to_vec()).unwrap()),
            Heard::Anew => panic!("it was one answer"),
        })
        .await
        .unwrap();
    assert_eq!(answer.body, format!("[{}]", heard.join(",")));
    assert_eq!((heard.len(), answer.items), (3, Some(3)));
    assert_eq!(answer.charged, Amount::new(107));
    assert_eq!(answer.receipt_fault, None);
    assert!(answer.receipt.is_some() && answer.broke_off.is_none());
    let whole = client.call(&quote, &count(3)).await.unwrap();
    assert_eq!(whole.body, answer.body);
    assert_eq!(whole.charged, answer.charged);

    // A stream that the service breaks off: the meter's part alone, and an agreed count afterwards.
    let body = Body::json(&json!({ "after": 2 }));
    let quote = client.quote("paid", "crash", &body).await.unwrap();
    let mut items = 0;
    let broken = client.stream(&quote, &body, |_| items += 1).await.unwrap();
    assert_eq!((items, broken.body.as_ref()), (2, b"[1,2".as_slice()));
    assert_eq!(broken.charged, Amount::new(7));
    assert_eq!(broken.receipt_fault, None);
    let Some(ClientError::Refused {
        status: 502,
        code,
        hint,
        ..
    }) = broken.broke_off.as_deref()
    else {
        panic!("{:?}", broken.broke_off);
    };
    assert_eq!(code, "service_crashed");
    assert!(hint.as_ref().unwrap().contains("is charged"), "{hint:?}");
    let nothing = Body::json(&json!({ "after": 0 }));
    let failed = client.stream(&quote, &nothing, |_| {}).await.unwrap_err();
    assert!(
        matches!(failed, ClientError::Refused { status: 502, .. }),
        "{failed}"
    );
    let channel = client.channels().await.remove(0);
    assert_eq!(channel.charged, Amount::new(107 + 107 + 7));
    assert_eq!(mesh.charged(), channel.charged);
    mesh.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_ends_the_guest_and_pays_for_what_it_got() {
    let mesh = mesh().await;
    // Over a socket of its own, that closes without a word: HTTP/1.1, nobody polls a library.
    let mut socket = tokio::net::TcpStream::connect(mesh.url.trim_start_matches("http://"))
        .await
        .unwrap();
    let body = json!({ "pause_ms": 3_600_000 }).to_string();
    let head = format!(
        "POST /services/free/endless HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut seen = [0_u8; 12];
    // The head comes although the first item would take an hour.
    timeout(PATIENCE, socket.read_exact(&mut seen))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&seen, b"HTTP/1.1 200");
    drop(socket);
    mesh.place_is_free().await;

    let client = mesh.client(0);
    let body = Body::json(&json!({ "pause_ms": 20 }));
    let quote = client.quote("paid", "endless", &body).await.unwrap();
    let (first, mut came) = tokio::sync::mpsc::unbounded_channel();
    let listening = tokio::spawn({
        let (client, quote, body) = (client.clone(), quote.clone(), body.clone());
        async move {
            client
                .stream(&quote, &body, |_| first.send(()).unwrap())
                .await
        }
    });
    came.recv().await.unwrap();
    listening.abort();
    assert!(listening.await.unwrap_err().is_cancelled());
    mesh.place_is_free().await;
    mesh.charged_is(107).await;
    // The client learns what it owes and goes on.
    let quote = client.quote("paid", "count", &count(1)).await.unwrap();
    let answer = client.stream(&quote, &count(1), |_| {}).await.unwrap();
    assert_eq!(answer.receipt_fault, None);
    let channel = client.channels().await.remove(0);
    assert_eq!(channel.charged, Amount::new(214));
    mesh.end().await;
}

/// Finds nobody: calls go to a gateway that is known.
#[derive(Debug)]
struct Nowhere;

impl Directory for Nowhere {
    fn providers<'a>(&'a self, _: &'a Name) -> Finding<'a> {
        Box::pin(async { Ok(Vec::new()) })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_says_that_it_leaves_knows_what_it_owes() {
    let mesh = mesh().await;
    let mut config = Config::new(String::new());
    config.rpc_url = Some(mesh.node.chain().rpc_url.clone());
    let client = MeshClient::new(config, Arc::new(mesh.key(0)), Arc::new(Nowhere));
    let asks = |service: &str, pause_ms: u32| {
        let body = Body::json(&json!({ "pause_ms": pause_ms }));
        let leave = Leave::new();
        let ask = Ask {
            leave: Some(leave.clone()),
            ..Ask::once(service.parse().unwrap(), "endless", body, PATIENCE)
        };
        (ask, leave)
    };
    for (service, owed) in [("paid", 107), ("free", 0)] {
        let (ask, leave) = asks(service, 20);
        let each = |_: Heard<'_>| leave.leave();
        let answer = client.call_at(&mesh.url, &ask, Some(&each)).await.unwrap();
        assert!(answer.broke_off.is_some());
        assert_eq!(answer.charged.get(), owed);
        assert!(answer.items.is_some_and(|items| items > 0));
        let uncertain = answer.channel.map_or(Amount::ZERO, |it| it.uncertain);
        assert_eq!(uncertain, Amount::ZERO);
        mesh.place_is_free().await;
    }
    mesh.charged_is(107).await;
    // Nothing came, and nothing is asked for again; or it was never sent.
    for waits in [Duration::ZERO, Duration::from_millis(500)] {
        let (ask, leave) = asks("paid", 3_600_000);
        let leaving = async {
            tokio::time::sleep(waits).await;
            leave.leave();
        };
        let calling = client.call_at(&mesh.url, &ask, Some(&|_| {}));
        let (left, ()) = tokio::join!(calling, leaving);
        assert!(matches!(left, Err(ClientError::Left)), "{left:?}");
        mesh.place_is_free().await;
    }
    mesh.charged_is(107).await;
    mesh.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_cut_on_its_way_is_fetched_again_and_paid_once() {
    let mesh = mesh().await;
    let cutting = cutting(mesh.url.clone(), 3).await;
    let config = rialto_gateway::client::Config::new(&cutting);
    let client = rialto_gateway::client::PayingClient::new(config, mesh.key(0)).unwrap();
    // What is cut is the answer to the first call of the method, after some items.
    let body = Body::json(&json!({ "to": 2_000 }));
    let quote = client.quote("paid", "count", &body).await.unwrap();
    let mut heard = 0;
    let answer = client
        .stream(&quote, &body, |part| match part {
            Heard::Item(_) => heard += 1,
            Heard::Anew => panic!("it was one answer"),
        })
        .await
        .unwrap();
    assert_eq!(answer.receipt_fault, None, "the host tells what it charged");
    assert_eq!(answer.items, Some(heard));
    assert_eq!(answer.charged, mesh.charged(), "charged once");
    mesh.end().await;
}

/// A proxy that cuts the first answer with events after so many chunks.
async fn cutting(to: String, chunks: usize) -> String {
    use axum::extract::{Request, State};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    type Shared = (String, Arc<AtomicBool>, usize);
    async fn pass(
        State((to, cut, chunks)): State<Shared>,
        request: Request,
    ) -> axum::response::Response {
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        let url = format!("{to}{}", parts.uri);
        let answer = reqwest::Client::new()
            .request(parts.method, url)
            .headers(parts.headers)
            .body(body)
            .send()
            .await
            .unwrap();
        let mut response = axum::response::Response::new(axum::body::Body::empty());
        *response.status_mut() = answer.status();
        *response.headers_mut() = answer.headers().clone();
        let is_stream = answer.headers()["content-type"] == "text/event-stream";
        let chunks_max = match is_stream && !cut.swap(is_stream, Ordering::SeqCst) {
            true => chunks,
            false => usize::MAX,
        };
        // An error after the last chunk cuts the connection instead of ending the answer well.
        let passed =
            futures_util::stream::unfold((answer, chunks_max), |(mut answer, left)| async move {
                if left == 0 {
                    return Some((Err(std::io::Error::other("cut")), (answer, left)));
                }
                let chunk = answer.chunk().await.unwrap()?;
                Some((Ok(chunk), (answer, left - 1)))
            });
        *response.body_mut() = axum::body::Body::from_stream(passed);
        response
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let state = (to, Arc::new(AtomicBool::new(false)), chunks);
    let router = axum::Router::new().fallback(pass).with_state(state);
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}
