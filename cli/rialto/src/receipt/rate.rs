//! `rialto receipt rate`: how good a call was, said on the chain and backed by its receipt.

use std::path::Path;

use alloy_primitives::{B256, hex};
use anyhow::{Context as _, Result, bail};
use rialto_channels::ChannelConfig;
use rialto_channels::receipt::SignedReceipt;
use rialto_gateway::client::{stored_channels, stored_receipt};
use rialto_node::{AgentCalls, ToRate};
use rialto_registry::reputation::Evidence;
use serde_json::json;

use crate::args::PayerArgs;
use crate::lifecycle::{self, Act};
use crate::show::{self, line};
use crate::{home, pay, publish, wallet};

/// Sends the rating from the wallet that paid for the call.
pub(crate) async fn run(id: &str, value: i8, payer: &PayerArgs) -> Result<()> {
    let data = &payer.gateway.data;
    let data_dir = home::data_dir(data.data_dir.as_deref())?;
    let opened = wallet::open(&data_dir, data.password_file.as_deref())?;
    let signed = kept(id, &data_dir)?;
    let own = opened.wallet.address();
    if signed.receipt.payer != own {
        bail!(
            "{} paid for this call, and the wallet in use is {own}: `rialto wallet use` chooses another",
            signed.receipt.payer
        );
    }
    let evidence = Evidence {
        channel: terms(&signed, &data_dir)?,
        receipt: signed,
    };
    let wanted = Act::Rate {
        document: hex::encode(evidence.to_bytes()),
    };
    let answer = lifecycle::act(data.data_dir.as_deref(), &wanted).await?;
    let to: ToRate = serde_json::from_value(answer["to"].clone())
        .context("the running node is of another version")?;
    if to.owner == own {
        bail!(
            "`{}` is your own: what you say of it does not count",
            to.service
        );
    }
    let call = AgentCalls::rate(&to, value)?;
    let rpc = answer["rpc"].as_str().unwrap_or("");
    let client = pay::on_chain(payer, opened, rpc)?;
    let purpose = format!("rate {} with {value}", to.service);
    let json = payer.gateway.json;
    let sent = publish::send(
        &client,
        (to.chain_id, to.registry),
        vec![call],
        &purpose,
        json,
    );
    let transactions = sent.await?;
    if json {
        let transactions: Vec<String> = transactions.iter().map(ToString::to_string).collect();
        show::json(&json!({
            "service": to.service,
            "value": value,
            "receipt": to.uri,
            "transactions": transactions,
        }));
    } else {
        line(format!(
            "rated {} with {value}, backed by {}",
            to.service, to.uri
        ));
    }
    Ok(())
}

/// The terms of the channel that paid: with them others can ask the chain whether it was funded.
fn terms(signed: &SignedReceipt, data_dir: &Path) -> Result<ChannelConfig> {
    let Some(channel) = signed.receipt.channel else {
        bail!("this call was not paid from a channel: only calls that were can be rated");
    };
    let kept = stored_channels(&home::channels_dir(data_dir))?.into_iter();
    let mut kept = kept.filter(|stored| stored.snapshot.id == channel);
    let stored = kept
        .next()
        .with_context(|| format!("the terms of channel {channel} are no longer kept here"))?;
    Ok(stored.snapshot.config)
}

/// The receipt, as the wallet's programs keep it.
fn kept(id: &str, data_dir: &Path) -> Result<SignedReceipt> {
    let number: B256 = id
        .parse()
        .with_context(|| format!("`{id}` is no receipt's id: 0x and 64 hexadecimal digits"))?;
    let found = stored_receipt(&home::channels_dir(data_dir), number)?;
    let record = found
        .with_context(|| format!("no receipt {id} is kept here: `rialto receipt ls` shows them"))?;
    Ok(record.try_into()?)
}
