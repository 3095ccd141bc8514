//! `rialto channel`: the channels this wallet pays from, and the ways to take the money back: with
//! the provider's help, or without it.

use anyhow::{Context, Result, bail};
use rialto_gateway::client::{ClientError, PayingClient, StoredChannel, stored_channels};
use serde_json::{Value, json};

use crate::args::{ChannelCommand, DataArgs, GatewayArgs, PayerArgs};
use crate::show::money;
use crate::{home, pay, show};

/// Lists, closes, refreshes channels, and finishes withdrawals.
pub(crate) async fn run(command: ChannelCommand) -> Result<()> {
    match command {
        ChannelCommand::Ls(args) => list(&args),
        ChannelCommand::Close {
            id,
            force: false,
            payer,
        } => close(id.as_deref(), &payer).await,
        ChannelCommand::Close {
            id,
            force: true,
            payer,
        } => force(id.as_deref(), &payer).await,
        ChannelCommand::Finalize { id, payer } => finalize(id.as_deref(), &payer).await,
        ChannelCommand::Refresh { id, payer } => refresh(id.as_deref(), &payer).await,
    }
}

fn list(args: &GatewayArgs) -> Result<()> {
    show_all(&stored(&args.data)?, args.json);
    Ok(())
}

fn show_all(channels: &[StoredChannel], json: bool) {
    if json {
        show::json(&Value::Array(channels.iter().map(as_json).collect()));
        return;
    }
    if channels.is_empty() {
        show::line("no channels yet: the first paid call opens one");
        return;
    }
    let mut table = show::table(&["channel", "gateway", "deposited", "spent", "left", "state"]);
    for stored in channels {
        let channel = &stored.snapshot;
        table.add_row([
            show::short(&channel.id.to_string()),
            stored.gateway.clone(),
            money(channel.balance),
            money(channel.charged),
            money(channel.left()),
            state(stored),
        ]);
    }
    show::line(table.to_string());
    for stored in channels {
        if let Some(fault) = &stored.fault {
            let id = show::short(&stored.snapshot.id.to_string());
            show::line(format!("{id} the provider broke its word: {fault}"));
        }
    }
}

fn state(stored: &StoredChannel) -> String {
    let channel = &stored.snapshot;
    match (&channel.withdrawal, &stored.fault, channel.left().is_zero()) {
        (Some(withdrawal), _, _) => {
            format!(
                "withdrawing until {}",
                show::moment(withdrawal.finalizes_at.get())
            )
        }
        (None, _, true) => "empty".to_owned(),
        (None, Some(_), false) => "broken".to_owned(),
        (None, None, false) => "open".to_owned(),
    }
}

async fn close(id: Option<&str>, args: &PayerArgs) -> Result<()> {
    let stored = one(id, args)?;
    let client = client_of(&stored, args)?;
    let refunded = client
        .refund_channel(stored.snapshot.id, None)
        .await
        .with_context(|| {
            format!(
                "channel {} was not closed; `rialto channel close {} --force` takes the money back without the provider",
                stored.snapshot.id,
                show::short(&stored.snapshot.id.to_string()).trim_end_matches('…')
            )
        })?;
    if args.gateway.json {
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

/// Begins a withdrawal, or shows the one that was begun.
async fn force(id: Option<&str>, args: &PayerArgs) -> Result<()> {
    let stored = one(id, args)?;
    let client = client_of(&stored, args)?;
    if !args.gateway.json {
        show::note("· reading the chain, and sending the withdrawal if it is not under way …");
    }
    let waiting = client
        .withdraw(stored.snapshot.id)
        .await
        .with_context(|| format!("no withdrawal from channel {}", stored.snapshot.id))?;
    if args.gateway.json {
        show::json(&json!({
            "channel": waiting.channel.to_string(),
            "withdrawing": waiting.amount.to_string(),
            "finalizes_at": waiting.finalizes_at.get(),
            "transaction": waiting.transaction.map(|hash| hash.to_string()),
        }));
        return Ok(());
    }
    show::line(format!(
        "{} leave channel {} at {}; what the provider claims until then is taken off",
        money(waiting.amount),
        show::short(&waiting.channel.to_string()),
        show::moment(waiting.finalizes_at.get())
    ));
    show::line("then: rialto channel finalize   (the chain remembers; this machine may be off)");
    Ok(())
}

/// Finishes what can be finished. Without an id a withdrawal that must wait is no failure.
async fn finalize(id: Option<&str>, args: &PayerArgs) -> Result<()> {
    let chosen: Vec<StoredChannel> = match id {
        Some(id) => vec![fitting(Some(id), args, |_| true)?],
        None => stored(&args.gateway.data)?
            .into_iter()
            .filter(|stored| stored.snapshot.withdrawal.is_some())
            .collect(),
    };
    let mut rows = Vec::new();
    for stored in &chosen {
        let channel = stored.snapshot.id;
        match client_of(stored, args)?.finalize(channel).await {
            Ok(done) => {
                if !args.gateway.json {
                    show::line(format!(
                        "{} back in the wallet from channel {}  tx {}",
                        money(done.amount),
                        show::short(&channel.to_string()),
                        show::short(&done.transaction.to_string())
                    ));
                }
                rows.push(json!({
                    "channel": channel.to_string(),
                    "withdrawn": done.amount.to_string(),
                    "transaction": done.transaction.to_string(),
                }));
            }
            Err(ClientError::TooEarly { finalizes_at, .. }) if id.is_none() => {
                if !args.gateway.json {
                    show::line(format!(
                        "channel {} waits until {}",
                        show::short(&channel.to_string()),
                        show::moment(finalizes_at.get())
                    ));
                }
                rows.push(json!({
                    "channel": channel.to_string(),
                    "finalizes_at": finalizes_at.get(),
                }));
            }
            Err(error) => {
                return Err(error).with_context(|| format!("channel {channel} is not finished"));
            }
        }
    }
    if args.gateway.json {
        show::json(&Value::Array(rows));
    } else if chosen.is_empty() {
        show::line("no withdrawal is under way: `rialto channel close --force` begins one");
    }
    Ok(())
}

async fn refresh(id: Option<&str>, args: &PayerArgs) -> Result<()> {
    let chosen = match id {
        Some(id) => vec![fitting(Some(id), args, |_| true)?],
        None => stored(&args.gateway.data)?,
    };
    let mut fresh = Vec::new();
    for stored in &chosen {
        let channel = stored.snapshot.id;
        let read = client_of(stored, args)?.refresh(channel).await;
        fresh.push(read.with_context(|| format!("channel {channel} cannot be read"))?);
    }
    show_all(&fresh, args.gateway.json);
    Ok(())
}

/// The channel meant: by its beginning, or the only one with money in it.
fn one(id: Option<&str>, args: &PayerArgs) -> Result<StoredChannel> {
    fitting(id, args, |stored| !stored.snapshot.left().is_zero())
}

fn fitting(
    id: Option<&str>,
    args: &PayerArgs,
    unnamed: impl Fn(&StoredChannel) -> bool,
) -> Result<StoredChannel> {
    let mut fitting = stored(&args.gateway.data)?
        .into_iter()
        .filter(|stored| match id {
            Some(prefix) => {
                let own = stored.snapshot.id.to_string();
                own.starts_with(prefix.trim_end_matches('…'))
            }
            None => unnamed(stored),
        });
    match (fitting.next(), fitting.next()) {
        (Some(only), None) => Ok(only),
        (None, _) => bail!("no such channel with money in it: `rialto channel ls` lists them"),
        (Some(_), Some(_)) => {
            bail!("several channels fit: name one, as `rialto channel ls` prints it")
        }
    }
}

/// A client of the gateway that a channel pays.
fn client_of(stored: &StoredChannel, args: &PayerArgs) -> Result<PayingClient> {
    let gateway = GatewayArgs {
        gateway: stored.gateway.clone(),
        ..args.gateway.clone()
    };
    pay::client(&PayerArgs {
        gateway,
        rpc: args.rpc.clone(),
    })
}

/// The channels that ever held money: a call that was refused may leave a description without any.
pub(crate) fn stored(data: &DataArgs) -> Result<Vec<StoredChannel>> {
    let dir = home::channels_dir(&home::data_dir(data.data_dir.as_deref())?);
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
        "left": channel.left().to_string(),
        "state": match (&channel.withdrawal, &stored.fault, channel.left().is_zero()) {
            (Some(_), _, _) => "withdrawing",
            (None, _, true) => "empty",
            (None, Some(_), false) => "broken",
            (None, None, false) => "open",
        },
        "finalizes_at": channel.withdrawal.map(|withdrawal| withdrawal.finalizes_at.get()),
        "fault": stored.fault,
    })
}
