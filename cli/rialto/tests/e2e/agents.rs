//! Unmodified MCP clients from npm and PyPI use a host's services as tools, and pay for them.

use anyhow::{Context as _, Result, ensure};
use rialto_testkit::mesh::path_from_env;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::books::{self, DEV_TOKENS};
use crate::installed::{Installed, in_repository, program_of_users, python_program, run};

const COLLECT_LATER: &str = "[payments]\ncollect_every_seconds = 86400\n";

#[tokio::test]
async fn npm_client_finds_a_tool_and_pays_for_it() -> Result<()> {
    let node = || {
        let mut command = Command::new(path_from_env("RIALTO_NODE")?);
        command.arg(in_repository("testing/clients/mcp_client.mjs"));
        Ok(command)
    };
    uses_tools(node, &[("", "2025-11-25")]).await
}

#[tokio::test]
async fn pypi_client_finds_a_tool_and_pays_for_it() -> Result<()> {
    let python = || {
        let mut command = python_program("python")?;
        command.arg(in_repository("testing/clients/mcp_client.py"));
        Ok(command)
    };
    let revisions = [("auto", "2026-07-28"), ("legacy", "2025-11-25")];
    uses_tools(python, &revisions).await
}

/// A program that an agent starts pays from its user's wallet, and no more than the budget.
#[tokio::test]
async fn a_program_on_standard_input_and_output_pays_within_its_budget() -> Result<()> {
    let installed = Installed::new(&["filetype"], COLLECT_LATER)?;
    let mesh = installed.start(&[])?;
    let node = || {
        let mut command = Command::new(path_from_env("RIALTO_NODE")?);
        command.arg(in_repository("testing/clients/mcp_client.mjs"));
        anyhow::Ok(command)
    };
    let python = || {
        let mut command = python_program("python")?;
        command.arg(in_repository("testing/clients/mcp_client.py"));
        anyhow::Ok(command)
    };
    let content = json!({ "content": "aGVsbG8gd29ybGQ=" });
    let calls = json!([
        { "name": TOOL, "arguments": content },
        { "name": TOOL, "arguments": { "content": 5 } },
        { "name": "rialto__call", "arguments": { "name": TOOL, "arguments": content } },
    ]);
    let plan = |mode: &str, budget: &str| {
        let rialto = program_of_users();
        let mut command = vec![rialto.as_std().get_program().to_string_lossy().into_owned()];
        let data = installed.data().display().to_string();
        let args = [
            "mcp",
            "--gateway",
            mesh.gateway(),
            "--rpc",
            mesh.chain_rpc(),
        ];
        command.extend(args.map(str::to_owned));
        command.extend(["--data-dir", &data, "--budget", budget].map(str::to_owned));
        let words = "which kind of file is it";
        json!({ "command": command, "env": {}, "mode": mode, "words": words, "calls": calls })
    };
    for (client, mode) in [(node()?, ""), (python()?, "auto"), (python()?, "legacy")] {
        let mut client = client;
        let seen = run(client.arg(plan(mode, "1 USDC").to_string()))
            .await?
            .json()?;
        let tools = seen["tools"].as_array().context("no tools")?;
        ensure!(tools.iter().any(|name| name == TOOL), "{seen}");
        ensure!(seen["found"]["tools"][0]["name"] == TOOL, "{seen}");
        for good in [&seen["calls"][0], &seen["calls"][2]] {
            ensure!(good["is_error"] == false, "{good}");
            ensure!(good["meta"]["rialto/receipt"].is_string(), "{good}");
        }
        ensure!(seen["calls"][1]["is_error"] == true, "{seen}");
    }
    let mut kept = program_of_users();
    kept.args(["receipt", "ls", "--json", "--data-dir"])
        .arg(installed.data());
    let receipts = run(&mut kept).await?.json()?;
    let receipts = receipts.as_array().map_or(0, Vec::len);
    ensure!(receipts == 6, "{receipts} receipts");
    let seen = run(node()?.arg(plan("", "1").to_string())).await?.json()?;
    let refused = &seen["calls"][0];
    let text = refused["text"].as_str().context("no text")?;
    ensure!(
        refused["is_error"] == true && text.contains("day_max"),
        "{text}"
    );
    mesh.stop()
}

/// In each mode of the client: lists, searches, calls free and paid tools, one of them wrongly.
async fn uses_tools(
    client: impl Fn() -> Result<Command>,
    revisions: &[(&str, &str)],
) -> Result<()> {
    let installed = Installed::new(&["filetype"], COLLECT_LATER)?;
    let mesh = installed.start(&[])?;
    let content = json!({ "content": "aGVsbG8gd29ybGQ=" });
    let calls = json!([
        { "name": TOOL, "arguments": content },
        { "name": TOOL, "arguments": { "content": 5 } },
        { "name": "rialto__call", "arguments": { "name": TOOL, "arguments": content } },
    ]);
    let mut exact = 0;
    for ((mode, revision), number) in revisions.iter().zip(0..) {
        for scheme in ["exact", "batch-settlement"] {
            let plan = json!({
                "url": format!("{}/mcp", mesh.gateway()),
                "mode": mode,
                "rpc": mesh.chain_rpc(),
                "chain_id": mesh.ready()["chain_id"],
                "key": mesh.test_key(number),
                "schemes": [scheme],
                "words": "which kind of file is it",
                "calls": calls,
            });
            let seen = run(client()?.arg(plan.to_string())).await?.json()?;
            ensure!(seen["revision"] == *revision, "{seen}");
            check(&seen).with_context(|| format!("{mode} {scheme}: {seen}"))?;
            if scheme == "exact" {
                exact += charged(&seen)?;
            }
        }
    }
    let provider = mesh.text("/addresses/receiver");
    let earned = books::held(&mesh, provider).await? - DEV_TOKENS;
    ensure!(earned == exact, "earned {earned}, charged {exact}");
    mesh.stop()
}

fn check(seen: &Value) -> Result<()> {
    let tools = seen["tools"].as_array().context("no tools")?;
    ensure!(tools.iter().any(|name| name == TOOL));
    ensure!(seen["found"]["tools"][0]["name"] == TOOL);
    let calls = seen["calls"].as_array().context("no calls")?;
    for good in [&calls[0], &calls[2]] {
        ensure!(good["is_error"] == false && good["paid"] == true, "{good}");
        let text = good["text"].as_str().context("no text")?;
        ensure!(text.contains("txt"), "{text}");
        ensure!(good["settled"]["success"] == true, "{good}");
    }
    let wrong = &calls[1];
    ensure!(
        wrong["is_error"] == true && wrong["paid"] == false,
        "{wrong}"
    );
    Ok(())
}

/// What the paid calls cost.
fn charged(seen: &Value) -> Result<u128> {
    let calls = seen["calls"].as_array().context("no calls")?;
    let paid = calls.iter().filter(|call| call["paid"] == true);
    let amounts = paid.map(|call| call["settled"]["amount"].as_str());
    let amounts = amounts.map(|amount| Ok(amount.context("no amount")?.parse::<u128>()?));
    amounts.sum()
}

const TOOL: &str = "filetype_identify";
