//! `rialto receipt tree`: a call with all the calls below it, who did what, and for how much.

use std::future::Future;
use std::pin::Pin;

use alloy_primitives::{Address, B256};
use anyhow::{Context as _, Result, bail};
use rialto_channels::receipt::SignedReceipt;
use rialto_gateway::Purchase;
use rialto_gateway::record::ReceiptRecord;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{breach, fetch, signer};
use crate::args::GatewayArgs;
use crate::services::get;
use crate::show::{self, dim, money};

/// Shows a call's tree.
pub(super) async fn run(id: &str, args: &GatewayArgs) -> Result<()> {
    let (_, signed, _) = fetch(id, args).await?;
    let host = signer(&signed)?;
    let asking = Asking {
        gateway: &args.gateway,
        depth: 0,
        left: &mut { CALLS_MAX },
    };
    let root = grown(signed, host, asking).await?;
    if args.json {
        show::json(&root.json());
        return Ok(());
    }
    root.show("", "");
    let receipt = &root.signed.receipt;
    let own = receipt
        .charged
        .checked_sub(receipt.usage.hires.spent)
        .unwrap_or_default();
    show::line(format!(
        "\n{} in all: {} for its own work, {} for that of others",
        money(receipt.charged),
        money(own),
        money(receipt.usage.hires.spent),
    ));
    Ok(())
}

/// A call, and those below it.
struct Node {
    signed: SignedReceipt,
    below: Vec<Self>,
    /// What is not shown, and why.
    missing: Option<String>,
}

/// What the gateway says of the calls below one.
#[derive(Deserialize)]
struct Below {
    receipts: Vec<ReceiptRecord>,
    /// The call itself was another host's.
    bought: Option<Purchase>,
}

/// Whom to ask, how deep in the tree it is, and how many more may come.
struct Asking<'a> {
    gateway: &'a str,
    depth: usize,
    left: &'a mut usize,
}

type Growing<'a> = Pin<Box<dyn Future<Output = Result<Node>> + 'a>>;

/// Asks for what is below a call that had others work for it, whose signatures have to be its host's; or, where it was
/// bought, another's.
fn grown<'a>(signed: SignedReceipt, host: Address, mut asking: Asking<'a>) -> Growing<'a> {
    Box::pin(async move {
        let mut node = Node {
            signed,
            below: Vec::new(),
            missing: None,
        };
        let receipt = &node.signed.receipt;
        if receipt.usage.hires.calls == 0 || asking.depth >= DEPTH_MAX {
            return Ok(node);
        }
        let parent = receipt.id;
        let answer = get(asking.gateway, &format!("/receipts/{parent}/below")).await;
        let answer = answer.context("the calls below it are their host's to tell")?;
        let below: Below = serde_json::from_value(answer)?;
        let gateway = asking.gateway;
        for record in below.receipts {
            let signed = checked(record, parent, Some(host))?;
            let asking = asking.next(gateway)?;
            node.below.push(grown(signed, host, asking).await?);
        }
        if let Some(bought) = below.bought {
            node.buy(bought, asking).await?;
        }
        Ok(node)
    })
}

/// A receipt of a call below another, signed by the host that it is asked of, or by whoever it was bought from.
fn checked(record: ReceiptRecord, parent: B256, host: Option<Address>) -> Result<SignedReceipt> {
    let signed = SignedReceipt::try_from(record)?;
    let host = host.map_or_else(|| signer(&signed), Ok)?;
    signed
        .verify(host)
        .map_err(|error| breach(&signed.receipt, &error))?;
    if signed.receipt.parent != Some(parent) {
        bail!(
            "receipt {} is of no call below {parent}: do not trust this gateway",
            signed.receipt.id
        );
    }
    Ok(signed)
}

impl Asking<'_> {
    /// For one call of the next level.
    fn next<'a>(&'a mut self, gateway: &'a str) -> Result<Asking<'a>> {
        *self.left = self
            .left
            .checked_sub(1)
            .with_context(|| format!("there are more than {CALLS_MAX} calls below it"))?;
        Ok(Asking {
            gateway,
            depth: self.depth + 1,
            left: self.left,
        })
    }
}

impl Node {
    /// Adds what another host signed for the same call, and what is below it there.
    async fn buy(&mut self, bought: Purchase, mut asking: Asking<'_>) -> Result<()> {
        let Some(record) = bought.receipt else {
            self.missing = Some(format!("{} worked for nothing", bought.provider));
            return Ok(());
        };
        let signed = checked(record, self.signed.receipt.id, None)?;
        let (own, theirs) = (&self.signed.receipt, &signed.receipt);
        if own.charged != theirs.charged || own.request != theirs.request {
            bail!(
                "receipt {} is for something else than {}, which passes it on: do not trust this gateway",
                theirs.id,
                own.id
            );
        }
        let host = signer(&signed)?;
        let node = match &bought.gateway {
            Some(gateway) => grown(signed, host, asking.next(gateway)?).await?,
            None => {
                let hires = theirs.usage.hires.calls > 0;
                let missing = hires.then(|| {
                    format!(
                        "what is below it is told by {}, which is behind a relay",
                        bought.provider
                    )
                });
                Self {
                    signed,
                    below: Vec::new(),
                    missing,
                }
            }
        };
        self.below.push(node);
        Ok(())
    }

    /// Prints it behind `first`, and what is below behind `rest`.
    fn show(&self, first: &str, rest: &str) {
        let receipt = &self.signed.receipt;
        show::line(format!(
            "{first}{}.{}  {}  {}",
            receipt.service,
            receipt.method,
            money(receipt.charged),
            dim(&show::short(&receipt.id.to_string())),
        ));
        if let Some(missing) = &self.missing {
            show::line(format!("{rest}   {}", dim(missing)));
        }
        let last = self.below.len().saturating_sub(1);
        for (at, node) in self.below.iter().enumerate() {
            let (branch, stem) = match at == last {
                true => ("└─ ", "   "),
                false => ("├─ ", "│  "),
            };
            node.show(&format!("{rest}{branch}"), &format!("{rest}{stem}"));
        }
    }

    fn json(&self) -> Value {
        let below: Vec<Value> = self.below.iter().map(Self::json).collect();
        let mut json = json!({ "receipt": ReceiptRecord::from(&self.signed), "below": below });
        if let Some(missing) = &self.missing {
            json["missing"] = json!(missing);
        }
        json
    }
}

/// Levels that are asked for: hosts let services call each other no deeper, and a call that was bought has two.
const DEPTH_MAX: usize = 32;
/// Calls that are asked for.
const CALLS_MAX: usize = 1_000;
