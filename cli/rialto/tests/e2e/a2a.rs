//! Strangers' clients of A2A use a host's services as agents, in both bindings, and pay for what they do.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::books::{self, DEV_TOKENS};
use crate::installed::{Installed, in_repository, python_program, run};

const COLLECT_LATER: &str = "[payments]\ncollect_every_seconds = 86400\n";
const HELLO: &str = "aGVsbG8gd29ybGQ=";

#[tokio::test]
async fn pypi_client_pays_for_what_a_services_agent_does() -> Result<()> {
    let installed = Installed::new(&["filetype"], COLLECT_LATER)?;
    let mesh = installed.start(&[])?;
    let arguments = json!({ "content": HELLO });
    let of_service = json!({ "method": "identify", "arguments": arguments });
    let of_host = json!({ "method": "filetype_identify", "arguments": arguments });
    let mut exact = 0;
    let variants = [
        ("JSONRPC", false, "exact", "/a2a/filetype", &of_service),
        (
            "HTTP+JSON",
            true,
            "batch-settlement",
            "/a2a/filetype",
            &of_service,
        ),
        ("HTTP+JSON", false, "exact", "", &of_host),
        ("JSONRPC", true, "batch-settlement", "", &of_host),
    ];
    for (binding, streaming, scheme, agent, call) in variants {
        let plan = json!({
            "url": format!("{}{agent}", mesh.gateway()),
            "binding": binding,
            "streaming": streaming,
            "key": mesh.test_key(0),
            "rpc": mesh.chain_rpc(),
            "chain_id": mesh.ready()["chain_id"],
            "schemes": [scheme],
            "calls": [call, call, "hello"],
        });
        let mut client = python_program("python")?;
        client.arg(in_repository("testing/clients/a2a_client.py"));
        let seen = run(client.arg(plan.to_string())).await?.json()?;
        check(&seen, streaming)
            .with_context(|| format!("{binding} {streaming} {scheme}: {seen}"))?;
        if scheme == "exact" {
            exact += charged(&seen)?;
        }
    }
    let provider = mesh.text("/addresses/receiver");
    let earned = books::held(&mesh, provider).await? - DEV_TOKENS;
    ensure!(earned == exact, "earned {earned}, charged {exact}");
    mesh.stop()
}

fn check(seen: &Value, streaming: bool) -> Result<()> {
    let skills = seen["skills"].as_array().context("no skills")?;
    ensure!(
        skills
            .iter()
            .any(|id| id == "identify" || id == "filetype_identify")
    );
    for call in 0..2 {
        let call = &seen["calls"][call];
        ensure!(call["paid"] == true);
        let states = call["states"].as_array().context("no states")?;
        let (first, last) = (states.first(), states.last());
        ensure!(
            first.is_some_and(|it| it == "TASK_STATE_INPUT_REQUIRED"),
            "first"
        );
        ensure!(last.is_some_and(|it| it == "TASK_STATE_COMPLETED"), "last");
        ensure!(call["pieces"] == u32::from(streaming), "pieces");
        let task = &call["task"];
        let answer = task["artifacts"][0]["parts"][0]["data"].to_string();
        ensure!(answer.contains("txt"), "{answer}");
        let said = &task["status"]["message"]["metadata"];
        ensure!(said["x402.payment.status"] == "payment-completed", "status");
        ensure!(
            said["x402.payment.receipts"][0]["success"] == true,
            "receipts"
        );
        ensure!(task["metadata"]["rialto/receipt"].is_object(), "receipt");
    }
    let words = seen["calls"][2]["message"].as_str().context("no words")?;
    ensure!(words.contains("data part"), "{words}");
    let (listed, task) = (&seen["listed"], &seen["calls"][0]["task"]["id"]);
    ensure!(*listed == json!([task]), "listed");
    ensure!(seen["over"] == "TaskNotCancelableError", "over");
    ensure!(seen["unknown"] == "TaskNotFoundError", "unknown");
    ensure!(seen["wrong"] == "InvalidParamsError", "wrong");
    Ok(())
}

/// What the calls cost.
fn charged(seen: &Value) -> Result<u128> {
    let calls = seen["calls"].as_array().context("no calls")?;
    let charged = calls.iter().filter_map(|call| {
        let charged = call["task"]["metadata"]["rialto/charged"].as_str()?;
        Some(charged.parse::<u128>())
    });
    Ok(charged.collect::<Result<Vec<_>, _>>()?.into_iter().sum())
}

/// Contracts of PyPI's `a2a-proof`, in both bindings: an agent whose methods are free, and one that wants to be paid.
#[tokio::test]
async fn a_strangers_proof_finds_agents_as_their_cards_say() -> Result<()> {
    let installed = Installed::new(&["filetype", "embed"], "")?;
    let manifest = installed.dir().join("services/filetype/service.toml");
    let text = std::fs::read_to_string(&manifest)?;
    let (free, _) = text.split_once("[prices").context("no prices")?;
    std::fs::write(&manifest, free)?;
    let mesh = installed.start(&[])?;
    for (agent, scenarios) in [("filetype", of_free()), ("embed", of_paid())] {
        let url = format!("{}/a2a/{agent}", mesh.gateway());
        for transport in ["JSONRPC", "HTTP+JSON"] {
            let contract = json!({
                "version": 1,
                "agent": { "url": url, "transport": transport },
                "card": { "capabilities": { "streaming": true, "push_notifications": false } },
                "scenarios": scenarios,
            });
            let file = installed.dir().join("contract.yaml");
            // YAML reads JSON.
            std::fs::write(&file, contract.to_string())?;
            let mut proof = python_program("a2a-proof")?;
            let told = run(proof.args(["run", "--format", "json"]).arg(&file)).await?;
            ensure!(
                told.json()?["passed"] == true,
                "{agent} {transport}: {told:?}"
            );
        }
        let made = installed.dir().join(format!("{agent}.yaml"));
        let mut init: Command = python_program("a2a-proof")?;
        let told = run(init.arg("init").arg(&url).arg("--output").arg(&made)).await?;
        ensure!(told.success, "{told:?}");
    }
    mesh.stop()
}

fn of_free() -> Value {
    let data = json!({ "method": "identify", "arguments": { "content": HELLO } });
    let completed = json!({ "state": "completed" });
    json!([
        { "name": "an answer", "data": data, "expect": completed },
        { "name": "words", "message": "hello", "expect": { "text": { "contains": ["data part"] } } },
        { "name": "a task stays", "turns": [
            { "data": data, "expect": completed },
            { "action": "get_task", "expect": completed },
        ]},
    ])
}

fn of_paid() -> Value {
    let data = json!({ "method": "embed", "arguments": { "texts": ["a"] } });
    let waits = json!({ "state": "input_required" });
    json!([
        { "name": "a price", "data": data, "expect": waits },
        { "name": "taken back", "turns": [
            { "data": data, "expect": waits },
            { "action": "get_task", "expect": waits },
            { "action": "cancel", "expect": { "state": "canceled" } },
            { "action": "get_task", "expect": { "state": "canceled" } },
        ]},
    ])
}
