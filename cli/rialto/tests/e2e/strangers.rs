//! The wider x402 ecosystem, unmodified: a client of version 1, the published verifier of offers and
//! receipts, somebody else's server that uses this host as its facilitator, somebody else's
//! facilitator that this host uses, and both conformance suites.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rialto_testkit::mesh::{Mesh, path_from_env};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::books::units;
use crate::fixture;
use crate::installed::{Installed, in_repository, python_program, run};

const SERVICE: &str = "filetype";
const NETWORK: &str = "eip155:84532";
/// A tenth of a cent, which the stranger's server asks for a page.
const PAGE: u128 = 1000;

#[tokio::test]
async fn a_version_1_client_pays_and_the_host_vouches_for_it() -> Result<()> {
    let installed = Installed::new(&[SERVICE], "")?;
    let mesh = installed.start(&[])?;
    let url = service_url(&mesh);
    let receiver = mesh.text("/addresses/receiver").to_owned();
    let before = tokens(&mesh, &receiver).await?;

    let plan = json!({"url": url, "rpc": mesh.chain_rpc(), "key": mesh.test_key(0), "calls": 3});
    let seen = run(&mut script("x402_v1.mjs", &plan)?).await?.json()?;
    let calls = seen["calls"].as_array().context("no calls")?;
    ensure!(calls.len() == 3, "{seen}");
    let mut charged = 0;
    for call in calls {
        ensure!(call["answer"]["label"] == "txt", "{call}");
        ensure!(call["settled"]["success"] == true, "{call}");
        ensure!(call["settled"]["network"] == "base-sepolia", "{call}");
        ensure!(call["settled"]["payer"] == seen["payer"], "{call}");
        let receipt = call["receipt"].as_str().context("no receipt")?;
        let receipt = fixture::get(&mesh, &format!("/receipts/{receipt}")).await?;
        charged += units(&receipt, "/charged")?;
    }
    ensure!(tokens(&mesh, &receiver).await? == before + charged && charged > 0);

    let plan = json!({
        "url": url, "rpc": mesh.chain_rpc(), "key": mesh.test_key(1), "chain_id": 84_532,
    });
    let seen = run(&mut script("offer_receipt.mjs", &plan)?)
        .await?
        .json()?;
    let host = fixture::get(&mesh, "/node").await?["host"].clone();
    let offers = seen["offers"].as_array().context("no offers")?;
    ensure!(offers.len() >= 2, "{seen}");
    for offer in offers {
        ensure!(offer["signer"] == host, "{offer}");
        ensure!(offer["accepted"] == offer["scheme"], "{offer}");
    }
    ensure!(seen["receipt"]["signer"] == host, "{seen}");
    ensure!(seen["receipt"]["payer"] == seen["payer"], "{seen}");
    ensure!(seen["matches"] == true, "{seen}");
    ensure!(
        seen["forger"] != host,
        "a changed offer is still the host's"
    );
    mesh.stop()
}

#[tokio::test]
async fn another_server_uses_this_host_as_its_facilitator() -> Result<()> {
    let installed = Installed::new(&[SERVICE], "")?;
    let mesh = installed.start(&[])?;
    let plan = json!({
        "facilitator": format!("{}/facilitator", mesh.gateway()),
        "key": mesh.test_key(1),
        "network": NETWORK,
    });
    let mut server = Stranger::start("resource_server.mjs", &plan).await?;
    let receiver = server.said["receiver"].as_str().context("no receiver")?;
    let before = tokens(&mesh, receiver).await?;
    let page = |name: &str| format!("{}/{name}", server.url());
    let plan = json!({
        "rpc": mesh.chain_rpc(),
        "key": mesh.test_key(0),
        "chain_id": 84_532,
        "urls": [page("exact"), page("channel"), page("channel"), page("exact"), page("channel")],
    });
    let seen = run(&mut script("buy.mjs", &plan)?).await?.json()?;
    let bought = seen["bought"].as_array().context("nothing was bought")?;
    ensure!(bought.len() == 5, "{seen}");
    for page in bought {
        ensure!(page["settled"]["success"] == true, "{page}");
    }
    let receiver = receiver.to_owned();
    ensure!(
        tokens(&mesh, &receiver).await? == before + 2 * PAGE,
        "two pages were paid at once"
    );
    let collected = server.say("collect").await?;
    let claims = collected["claims"].as_array().context("no claims")?;
    ensure!(claims.len() == 1, "{collected}");
    ensure!(
        collected["settle"]["transaction"].is_string(),
        "{collected}"
    );
    ensure!(
        tokens(&mesh, &receiver).await? == before + 5 * PAGE,
        "all five are paid"
    );
    let payer = seen["payer"].as_str().context("no payer")?;
    let paid = tokens(&mesh, payer).await?;
    let refunded = server.say("refund").await?;
    let refunds = refunded["refunds"].as_array().context("no refunds")?;
    ensure!(refunds.len() == 1, "{refunded}");
    ensure!(
        tokens(&mesh, payer).await? > paid,
        "the rest of the deposit went back"
    );
    ensure!(
        tokens(&mesh, &receiver).await? == before + 5 * PAGE,
        "and nothing else"
    );
    server.end().await?;
    mesh.stop()
}

#[tokio::test]
async fn this_host_uses_another_facilitator() -> Result<()> {
    // The first mesh has the chain; it is one facilitator, the published package the other.
    let chain = Installed::new(&[SERVICE], "")?;
    let chain_mesh = chain.start(&[])?;
    let plan = json!({
        "rpc": chain_mesh.chain_rpc(), "key": chain_mesh.test_key(2), "network": NETWORK,
    });
    let published = Stranger::start("facilitator.mjs", &plan).await?;
    let ours = format!("{}/facilitator", chain_mesh.gateway());
    for (index, facilitator) in [ours.as_str(), published.url()].into_iter().enumerate() {
        // A receiver of its own, and a host that has nothing to pay gas with.
        let earnings = format!("0x{}", format!("e{index}").repeat(20));
        let config = format!(
            "[chain]\nrpc = \"{}\"\nid = 84532\n[provider]\npayout = \"{earnings}\"\n\
             [payments]\nfacilitator_url = \"{facilitator}\"\n",
            chain_mesh.chain_rpc()
        );
        let host = Installed::new(&[SERVICE], &config)?;
        let mesh = host.start(&[])?;
        let plan = json!({
            "url": service_url(&mesh), "rpc": chain_mesh.chain_rpc(),
            "key": chain_mesh.test_key(3), "calls": 2,
        });
        let seen = run(&mut script("x402_v1.mjs", &plan)?).await?.json()?;
        let calls = seen["calls"].as_array().context("no calls")?;
        ensure!(calls.len() == 2, "{seen}");
        let mut charged = 0;
        for call in calls {
            ensure!(call["settled"]["success"] == true, "{call}");
            let receipt = call["receipt"].as_str().context("no receipt")?;
            let receipt = fixture::get(&mesh, &format!("/receipts/{receipt}")).await?;
            charged += units(&receipt, "/charged")?;
        }
        ensure!(tokens(&chain_mesh, &earnings).await? == charged && charged > 0);
        mesh.stop()?;
    }
    let asked = published.end().await?;
    ensure!(asked == json!({"verify": 2, "settle": 2}), "{asked}");
    chain_mesh.stop()
}

#[tokio::test]
async fn both_conformance_suites_pass_together() -> Result<()> {
    let installed = Installed::new(&[SERVICE, "embed"], "")?;
    let mesh = installed.start(&[])?;
    let (url, facilitator) = (
        service_url(&mesh),
        format!("{}/facilitator", mesh.gateway()),
    );
    for (mode, target, least) in [("resource", &url, 7), ("live", &facilitator, 4)] {
        let mut suite = python_program("x402conf")?;
        suite.args([mode, target.as_str(), "--fail-on-error"]);
        let results = run(&mut suite).await?.json()?;
        let checks = results.pointer("/results/0/checks");
        let checks = checks.and_then(Value::as_array);
        let checks = checks.with_context(|| format!("no checks: {results}"))?;
        ensure!(checks.len() >= least, "only {} checks", checks.len());
        // Warnings do not fail the suite; here they do.
        let failed: Vec<_> = checks
            .iter()
            .filter(|check| check["pass"] != true)
            .collect();
        ensure!(failed.is_empty(), "{mode}: {failed:?}");
    }

    let urls = installed.dir().join("urls.txt");
    std::fs::write(&urls, format!("{url}\n{}\n", mesh.gateway()))?;
    // As a marketplace every route that costs is called besides, and its 402 looked at.
    for (mode, least) in [("standard", 7), ("marketplace", 10)] {
        let report = installed.dir().join(format!("{mode}.json"));
        let mut suite = python_program("x402-validate")?;
        suite.arg(&urls).args(["--mode", mode]);
        suite.args(["--output", "json", "--output-path"]);
        let output = run(suite.arg(&report)).await?;
        ensure!(output.success, "{}\n{}", output.stdout, output.stderr);
        let report: Value = serde_json::from_slice(&std::fs::read(&report)?)?;
        ensure!(report["summary"]["pass"] == 2, "{report}");
        for audited in report["results"].as_array().context("no results")? {
            let checks = audited["checks"].as_array().context("no checks")?;
            ensure!(checks.len() >= least, "{mode}: {audited}");
            ensure!(
                checks.iter().all(|check| check["status"] == "PASS"),
                "{mode}: {audited}"
            );
        }
    }
    mesh.stop()
}

/// Somebody else's server, which talks by lines of JSON and ends with its standard input.
struct Stranger {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    said: Value,
}

impl Stranger {
    async fn start(name: &str, plan: &Value) -> Result<Self> {
        let mut command = script(name, plan)?;
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let input = child.stdin.take().context("no standard input")?;
        let output = child.stdout.take().context("no standard output")?;
        let mut stranger = Self {
            child,
            input,
            output: BufReader::new(output).lines(),
            said: Value::Null,
        };
        stranger.said = stranger.next().await?;
        Ok(stranger)
    }

    fn url(&self) -> &str {
        self.said["url"].as_str().unwrap_or_default()
    }

    /// Sends a line and returns the answer.
    async fn say(&mut self, line: &str) -> Result<Value> {
        self.input.write_all(format!("{line}\n").as_bytes()).await?;
        self.next().await
    }

    async fn next(&mut self) -> Result<Value> {
        let line = tokio::time::timeout(ANSWER_TIME_MAX, self.output.next_line()).await;
        let line = line.context("it says nothing")??.context("it ended")?;
        serde_json::from_str(&line).with_context(|| format!("not JSON: {line}"))
    }

    /// Ends it and returns its last words, if it has any.
    async fn end(self) -> Result<Value> {
        let Self {
            mut child,
            input,
            mut output,
            ..
        } = self;
        drop(input);
        let mut last = Value::Null;
        while let Some(line) = output.next_line().await? {
            last = serde_json::from_str(&line)?;
        }
        let status = child.wait().await?;
        ensure!(status.success(), "it ended with {status}");
        Ok(last)
    }
}

fn script(name: &str, plan: &Value) -> Result<Command> {
    let mut command = Command::new(path_from_env("RIALTO_NODE")?);
    command.arg(in_repository(&format!("testing/clients/{name}")));
    command.arg(plan.to_string());
    Ok(command)
}

fn service_url(mesh: &Mesh) -> String {
    format!("{}/services/{SERVICE}/identify", mesh.gateway())
}

/// An account's tokens on the mesh's chain, in base units.
async fn tokens(mesh: &Mesh, account: &str) -> Result<u128> {
    let account = account.trim_start_matches("0x").to_lowercase();
    let call = json!([{
        "to": mesh.text("/addresses/token"), "data": format!("0x70a08231{account:0>64}"),
    }, "latest"]);
    let answer = fixture::rpc(mesh, "eth_call", call).await?;
    let hex = answer.as_str().context("a balance is text")?;
    Ok(u128::from_str_radix(hex.trim_start_matches("0x"), 16)?)
}

const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);
