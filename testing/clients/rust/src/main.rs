//! Pays a Rialto gateway with Rust clients from crates.io, unmodified, and tells what they saw.
//!
//! ```text
//! rialto-rust-clients PLAN
//! ```
//!
//! PLAN is JSON: `{client, version, url, key, schemes, steps}`. `client` is `r402` (r402-client,
//! r402-evm, r402-http; version 2) or `x402-rs` (x402-reqwest, x402-chain-eip155; versions 1 and
//! 2). A step is `{calls, at_once, first}`; bodies are numbered from `first`, so that each is
//! distinct. Every run starts without any state. The answer on standard output is one JSON object,
//! as `x402_client.py` and `x402.mjs` give it.
//!
//! Not here: payments by channels, which none of these clients can make; `README.md` one folder up
//! says why.

mod account;
mod r402;
mod x402_rs;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use reqwest_middleware::ClientWithMiddleware;
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use account::{Account, Wire};

/// What to do.
#[derive(Debug, Deserialize)]
struct Plan {
    client: String,
    #[serde(default)]
    version: Option<u8>,
    url: String,
    key: String,
    schemes: Vec<String>,
    steps: Vec<Step>,
}

/// So many calls, so many at once.
#[derive(Debug, Deserialize)]
struct Step {
    calls: u64,
    at_once: u64,
    first: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let plan = std::env::args().nth(1).context("pass a plan")?;
    let plan: Plan = serde_json::from_str(&plan).context("the plan")?;
    let http = reqwest::Client::builder().timeout(TIMEOUT).build()?;
    let wire = Wire::default();
    let (client, payer) = match (plan.client.as_str(), plan.version.unwrap_or(2)) {
        ("r402", 2) => r402::client(http, wire.clone(), &plan.key, &plan.schemes)?,
        ("x402-rs", version @ (1 | 2)) => x402_rs::client(http, wire.clone(), &plan.key, version)?,
        (client, version) => bail!("no client `{client}` of version {version}"),
    };
    let account = Arc::new(Mutex::new(Account::new(payer, wire)));
    for step in &plan.steps {
        run(&client, &plan.url, step, &account).await?;
    }
    println!("{}", account.lock().await.as_json());
    Ok(())
}

async fn run(
    client: &ClientWithMiddleware,
    url: &str,
    step: &Step,
    account: &Arc<Mutex<Account>>,
) -> Result<()> {
    let mut numbers = step.first..step.first + step.calls;
    let mut running = JoinSet::new();
    loop {
        while running.len() < usize::try_from(step.at_once)? {
            let Some(number) = numbers.next() else { break };
            running.spawn(call(
                client.clone(),
                url.to_owned(),
                number,
                Arc::clone(account),
            ));
        }
        match running.join_next().await {
            Some(outcome) => outcome??,
            None => return Ok(()),
        }
    }
}

async fn call(
    client: ClientWithMiddleware,
    url: String,
    number: u64,
    account: Arc<Mutex<Account>>,
) -> Result<()> {
    let text = body(number);
    let bytes = text.len();
    let request = client
        .post(url)
        .header("content-type", "application/octet-stream");
    let answer = request.body(text).send().await?;
    let (status, headers) = (answer.status(), answer.headers().clone());
    let text = answer.text().await?;
    if !status.is_success() {
        bail!("call {number} was answered {status}: {text}");
    }
    let answer = serde_json::from_str(&text)?;
    account.lock().await.note(number, bytes, answer, &headers)
}

/// A text of its own for every number, of one to four KiB.
fn body(number: u64) -> String {
    let line = format!("Note {number}: the tide keeps the accounts of the harbour.\n");
    let times = usize::try_from(number % 4).unwrap_or(0) * 1024 / line.len() + 1;
    line.repeat(times)
}

const TIMEOUT: Duration = Duration::from_secs(60);
