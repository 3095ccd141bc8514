//! `rialto name`: what its owner says of a published name, on the chain.
//!
//! The node that runs on the data folder reads the chain; the wallet sends the transaction; the node reads
//! again, so that what it offers follows at once.

use std::path::Path;

use alloy_primitives::Address;
use anyhow::{Context as _, Result, bail};
use rialto_node::{AgentCalls, Node};
use rialto_registry::{AgentId, Name, Status};
use serde::{Deserialize, Serialize};

use crate::args::{NameCommand, PayerArgs};
use crate::lifecycle::{self, Act};
use crate::show::{self, cyan, line, note};
use crate::wallet::Opened;
use crate::{home, pay, publish, wallet};

/// What the chain says of a name, as the node's desk tells it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct OnChain {
    name: String,
    agent: String,
    owner: Address,
    manifest: Option<String>,
    /// `active`, `deprecated` or `revoked`.
    status: String,
    /// The owner's reason, where there is one.
    why: Option<String>,
    since_block: u64,
    registry: Address,
    chain_id: u64,
    /// The chain's endpoint, where the node may tell.
    rpc: String,
}

/// Shows or changes what the chain says of a name.
pub(crate) async fn run(command: NameCommand) -> Result<()> {
    match command {
        NameCommand::Show {
            name,
            json,
            data_dir,
        } => {
            let found = ask(data_dir.as_deref(), &name).await?;
            tell(&found, json)
        }
        NameCommand::Deprecate { name, why, payer } => {
            say(&name, &Status::Deprecated(reason(why)?), &payer).await
        }
        NameCommand::Revoke { name, why, payer } => {
            say(&name, &Status::Revoked(reason(why)?), &payer).await
        }
        NameCommand::Restore { name, payer } => say(&name, &Status::Active, &payer).await,
        NameCommand::Transfer {
            name,
            to,
            confirm,
            payer,
        } => transfer(&name, to, confirm.as_deref(), &payer).await,
    }
}

/// What the desk finds out about a name.
pub(crate) async fn look(node: &Node, name: &str) -> Result<OnChain> {
    let name: Name = name
        .parse()
        .with_context(|| format!("`{name}` is no service's name"))?;
    if node.peer().is_none() {
        bail!("this node takes no part in the mesh: start it with `rialto up --mesh`");
    }
    let found = node.name_changed(&name).await?;
    let found = found.with_context(|| {
        format!("nobody owns the name `{name}` on this chain: `rialto publish` claims it")
    })?;
    let (status, why) = match found.status {
        Status::Active => ("active", None),
        Status::Deprecated(why) => ("deprecated", Some(why)),
        Status::Revoked(why) => ("revoked", Some(why)),
    };
    Ok(OnChain {
        name: name.to_string(),
        agent: found.agent.to_string(),
        owner: found.owner,
        manifest: found.manifest.map(|digest| digest.to_string()),
        status: status.to_owned(),
        why,
        since_block: found.since.block,
        registry: found.agent.registry.address,
        chain_id: found.agent.registry.chain_id,
        rpc: node.chain().rpc_url.clone(),
    })
}

/// Sets whether the service should still be used.
async fn say(name: &str, status: &Status, payer: &PayerArgs) -> Result<()> {
    let (found, opened) = owned(name, payer).await?;
    let agent: AgentId = found.agent.parse()?;
    let call = AgentCalls::status(agent.token, status)?;
    change(&found, opened, call, payer).await
}

/// Gives the name away.
async fn transfer(name: &str, to: Address, confirm: Option<&str>, payer: &PayerArgs) -> Result<()> {
    let (found, opened) = owned(name, payer).await?;
    if to.is_zero() || to == found.owner {
        bail!("{to} is nobody to give the name to");
    }
    let typed = match confirm {
        Some(text) => text.to_owned(),
        None => {
            note(format!(
                "{to} will own {name} and decide what it stands for; you cannot take it back."
            ));
            show::ask(&format!("type the name {name} to give it away: "))?
        }
    };
    if typed.trim() != found.name {
        bail!("that is not the name: nothing was done");
    }
    let agent: AgentId = found.agent.parse()?;
    let call = AgentCalls::transfer(agent.token, found.owner, to);
    change(&found, opened, call, payer).await
}

/// What the chain says, and the wallet in use, which has to be the name's owner.
async fn owned(name: &str, payer: &PayerArgs) -> Result<(OnChain, Opened)> {
    let data = &payer.gateway.data;
    let data_dir = home::data_dir(data.data_dir.as_deref())?;
    let found = ask(data.data_dir.as_deref(), name).await?;
    let opened = wallet::open(&data_dir, data.password_file.as_deref())?;
    let own = opened.wallet.address();
    if own != found.owner {
        bail!(
            "the name `{name}` belongs to {}, and the wallet in use is {own}: `rialto wallet use` chooses another",
            found.owner
        );
    }
    Ok((found, opened))
}

async fn change(found: &OnChain, opened: Opened, call: Vec<u8>, payer: &PayerArgs) -> Result<()> {
    let client = pay::on_chain(payer, opened, &found.rpc)?;
    let json = payer.gateway.json;
    let registry = (found.chain_id, found.registry);
    let purpose = format!("change what the chain says of {}", found.name);
    publish::send(&client, registry, vec![call], &purpose, json).await?;
    let data_dir = payer.gateway.data.data_dir.as_deref();
    tell(&ask(data_dir, &found.name).await?, json)
}

async fn ask(data_dir: Option<&Path>, name: &str) -> Result<OnChain> {
    let wanted = Act::Name {
        name: name.to_owned(),
    };
    let answer = lifecycle::act(data_dir, &wanted).await?;
    serde_json::from_value(answer).context("the running node is of another version")
}

/// A reason fits into what the chain keeps of it.
fn reason(why: String) -> Result<String> {
    if why.trim().is_empty() || why.len() > WHY_BYTES_MAX {
        bail!("say why in 1 to {WHY_BYTES_MAX} bytes");
    }
    Ok(why)
}

fn tell(found: &OnChain, json: bool) -> Result<()> {
    if json {
        show::json(&serde_json::to_value(found)?);
        return Ok(());
    }
    let status = match &found.why {
        Some(why) => format!("{}: {why}", found.status),
        None => found.status.clone(),
    };
    line(cyan(&found.name));
    line(format!("  status    {status}"));
    line(format!("  owner     {}", found.owner));
    line(format!("  agent     {}", found.agent));
    let manifest = found.manifest.as_deref().unwrap_or("none yet");
    line(format!("  manifest  {manifest}"));
    line(format!("  since     block {}", found.since_block));
    Ok(())
}

/// What readers take of a reason, with the word before it.
const WHY_BYTES_MAX: usize = 480;
