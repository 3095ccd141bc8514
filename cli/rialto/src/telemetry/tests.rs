//! A collector on loopback gets what a paid call leaves, and OpenTelemetry's own protobufs read it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path as Route, State};
use axum::routing::post;
use rialto_channels::SigningKey;
use rialto_gateway::client::{Body, Config as ClientConfig, PayingClient};
use rialto_node::{ChainChoice, Config, Node, Observability, Progress};
use rialto_testkit::guests;
use rialto_testkit::mesh::path_from_env;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::*;

/// What was posted, by kind.
type Posted = Arc<Mutex<Vec<(String, Bytes)>>>;

async fn collector() -> (String, Posted) {
    let posted = Posted::default();
    async fn take(
        Route(kind): Route<String>,
        State(posted): State<Posted>,
        body: Bytes,
    ) -> &'static str {
        posted.lock().unwrap().push((kind, body));
        ""
    }
    let router = Router::new()
        .route("/v1/{kind}", post(take))
        .with_state(Arc::clone(&posted));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, posted)
}

fn install(services: &Path) {
    let dir = services.join("types");
    std::fs::create_dir_all(&dir).unwrap();
    let component = guests::component(guests::TYPES).unwrap();
    std::fs::write(dir.join("component.wasm"), component).unwrap();
    let manifest = "name = \"types\"\nversion = \"0.1.0\"\ndescription = \"Test guest.\"\n\
                    license = \"Apache-2.0\"\n[prices.add]\ncall = \"100\"\n";
    std::fs::write(dir.join("service.toml"), manifest).unwrap();
}

/// What Python reads of everything that was posted.
fn read(posted: &Posted, dir: &Path) -> Value {
    let posted = posted.lock().unwrap();
    let files = |wanted: &str| -> Vec<PathBuf> {
        let of_kind = posted.iter().filter(|(kind, _)| kind == wanted);
        let files = of_kind.enumerate().map(|(number, (kind, body))| {
            let file = dir.join(format!("{kind}-{number}"));
            std::fs::write(&file, body).unwrap();
            file
        });
        files.collect()
    };
    let python = path_from_env("RIALTO_VENV").unwrap().join("bin/python3");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/otlp.py");
    let mut command = Command::new(python);
    command
        .arg(script)
        .args(files("traces"))
        .arg("--")
        .args(files("metrics"));
    let printed = command.output().unwrap();
    assert!(printed.status.success(), "{printed:?}");
    serde_json::from_slice(&printed.stdout).unwrap()
}

fn spans_of<'a>(read: &'a Value, trace: &str) -> Vec<&'a Value> {
    let spans = read["spans"].as_array().unwrap().iter();
    spans.filter(|span| span["trace"] == trace).collect()
}

/// A node with its gateway, whose numbers go to the collector.
async fn serve(dir: &Path, collector: &str) -> (Node, String, oneshot::Sender<()>, JoinHandle<()>) {
    install(&dir.join("services"));
    let mut config = Config::in_dir(dir.join("data"));
    config.services_dir = dir.join("services");
    config.chain = ChainChoice::Dev {
        listen: ([127, 0, 0, 1], 0).into(),
    };
    let node = Node::start(config, &Progress::silent()).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = format!("http://{}", listener.local_addr().unwrap());
    let doors = rialto_gateway::Config::default();
    let requests = Arc::clone(&doors.requests);
    let router = rialto_gateway::router(node.clone(), &doors);
    let (stop, stopped) = oneshot::channel::<()>();
    let (url, every) = (collector.to_owned(), Duration::from_millis(50));
    let pushed = push_metrics(node.clone(), requests, url, every);
    let server = tokio::spawn(async move {
        let serving = rialto_gateway::serve(listener, router, doors, async move {
            stopped.await.ok();
        });
        tokio::select! {
            () = serving => {}
            ended = pushed => panic!("{ended:?}"),
        }
    });
    (node, gateway, stop, server)
}

fn the_paid_call_is_one_tree(read: &Value) {
    let spans = read["spans"].as_array().unwrap();
    let paid = spans
        .iter()
        .find(|span| span["name"] == "guest.run")
        .unwrap();
    let tree = spans_of(read, paid["trace"].as_str().unwrap());
    let named = |name: &str| -> &Value {
        let found = tree.iter().find(|span| span["name"] == name);
        found.unwrap_or_else(|| panic!("{name} in {tree:#?}"))
    };
    let is_child = |child: &str, parent: &str| {
        assert_eq!(
            named(child)["parent"],
            named(parent)["id"],
            "{child} in {parent}"
        );
    };
    assert_eq!(named("gateway.request")["parent"], "", "the root");
    assert_eq!(named("gateway.request")["kind"], 2);
    assert_eq!(named("gateway.request")["attributes"]["method"], "add");
    is_child("payment.verify", "gateway.request");
    is_child("chain.call", "gateway.request");
    is_child("host.call", "gateway.request");
    is_child("door.wait", "host.call");
    is_child("host.instantiate", "host.call");
    is_child("guest.run", "host.call");
    is_child("ledger.commit", "gateway.request");
    let roots = tree.iter().filter(|span| span["parent"] == "").count();
    assert_eq!(roots, 1, "one tree: {tree:#?}");
}

fn nothing_was_told(posted: &Posted, payer: &str) {
    // M7: neither arguments nor payments nor payers, in whatever was sent.
    let secrets = ["20260001", "20260002", "c2VjcmV0", "secret-payment", payer];
    for (kind, body) in posted.lock().unwrap().iter() {
        let text = String::from_utf8_lossy(body).to_lowercase();
        for secret in secrets {
            assert!(!text.contains(&secret.to_lowercase()), "{secret} in {kind}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paid_call_is_one_tree_in_its_callers_trace_and_tells_nothing_of_it() {
    let (url, posted) = collector().await;
    let observability = Observability {
        otlp: Some(url.clone()),
        ..Observability::default()
    };
    let (layers, telemetry) = layers(Some(&observability)).unwrap();
    Registry::default().with(layers).init();

    let dir = tempfile::tempdir().unwrap();
    let (node, gateway, stop, server) = serve(dir.path(), &url).await;

    // The first pays the deposit, by a client that knows nothing of traces.
    let key = SigningKey::from_bytes(&node.dev_accounts()[5].1).unwrap();
    let payer = key.address();
    let client = PayingClient::new(ClientConfig::new(&gateway), key).unwrap();
    let body = Body::json(&json!({ "left_one": 20_260_001, "right_one": 1 }));
    let quote = client.quote("types", "add", &body).await.unwrap();
    client.call(&quote, &body).await.unwrap();
    // The second says which trace it belongs to, and is refused.
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let caller = "00f067aa0ba902b7";
    let asked = reqwest::Client::new()
        .post(format!("{gateway}/services/types/add"))
        .header("traceparent", format!("00-{trace}-{caller}-00"))
        .header("payment-signature", "c2VjcmV0LXBheW1lbnQ=")
        .body("{\"left_one\": 20260002}");
    let status = asked.send().await.unwrap().status();
    assert!(status.is_client_error(), "{status}");

    stop.send(()).ok();
    server.await.unwrap();
    telemetry.end().await;
    let read = read(&posted, dir.path());

    let of_caller = spans_of(&read, trace);
    let [refused] = &of_caller[..] else {
        panic!("{of_caller:?}");
    };
    assert_eq!(
        (&refused["name"], &refused["parent"]),
        (&json!("gateway.request"), &json!(caller))
    );
    assert_eq!(refused["attributes"]["status"], status.as_u16());

    the_paid_call_is_one_tree(&read);
    let calls = read["metrics"].as_array().unwrap().iter();
    let mut calls = calls.filter(|point| point["name"] == "rialto.calls");
    assert!(calls.any(|point| point["attributes"]["method"] == "add"));
    nothing_was_told(&posted, &format!("{payer:x}"));
    node.shutdown().await;
}

#[test]
fn a_caller_names_the_trace_and_does_not_decide_whether_it_is_kept() {
    let (sender, mut spans) = tokio::sync::mpsc::channel(2);
    let queue = spans::Queue {
        sender,
        dropped: Arc::default(),
    };
    for (per_thousand, kept) in [(0, 0), (1_000, 2)] {
        let layer = spans::Spans::new(per_thousand, Some(queue.clone()));
        let subscriber = Registry::default().with(layer);
        tracing::subscriber::with_default(subscriber, || {
            for flag in ["00", "01", "01"] {
                let span =
                    tracing::info_span!("gateway.request", traceparent = tracing::field::Empty);
                let caller = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flag}");
                span.record("traceparent", caller.as_str());
                let _alone = tracing::info_span!(parent: None, "chain.call");
            }
        });
        let mut found = 0;
        while spans.try_recv().is_ok() {
            found += 1;
        }
        assert_eq!(found, kept);
    }
    let dropped = queue.dropped.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(dropped, 1, "the third found no place, and nobody waited");
}

#[test]
fn lines_in_json_name_their_trace() {
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);
    impl std::io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let written = Written::default();
    let copy = written.clone();
    let subscriber = Registry::default()
        .with(spans::Spans::new(1_000, None))
        .with(lines::Lines::new(move || copy.clone()));
    tracing::subscriber::with_default(subscriber, || {
        tracing::warn!(count = 3, "outside");
        let _span = tracing::info_span!("gateway.request").entered();
        tracing::error!(error = %"no \"disk\"", "inside");
    });
    let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let [outside, inside] = &lines[..] else {
        panic!("{text}");
    };
    assert_eq!(
        (&outside["level"], &outside["message"]),
        (&json!("WARN"), &json!("outside"))
    );
    assert_eq!(outside["fields"]["count"], 3);
    assert_eq!(outside.get("trace_id"), None);
    assert_eq!(inside["trace_id"].as_str().unwrap().len(), 32);
    assert_eq!(inside["fields"]["error"], "no \"disk\"");
}
