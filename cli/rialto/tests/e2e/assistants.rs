//! Unmodified clients of OpenAI's API, from npm and PyPI, use a host's models; a client of x402 pays beneath them.

use anyhow::{Context as _, Result, ensure};
use rialto_testkit::mesh::path_from_env;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::installed::{Installed, in_repository, python_program, run};

#[tokio::test]
async fn npm_client_chats_streams_and_embeds() -> Result<()> {
    let mut command = Command::new(path_from_env("RIALTO_NODE")?);
    command.arg(in_repository("testing/clients/openai_client.mjs"));
    uses_models(command).await
}

#[tokio::test]
async fn pypi_client_chats_streams_and_embeds() -> Result<()> {
    let mut command = python_program("python")?;
    command.arg(in_repository("testing/clients/openai_client.py"));
    uses_models(command).await
}

async fn uses_models(mut client: Command) -> Result<()> {
    let installed = Installed::new(&["chat", "embed", "filetype"], "")?;
    let mesh = installed.start(&[])?;
    let plan = json!({
        "url": format!("{}/v1", mesh.gateway()),
        "rpc": mesh.chain_rpc(),
        "chain_id": mesh.ready()["chain_id"],
        "key": mesh.test_key(0),
        "schemes": ["batch-settlement", "exact"],
        "chat": "chat",
        "embed": "embed",
        "question": "Name a colour of the sky.",
    });
    let seen = run(client.arg(plan.to_string())).await?.json()?;
    check(&seen).with_context(|| format!("it saw {seen}"))?;
    mesh.stop()
}

/// What a client of a chat and an embedding model has to have seen.
pub(crate) fn check(seen: &Value) -> Result<()> {
    ensure!(seen["models"] == json!(["chat", "embed"]), "models");
    let text = seen["text"].as_str().context("no text")?;
    ensure!(
        !text.is_empty() && seen["streamed"] == text,
        "one seed, one answer"
    );
    ensure!(seen["response"] == text, "the same by the other door");
    ensure!(seen["finish_reason"] == seen["streamed_reason"], "reasons");
    let tokens = |of: &Value| {
        (
            of["prompt_tokens"].as_u64(),
            of["completion_tokens"].as_u64(),
        )
    };
    let used = tokens(&seen["usage"]);
    ensure!(used.0 > Some(10) && used.1 > Some(0), "usage");
    ensure!(
        tokens(&seen["streamed_usage"]) == used,
        "usage of the stream"
    );
    let events = seen["events"].as_array().context("no events")?;
    let (first, last) = (events.first(), events.last());
    ensure!(
        first.is_some_and(|kind| kind == "response.created"),
        "first event"
    );
    let ends = ["response.completed", "response.incomplete"];
    ensure!(
        last.is_some_and(|kind| ends.iter().any(|end| kind == end)),
        "last event"
    );
    ensure!(
        events
            .iter()
            .any(|kind| kind == "response.output_text.delta"),
        "no pieces"
    );
    ensure!(
        seen["final"].as_str().is_some_and(|text| !text.is_empty()),
        "final"
    );
    ensure!(seen["dimensions"] == json!([384, 384]), "vectors");
    ensure!(
        seen["refused"]["status"] == 400 && seen["refused"]["param"] == "n",
        "refused"
    );
    ensure!(seen["unknown"]["status"] == 404 && seen["unknown"]["code"] == "model_not_found");
    Ok(())
}
