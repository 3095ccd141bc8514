//! Agents that know nothing of payment: unmodified MCP clients use the mesh's services at a node's local door, by URL
//! and by a program that they start, and its wallet pays.

use anyhow::{Context as _, Result, ensure};
use rialto_testkit::mesh::{Mesh, path_from_env};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::fixture::until;
use crate::installed::{Installed, in_repository, program_of_users, python_program, run};
use crate::plain::{Pair, charged, key};

#[tokio::test(flavor = "multi_thread")]
async fn agents_find_call_and_hear_the_services_of_the_mesh() -> Result<()> {
    let Pair {
        installed: _kept,
        provider,
        consumer,
        door,
    } = Pair::start(&["chat", "filetype"], "embed").await?;
    let url = door.text("/mcp").to_owned();
    until("the tools of others are known", || async {
        let found = call(&url, None, "rialto__search", json!({ "query": WORDS })).await?;
        let found = &found["structuredContent"]["tools"];
        Ok(found[0]["name"] == TOOL && found[0]["providers"] == 1)
    })
    .await?;
    clients_use(&url, &door).await?;
    described(&url).await?;
    heard(&url).await?;
    keys_have_budgets(&consumer, &url, &door).await?;
    let charged = charged(&consumer).await?;
    let keys = key(&consumer, &["list"]).await?;
    ensure!(
        charged > 0 && keys["spent_today"] == charged.to_string(),
        "{charged} was charged: {keys}"
    );
    door.stop()?;
    provider.stop()
}

/// Each client, in each of its modes, by URL and by `rialto mcp`.
async fn clients_use(url: &str, door: &Mesh) -> Result<()> {
    let content = json!({ "content": "aGVsbG8gd29ybGQ=" });
    let calls = json!([
        { "name": "rialto__call", "arguments": { "name": TOOL, "arguments": content } },
        { "name": "rialto__call", "arguments": { "name": TOOL, "arguments": { "content": 5 } } },
        { "name": "embed_embed", "arguments": { "texts": ["cat"] } },
        { "name": "rialto__call", "arguments": { "name": "nothing_here", "arguments": {} } },
    ]);
    let plan = |mode: &str| json!({ "mode": mode, "words": WORDS, "calls": calls, "env": {} });
    let started = started(door, &[]);
    for program in [None, Some(started)] {
        for (client, mode) in [(node()?, ""), (python()?, "auto"), (python()?, "legacy")] {
            let (mut client, mut plan) = (client, plan(mode));
            match &program {
                None => plan["url"] = url.into(),
                Some(command) => plan["command"] = json!(command),
            }
            let seen = run(client.arg(plan.to_string())).await?.json()?;
            check(&seen).with_context(|| format!("{mode} {program:?}: {seen:#}"))?;
        }
    }
    Ok(())
}

fn check(seen: &Value) -> Result<()> {
    let tools = seen["tools"].as_array().context("no tools")?;
    ensure!(tools.iter().any(|name| name == "embed_embed"));
    ensure!(tools.iter().all(|name| name != TOOL), "it is not run here");
    ensure!(seen["found"]["tools"][0]["name"] == TOOL);
    let calls = &seen["calls"];
    let errors = [false, true, false, true];
    for (number, is_error) in errors.into_iter().enumerate() {
        ensure!(calls[number]["is_error"] == is_error, "{number}");
    }
    let text = calls[0]["text"].as_str().context("no text")?;
    ensure!(text.contains("txt"), "{text}");
    for paid in [0, 2] {
        let meta = &calls[paid]["meta"];
        ensure!(meta["rialto/receipt"]["id"].is_string(), "{meta}");
    }
    let meta = &calls[0]["meta"];
    ensure!(meta["rialto/provider"].is_string(), "{meta}");
    Ok(())
}

/// What its publisher signed says what a tool of others takes.
async fn described(url: &str) -> Result<()> {
    let described = call(url, None, "rialto__describe", json!({ "name": TOOL })).await?;
    let tool = &described["structuredContent"];
    ensure!(
        tool["inputSchema"]["properties"]["content"].is_object()
            && tool["_meta"]["rialto/publisher"].is_string(),
        "{described:#}"
    );
    let text = tool["description"].as_str().context("no text")?;
    ensure!(text.contains("paid from this node's wallet"), "{text}");
    Ok(())
}

/// Items are told as they come, and several messages are answered at once where their revision has that.
async fn heard(url: &str) -> Result<()> {
    let messages = json!([{ "role": "user", "content": "Name a colour of the sky." }]);
    let arguments = json!({ "messages": messages, "options": { "max_tokens": 8 } });
    let request = json!({
        "jsonrpc": "2.0", "id": 3, "method": "tools/call",
        "params": { "name": "chat_stream", "arguments": arguments, "_meta": { "progressToken": "p" } },
    });
    let answer = reqwest::Client::new()
        .post(url)
        .header("accept", "application/json, text/event-stream")
        .json(&request)
        .send()
        .await?
        .text()
        .await?;
    let told = answer.lines().filter_map(|it| it.strip_prefix("data: "));
    let told: Vec<Value> = told
        .map(|data| Ok(serde_json::from_str(data)?))
        .collect::<Result<_>>()?;
    let (last, items) = told.split_last().context("nothing was told")?;
    ensure!(!items.is_empty(), "{answer}");
    for item in items {
        ensure!(item["params"]["progressToken"] == "p", "{answer}");
    }
    let whole = last["result"]["structuredContent"]["result"].as_array();
    ensure!(
        last["id"] == 3 && whole.map(Vec::len) == Some(items.len()),
        "{answer}"
    );
    let several = json!([
        { "jsonrpc": "2.0", "id": 1, "method": "ping" },
        { "jsonrpc": "2.0", "method": "notifications/initialized" },
        { "jsonrpc": "2.0", "id": 2, "method": "nothing" },
    ]);
    let send = |version: Option<&str>| {
        let request = reqwest::Client::new().post(url).json(&several);
        match version {
            Some(version) => request.header("mcp-protocol-version", version),
            None => request,
        }
    };
    let answers: Value = send(None).send().await?.json().await?;
    ensure!(
        answers[0]["result"].is_object() && answers[1]["error"]["code"] == -32_601,
        "{answers}"
    );
    let later = send(Some("2025-11-25")).send().await?;
    ensure!(later.status() == 400, "{later:?}");
    Ok(())
}

async fn keys_have_budgets(consumer: &Installed, url: &str, door: &Mesh) -> Result<()> {
    let made = key(consumer, &["new", "tiny", "--budget", "10"]).await?;
    let secret = made["key"].as_str().context("no secret")?;
    let refused = call(
        url,
        Some(secret),
        "embed_embed",
        json!({ "texts": ["cat"] }),
    )
    .await?;
    let text = refused["content"][0]["text"].as_str().context("no text")?;
    ensure!(
        refused["isError"] == true && text.contains("rialto key budget"),
        "{refused:#}"
    );
    let other = key(
        consumer,
        &["new", "other", "--budget", "10", "--models", "chat"],
    )
    .await?;
    let other = other["key"].as_str().context("no secret")?;
    let plan = json!({
        "command": started(door, &["--key", other]),
        "env": {}, "mode": "auto", "words": "", "calls": [
            { "name": "embed_embed", "arguments": { "texts": ["cat"] } },
        ],
    });
    let seen = run(python()?.arg(plan.to_string())).await?.json()?;
    let tools = seen["tools"].as_array().context("no tools")?;
    ensure!(tools.iter().all(|name| name != "embed_embed"), "{seen}");
    ensure!(seen["calls"][0]["is_error"] == true, "{seen}");
    let unknown = reqwest::Client::new().post(url).bearer_auth("rk_unknown");
    let unknown = unknown.body("{}").send().await?;
    ensure!(unknown.status() == 401, "{unknown:?}");
    Ok(())
}

/// The program that an agent starts.
fn started(door: &Mesh, more: &[&str]) -> Vec<String> {
    let rialto = program_of_users();
    let program = rialto.as_std().get_program().to_string_lossy().into_owned();
    let args = ["mcp", "--mesh", "--local", door.text("/local")];
    let args = args.iter().chain(more).map(|arg| (*arg).to_owned());
    std::iter::once(program).chain(args).collect()
}

fn node() -> Result<Command> {
    let mut command = Command::new(path_from_env("RIALTO_NODE")?);
    command.arg(in_repository("testing/clients/mcp_client.mjs"));
    Ok(command)
}

fn python() -> Result<Command> {
    let mut command = python_program("python")?;
    command.arg(in_repository("testing/clients/mcp_client.py"));
    Ok(command)
}

/// Calls a tool as plainly as can be.
async fn call(url: &str, key: Option<&str>, name: &str, arguments: Value) -> Result<Value> {
    let params = json!({ "name": name, "arguments": arguments });
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
    let mut request = reqwest::Client::new().post(url).json(&body);
    if let Some(key) = key {
        request = request.bearer_auth(key);
    }
    let mut answer: Value = request.send().await?.json().await?;
    Ok(answer["result"].take())
}

const TOOL: &str = "filetype_identify";
const WORDS: &str = "which kind of file is it";
