//! `rialto wallet show`: who pays, and with what.

use alloy_primitives::Address;
use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::args::PayerArgs;
use crate::services::get;
use crate::{home, pay, show};

/// Shows the wallet's address and what it holds.
pub(super) async fn run(args: PayerArgs) -> Result<()> {
    let data = &args.gateway.data;
    let data_dir = home::data_dir(data.data_dir.as_deref())?;
    let opened = super::open(&data_dir, data.password_file.as_deref())?;
    let address = opened.wallet.address();
    let held = holdings(&args).await;
    if args.gateway.json {
        let held = held.as_ref().ok();
        show::json(&json!({
            "address": address.to_checksum(None),
            "kind": opened.kind.name(),
            "token_balance": held.map(|(tokens, _)| tokens.to_string()),
            "coin_balance": held.map(|(_, coins)| coins.to_string()),
        }));
        return Ok(());
    }
    show::line(format!("address   {address}"));
    match held {
        Ok((tokens, coins)) => {
            show::line(format!("holds     {}", show::money(tokens)));
            show::line(format!("for fees  {}", show::coins(coins)));
        }
        Err(error) => show::line(format!("holds     unknown: {error:#}")),
    }
    show::line(format!("key       {}", opened.kind.describe()));
    Ok(())
}

/// Tokens and coins, on the chain that the gateway is paid on.
async fn holdings(args: &PayerArgs) -> Result<(rialto_channels::Amount, u128)> {
    let node = get(&args.gateway.gateway, "/node").await?;
    let chain_id = node.get("chain_id").and_then(Value::as_u64);
    let chain_id = chain_id.context("the gateway's /node names no chain")?;
    let token: Address = node
        .pointer("/token/address")
        .and_then(Value::as_str)
        .and_then(|text| text.parse().ok())
        .context("the gateway's /node names no token")?;
    Ok(pay::client(args)?.holdings(chain_id, token).await?)
}
