//! `rialto channel`: the channels this wallet pays from.

use anyhow::{Context, Result, bail};
use rialto_gateway::client::{StoredChannel, stored_channels};
use serde_json::{Value, json};

use crate::args::{ChannelCommand, GatewayArgs};
use crate::show::money;
use crate::{home, pay, show};

/// Lists channels or closes one.
pub(crate) async fn run(command: ChannelCommand) -> Result<()> {
    match command {
        ChannelCommand::Ls(args) => list(&args),
        ChannelCommand::Close { id, gateway } => close(id.as_deref(), &gateway).await,
    }
}

fn list(args: &GatewayArgs) -> Result<()> {
    let channels = stored(args)?;
    if args.json {
        show::json(&Value::Array(channels.iter().map(as_json).collect()));
        return Ok(());
    }
    if channels.is_empty() {
        show::line("no channels yet: the first paid call opens one");
        return Ok(());
    }
    let mut table = show::table(&["channel", "gateway", "deposited", "spent", "left", "state"]);
    for stored in &channels {
        let channel = &stored.snapshot;
        let left = channel
            .balance
            .checked_sub(channel.charged)
            .unwrap_or_default();
        let state = match (channel.withdrawal.is_some(), left.is_zero()) {
            (true, _) => "withdrawing",
            (false, true) => "empty",
            (false, false) => "open",
        };
        table.add_row([
            show::short(&channel.id.to_string()),
            stored.gateway.clone(),
            money(channel.balance),
            money(channel.charged),
            money(left),
            state.to_owned(),
        ]);
    }
    show::line(table.to_string());
    Ok(())
}

async fn close(id: Option<&str>, args: &GatewayArgs) -> Result<()> {
    let channels = stored(args)?;
    let mut fitting = channels.iter().filter(|stored| {
        let own = stored.snapshot.id.to_string();
        id.map_or(
            stored.snapshot.balance > stored.snapshot.charged,
            |prefix| own.starts_with(prefix.trim_end_matches('…')),
        )
    });
    let stored = match (fitting.next(), fitting.next()) {
        (Some(only), None) => only,
        (None, _) => bail!("no such channel with money in it: `rialto channel ls` lists them"),
        (Some(_), Some(_)) => {
            bail!("several channels fit: name one, as `rialto channel ls` prints it")
        }
    };
    let gateway = GatewayArgs {
        gateway: stored.gateway.clone(),
        ..args.clone()
    };
    let refunded = pay::client(&gateway, None)?
        .refund(None)
        .await
        .with_context(|| format!("channel {} was not closed", stored.snapshot.id))?;
    if args.json {
        show::json(&json!({
            "channel": refunded.channel.to_string(),
            "refunded": refunded.amount.to_string(),
            "transaction": refunded.transaction,
        }));
    } else {
        show::line(format!(
            "{} back in the wallet from channel {}  tx {}",
            money(refunded.amount),
            show::short(&refunded.channel.to_string()),
            show::short(&refunded.transaction)
        ));
    }
    Ok(())
}

/// The channels that ever held money: a call that was refused may leave a description without any.
fn stored(args: &GatewayArgs) -> Result<Vec<StoredChannel>> {
    let dir = home::wallet_dir(&home::data_dir(args.data.data_dir.as_deref())?).join("channels");
    let mut channels = stored_channels(&dir)?;
    channels
        .retain(|stored| !(stored.snapshot.balance.is_zero() && stored.snapshot.charged.is_zero()));
    Ok(channels)
}

fn as_json(stored: &StoredChannel) -> Value {
    let channel = &stored.snapshot;
    json!({
        "id": channel.id.to_string(),
        "gateway": stored.gateway,
        "chain_id": stored.chain_id,
        "balance": channel.balance.to_string(),
        "charged": channel.charged.to_string(),
        "claimed": channel.claimed.to_string(),
    })
}
