//! A service that pays its publisher a royalty is hired by another one of the same host: the publisher has its share, and
//! the host and its only place for calls the rest.

use anyhow::{Context as _, Result, ensure};
use rialto_channels::SigningKey;
use rialto_gateway::client::{Body, Config, PayingClient};
use rialto_testkit::mesh::{Mesh, MeshConfig};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::task::JoinSet;

use crate::fixture::{self, until};
use crate::installed::{install_guest, program_of_users, run};

const OWN: u128 = 10;
const STEP: u128 = 1_000;
/// Calls at once.
const CALLS: usize = 6;

#[tokio::test(flavor = "multi_thread")]
async fn a_service_of_the_same_host_earns_its_publisher_a_royalty() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let base = dir.path();
    let agent = format!(
        "[grants]\ncalls = [\"keeps\", \"words\"]\n{WASI}[prices.ask]\ncall = \"{OWN}\"\nspend_max = \"{STEP}\"\n"
    );
    let counts = format!(
        "[grants]\nkey_value = true\n{WASI}[prices.count]\ncall = \"{STEP}\"\n\
         [royalty]\naccount = \"0x15d34AAf54267DB7D7c367839AAf71A00a2C6A65\"\nshare = \"5%\"\n"
    );
    install_guest(base, "agent", "front", &agent)?;
    install_guest(base, "state", "keeps", &counts)?;
    let data = base.join("data");
    std::fs::create_dir_all(&data)?;
    std::fs::write(data.join("rialto.toml"), CONFIG)?;
    let mesh = Mesh::start(&MeshConfig {
        program: PathBuf::from(env!("CARGO_BIN_EXE_rialto")),
        data_dir: data.clone(),
        services: base.join("services"),
        artifacts: base.join("artifacts"),
        listen: format!("127.0.0.1:{}", fixture::free_port()?),
        args: ["--chain-listen", "127.0.0.1:0", "--mesh"]
            .map(str::to_owned)
            .to_vec(),
    })?;
    publish(&mesh, base).await?;
    let answers = calls(&mesh, base).await?;
    ensure!(answers.len() == CALLS, "{answers:?}");
    // Each was done once.
    let mut counted: Vec<u64> = answers;
    counted.sort_unstable();
    let all: Vec<u64> = (1..=CALLS as u64).collect();
    ensure!(counted == all, "{counted:?}");
    check_books(&data).await?;
    mesh.stop()
}

async fn publish(mesh: &Mesh, base: &Path) -> Result<()> {
    let mut command = program_of_users();
    command.arg("publish").arg(base.join("services/keeps"));
    command.args(["--json", "--rpc", mesh.chain_rpc(), "--data-dir"]);
    run(command.arg(base.join("data"))).await?.json()?;
    let url = format!("{}/providers/keeps", mesh.text("/local"));
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
    let mut config = Config::new(mesh.gateway());
    config.rpc_url = Some(mesh.chain_rpc().to_owned());
    config.store = Some(base.join("payer"));
    config.timeout = Duration::from_secs(60);
    let client = PayingClient::new(config, SigningKey::from_hex(mesh.test_key(6))?)?;
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
async fn check_books(data: &Path) -> Result<()> {
    let mut command = program_of_users();
    command.args(["ledger", "--json", "--data-dir"]);
    let books = run(command.arg(data)).await?.json()?;
    let rows = books["rows"].as_array().context("no rows")?;
    let charged = rows.iter().map(|row| {
        let charged = row["charged"].as_str().context(row.to_string())?;
        anyhow::Ok(charged.parse::<u128>()?)
    });
    let charged: Vec<u128> = charged.collect::<Result<_>>()?;
    let calls = CALLS as u128;
    ensure!(
        charged.len() >= 2 && charged.iter().sum::<u128>() == calls * (OWN + 2 * STEP),
        "{charged:?}: {books:#}"
    );
    let mut audit = program_of_users();
    audit.args(["ledger", "audit", "--json", "--data-dir"]);
    let audit = run(audit.arg(data)).await?.json()?;
    ensure!(audit["good"] == true, "{audit}");
    Ok(())
}

const WASI: &str = "wasi = [\"cli\", \"io\", \"clocks\", \"random\", \"filesystem\"]\n";
/// One call runs at a time: who waits for another one must not keep it from its place.
const CONFIG: &str = "[payments]\ncollect_every_seconds = 3600\n[sandbox]\nconcurrency = 1\n[mesh]\nnames_every_ms = 200\nprivate = true\n";
