//! Both versions of the protocol in every language that has a client of it (JavaScript's are in
//! [`clients`](crate::clients) and [`strangers`](crate::strangers)): Rust's two, and Python's
//! version 1.

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::books::{Books, DEV_TOKENS};
use crate::installed::Installed;
use crate::stranger::{Client, SERVICE};

/// Nothing is claimed before the test asks.
const COLLECT_LATER: &str = "[payments]\ncollect_every_seconds = 86400\n";

#[tokio::test]
async fn exact_in_both_versions_by_clients_in_rust_and_python() -> Result<()> {
    let installed = Installed::new(&[SERVICE], COLLECT_LATER)?;
    let mesh = installed.start(&[])?;
    let key = mesh.test_key(1);
    let steps = json!([
        { "calls": 1, "at_once": 1, "first": 0 },
        { "calls": 6, "at_once": 3, "first": 1 },
    ]);
    let clients = [
        Client::R402,
        Client::X402Rs(1),
        Client::X402Rs(2),
        Client::PypiVersion1,
    ];
    let mut spent = 0;
    for client in clients {
        let paid = client.pay(&mesh, key, &["exact"], &steps).await?;
        ensure!(paid.calls.len() == 7, "{client:?}: {paid:?}");
        ensure!(
            paid.channel.is_none() && paid.deposits == 0,
            "{client:?} has a channel: {paid:?}"
        );
        let price: u128 = paid.calls.iter().map(|call| call.charged).sum();
        ensure!(paid.paid_at_once == price && price > 0, "{paid:?}");
        spent += price;
        let after = Books::read(&mesh, &paid.payer).await?;
        let expected = Books {
            payer: DEV_TOKENS - spent,
            provider: DEV_TOKENS + spent,
            contract: 0,
            ..after
        };
        ensure!(
            after == expected,
            "{client:?}: {after:?}, expected {expected:?}"
        );
    }
    mesh.stop()
}

/// r402 0.21 names channels by another hash than the contract does (`testing/clients/README.md`), so
/// none of its vouchers can ever be claimed: they are refused before anything runs.
#[tokio::test]
async fn a_channel_that_the_contract_does_not_know_pays_for_nothing() -> Result<()> {
    let installed = Installed::new(&[SERVICE], COLLECT_LATER)?;
    let mesh = installed.start(&[])?;
    let steps = json!([{ "calls": 1, "at_once": 1, "first": 0 }]);
    let key = mesh.test_key(2);
    let refused = Client::R402
        .pay(&mesh, key, &["batch-settlement"], &steps)
        .await;
    let error = format!("{:#}", refused.err().context("it paid")?);
    ensure!(error.contains("payment_malformed"), "{error}");
    ensure!(
        error.contains("channelConfig"),
        "it is not said why: {error}"
    );
    let books = Books::read(&mesh, mesh.text("/addresses/receiver")).await?;
    ensure!(
        books.contract == 0 && books.provider == DEV_TOKENS,
        "{books:?}"
    );
    mesh.stop()
}
