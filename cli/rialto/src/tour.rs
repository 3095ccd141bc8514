//! The tour of `rialto up --tour`: one paid call of each known service on real input, then the
//! money's way to the provider.

use std::path::Path;

use anyhow::{Context, Result};
use rialto_channels::Amount;
use rialto_gateway::client::{Body, PayingClient};
use rialto_node::Node;
use serde_json::json;

use crate::call::readable;
use crate::show::{bold, dim, money};
use crate::{pay, policy, show, wallet};

/// Calls, claims, settles, and shows who was paid what.
pub(crate) async fn run(
    node: &Node,
    gateway: &str,
    quiet: bool,
    password_file: Option<&Path>,
) -> Result<()> {
    let data_dir = &node.config().data_dir;
    let opened = wallet::open(data_dir, password_file)?;
    let config = policy::client_config(data_dir, gateway, &opened)?;
    let client = PayingClient::with_wallet(config, opened.wallet)?;
    let payer = client.payer();
    let receiver = node.chain().receiver;
    let mut held = (unspent(node)?, Amount::ZERO);
    let before = (
        node.token_balance(payer).await?,
        node.token_balance(receiver).await?,
    );
    let mut charged = Amount::ZERO;
    for stop in stops()? {
        if node.service(stop.service).is_none() {
            continue;
        }
        charged = charged.checked_add(call(&client, &stop, quiet).await?)?;
    }
    let collected = node.collect().await?;
    let after = (
        node.token_balance(payer).await?,
        node.token_balance(receiver).await?,
    );
    held.1 = unspent(node)?;
    if quiet {
        return Ok(());
    }
    show::line(format!("\n{}", bold("claimed and settled on the chain")));
    for (account, amount, transaction) in &collected.settled {
        show::line(format!(
            "  {account} was paid {}  {}",
            money(*amount),
            dim(&format!("tx {transaction}"))
        ));
    }
    for (_, paid) in &collected.released {
        show::line(format!(
            "  royalty: {} to the publisher, {} to the provider  {}",
            money(paid.publisher),
            money(paid.provider),
            dim(&format!("tx {}", paid.transaction))
        ));
    }
    let mut table = show::table(&["account", "before", "after"]);
    table.add_row([
        "payer (this wallet)".to_owned(),
        money(before.0),
        money(after.0),
    ]);
    table.add_row([
        "payer, unspent in channels".to_owned(),
        money(held.0),
        money(held.1),
    ]);
    table.add_row(["provider".to_owned(), money(before.1), money(after.1)]);
    show::line(table.to_string());
    show::line(format!("charged for these calls: {}", money(charged)));
    Ok(())
}

/// What all channels hold that was not charged, in token base units.
fn unspent(node: &Node) -> Result<Amount> {
    let mut sum = Amount::ZERO;
    for channel in node.channels() {
        sum = sum.checked_add(channel.balance.checked_sub(channel.charged)?)?;
    }
    Ok(sum)
}

/// One call of the tour.
struct Stop {
    service: &'static str,
    method: &'static str,
    shown: &'static str,
    body: Body,
}

fn stops() -> Result<Vec<Stop>> {
    let program = std::env::current_exe().context("this program's own file is the first input")?;
    let mut head = Vec::new();
    let file = std::fs::File::open(&program)
        .with_context(|| format!("cannot read {}", program.display()))?;
    std::io::Read::read_to_end(&mut std::io::Read::take(file, HEAD_BYTES), &mut head)?;
    let texts = [
        "a cat sits on the mat",
        "a kitten rests on a rug",
        "quarterly tax return",
    ];
    Ok(vec![
        Stop {
            service: "filetype",
            method: "identify",
            shown: "the beginning of this very program",
            body: Body::raw(head),
        },
        Stop {
            service: "embed",
            method: "similarity",
            shown: "\"a cat sits on the mat\", \"a kitten rests on a rug\", \"quarterly tax return\"",
            body: Body::json(&json!({ "texts": texts })),
        },
    ])
}

async fn call(client: &PayingClient, stop: &Stop, quiet: bool) -> Result<Amount> {
    let Stop {
        service,
        method,
        shown,
        body,
    } = stop;
    let quote = client.quote(service, method, body).await?;
    if !quiet {
        show::line(format!(
            "\n{} {}",
            bold(&format!("{service}.{method}")),
            dim(shown)
        ));
        show::line(format!("price     {}", money(quote.price)));
    }
    let answer = client.call(&quote, body).await?;
    if !quiet {
        pay::show_cost(&answer);
        show::line(indented(&readable(&answer.body)));
    }
    Ok(answer.charged)
}

fn indented(text: &str) -> String {
    text.lines()
        .map(|line| format!("    {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}

const HEAD_BYTES: u64 = 64 << 10;
