//! Whoever paid for a long run and went away finds what came of it, though its host lost its power in between: what was
//! done below it is not done again, and all is charged once.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rialto_testkit::mesh::{Mesh, MeshConfig, path_from_env};
use serde_json::{Value, json};

use crate::fixture::{self, until};
use crate::installed::{in_repository, program_of_users, python_program, run};

/// So many calls of another service make up a run.
const STEPS: u64 = 200;
/// What one of them costs, and the run itself.
const STEP: u64 = 100;
const OWN: u64 = 10;
/// The run waits so long after each call: five seconds in all, however fast the machine, to be cut off in.
const PAUSE_MS: u64 = 25;

/// A host with an agent and a service that counts.
struct Host {
    dir: tempfile::TempDir,
    ports: [u16; 2],
    mesh: Option<Mesh>,
}

impl Host {
    fn start() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let agent = format!(
            "[grants]\ncalls = [\"keeps\", \"words\"]\n{WASI}[limits]\ntime_ms_max = 60000\n\
             [prices.ask]\ncall = \"{OWN}\"\nspend_max = \"{}\"\n",
            STEPS * STEP
        );
        let counts =
            format!("[grants]\nkey_value = true\n{WASI}[prices.count]\ncall = \"{STEP}\"\n");
        install(dir.path(), "agent", "front", &agent)?;
        install(dir.path(), "state", "keeps", &counts)?;
        std::fs::create_dir_all(dir.path().join("data"))?;
        std::fs::write(
            dir.path().join("data/rialto.toml"),
            "[payments]\ncollect_every_seconds = 86400\n",
        )?;
        let ports = [fixture::free_port()?, fixture::free_port()?];
        let mut host = Self {
            dir,
            ports,
            mesh: None,
        };
        host.open()?;
        Ok(host)
    }

    fn open(&mut self) -> Result<()> {
        let at = |port| format!("127.0.0.1:{port}");
        let base = self.dir.path();
        let started = Mesh::start(&MeshConfig {
            program: PathBuf::from(env!("CARGO_BIN_EXE_rialto")),
            data_dir: base.join("data"),
            services: base.join("services"),
            artifacts: base.join("artifacts"),
            listen: at(self.ports[0]),
            args: vec!["--chain-listen".to_owned(), at(self.ports[1])],
        });
        self.mesh = Some(started?);
        Ok(())
    }

    fn mesh(&self) -> Result<&Mesh> {
        self.mesh.as_ref().context("it has no power")
    }

    fn cut(&mut self) -> Result<()> {
        self.mesh.take().context("it has no power")?.kill()?;
        self.open()
    }

    fn restart(&mut self) -> Result<()> {
        self.mesh.take().context("it has no power")?.stop()?;
        self.open()
    }

    /// Has a stranger's client pay for a run under this key, and go away. The task's id.
    async fn begin(&self, scheme: &str, key: &str) -> Result<String> {
        let mesh = self.mesh()?;
        let arguments = json!({
            "service": "keeps",
            "method": "count",
            "arguments": json!({ "of_caller": false, "key": key }).to_string(),
            "times": STEPS,
            "pause_ms": PAUSE_MS,
        });
        let plan = json!({
            "url": format!("{}/a2a/front", mesh.gateway()),
            "binding": "JSONRPC",
            "streaming": false,
            "key": mesh.test_key(0),
            "rpc": mesh.chain_rpc(),
            "chain_id": mesh.ready()["chain_id"],
            "schemes": [scheme],
            "calls": [{ "method": "ask", "arguments": arguments }],
            "leaves": true,
        });
        let mut client = python_program("python")?;
        client.arg(in_repository("testing/clients/a2a_client.py"));
        let seen = run(client.arg(plan.to_string())).await?.json()?;
        let id = seen["task"]["id"].as_str();
        Ok(id.with_context(|| seen.to_string())?.to_owned())
    }

    async fn ask(&self, method: &str, task: &str) -> Result<Value> {
        let request =
            json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": { "id": task } });
        let answer = reqwest::Client::new()
            .post(format!("{}/a2a/front", self.mesh()?.gateway()))
            .header("A2A-Version", "1.0")
            .json(&request)
            .send();
        Ok(answer.await?.json().await?)
    }

    async fn state(&self, task: &str) -> Result<String> {
        let answer = self.ask("GetTask", task).await?;
        let state = answer["result"]["status"]["state"].as_str();
        Ok(state.with_context(|| answer.to_string())?.to_owned())
    }

    /// How far the service that counts has come.
    async fn counted(&self, key: &str) -> Result<u64> {
        let url = format!("{}/services/keeps/get", self.mesh()?.gateway());
        let read = json!({ "of_caller": false, "key": key });
        let answer = reqwest::Client::new().post(url).json(&read).send();
        let answer: Value = answer.await?.json().await?;
        let count = answer["result"].as_str().or_else(|| answer.as_str());
        Ok(count.unwrap_or("0").parse()?)
    }

    /// Waits until a run has come a good way and is not over.
    async fn midway(&self, task: &str, key: &str) -> Result<()> {
        until("a run is midway", || async {
            Ok(self.counted(key).await? >= STEPS / 10)
        })
        .await?;
        let state = self.state(task).await?;
        ensure!(
            state == "TASK_STATE_WORKING",
            "{state}: it was too fast to be cut off"
        );
        Ok(())
    }

    /// What came of a run: each step was made once, and charged once.
    async fn check(&self, task: &str) -> Result<Value> {
        until("a run is over", || async {
            Ok(self.state(task).await? != "TASK_STATE_WORKING")
        })
        .await?;
        let answer = self.ask("GetTask", task).await?;
        let task = &answer["result"];
        ensure!(
            task["status"]["state"] == "TASK_STATE_COMPLETED",
            "{answer:#}"
        );
        let charged = task["metadata"]["rialto/charged"].to_string();
        let wanted = OWN + STEPS * STEP;
        ensure!(charged.trim_matches('"') == wanted.to_string(), "{task:#}");
        let told = &task["artifacts"][0]["parts"][0]["data"];
        let told = told["result"].as_array().or_else(|| told.as_array());
        let told = told.with_context(|| task.to_string())?;
        let counts = told.iter().filter_map(Value::as_str);
        let counts = counts.filter_map(|line| line.strip_suffix(" for 100"));
        let counts: Vec<u64> = counts
            .map(|count| Ok(count.trim_matches('"').parse()?))
            .collect::<Result<_>>()?;
        ensure!(counts.len() as u64 == STEPS, "{told:?}");
        ensure!(counts.is_sorted_by(|one, next| one < next), "{counts:?}");
        // The step that was cut off had counted, perhaps, and told nobody.
        ensure!(
            counts.last().is_some_and(|last| *last <= STEPS + 1),
            "{counts:?}"
        );
        Ok(task["artifacts"].clone())
    }
}

fn install(base: &Path, guest: &str, name: &str, terms: &str) -> Result<()> {
    let folder = base.join("services").join(name);
    std::fs::create_dir_all(&folder)?;
    let built = path_from_env("RIALTO_TEST_GUESTS")?;
    std::fs::copy(
        built.join(guest).join("component.wasm"),
        folder.join("component.wasm"),
    )?;
    let manifest = format!(
        "name = \"{name}\"\nversion = \"0.1.0\"\ndescription = \"For tests.\"\nlicense = \"Apache-2.0\"\n{terms}"
    );
    Ok(std::fs::write(folder.join("service.toml"), manifest)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paid_task_goes_on_after_its_host_lost_its_power() -> Result<()> {
    let mut host = Host::start()?;
    for scheme in ["exact", "batch-settlement"] {
        let task = host.begin(scheme, scheme).await?;
        host.midway(&task, scheme).await?;
        host.cut()?;
        let answer = host.check(&task).await.context(scheme)?;
        // And what is over is still known to the next one.
        host.restart()?;
        ensure!(host.check(&task).await.context(scheme)? == answer);
        let steps = host.counted(scheme).await?;
        ensure!(steps <= STEPS + 1, "{steps}");
    }
    audit(&host).await?;
    host.mesh.context("it has no power")?.stop()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canceled_task_stays_canceled() -> Result<()> {
    let mut host = Host::start()?;
    let task = host.begin("batch-settlement", "n").await?;
    host.midway(&task, "n").await?;
    let answer = host.ask("CancelTask", &task).await?;
    ensure!(
        answer["result"]["status"]["state"] == "TASK_STATE_CANCELED",
        "{answer}"
    );
    host.cut()?;
    let before = host.counted("n").await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    ensure!(host.counted("n").await? == before && before < STEPS);
    let answer = host.ask("GetTask", &task).await?;
    ensure!(answer["error"].is_object(), "{answer}");
    audit(&host).await?;
    host.mesh.context("it has no power")?.stop()
}

async fn audit(host: &Host) -> Result<()> {
    let mut audit = program_of_users();
    audit.args(["ledger", "audit", "--json", "--data-dir"]);
    let audit = run(audit.arg(host.dir.path().join("data"))).await?.json()?;
    ensure!(audit["good"] == true, "{audit}");
    Ok(())
}

const WASI: &str = "wasi = [\"cli\", \"io\", \"clocks\", \"random\", \"filesystem\"]\n";
