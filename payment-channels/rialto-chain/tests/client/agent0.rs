//! The published SDK of ERC-8004 (npm `agent0-sdk`), unmodified, on our registries: what it registers we
//! read, and what we register it reads. `testing/clients/agent0.mjs` drives it.

use std::path::Path;
use std::process::Command;

use alloy::primitives::{B256, U256};
use rialto_chain::client::RegistryClient;
use rialto_chain::contracts::DEV_CHAIN_ID;
use rialto_chain::devchain::DEV_ACCOUNTS;
use rialto_registry::erc8004::Registries;
use rialto_registry::erc8004::calls::Entry;
use rialto_registry::names::{COMPONENT_KEY, NAME_KEY};
use rialto_registry::registration::{Registration, Service};
use serde_json::{Value, json};

use crate::chain::Chain;
use crate::people::{HOST, PAYER, RECEIVER, STRANGER, address};

on_both!(it_reads_what_we_register, we_read_what_it_registers);

/// Runs the SDK as one of the accounts and returns what each step saw.
async fn agent0(chain: &Chain, who: usize, steps: Value) -> Vec<Value> {
    let plan = json!({
        "rpc": chain.url, "chain_id": DEV_CHAIN_ID, "key": DEV_ACCOUNTS[who].key, "steps": steps,
    });
    let node = std::env::var_os("RIALTO_NODE").unwrap_or_else(|| {
        panic!("RIALTO_NODE does not name a Node: run `cargo xtask test`, which sets it")
    });
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testing/clients/agent0.mjs");
    let mut command = Command::new(node);
    command.arg(script).arg(plan.to_string());
    let output = tokio::task::spawn_blocking(move || command.output()).await;
    let output = output.unwrap().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

async fn registries(chain: &Chain, who: usize) -> RegistryClient {
    let at = Registries::canonical(DEV_CHAIN_ID).unwrap();
    chain.client(who).await.registries(at).await.unwrap()
}

async fn it_reads_what_we_register(chain: Chain) {
    let host = registries(&chain, HOST).await;
    let first = host.register("", &[], None).await.unwrap().agent;
    assert_eq!(first.token, U256::ZERO);
    let entries = [
        Entry::new(NAME_KEY, *b"embed"),
        Entry::new(COMPONENT_KEY, [7; 32]),
    ];
    let agent = host.register("", &entries, None).await.unwrap().agent;
    let service = |name: &str, version: Option<&str>| Service {
        name: name.to_owned(),
        endpoint: format!("https://e.example/{name}"),
        version: version.map(str::to_owned),
    };
    let file = Registration {
        name: "embed".to_owned(),
        description: "Sentences to vectors".to_owned(),
        image: Some("https://e.example/e.png".to_owned()),
        services: vec![
            service("MCP", Some("2025-06-18")),
            service("rialto", Some("1")),
        ],
        x402: true,
        active: true,
        registrations: vec![agent],
        trust: vec!["reputation".to_owned()],
    };
    host.set_uri(&agent, &file.to_data_uri()).await.unwrap();

    let id = format!("{DEV_CHAIN_ID}:{}", agent.token);
    let steps = json!([
        {"load": format!("{DEV_CHAIN_ID}:0")},
        {"load": id, "keys": [NAME_KEY, COMPONENT_KEY, "agentWallet", "none"]},
    ]);
    let seen = agent0(&chain, STRANGER, steps).await;
    assert_eq!(seen[0]["name"], "");
    assert_eq!(seen[0]["owner"], address(HOST).to_string());
    let expected = json!({
        "name": "embed",
        "description": "Sentences to vectors",
        "image": "https://e.example/e.png",
        "active": true,
        "x402": true,
        "trust": ["reputation"],
        "endpoints": [
            {"type": "MCP", "value": "https://e.example/MCP", "version": "2025-06-18"},
            {"type": "rialto", "value": "https://e.example/rialto", "version": "1"},
        ],
        "uri": file.to_data_uri(),
        "owner": address(HOST).to_string(),
        "wallet": address(HOST).to_string(),
        "metadata": {
            NAME_KEY: "0x656d626564",
            COMPONENT_KEY: B256::repeat_byte(7),
            "agentWallet": address(HOST),
            "none": "0x",
        },
    });
    assert_eq!(seen[1], expected);
}

async fn we_read_what_it_registers(chain: Chain) {
    let at = Registries::canonical(DEV_CHAIN_ID).unwrap();
    let agent = at.agent(U256::ZERO);
    let id = format!("{DEV_CHAIN_ID}:0");
    let register = json!({
        "name": "theirs", "description": "an agent of somebody else's", "mcp": "https://t.example/mcp",
        "metadata": {NAME_KEY: "theirs"},
    });
    let steps = json!([
        {"register": register},
        {"wallet": id, "key": DEV_ACCOUNTS[RECEIVER].key},
    ]);
    let seen = agent0(&chain, STRANGER, steps).await;
    assert_eq!(seen[0]["agent"], id);
    assert_eq!(seen[1]["wallet"], address(RECEIVER).to_string());

    let ours = registries(&chain, HOST).await;
    assert_eq!(ours.owner_of(&agent).await.unwrap(), address(STRANGER));
    assert_eq!(
        ours.agent_wallet(&agent).await.unwrap(),
        Some(address(RECEIVER))
    );
    assert_eq!(ours.metadata(&agent, NAME_KEY).await.unwrap(), b"theirs");
    let transaction: B256 = serde_json::from_value(seen[0]["transaction"].clone()).unwrap();
    assert_eq!(ours.registered_by(transaction).await.unwrap(), Some(agent));
    let claims = ours.metadata_log(&[NAME_KEY], 0).await.unwrap().found;
    assert_eq!(claims.len(), 1);
    assert_eq!(
        (claims[0].entry.agent, claims[0].entry.value.as_slice()),
        (agent, &b"theirs"[..])
    );
    let uri = ours.token_uri(&agent).await.unwrap();
    let file = Registration::from_data_uri(&uri).unwrap();
    assert_eq!(
        (file.name.as_str(), file.active, file.x402),
        ("theirs", true, false)
    );
    assert_eq!(file.services[0].endpoint, "https://t.example/mcp");

    let steps = json!([{"feedback": id, "value": 87.5, "tag1": "answer", "tag2": "p95"}]);
    let seen = agent0(&chain, PAYER, steps).await;
    assert_eq!(seen[0]["value"], 87.5);
    assert_eq!(
        seen[0]["summary"],
        json!({"count": 1, "averageValue": 87.5})
    );
    let kept = ours.feedback(&agent, address(PAYER), 1).await.unwrap();
    assert_eq!((kept.value, kept.decimals), (875, 1));

    let host = address(HOST).to_string();
    let steps = json!([{"uri": id, "to": ""}, {"wallet": id}, {"transfer": id, "to": host}]);
    agent0(&chain, STRANGER, steps).await;
    assert_eq!(ours.owner_of(&agent).await.unwrap(), address(HOST));
    assert_eq!(ours.agent_wallet(&agent).await.unwrap(), None);
    assert_eq!(ours.token_uri(&agent).await.unwrap(), "");
}
