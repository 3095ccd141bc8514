//! The paying client as the commands use it: this user's wallet, kept in the data folder.

use std::sync::Arc;

use anyhow::Result;
use rialto_channels::receipt::SignedReceipt;
use rialto_gateway::client::mesh::{Directory, MeshClient};
use rialto_gateway::client::{Answer, Config, PayingClient, Quote, Wallet};
use serde_json::{Value, json};

use crate::args::PayerArgs;
use crate::show::{dim, money};
use crate::wallet::Opened;
use crate::{home, policy, show, wallet};

/// A client of this gateway that pays from this user's wallet, by its policy.
pub(crate) fn client(args: &PayerArgs) -> Result<PayingClient> {
    client_with(args, |_| {})
}

/// The same, with something changed for this run alone.
pub(crate) fn client_with(
    args: &PayerArgs,
    change: impl FnOnce(&mut Config),
) -> Result<PayingClient> {
    let (config, wallet) = opened(args, change)?;
    Ok(PayingClient::with_wallet(config, wallet)?)
}

/// A client of all providers that `directory` knows, with this user's wallet and policy.
pub(crate) fn mesh_client(
    args: &PayerArgs,
    directory: Arc<dyn Directory>,
    change: impl FnOnce(&mut Config),
) -> Result<MeshClient> {
    let (config, wallet) = opened(args, change)?;
    Ok(MeshClient::new(config, wallet, directory))
}

/// A client for transactions of an open wallet, by the endpoint that was asked for, is configured or, else,
/// the node uses.
pub(crate) fn on_chain(args: &PayerArgs, opened: Opened, rpc: &str) -> Result<PayingClient> {
    let data_dir = home::data_dir(args.gateway.data.data_dir.as_deref())?;
    let mut config = policy::client_config(&data_dir, &args.gateway.gateway, &opened)?;
    let asked = args.rpc.clone().or(config.rpc_url);
    config.rpc_url = asked.or_else(|| Some(rpc.to_owned()).filter(|url| !url.is_empty()));
    Ok(PayingClient::with_wallet(config, opened.wallet)?)
}

/// This user's wallet, open, and how it pays.
fn opened(args: &PayerArgs, change: impl FnOnce(&mut Config)) -> Result<(Config, Arc<dyn Wallet>)> {
    let data = &args.gateway.data;
    let data_dir = home::data_dir(data.data_dir.as_deref())?;
    let opened = wallet::open(&data_dir, data.password_file.as_deref())?;
    let mut config = policy::client_config(&data_dir, &args.gateway.gateway, &opened)?;
    if let Some(rpc) = &args.rpc {
        config.rpc_url = Some(rpc.clone());
    }
    change(&mut config);
    Ok((config, opened.wallet))
}

/// The answer and what it cost, for scripts.
pub(crate) fn answer_json(quote: &Quote, answer: &Answer) -> Value {
    let mut told = outcome_json(answer);
    told["price"] = Value::String(quote.price.to_string());
    told
}

/// The same without what was quoted.
pub(crate) fn outcome_json(answer: &Answer) -> Value {
    // The items of a stream had lines of their own.
    let result: Value = match answer.items {
        Some(_) => Value::Null,
        None => serde_json::from_slice(&answer.body).unwrap_or(Value::Null),
    };
    json!({
        "result": result,
        "items": answer.items,
        "charged": answer.charged.to_string(),
        "replayed": answer.replayed,
        "deposited": answer.deposit.map(|(amount, _)| amount.to_string()),
        "channel": answer.channel.as_ref().map(|channel| json!({
            "id": channel.id.to_string(),
            "balance": channel.balance.to_string(),
            "charged": channel.charged.to_string(),
        })),
        "receipt": answer.receipt.as_ref().map(|signed| signed.receipt.id.to_string()),
        "receipt_fault": answer.receipt_fault.as_ref().map(ToString::to_string),
    })
}

/// What a call cost, from which channel, and under which receipt, for people.
pub(crate) fn show_cost(answer: &Answer) {
    if let Some((amount, transaction)) = &answer.deposit {
        let transaction = transaction
            .map(|tx| dim(&format!("  tx {}", show::short(&tx.to_string()))))
            .unwrap_or_default();
        show::note(format!(
            "deposit   {} into a payment channel{transaction}",
            money(*amount)
        ));
    }
    show::note(format!(
        "charged   {}{}",
        money(answer.charged),
        if answer.replayed {
            " (stored answer, not charged again)"
        } else {
            ""
        }
    ));
    if let Some(channel) = &answer.channel {
        let left = channel.balance.saturating_sub(channel.charged);
        show::note(format!(
            "channel   {}  {} left of {}",
            show::short(&channel.id.to_string()),
            money(left),
            money(channel.balance)
        ));
    }
    if let Some(signed) = &answer.receipt {
        show::note(format!("receipt   {}", receipt_line(signed)));
    }
    if let Some(fault) = &answer.receipt_fault {
        show::note(format!("warning   the receipt is not good: {fault}"));
    }
}

fn receipt_line(signed: &SignedReceipt) -> String {
    let receipt = &signed.receipt;
    let micros = receipt
        .usage
        .guest_time_us
        .saturating_add(receipt.usage.host_time_us);
    format!(
        "{}  {} {} on {}, {}.{:01} ms",
        show::short(&receipt.id.to_string()),
        receipt.service,
        receipt.version,
        receipt.engine,
        micros / 1000,
        micros % 1000 / 100
    )
}
