//! `rialto wallet`: who pays, and with what.

use anyhow::{Context, Result};
use rialto_channels::Amount;
use serde_json::{Value, json};

use crate::args::WalletArgs;
use crate::services::get;
use crate::{home, show};

/// Shows the wallet's address and what it holds.
pub(crate) async fn run(args: WalletArgs) -> Result<()> {
    let args = args.gateway;
    let data_dir = home::data_dir(args.data.data_dir.as_deref())?;
    let address = home::wallet_key(&data_dir)?.address();
    let node = get(&args.gateway, "/node").await;
    let held = match &node {
        Ok(node) => Some(balance(node, address).await?),
        Err(_) => None,
    };
    if args.json {
        show::json(&json!({
            "address": address.to_checksum(None),
            "token_balance": held.map(|held| held.to_string()),
        }));
        return Ok(());
    }
    show::line(format!("address   {address}"));
    match held {
        Some(held) => show::line(format!("holds     {}", show::money(held))),
        None => show::line(format!(
            "holds     unknown: no gateway answers at {}",
            args.gateway
        )),
    }
    show::line(format!(
        "key       {}",
        home::wallet_dir(&data_dir).join("wallet.key").display()
    ));
    Ok(())
}

/// Asks the chain that the gateway names for the wallet's tokens.
async fn balance(node: &Value, address: alloy_primitives::Address) -> Result<Amount> {
    let field = |pointer: &str| {
        node.pointer(pointer)
            .and_then(Value::as_str)
            .with_context(|| format!("the gateway's /node has no {pointer}"))
    };
    let data = format!("0x70a08231{:0>64}", hex::encode(address));
    let request = json!({
        "jsonrpc": "2.0", "id": 1, "method": "eth_call",
        "params": [{ "to": field("/token/address")?, "data": data }, "latest"],
    });
    let answer: Value = reqwest::Client::new()
        .post(field("/rpc_url")?)
        .json(&request)
        .send()
        .await?
        .json()
        .await?;
    let hex = answer
        .get("result")
        .and_then(Value::as_str)
        .context("the chain's RPC gave no balance")?;
    let units = u128::from_str_radix(hex.trim_start_matches("0x").trim_start_matches('0'), 16)
        .unwrap_or_default();
    Ok(Amount::new(units))
}
