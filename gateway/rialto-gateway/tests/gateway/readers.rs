//! Strangers that pay and read while it is written: unmodified x402 clients, streams of methods and responses
//! of `wasi:http`.

use std::path::Path;

use rialto_channels::Amount;
use rialto_testkit::mesh::path_from_env;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::mesh::{Mesh, install_built};

const TERMS: &str = "[limits]\ntime_ms_max = 25000\n[grants]\nhttp = []\n\
    wasi = [\"cli\", \"io\", \"clocks\", \"random\", \"filesystem\"]\n";
const PAUSE_MS: u64 = 300;

async fn mesh() -> Mesh {
    Mesh::with_node(rialto_gateway::Config::default(), |config| {
        for (name, guest, method) in [("counter", "stream", "slow"), ("site", "http", "handle")] {
            let terms = format!("{TERMS}[prices.{method}]\ncall = \"100\"\n");
            install_built(&config.services_dir, name, guest, &terms);
        }
    })
    .await
}

fn script(name: &str) -> std::path::PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.join("../../testing/clients").join(name)
}

/// What one of the clients saw of these calls.
async fn read(mesh: &Mesh, mut client: Command, key: usize, calls: Value) -> Value {
    let key = mesh.node.dev_accounts()[5 + key].1;
    let plan = json!({
        "rpc": mesh.node.chain().rpc_url,
        "chain_id": mesh.node.payee().chain_id,
        "key": format!("0x{}", hex(&key)),
        "calls": calls,
    });
    let ran = client.arg(plan.to_string()).output().await.unwrap();
    assert!(ran.status.success(), "{ran:?}");
    serde_json::from_slice(&ran.stdout).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn npm() -> Command {
    let mut node = Command::new(path_from_env("RIALTO_NODE").unwrap());
    node.arg(script("x402_events.mjs"));
    node
}

fn pypi() -> Command {
    let mut python = Command::new(path_from_env("RIALTO_VENV").unwrap().join("bin/python"));
    python.arg(script("x402_events.py"));
    python
}

/// The text, whose pieces came apart and not at the end.
fn text_of(call: &Value) -> String {
    assert_eq!(call["status"], 200, "{call}");
    let pieces = call["pieces"].as_array().unwrap();
    let at = |piece: &Value| piece["at_ms"].as_u64().unwrap();
    let between = at(pieces.last().unwrap()) - at(&pieces[0]);
    assert!(between >= PAUSE_MS / 2, "all came at once: {call}");
    let texts = pieces.iter().map(|piece| piece["text"].as_str().unwrap());
    texts.collect()
}

/// No header tells what the first call cost: before the second one, a 402 does.
#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_pays_for_a_stream_and_reads_it_as_it_comes() {
    let mesh = mesh().await;
    let call = |to: u32| {
        let url = mesh.path("/services/counter/slow");
        json!({ "url": url, "method": "POST", "body": { "to": to, "pause_ms": PAUSE_MS } })
    };
    for (index, client) in [npm(), pypi()].into_iter().enumerate() {
        let seen = read(&mesh, client, index, json!([call(2), call(3)])).await;
        for (count, call) in [(2, &seen["calls"][0]), (3, &seen["calls"][1])] {
            let text = text_of(call);
            let (items, end) = text.split_once("event: end\ndata: ").unwrap();
            assert_eq!(items.matches("event: item").count(), count, "{text}");
            let end: Value = serde_json::from_str(end.trim_end()).unwrap();
            assert_eq!(
                (&end["items"], &end["charged"]),
                (&json!(count), &json!("100"))
            );
            assert_eq!(end["settlement"]["success"], true);
            assert_eq!(end["receipt"]["charged"], "100");
        }
        let paid = 200 * (u128::try_from(index).unwrap() + 1);
        assert_eq!(mesh.charged(), Amount::new(paid), "{seen}");
    }
    mesh.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_pays_for_a_response_and_reads_it_as_it_is_written() {
    let mesh = mesh().await;
    let call = |count: u32| {
        let url = mesh.path(&format!("/http/site/events?{count},{PAUSE_MS}"));
        json!({ "url": url, "method": "GET" })
    };
    for (index, client) in [npm(), pypi()].into_iter().enumerate() {
        let seen = read(&mesh, client, index, json!([call(2), call(3)])).await;
        let texts = [&seen["calls"][0], &seen["calls"][1]].map(text_of);
        let first = "data: 1\n\ndata: 2\n\n";
        assert_eq!(texts, [first.to_owned(), format!("{first}data: 3\n\n")]);
        let paid = 200 * (u128::try_from(index).unwrap() + 1);
        assert_eq!(mesh.charged(), Amount::new(paid), "{seen}");
    }
    mesh.end().await;
}
