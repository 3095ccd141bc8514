//! Unmodified MCP clients from npm and PyPI use a host's services as tools, and pay for them.

use anyhow::{Context as _, Result, ensure};
use rialto_testkit::mesh::path_from_env;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::books::{self, DEV_TOKENS};
use crate::installed::{Installed, in_repository, python_program, run};

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
