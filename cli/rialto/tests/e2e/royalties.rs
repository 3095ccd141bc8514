//! A service that pays its publisher a royalty is hired by another one of the same host: the publisher has its share, and
//! the host and its only place for calls the rest. It is bought as from any other host, whole or item by item.

use anyhow::{Context as _, Result, ensure};
use rialto_channels::SigningKey;
use rialto_gateway::client::{Answer, Body, Config, Heard, PayingClient};
use rialto_testkit::mesh::{Mesh, MeshConfig};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::fixture::{self, until};
use crate::installed::{install_guest, program_of_users, run};

const OWN: u128 = 10;
const STEP: u128 = 1_000;
/// An answer item by item, besides its bytes.
const ITEMS: u128 = 200;
/// Calls at once.
const CALLS: usize = 6;

#[tokio::test(flavor = "multi_thread")]
async fn a_service_of_the_same_host_earns_its_publisher_a_royalty() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let base = dir.path();
    let agent = format!(
        "[grants]\ncalls = [\"keeps\", \"words\"]\n{WASI}[prices.ask]\ncall = \"{OWN}\"\nspend_max = \"{STEP}\"\n"
    );
    let counts =
        format!("[grants]\nkey_value = true\n{WASI}[prices.count]\ncall = \"{STEP}\"\n{ROYALTY}");
    install_guest(base, "agent", "front", &agent)?;
    install_guest(base, "state", "keeps", &counts)?;
    let mesh = start(base)?;
    publish(&mesh, base, "keeps").await?;
    let answers = calls(&mesh, base).await?;
    ensure!(answers.len() == CALLS, "{answers:?}");
    // Each was done once.
    let mut counted: Vec<u64> = answers;
    counted.sort_unstable();
    let all: Vec<u64> = (1..=CALLS as u64).collect();
    ensure!(counted == all, "{counted:?}");
    let calls = CALLS as u128;
    check_books(&base.join("data"), calls * (OWN + 2 * STEP)).await?;
    mesh.stop()
}

/// Items that another host makes, be it this one: what was taken is paid for, and the publisher has its share of that.
#[tokio::test(flavor = "multi_thread")]
async fn items_are_bought_as_they_are_taken() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let base = dir.path();
    let mut follower = format!("[grants]\ncalls = [\"counter\"]\n{WASI}");
    for method in ["follow", "relay", "count"] {
        let price = format!("[prices.{method}]\ncall = \"{OWN}\"\nspend_max = \"{STEP}\"\n");
        follower.push_str(&price);
    }
    let mut counter = format!("[grants]\n{WASI}");
    for method in ["count", "endless", "crash"] {
        let price = format!(
            "[prices.{method}]\ncall = \"{ITEMS}\"\nper_output_kib = \"1\"\nmax = \"{STEP}\"\n"
        );
        counter.push_str(&price);
    }
    counter.push_str(ROYALTY);
    install_guest(base, "follower", "follower", &follower)?;
    install_guest(base, "stream", "counter", &counter)?;
    let mesh = start(base)?;
    publish(&mesh, base, "counter").await?;
    let client = payer(&mesh, base)?;
    // All of it; until it is left; until it breaks off, which the meter alone counts.
    let (whole, part) = (ITEMS + 1, 1);
    let taken = [
        ("count", json!({ "to": 3 }), Some(0), 0, 0),
        ("count", json!({ "to": 3 }), None, 3, whole),
        ("endless", json!({ "pause_ms": 20 }), Some(2), 2, whole),
        ("crash", json!({ "after": 2 }), None, 2, part),
    ];
    let mut spent = 0;
    for (method, arguments, take, items, cost) in taken {
        let asked = json!({
            "service": "counter", "method": method, "arguments": arguments.to_string(), "take": take,
        });
        let answer = paid(&client, "follow", &asked).await?;
        let told: Vec<String> = serde_json::from_slice(&answer.body)?;
        let bill = told.iter().rev().nth(1).context("no bill")?;
        ensure!(told.len() >= items + 3, "{told:?}");
        ensure!(*bill == format!("for {cost}"), "{told:?}");
        ensure!(answer.charged.get() == OWN + cost, "{answer:?}");
        spent += OWN + 2 * cost;
    }
    // By their types: what is made in no time is delivered ahead, as much as the network takes.
    let answer = paid(&client, "count", &json!({ "to": 1_000_000, "take": 1 })).await?;
    let cost = answer.charged.get() - OWN;
    ensure!((whole..STEP).contains(&cost), "{answer:?}");
    spent += OWN + 2 * cost;
    // Handed on to whoever goes away.
    let arguments = json!({ "pause_ms": 20 }).to_string();
    let relay = json!({ "service": "counter", "method": "endless", "arguments": arguments });
    leaves(&client, &Body::json(&relay)).await?;
    spent += OWN + 2 * whole;
    until("all that was taken is charged", || async {
        Ok(charged(&base.join("data")).await? == spent)
    })
    .await?;
    check_books(&base.join("data"), spent).await?;
    mesh.stop()
}

/// Hears two items of what is handed on, and goes away.
async fn leaves(client: &PayingClient, body: &Body) -> Result<()> {
    let quote = client.quote("follower", "relay", body).await?;
    let (heard, mut items) = mpsc::unbounded_channel();
    let listening = client.stream(&quote, body, move |part| {
        // Nobody listens any more once there are two.
        heard.send(matches!(part, Heard::Item(_))).ok();
    });
    let two = async {
        for _ in 0..2 {
            ensure!(items.recv().await == Some(true), "no item");
        }
        Ok(())
    };
    tokio::select! {
        ended = listening => anyhow::bail!("it ended: {ended:?}"),
        heard = two => heard,
    }
}

fn start(base: &Path) -> Result<Mesh> {
    let data = base.join("data");
    std::fs::create_dir_all(&data)?;
    std::fs::write(data.join("rialto.toml"), CONFIG)?;
    Mesh::start(&MeshConfig {
        program: PathBuf::from(env!("CARGO_BIN_EXE_rialto")),
        data_dir: data,
        services: base.join("services"),
        artifacts: base.join("artifacts"),
        listen: format!("127.0.0.1:{}", fixture::free_port()?),
        args: ["--chain-listen", "127.0.0.1:0", "--mesh"]
            .map(str::to_owned)
            .to_vec(),
    })
}

/// Somebody with money.
fn payer(mesh: &Mesh, base: &Path) -> Result<PayingClient> {
    let mut config = Config::new(mesh.gateway());
    config.rpc_url = Some(mesh.chain_rpc().to_owned());
    config.store = Some(base.join("payer"));
    config.timeout = Duration::from_secs(60);
    let key = SigningKey::from_hex(mesh.test_key(6))?;
    Ok(PayingClient::new(config, key)?)
}

async fn paid(client: &PayingClient, method: &str, arguments: &Value) -> Result<Answer> {
    let body = Body::json(arguments);
    let quote = client.quote("follower", method, &body).await?;
    let answered = client.call(&quote, &body).await;
    answered.map_err(|error| anyhow::anyhow!("{error:?}"))
}

async fn publish(mesh: &Mesh, base: &Path, service: &str) -> Result<()> {
    let mut command = program_of_users();
    command
        .arg("publish")
        .arg(base.join("services").join(service));
    command.args(["--json", "--rpc", mesh.chain_rpc(), "--data-dir"]);
    run(command.arg(base.join("data"))).await?.json()?;
    let url = format!("{}/providers/{service}", mesh.text("/local"));
    until("the service is offered", || async {
        let known: Value = reqwest::get(&url).await?.json().await?;
        Ok(known["providers"].as_array().map(Vec::len) == Some(1))
    })
    .await
}

/// Has the first service call the other, several times at once: what each counted.
async fn calls(mesh: &Mesh, base: &Path) -> Result<Vec<u64>> {
    let count = json!({ "of_caller": false, "key": "n" }).to_string();
    let asked = json!({ "service": "keeps", "method": "count", "arguments": count });
    let client = payer(mesh, base)?;
    let mut calling = JoinSet::new();
    for _ in 0..CALLS {
        let (client, body) = (client.clone(), Body::json(&asked));
        calling.spawn(async move {
            let quote = client.quote("front", "ask", &body).await?;
            client.call(&quote, &body).await
        });
    }
    let mut counted = Vec::new();
    while let Some(answer) = calling.join_next().await {
        let answer = answer?.map_err(|error| anyhow::anyhow!("{error:?}"))?;
        ensure!(answer.charged.get() == OWN + STEP, "{answer:?}");
        let told: Vec<String> = serde_json::from_slice(&answer.body)?;
        let told = told.get(1).context("it called nobody")?;
        let count = told.split_once(' ').context(told.clone())?.0;
        counted.push(count.trim_matches('"').parse()?);
    }
    Ok(counted)
}

/// The payer's channel is charged for all of it, and the host's own for what has the royalty.
async fn check_books(data: &Path, expected: u128) -> Result<()> {
    let charged = charged(data).await?;
    ensure!(charged == expected, "{charged} for {expected}");
    let mut audit = program_of_users();
    audit.args(["ledger", "audit", "--json", "--data-dir"]);
    let audit = run(audit.arg(data)).await?.json()?;
    ensure!(audit["good"] == true, "{audit}");
    Ok(())
}

/// What was charged on all channels.
async fn charged(data: &Path) -> Result<u128> {
    let mut command = program_of_users();
    command.args(["ledger", "--json", "--data-dir"]);
    let books = run(command.arg(data)).await?.json()?;
    let rows = books["rows"].as_array().context("no rows")?;
    let charged = rows.iter().map(|row| {
        let charged = row["charged"].as_str().context(row.to_string())?;
        anyhow::Ok(charged.parse::<u128>()?)
    });
    charged.sum()
}

const WASI: &str = "wasi = [\"cli\", \"io\", \"clocks\", \"random\", \"filesystem\"]\n";
const ROYALTY: &str =
    "[royalty]\naccount = \"0x15d34AAf54267DB7D7c367839AAf71A00a2C6A65\"\nshare = \"5%\"\n";
/// One call runs at a time: who waits for another one must not keep it from its place.
const CONFIG: &str = "[payments]\ncollect_every_seconds = 3600\n[sandbox]\nconcurrency = 1\n[mesh]\nnames_every_ms = 200\nprivate = true\n";
