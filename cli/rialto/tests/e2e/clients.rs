//! Unmodified x402 clients from npm and PyPI pay a mesh, and afterwards every base unit is where it
//! belongs: what the clients believe, what the host keeps and what the chain has are the same.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use rialto_testkit::mesh::Mesh;
use serde_json::{Value, json};

use crate::books::{self, Books, DEV_TOKENS, OnChain, units};
use crate::fixture;
use crate::installed::{Installed, python_program, run};
use crate::stranger::{Client, Paid, SERVICE, service_url};

/// Nothing is claimed but by a refund, so that a client without state has something to learn.
const COLLECT_LATER: &str = "[payments]\ncollect_every_seconds = 86400\n";
const COLLECT_NOW: &str = "[payments]\ncollect_every_seconds = 1\n";
/// One deposit for all calls. On a busy machine this client's event loop holds a signed voucher back
/// while a dozen others are charged, so that it needs more headroom than eight calls at once do.
const ONE_DEPOSIT: &str = "deposit_min = \"200000\"\nheadroom = 32\n";

#[tokio::test]
async fn npm_client_pays_to_the_base_unit() -> Result<()> {
    pays_to_the_base_unit(Client::Npm, COLLECT_LATER).await
}

#[tokio::test]
async fn pypi_client_pays_to_the_base_unit() -> Result<()> {
    let config = format!("{COLLECT_LATER}{ONE_DEPOSIT}");
    pays_to_the_base_unit(Client::Pypi, &config).await
}

/// Deposits, 100 calls eight at a time, a client without state, refunds, and the claim of the rest.
async fn pays_to_the_base_unit(client: Client, config: &str) -> Result<()> {
    let installed = Installed::new(&[SERVICE], config)?;
    let mesh = installed.start(&[])?;
    let (key, batch) = (mesh.test_key(0), &["batch-settlement", "exact"]);

    let steps = json!([
        { "calls": 1, "at_once": 1, "first": 0 },
        { "calls": 100, "at_once": 8, "first": 1 },
    ]);
    let warm = client.pay(&mesh, key, batch, &steps).await?;
    ensure!(warm.calls.len() == 101, "{} answers", warm.calls.len());
    ensure!(warm.in_flight_max > 1, "no two payments overlapped");
    // What the payer had before is known from the chain's first block.
    let before = Books {
        payer: DEV_TOKENS,
        ..Books::read(&mesh, &warm.payer).await?
    };
    ensure!(before.provider == DEV_TOKENS, "it was paid early");

    let steps = json!([
        { "calls": 24, "at_once": 4, "first": 200 },
        { "refund": "1000" },
    ]);
    let cold = client.pay(&mesh, key, batch, &steps).await?;
    ensure!(cold.calls.len() == 24, "{} answers", cold.calls.len());
    ensure!(cold.corrections > 0, "the cold client knew everything");
    ensure!(cold.refunded == 1000, "refunded {}", cold.refunded);

    let steps = json!([{ "refund": "all" }, { "calls": 1, "at_once": 1, "first": 300 }]);
    let again = client.pay(&mesh, key, batch, &steps).await?;
    ensure!(again.deposits == 1, "a refunded channel opens again");

    let sums = Sums::of(&[warm, cold, again])?;
    sums.check_receipts(&mesh).await?;
    mesh.stop()?;
    installed.configure(COLLECT_NOW)?;
    let mesh = installed.start(&[])?;
    fixture::until("all charges are settled", || async {
        Ok(books::earned(&mesh).await?.1 == sums.charged)
    })
    .await?;
    sums.check_money(&mesh, before).await?;
    mesh.stop()
}

#[tokio::test]
async fn npm_client_pays_exact_and_the_conformance_suite_passes() -> Result<()> {
    let installed = Installed::new(&[SERVICE], COLLECT_LATER)?;
    let mesh = installed.start(&[])?;
    let key = mesh.test_key(1);
    let steps = json!([
        { "calls": 1, "at_once": 1, "first": 0 },
        { "calls": 8, "at_once": 4, "first": 1 },
    ]);
    for (client, rounds) in [(Client::Npm, 1), (Client::Pypi, 2)] {
        let paid = client.pay(&mesh, key, &["exact"], &steps).await?;
        ensure!(paid.calls.len() == 9, "{} answers", paid.calls.len());
        ensure!(
            paid.channel.is_none() && paid.deposits == 0,
            "a channel: {paid:?}"
        );
        let price: u128 = paid.calls.iter().map(|call| call.charged).sum();
        ensure!(paid.paid_at_once == price, "{paid:?}");
        let after = Books::read(&mesh, &paid.payer).await?;
        let expected = Books {
            payer: DEV_TOKENS - rounds * price,
            provider: DEV_TOKENS + rounds * price,
            contract: 0,
            ..after
        };
        ensure!(after == expected, "{after:?}, expected {expected:?}");
    }

    let mut suite = python_program("x402conf")?;
    suite.args(["resource", &service_url(&mesh), "--fail-on-error"]);
    let results = run(&mut suite).await?.json()?;
    let checks = results.pointer("/results/0/checks");
    let checks = checks.and_then(Value::as_array);
    let checks = checks.with_context(|| format!("no checks: {results}"))?;
    ensure!(checks.len() >= 7, "only {} checks", checks.len());
    // Warnings do not fail the suite; here they do.
    let failed: Vec<_> = checks
        .iter()
        .filter(|check| check["pass"] != true)
        .collect();
    ensure!(failed.is_empty(), "{failed:?}");
    mesh.stop()
}

/// A wallet that never approved anything and has sent nothing: each deposit takes a Permit2 signature
/// and an EIP-2612 permit, which the host sends. The service pays a royalty besides.
#[tokio::test]
async fn npm_client_deposits_by_permit2_and_a_royalty_is_paid() -> Result<()> {
    let installed = Installed::new(&[SERVICE], &format!("{COLLECT_LATER}{BY_PERMIT2}"))?;
    installed.append(SERVICE, ROYALTY)?;
    let mesh = installed.start(&[])?;
    let steps = json!([
        { "calls": 1, "at_once": 1, "first": 0 },
        { "calls": 20, "at_once": 4, "first": 1 },
        { "refund": "all" },
        { "calls": 1, "at_once": 1, "first": 50 },
    ]);
    let (key, channel) = (mesh.test_key(2), &["batch-settlement"]);
    let paid = Client::Npm
        .pay_by(&mesh, key, channel, Some("permit2"), &steps)
        .await?;
    ensure!(paid.calls.len() == 22, "{} answers", paid.calls.len());
    ensure!(paid.deposits >= 2, "{paid:?}");
    ensure!(paid.refunded > 0, "{paid:?}");
    let payer = paid.payer.as_str();
    let sent = fixture::rpc(&mesh, "eth_getTransactionCount", json!([payer, "latest"])).await?;
    ensure!(sent == "0x0", "the payer sent {sent} transactions");
    let permits = books::permits(&mesh, payer).await?;
    ensure!(
        permits >= u128::from(paid.deposits),
        "{permits} permits for {} deposits",
        paid.deposits
    );

    let price: u128 = paid.calls.iter().map(|call| call.charged).sum();
    ensure!(paid.charged == price, "{paid:?}");
    mesh.stop()?;
    installed.configure(&format!("{COLLECT_NOW}{BY_PERMIT2}"))?;
    let mesh = installed.start(&[])?;
    // 7.77% of all that was charged, rounded down, and the rest; more than one settlement of it.
    let publisher = price * 777 / 10_000;
    fixture::until("publisher and provider are paid", || async {
        let earned = |account| books::held(&mesh, account);
        let provider = mesh.text("/addresses/receiver");
        Ok(earned(PUBLISHER).await? == DEV_TOKENS + publisher
            && earned(provider).await? == DEV_TOKENS + price - publisher)
    })
    .await?;
    mesh.stop()
}

/// A development account that plays no other part in a mesh.
const PUBLISHER: &str = "0x15d34AAf54267DB7D7c367839AAf71A00a2C6A65";
const ROYALTY: &str =
    "\n[royalty]\naccount = \"0x15d34AAf54267DB7D7c367839AAf71A00a2C6A65\"\nshare = \"7.77%\"\n";
const BY_PERMIT2: &str = "deposit_methods = [\"eip3009\", \"permit2\"]\n";

/// Several clients' accounts of one channel, added up.
#[derive(Debug)]
struct Sums {
    payer: String,
    channel: String,
    charged: u128,
    deposited: u128,
    deposits_unsure: u128,
    refunded: u128,
    receipts: BTreeSet<String>,
}

impl Sums {
    fn of(runs: &[Paid]) -> Result<Self> {
        let first = runs.first().context("no runs")?;
        let sum = |part: fn(&Paid) -> u128| runs.iter().map(part).sum();
        let calls = || runs.iter().flat_map(|paid| &paid.calls);
        let sums = Self {
            payer: first.payer.clone(),
            channel: first.channel.clone().context("no channel")?,
            charged: sum(|paid| paid.charged),
            deposited: sum(|paid| paid.deposited),
            deposits_unsure: sum(|paid| paid.deposits_unsure),
            refunded: sum(|paid| paid.refunded),
            receipts: calls().map(|call| call.receipt.clone()).collect(),
        };
        for paid in runs {
            ensure!(paid.channel == first.channel, "another channel: {paid:?}");
        }
        let each: u128 = calls().map(|call| call.charged).sum();
        ensure!(sums.charged == each, "{} is not {each}", sums.charged);
        ensure!(
            sums.receipts.len() == calls().count(),
            "two calls have one receipt"
        );
        Ok(sums)
    }

    /// The host keeps the receipt of every call, and they add up.
    async fn check_receipts(&self, mesh: &Mesh) -> Result<()> {
        let mut charged = 0;
        for id in &self.receipts {
            let receipt = fixture::get(mesh, &format!("/receipts/{id}")).await?;
            charged += units(&receipt, "/charged")?;
        }
        ensure!(charged == self.charged, "the receipts say {charged}");
        Ok(())
    }

    /// Once everything is settled: payer, provider, contract, channel and host agree.
    async fn check_money(&self, mesh: &Mesh, before: Books) -> Result<()> {
        let channel = OnChain::read(mesh, &self.channel).await?;
        let deposited = channel.balance + self.refunded;
        ensure!(
            (self.deposited..=self.deposited + self.deposits_unsure).contains(&deposited),
            "{deposited} were deposited, the client says {self:?}"
        );
        ensure!(
            channel.claimed == self.charged,
            "{channel:?}, the clients say {self:?}"
        );
        let earned = books::earned(mesh).await?;
        ensure!(
            earned == (self.charged, self.charged),
            "claimed and settled {earned:?}"
        );
        let after = Books::read(mesh, &self.payer).await?;
        let expected = Books {
            payer: before.payer - deposited + self.refunded,
            provider: before.provider + self.charged,
            contract: deposited - self.refunded - self.charged,
            supply: before.supply,
        };
        ensure!(after == expected, "{after:?}, expected {expected:?}");
        let held = |books: &Books| books.payer + books.provider + books.contract;
        ensure!(
            held(&after) == 2 * DEV_TOKENS,
            "money came or went: {after:?}"
        );

        fixture::until("the host has seen its claim", || async {
            let host = fixture::get(mesh, &format!("/channels/{}", self.channel)).await?;
            Ok(units(&host, "/claimed")? == self.charged)
        })
        .await?;
        let host = fixture::get(mesh, &format!("/channels/{}", self.channel)).await?;
        for (field, expected) in [
            ("/balance", channel.balance),
            ("/charged", self.charged),
            ("/in_flight", 0),
            ("/available", channel.balance - self.charged),
        ] {
            ensure!(
                units(&host, field)? == expected,
                "{host} should have {expected} at {field}"
            );
        }
        Ok(())
    }
}
