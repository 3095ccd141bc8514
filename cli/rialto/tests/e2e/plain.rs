//! Programs that know OpenAI's API and nothing of payment: the local door pays for them, within its budget or that of
//! a key.

use anyhow::{Context as _, Result, ensure};
use rialto_testkit::mesh::{Mesh, path_from_env};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::assistants;
use crate::fixture::{until, write_key};
use crate::installed::{Installed, in_repository, program_of_users, python_program, run};

const CONFIG: &str = "[payments]\ncollect_every_seconds = 3600\n[mesh]\nnames_every_ms = 200\n";
/// What a call of `embed` with a text of one word costs.
const EMBED: u128 = 220;

#[tokio::test]
async fn npm_client_without_payment_uses_the_local_door() -> Result<()> {
    let mut command = Command::new(path_from_env("RIALTO_NODE")?);
    command.arg(in_repository("testing/clients/openai_client.mjs"));
    is_paid_for(command).await
}

#[tokio::test]
async fn pypi_client_without_payment_uses_the_local_door() -> Result<()> {
    let mut command = python_program("python")?;
    command.arg(in_repository("testing/clients/openai_client.py"));
    is_paid_for(command).await
}

async fn is_paid_for(client: Command) -> Result<()> {
    let installed = Installed::new(&["chat", "embed", "filetype"], CONFIG)?;
    let mesh = installed.start(&[])?;
    uses_models(client, mesh.text("/openai_base_url"), "sk-anything").await?;
    // The budget counts what was charged, and nothing else.
    let charged = charged(&installed).await?;
    let keys = key(&installed, &["list"]).await?;
    ensure!(
        charged > 0 && keys["spent_today"] == charged.to_string(),
        "{charged} was charged: {keys}"
    );
    // Also of an answer that its reader left.
    leaves(mesh.text("/openai_base_url")).await?;
    until("what was left is counted as it was charged", || async {
        let (now, keys) = (
            self::charged(&installed).await?,
            key(&installed, &["list"]).await?,
        );
        Ok(now > charged && keys["spent_today"] == now.to_string())
    })
    .await?;
    // A stream that is refused has not begun.
    let made = key(&installed, &["new", "tiny", "--budget", "10"]).await?;
    let secret = made["key"].as_str().context("no secret")?;
    let url = format!("{}/chat/completions", mesh.text("/openai_base_url"));
    let messages = json!([{ "role": "user", "content": "Hello" }]);
    let asked = json!({ "model": "chat", "messages": messages, "stream": true });
    let (status, refused) = post(&url, Some(secret), &[], asked).await?;
    ensure!(
        status == 429 && refused["error"]["type"] == "insufficient_quota",
        "{refused}"
    );
    mesh.stop()
}

/// Hears the beginning of an answer, and goes away.
async fn leaves(url: &str) -> Result<()> {
    let messages = json!([{ "role": "user", "content": "Tell me a long story." }]);
    let asked = json!({ "model": "chat", "messages": messages, "stream": true, "max_tokens": 256 });
    let request = reqwest::Client::new().post(format!("{url}/chat/completions"));
    let mut answer = request.json(&asked).send().await?.error_for_status()?;
    let mut heard = Vec::new();
    // The first event is the door's own.
    while heard.windows(6).filter(|part| part == b"data: ").count() < 3 {
        heard.extend(answer.chunk().await?.context("it ended")?);
    }
    Ok(())
}

async fn uses_models(mut client: Command, url: &str, api_key: &str) -> Result<()> {
    let plan = json!({
        "url": url,
        "api_key": api_key,
        "chat": "chat",
        "embed": "embed",
        "question": "Name a colour of the sky.",
    });
    let seen = run(client.arg(plan.to_string())).await?.json()?;
    assistants::check(&seen).with_context(|| format!("it saw {seen}"))
}

/// The sum of the receipts that this folder's wallet has, of all its channels.
pub(crate) async fn charged(installed: &Installed) -> Result<u128> {
    let mut command = program_of_users();
    command.args(["channel", "ls", "--json", "--data-dir"]);
    let channels = run(command.arg(installed.data())).await?.json()?;
    let mut charged = 0;
    for channel in channels.as_array().context("no channels")? {
        let id = channel["id"].as_str().context("no id")?;
        let mut command = program_of_users();
        command.args(["receipt", "ls", id, "--json", "--data-dir"]);
        let receipts = run(command.arg(installed.data())).await?.json()?;
        for receipt in receipts.as_array().context("no receipts")? {
            let text = receipt["charged"].as_str().context(receipt.to_string())?;
            charged += text.parse::<u128>()?;
        }
    }
    Ok(charged)
}

/// `rialto key …`, as JSON.
pub(crate) async fn key(installed: &Installed, args: &[&str]) -> Result<Value> {
    let mut command = program_of_users();
    command
        .arg("key")
        .args(args)
        .arg("--json")
        .arg("--data-dir");
    run(command.arg(installed.data())).await?.json()
}

/// Asks for the embedding of a word, and gives status and answer.
async fn embed(url: &str, key: Option<&str>, headers: &[(&str, &str)]) -> Result<(u16, Value)> {
    let body = json!({ "model": "embed", "input": "cat" });
    post(&format!("{url}/embeddings"), key, headers, body).await
}

async fn post(
    url: &str,
    key: Option<&str>,
    headers: &[(&str, &str)],
    body: Value,
) -> Result<(u16, Value)> {
    let mut request = reqwest::Client::new().post(url).json(&body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    if let Some(key) = key {
        request = request.bearer_auth(key);
    }
    let answer = request.send().await?;
    let status = answer.status().as_u16();
    Ok((status, answer.json().await?))
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_race_spend_no_more_than_the_budget_over_restarts() -> Result<()> {
    let most = 2 * EMBED + 10;
    let config = format!("{CONFIG}[local]\nday_max = \"{most}\"\n");
    let installed = Installed::new(&["embed"], &config)?;
    let mesh = installed.start(&[])?;
    let url = mesh.text("/openai_base_url").to_owned();
    let mut racing = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let url = url.clone();
        racing.spawn(async move { embed(&url, None, &[]).await });
    }
    let mut answers = Vec::new();
    while let Some(answer) = racing.join_next().await {
        answers.push(answer??);
    }
    let good = answers.iter().filter(|(status, _)| *status == 200).count();
    ensure!(good == 2, "{answers:?}");
    let refused = answers.iter().find(|(status, _)| *status != 200);
    let (status, refused) = refused.context("nobody was refused")?;
    let error = &refused["error"];
    ensure!(
        *status == 429 && error["code"] == "insufficient_quota",
        "{refused}"
    );
    let message = error["message"].as_str().unwrap_or_default();
    ensure!(message.contains("`day_max` of [local]"), "{message}");
    // By name, and after a restart, there is no more to spend either.
    let call = format!("{}/call/embed/embed", mesh.text("/local"));
    let (status, refused) = post(&call, None, &[], json!({ "texts": ["cat"] })).await?;
    ensure!(
        status == 429 && refused["error"]["code"] == "budget_spent",
        "{refused}"
    );
    mesh.stop()?;
    let mesh = installed.start(&[])?;
    let (status, _) = embed(mesh.text("/openai_base_url"), None, &[]).await?;
    ensure!(status == 429);
    ensure!(charged(&installed).await? == 2 * EMBED);
    mesh.stop()
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_have_budgets_and_models_of_their_own_until_they_are_revoked() -> Result<()> {
    let installed = Installed::new(&["embed", "filetype"], CONFIG)?;
    let mesh = installed.start(&[])?;
    let url = mesh.text("/openai_base_url");
    let made = key(
        &installed,
        &["new", "a", "--budget", "0.000300", "--models", "embed"],
    )
    .await?;
    let secret = made["key"].as_str().context("no secret")?;
    let (status, answer) = embed(url, Some(secret), &[]).await?;
    ensure!(status == 200, "{answer}");
    let (status, refused) = embed(url, Some(secret), &[]).await?;
    let message = refused["error"]["message"].as_str().unwrap_or_default();
    ensure!(
        status == 429 && message.contains("rialto key budget"),
        "{refused}"
    );
    // Raised while the node runs.
    key(&installed, &["budget", "a", "1 USDC"]).await?;
    ensure!(embed(url, Some(secret), &[]).await?.0 == 200);
    let call = format!("{}/call/filetype/identify", mesh.text("/local"));
    let content = json!({ "content": "aGVsbG8gd29ybGQ=" });
    let (status, refused) = post(&call, Some(secret), &[], content.clone()).await?;
    ensure!(
        status == 403 && refused["error"]["code"] == "key_not_for_service",
        "{refused}"
    );
    ensure!(
        post(&call, None, &[], content).await?.0 == 200,
        "no key is needed here"
    );
    let listed = key(&installed, &["list"]).await?;
    ensure!(
        listed["keys"][0]["spent_today"] == (2 * EMBED).to_string(),
        "{listed}"
    );
    ensure!(
        !listed.to_string().contains(secret),
        "the secret is shown once"
    );
    key(&installed, &["revoke", "a"]).await?;
    for wrong in [secret, "rk_unknown"] {
        let (status, refused) = embed(url, Some(wrong), &[]).await?;
        ensure!(
            status == 401 && refused["error"]["code"] == "invalid_api_key",
            "{refused}"
        );
    }
    let (status, _) = embed(url, None, &[("origin", "http://page.example")]).await?;
    ensure!(status == 404, "a page got in");
    // The node lets go of a channel that it does not use: its owner closes it.
    until("the channel can be closed", || async {
        let closed = installed.rialto(&mesh, &["channel", "close"]).await?;
        Ok(closed.success)
    })
    .await?;
    mesh.stop()
}

#[tokio::test(flavor = "multi_thread")]
async fn where_others_reach_the_door_a_key_is_needed() -> Result<()> {
    let installed = Installed::new(&["embed"], CONFIG)?;
    let mesh = installed.start(&["--local", "0.0.0.0:0"])?;
    let url = mesh.text("/openai_base_url");
    // Another machine asks by another name.
    let elsewhere = [("host", "192.0.2.7:8405")];
    for headers in [&elsewhere[..], &[]] {
        for key in [None, Some("sk-anything"), Some("rk_unknown")] {
            let (status, refused) = embed(url, key, headers).await?;
            ensure!(status == 401, "{refused}");
        }
    }
    let call = format!("{}/call/embed/embed", mesh.text("/local"));
    let texts = json!({ "texts": ["cat"] });
    let (status, refused) = post(&call, None, &[], texts.clone()).await?;
    ensure!(
        status == 401 && refused["error"]["code"] == "key_refused",
        "{refused}"
    );
    let made = key(&installed, &["new", "phone", "--budget", "0.50"]).await?;
    let secret = made["key"].as_str().context("no secret")?;
    let (status, answer) = embed(url, Some(secret), &elsewhere).await?;
    ensure!(status == 200, "{answer}");
    ensure!(post(&call, Some(secret), &elsewhere, texts).await?.0 == 200);
    let (status, _) = embed(url, Some(secret), &[("origin", "http://page.example")]).await?;
    ensure!(status == 404, "a page got in");
    mesh.stop()
}

/// A node without models: its door finds them on the mesh, and its wallet pays whoever has them.
#[tokio::test(flavor = "multi_thread")]
async fn models_of_others_are_found_called_and_paid_for() -> Result<()> {
    let Pair {
        installed: _kept,
        provider,
        consumer,
        door,
    } = Pair::start(&["chat", "embed"], "filetype").await?;
    let url = door.text("/openai_base_url");
    let models = format!("{url}/models");
    until("the models of others are known", || async {
        let known: Value = reqwest::get(&models).await?.json().await?;
        Ok(known["data"].as_array().map(Vec::len) == Some(2))
    })
    .await?;
    let mut client = Command::new(path_from_env("RIALTO_NODE")?);
    client.arg(in_repository("testing/clients/openai_client.mjs"));
    uses_models(client, url, "none").await?;
    let keys = key(&consumer, &["list"]).await?;
    let charged = charged(&consumer).await?;
    ensure!(
        charged > 0 && keys["spent_today"] == charged.to_string(),
        "{charged} was charged: {keys}"
    );
    door.stop()?;
    provider.stop()
}

/// Two nodes of one mesh: one that published its services, and one whose wallet has money.
pub(crate) struct Pair {
    /// Kept for as long as the first one runs.
    pub(crate) installed: Installed,
    pub(crate) provider: Mesh,
    pub(crate) consumer: Installed,
    /// The node of the one that pays.
    pub(crate) door: Mesh,
}

impl Pair {
    /// The first has and publishes `offered`, the other has `own`.
    pub(crate) async fn start(offered: &[&str], own: &str) -> Result<Self> {
        let installed = Installed::new(offered, CONFIG)?;
        let provider = installed.start(&["--chain-listen", "127.0.0.1:0", "--mesh"])?;
        for service in offered {
            let folder = installed.dir().join("services").join(service);
            let folder = folder.display().to_string();
            let args = ["publish", &folder, "--json", "--rpc", provider.chain_rpc()];
            installed.rialto(&provider, &args).await?.json()?;
        }
        let consumer = Installed::new(&[own], CONFIG)?;
        for (file, account) in [("keys/host.key", 0), ("wallet/wallet.key", 1)] {
            write_key(&consumer.data().join(file), provider.test_key(account))?;
        }
        let door = join(&consumer, &provider)?;
        Ok(Self {
            installed,
            provider,
            consumer,
            door,
        })
    }
}

/// Another node on the chain of the first, which it asks for peers.
fn join(installed: &Installed, first: &Mesh) -> Result<Mesh> {
    let chain_id = first.ready()["chain_id"].to_string();
    installed.start(&[
        "--rpc",
        first.chain_rpc(),
        "--chain-id",
        &chain_id,
        "--payout",
        first.text("/addresses/receiver"),
        "--mesh",
        "--bootstrap",
        first.text("/peer_addresses/0"),
    ])
}
