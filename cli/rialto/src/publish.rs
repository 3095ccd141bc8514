//! `rialto publish`: from a built service to one that strangers find and any host may run.
//!
//! The node that runs on the data folder checks the service and says what has to be signed; the wallet signs
//! the manifest and sends the transaction that names it on the chain; the node then provides and offers it.

use std::path::PathBuf;

use alloy_primitives::{Address, B256};
use anyhow::{Context as _, Result};
use rialto_channels::Signature;
use rialto_gateway::client::{PayingClient, SignContent, SignRequest};
use rialto_node::{AgentCalls, Publishing, Said, agent_metadata};
use rialto_registry::{AgentId, Digest, SignedManifest};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::args::PublishArgs;
use crate::lifecycle::{self, Act};
use crate::show::{self, cyan, line, note};
use crate::{home, pay, wallet};

/// What the node says has to be signed and sent.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Prepared {
    pub(crate) name: String,
    pub(crate) payload: String,
    pub(crate) typed_data: Value,
    pub(crate) digest: B256,
    pub(crate) registry: Address,
    pub(crate) chain_id: u64,
    /// The chain's endpoint, where the node may tell.
    pub(crate) rpc: String,
    /// The agent that owns the name already.
    pub(crate) agent: Option<String>,
    /// The manifest that the chain says it has now.
    pub(crate) current: Option<String>,
    /// What the chain has of the agent already.
    pub(crate) said: Said,
}

/// Signs, registers and offers what a folder holds.
pub(crate) async fn run(args: PublishArgs) -> Result<()> {
    let folder = std::path::absolute(&args.folder)?;
    lifecycle::check_folder(&folder)?;
    let data = &args.payer.gateway.data;
    let data_dir = home::data_dir(data.data_dir.as_deref())?;
    let opened = wallet::open(&data_dir, data.password_file.as_deref())?;
    let publisher = opened.wallet.address();
    let json = args.payer.gateway.json;
    let wanted = Act::PreparePublishing {
        folder: folder.clone(),
        publishing: Publishing {
            tags: args.tags,
            sources: args.sources,
            publisher,
        },
    };
    let answer = lifecycle::act(data.data_dir.as_deref(), &wanted).await?;
    let prepared: Prepared =
        serde_json::from_value(answer).context("the running node is of another version")?;
    let name = prepared.name.clone();
    if !json {
        note(format!("signing   the manifest of {name} as {publisher}"));
    }
    let request = SignRequest {
        purpose: format!("publish {name}"),
        digest: prepared.digest,
        content: SignContent::TypedData(prepared.typed_data.clone()),
    };
    let signature: Signature = opened.wallet.sign(&request).await?;
    let signed = SignedManifest::check(prepared.payload.clone(), signature)?;
    let client = pay::on_chain(&args.payer, opened, &prepared.rpc)?;
    let transactions = register(&client, &prepared, &signed, json).await?;
    let wanted = Act::Publish {
        folder,
        payload: prepared.payload,
        signature: signature.to_hex(),
    };
    let answer = lifecycle::act(data.data_dir.as_deref(), &wanted).await?;
    tell(&signed, &transactions, &answer, json);
    Ok(())
}

/// Says on the chain what the name stands for, as far as it does not say so already.
async fn register(
    client: &PayingClient,
    prepared: &Prepared,
    signed: &SignedManifest,
    json: bool,
) -> Result<Vec<B256>> {
    let current = prepared.current.as_deref().map(str::parse::<Digest>);
    if current.transpose()? == Some(signed.digest()) {
        return Ok(Vec::new());
    }
    let metadata = agent_metadata(signed);
    let calls = match &prepared.agent {
        None => vec![AgentCalls::register(&AgentCalls::uri(signed), &metadata)?],
        Some(agent) => {
            let agent: AgentId = agent.parse()?;
            AgentCalls::update(
                agent.token,
                &AgentCalls::uri(signed),
                &metadata,
                &prepared.said,
            )?
        }
    };
    let purpose = format!("register {} {}", signed.name(), signed.version());
    let registry = (prepared.chain_id, prepared.registry);
    send(client, registry, calls, &purpose, json).await
}

/// Sends calls to a chain's registry, one after the other, and shows each.
pub(crate) async fn send(
    client: &PayingClient,
    (chain_id, registry): (u64, Address),
    calls: Vec<Vec<u8>>,
    purpose: &str,
    json: bool,
) -> Result<Vec<B256>> {
    let mut transactions = Vec::new();
    for data in calls {
        let sent = client.call_contract(chain_id, registry, data, purpose.to_owned());
        let transaction = sent.await?;
        if !json {
            let short = show::short(&transaction.to_string());
            note(format!("chain     tx {short}"));
        }
        transactions.push(transaction);
    }
    Ok(transactions)
}

fn tell(signed: &SignedManifest, transactions: &[B256], answer: &Value, json: bool) {
    if json {
        let hashes: Vec<String> = transactions.iter().map(ToString::to_string).collect();
        show::json(&json!({
            "service": signed.name().as_str(),
            "version": signed.version().to_string(),
            "manifest": signed.digest().to_string(),
            "component": signed.component().to_string(),
            "publisher": signed.publisher().to_string(),
            "transactions": hashes,
            "node": answer,
        }));
        return;
    }
    line(format!(
        "published {} {} as {}",
        cyan(signed.name().as_str()),
        signed.version(),
        signed.digest()
    ));
    line(format!("  found by  rialto search {}", signed.name()));
    line(format!(
        "  run by    rialto deploy --mesh {}",
        signed.name()
    ));
}

/// What the node's desk does for a publisher.
pub(crate) mod desk {
    use anyhow::Result;
    use rialto_channels::Signature;
    use rialto_node::{Node, Progress, Publishing};
    use serde_json::{Value, json};

    use super::{PathBuf, Prepared};

    pub(crate) async fn prepare(
        node: &Node,
        folder: PathBuf,
        publishing: Publishing,
    ) -> Result<Value> {
        let prepared = node.prepare_publishing(&folder, &publishing).await?;
        Ok(serde_json::to_value(Prepared {
            name: prepared.name.to_string(),
            payload: prepared.payload,
            typed_data: prepared.sign.typed_data,
            digest: prepared.sign.digest,
            registry: prepared.registry,
            chain_id: prepared.chain_id,
            rpc: node.chain().rpc_url.clone(),
            agent: prepared.agent.map(|agent| agent.to_string()),
            current: prepared.current.map(|digest| digest.to_string()),
            said: prepared.said,
        })?)
    }

    pub(crate) async fn publish(
        node: &Node,
        folder: PathBuf,
        payload: String,
        signature: &str,
    ) -> Result<Value> {
        let signature: Signature = signature.parse()?;
        let (signed, changed) = node
            .publish(&folder, payload, &signature.to_bytes())
            .await?;
        Ok(json!({
            "service": signed.name().as_str(),
            "manifest": signed.digest().to_string(),
            "version": changed.version,
            "before": changed.before,
            "ending": changed.ending,
            "peer": node.peer().map(|peer| peer.to_string()),
        }))
    }

    pub(crate) async fn take(node: &Node, name: &str) -> Result<Value> {
        let name = name.parse()?;
        let (signed, changed) = node.take_in(&name, &Progress::silent()).await?;
        Ok(json!({
            "service": changed.service,
            "manifest": signed.digest().to_string(),
            "version": changed.version,
            "before": changed.before,
            "ending": changed.ending,
        }))
    }
}
