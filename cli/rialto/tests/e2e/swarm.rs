//! Hosts that know each other by the mesh alone: one publishes, others run what was published, whoever calls finds
//! them, and goes to another when one dies.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rialto_testkit::mesh::{Mesh, MeshConfig, path_from_env};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::fixture::{self, Fixture, until};
use crate::installed::{Output, in_repository, program_of_users, run};

const PRICE: u128 = 100;
const SERVICE: &str = "hostile";
const CONFIG: &str = "[payments]\ncollect_every_seconds = 3600\n[mesh]\nnames_every_ms = 200\n";

/// A publisher with the chain, and hosts that have only heard of it.
struct Swarm {
    fixture: Fixture,
    first: Mesh,
    others: Vec<Option<Mesh>>,
}

impl Swarm {
    async fn start(others: usize) -> Result<Self> {
        let fixture = Fixture::hostile(PRICE, CONFIG)?;
        let first = Mesh::start(&MeshConfig {
            program: PathBuf::from(env!("CARGO_BIN_EXE_rialto")),
            data_dir: fixture.dir().join("data"),
            services: fixture.dir().join("services"),
            artifacts: fixture.dir().join("artifacts"),
            listen: "127.0.0.1:0".to_owned(),
            args: ["--chain-listen", "127.0.0.1:0", "--mesh"]
                .map(str::to_owned)
                .to_vec(),
        })?;
        let mut swarm = Self {
            fixture,
            first,
            others: Vec::new(),
        };
        for number in 0..others {
            let other = swarm.host(number)?;
            swarm.others.push(Some(other));
        }
        Ok(swarm)
    }

    /// A host with a service of no interest, a key of its own and the first host's address.
    fn host(&self, number: usize) -> Result<Mesh> {
        let dir = self.dir(number);
        let idle = dir.join("services").join("flood");
        std::fs::create_dir_all(&idle)?;
        for file in ["service.toml", "component.wasm"] {
            let from = self.fixture.dir().join("services/flood").join(file);
            std::fs::copy(from, idle.join(file))?;
        }
        std::fs::create_dir_all(dir.join("data"))?;
        std::fs::write(dir.join("data").join("rialto.toml"), CONFIG)?;
        fixture::write_key(
            &dir.join("data/keys/host.key"),
            self.first.test_key(2 + number),
        )?;
        let chain_id = self.first.ready()["chain_id"].to_string();
        let args = [
            "--rpc",
            self.first.chain_rpc(),
            "--chain-id",
            &chain_id,
            "--payout",
            self.first.text("/addresses/receiver"),
            "--mesh",
            "--bootstrap",
            self.first.text("/peer_addresses/0"),
        ];
        Mesh::start(&MeshConfig {
            program: PathBuf::from(env!("CARGO_BIN_EXE_rialto")),
            data_dir: dir.join("data"),
            services: dir.join("services"),
            artifacts: dir.join("artifacts"),
            listen: "127.0.0.1:0".to_owned(),
            args: args.map(str::to_owned).to_vec(),
        })
    }

    fn dir(&self, number: usize) -> PathBuf {
        self.fixture.dir().join(format!("host-{number}"))
    }

    fn other(&self, number: usize) -> Result<&Mesh> {
        self.others[number].as_ref().context("it was killed")
    }

    async fn publish(&self) -> Result<Value> {
        let folder = self.fixture.dir().join("services").join(SERVICE);
        let mut command = program_of_users();
        command.arg("publish").arg(folder);
        command.args(["--tag", "tests", "--json", "--rpc", self.first.chain_rpc()]);
        command
            .arg("--data-dir")
            .arg(self.fixture.dir().join("data"));
        run(&mut command).await?.json()
    }

    /// Lets another host take in what was published. Offers need a moment to be found.
    async fn take_in(&self, number: usize) -> Result<()> {
        let data_dir = self.dir(number).join("data");
        until("what was published runs elsewhere", || async {
            let mut command = program_of_users();
            command.args(["deploy", "--mesh", SERVICE, "--json", "--data-dir"]);
            command.arg(&data_dir);
            let done: Output = run(&mut command).await?;
            Ok(done.success)
        })
        .await
    }

    /// Waits until a host knows so many providers.
    async fn wait_for_providers(&self, host: &Mesh, count: usize) -> Result<()> {
        let url = format!("{}/providers/{SERVICE}", host.text("/local"));
        until("all providers are known", || async {
            let known: Value = reqwest::get(&url).await?.json().await?;
            let providers = known["providers"].as_array();
            Ok(providers.is_some_and(|providers| providers.len() >= count))
        })
        .await
    }

    /// One call through a host's local door.
    async fn call(&self, host: &Mesh) -> Result<(String, String)> {
        let url = format!(
            "{}/call/{SERVICE}/echo?idempotent=true",
            host.text("/local")
        );
        let answer = reqwest::Client::new()
            .post(url)
            .timeout(Duration::from_secs(60))
            .json(&json!({ "text": "hello" }))
            .send()
            .await?;
        let provider = answer.headers().get("rialto-provider");
        let provider = provider
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(status.is_success(), "{status}: {text}");
        Ok((text, provider.context("no provider")?))
    }

    /// How much a host's node thinks of each provider.
    async fn reputations(&self, host: &Mesh) -> Result<Vec<u64>> {
        let url = format!("{}/providers/{SERVICE}", host.text("/local"));
        let known: Value = reqwest::get(&url).await?.json().await?;
        let providers = known["providers"].as_array().context("no providers")?;
        let values = providers.iter().map(|it| it["reputation"].as_u64());
        values.collect::<Option<_>>().context("no reputation")
    }

    /// One call by the program, which asks a host's door and pays by itself.
    async fn call_by_program(&self, host: &Mesh) -> Result<Value> {
        let mut command = program_of_users();
        command.args(["call", "--mesh", SERVICE, "echo", r#"{"text":"hello"}"#]);
        command.args(["--json", "--local", host.text("/local")]);
        command.args(["--rpc", self.first.chain_rpc(), "--data-dir"]);
        command.arg(self.fixture.dir().join("data"));
        run(&mut command).await?.json()
    }

    fn stop(self) -> Result<()> {
        for other in self.others.into_iter().flatten() {
            other.stop()?;
        }
        self.first.stop()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_publishes_others_run_and_a_loop_of_calls_never_stops() -> Result<()> {
    let mut swarm = Swarm::start(2).await?;
    let published = swarm.publish().await?;
    ensure!(published["service"] == SERVICE, "{published}");
    let hashes = published["transactions"].as_array().map(Vec::len);
    ensure!(hashes == Some(1), "one transaction publishes: {published}");
    for number in 0..2 {
        swarm.take_in(number).await?;
    }
    swarm.wait_for_providers(&swarm.first, 3).await?;

    let search = format!("{}/search?text=guest", swarm.first.text("/local"));
    until("it is found by words", || async {
        let found: Value = reqwest::get(&search).await?.json().await?;
        let first = &found["services"][0];
        Ok(first["service"] == SERVICE && first["verified"] == true)
    })
    .await?;

    let neighbour = swarm.other(1)?;
    swarm.wait_for_providers(neighbour, 3).await?;
    let before = swarm.reputations(neighbour).await?;
    ensure!(before.iter().all(|value| *value == 500), "{before:?}");
    let called = swarm.call_by_program(neighbour).await?;
    let after = swarm.reputations(neighbour).await?;
    ensure!(
        after.iter().filter(|value| **value > 500).count() == 1,
        "what came of {called} is not known: {after:?}"
    );

    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let (answer, provider) = swarm.call(&swarm.first).await?;
        ensure!(answer.contains("hello"), "{answer}");
        seen.insert(provider);
    }
    ensure!(seen.len() >= 2, "one provider got every call: {seen:?}");
    let victim = swarm.others[0].take().context("it was killed")?;
    victim.kill()?;
    for _ in 0..20 {
        swarm.call(&swarm.first).await?;
    }
    swarm.stop()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_with_js_libp2p_finds_fetches_and_calls() -> Result<()> {
    let swarm = Swarm::start(0).await?;
    let published = swarm.publish().await?;
    let plan = json!({
        "rpc": swarm.first.chain_rpc(),
        "key": swarm.first.test_key(0),
        "chain_id": swarm.first.ready()["chain_id"],
        "bootstrap": swarm.first.text("/peer_addresses/0"),
        "service": SERVICE,
        "method": "echo",
        "parameters": { "text": "hello" },
        "gateway": swarm.first.gateway(),
    });
    let mut command = Command::new(path_from_env("RIALTO_NODE")?);
    command.arg(in_repository("testing/clients/mesh.mjs"));
    command.arg(plan.to_string());
    let seen = run(&mut command).await?.json()?;
    ensure!(seen["provider"] == swarm.first.text("/peer"), "{seen}");
    ensure!(
        seen["manifest"]["sha256"] == published["manifest"],
        "{seen}"
    );
    ensure!(
        seen["manifest"]["component"] == published["component"],
        "{seen}"
    );
    ensure!(
        seen["overStream"] == "hello" && seen["overHttp"] == "hello",
        "{seen}"
    );
    swarm.stop()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_somebody_elses_is_refused_before_anything_is_signed() -> Result<()> {
    let swarm = Swarm::start(1).await?;
    swarm.publish().await?;
    let again = swarm.publish().await?;
    ensure!(
        again["transactions"] == json!([]),
        "nothing changed: {again}"
    );
    // Another account, on another host, with the same name.
    let other = swarm.other(0)?;
    let data = swarm.dir(0).join("data");
    fixture::write_key(&data.join("wallet/wallet.key"), other_key(&swarm))?;
    let mut command = program_of_users();
    command.arg("publish");
    command.arg(swarm.fixture.dir().join("services").join(SERVICE));
    command.args(["--json", "--rpc", swarm.first.chain_rpc()]);
    command.arg("--data-dir").arg(&data);
    let refused = run(&mut command).await?;
    ensure!(
        !refused.success && refused.stderr.contains("belongs to"),
        "{refused:?}"
    );
    ensure!(fixture::get(other, "/services").await?["services"][0]["name"] == "flood");
    swarm.stop()
}

fn other_key(swarm: &Swarm) -> &str {
    swarm.first.test_key(5)
}
