//! Hosts in network namespaces of their own: calls under delay and loss, a partition, a host behind a NAT, a
//! host that is killed. No call is lost that could be answered, and none is charged twice.
//!
//! What was seen is written to the file that `RIALTO_FAILURES_JSON` names; docs/failures.md has the table.
#![cfg(target_os = "linux")]

mod lab;
mod load;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rialto_testkit::net;
use serde_json::{Value, json};

use lab::{CALLER, FIRST, HIDDEN, HOSTS, Lab, PRICE, SETTLE, address, until};
use load::{Call, Load, Tally, first_answer};

const NAME: &str = "calls_survive_delay_loss_partitions_nats_and_kills";

#[test]
fn calls_survive_delay_loss_partitions_nats_and_kills() -> Result<()> {
    if net::is_inside() {
        let runtime = tokio::runtime::Runtime::new()?;
        return runtime.block_on(inside());
    }
    let status = net::enter(NAME, TIME_MAX)?;
    ensure!(status.success(), "inside the network it failed: {status}");
    Ok(())
}

async fn inside() -> Result<()> {
    let began = Instant::now();
    let mut lab = Lab::start()?;
    lab.publish().await?;
    let known = || async { Ok(lab.providers().await?.len() >= HOSTS - 1) };
    until("all providers are known", SETTLE, known).await?;
    say("ready", began.elapsed());
    lab.router.set(|weather| {
        weather.delay = DELAY;
        weather.loss_permille = LOSS_PERMILLE;
    });
    let mut seen = Vec::new();
    let outcome = scenarios(&mut lab, &mut seen).await;
    if outcome.is_err() {
        for number in 0..HOSTS {
            eprintln!("--- host {number}\n{}", lab.log(number));
        }
    }
    let report = json!({
        "delay_ms_each_way": millis(DELAY),
        "loss_permille": LOSS_PERMILLE,
        "packets_lost": lab.router.lost(),
        "seconds": began.elapsed().as_secs(),
        "scenarios": seen,
    });
    let file = std::env::var_os("RIALTO_FAILURES_JSON").map(PathBuf::from);
    let file =
        file.unwrap_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("failures.json"));
    std::fs::write(&file, serde_json::to_string_pretty(&report)?)?;
    eprintln!("what was seen is in {}", file.display());
    outcome?;
    lab.stop()
}

async fn scenarios(lab: &mut Lab, seen: &mut Vec<Value>) -> Result<()> {
    delay_and_loss(lab, seen).await?;
    short_partition(lab, seen).await?;
    hidden_host(lab, seen).await?;
    long_partition(lab, seen).await?;
    killed_host(lab, seen).await
}

/// Every call is answered, and nothing is asked twice of anybody: no call may be repeated elsewhere.
async fn delay_and_loss(lab: &Lab, seen: &mut Vec<Value>) -> Result<()> {
    let before = Receipts::read(lab).await?;
    let load = Load::start(lab, CALLERS, 120, "region=open")?;
    let calls = load.done().await;
    let lost = before
        .check(lab, "delay and loss", &calls, json!({}), seen)
        .await?;
    lost.ensure(&[])
}

/// Calls under way wait until the network is whole again; none is repeated elsewhere, none is charged twice.
async fn short_partition(lab: &Lab, seen: &mut Vec<Value>) -> Result<()> {
    let before = Receipts::read(lab).await?;
    let load = Load::start(lab, CALLERS, usize::MAX, "region=open")?;
    some_calls(&load).await?;
    lab.router.set(|weather| weather.island = island());
    tokio::time::sleep(SHORT).await;
    lab.router.set(|weather| weather.island.clear());
    let healed = Instant::now();
    let back = answered_since(&load, healed, Some(&names(lab, &ISLAND)?)).await?;
    let calls = load.stop().await;
    let more = json!({ "cut_ms": millis(SHORT), "recovery_ms": millis(back) });
    let lost = before
        .check(lab, "partition in mid-call, short", &calls, more, seen)
        .await?;
    lost.ensure(&[])
}

/// Calls under way go elsewhere once their provider counts as gone; it is used again after the cut.
async fn long_partition(lab: &Lab, seen: &mut Vec<Value>) -> Result<()> {
    let before = Receipts::read(lab).await?;
    let load = Load::start(lab, CALLERS, usize::MAX, ELSEWHERE)?;
    some_calls(&load).await?;
    lab.router.set(|weather| weather.island = island());
    let cut = Instant::now();
    let elsewhere = answered_since(&load, cut, None).await?;
    tokio::time::sleep(LONG.saturating_sub(cut.elapsed())).await;
    lab.router.set(|weather| weather.island.clear());
    let healed = Instant::now();
    let back = answered_since(&load, healed, Some(&names(lab, &ISLAND)?)).await?;
    let calls = load.stop().await;
    let more = json!({
        "cut_ms": millis(healed - cut),
        "elsewhere_ms": millis(elsewhere),
        "recovery_ms": millis(back),
    });
    let lost = before
        .check(lab, "partition in mid-call, long", &calls, more, seen)
        .await?;
    lost.ensure(&ISLAND)
}

/// A host that only a relay reaches answers through it, and the caller pays for it as for any other.
async fn hidden_host(lab: &Lab, seen: &mut Vec<Value>) -> Result<()> {
    let before = Receipts::read(lab).await?;
    let began = Instant::now();
    let mut calls: Vec<Call> = Vec::new();
    while calls.is_empty() {
        ensure!(began.elapsed() < SETTLE, "the hidden host does not answer");
        let first = Load::start(lab, 1, 1, HIDDEN_ONLY)?.done().await;
        // Until its place at the relay is known, nobody can be asked.
        calls.extend(first.into_iter().filter(|call| call.outcome.is_ok()));
        tokio::time::sleep(PAUSE).await;
    }
    let reached = began.elapsed();
    calls.extend(Load::start(lab, 4, 40, HIDDEN_ONLY)?.done().await);
    let passed = |from, to| lab.router.passed(address(from), address(to));
    let direct = passed(CALLER, HIDDEN) + passed(HIDDEN, CALLER);
    let relayed = passed(FIRST, HIDDEN) + passed(HIDDEN, FIRST);
    ensure!(
        direct == 0 && relayed > 0,
        "{direct} packets past the relay"
    );
    let more = json!({ "reached_ms": millis(reached), "packets_past_the_relay": direct });
    let lost = before
        .check(lab, "behind a NAT, through a relay", &calls, more, seen)
        .await?;
    lost.ensure(&[])
}

/// A host is killed while it answers: what it had under way is answered by others, and it comes back.
async fn killed_host(lab: &mut Lab, seen: &mut Vec<Value>) -> Result<()> {
    let before = Receipts::read(lab).await?;
    let load = Load::start(lab, CALLERS, usize::MAX, ELSEWHERE)?;
    some_calls(&load).await?;
    let victim = names(lab, &[VICTIM])?;
    lab.kill(VICTIM)?;
    let killed = Instant::now();
    let elsewhere = answered_since(&load, killed, None).await?;
    tokio::time::sleep(SHORT).await;
    lab.revive(VICTIM)?;
    let revived = Instant::now();
    let back = answered_since(&load, revived, Some(&victim)).await?;
    let calls = load.stop().await;
    let more = json!({
        "elsewhere_ms": millis(elsewhere),
        "recovery_ms": millis(back),
    });
    let lost = before
        .check(lab, "killed under load", &calls, more, seen)
        .await?;
    lost.ensure(&[VICTIM])
}

/// How many receipts each host had signed: one for each charge.
struct Receipts(Vec<u128>);

/// What must not be.
struct Wrong {
    lost: usize,
    /// By host.
    charged_for_nothing: Vec<u128>,
    shown: Value,
}

impl Receipts {
    async fn read(lab: &Lab) -> Result<Self> {
        let mut counts = Vec::new();
        for number in 0..HOSTS {
            let books = lab.books(number).await?;
            ensure!(books["good"] == true, "host {number}: {books}");
            let count = books["receipts"].as_u64().context("no count")?;
            counts.push(u128::from(count));
        }
        Ok(Self(counts))
    }

    /// Compares what hosts charged since with what the client got and paid.
    async fn check(
        self,
        lab: &Lab,
        name: &str,
        calls: &[Call],
        mut more: Value,
        seen: &mut Vec<Value>,
    ) -> Result<Wrong> {
        let tally = Tally::of(calls);
        let now = Self::read(lab).await?;
        let mut charged_for_nothing = Vec::new();
        for number in 0..HOSTS {
            let charged = now.0[number] - self.0[number];
            let peer = lab.get(number)?.text("/peer");
            let answered = tally.answered_by(peer);
            ensure!(
                charged >= answered,
                "host {number} answered {answered}, charged {charged}"
            );
            charged_for_nothing.push(charged - answered);
        }
        let mut shown = tally.json();
        let total = shown.as_object_mut().context("an object")?;
        total.insert("scenario".into(), name.into());
        total.insert(
            "charged_without_answer".into(),
            json!(u64::try_from(charged_for_nothing.iter().sum::<u128>())?),
        );
        total.append(more.as_object_mut().context("an object")?);
        eprintln!("{shown}");
        seen.push(shown.clone());
        ensure!(tally.paid == PRICE * tally.answered as u128, "{shown}");
        Ok(Wrong {
            lost: tally.lost.len(),
            charged_for_nothing,
            shown,
        })
    }
}

impl Wrong {
    /// No call lost, and no charge without an answer but by hosts that went silent with a payment in hand: at
    /// most one for each caller.
    fn ensure(&self, silent: &[usize]) -> Result<()> {
        ensure!(self.lost == 0, "calls were lost: {}", self.shown);
        let mut total = 0;
        for (number, charges) in self.charged_for_nothing.iter().enumerate() {
            let may = *charges == 0 || silent.contains(&number);
            ensure!(may, "host {number} charged for nothing: {}", self.shown);
            total += charges;
        }
        ensure!(total <= CALLERS as u128, "too many charges: {}", self.shown);
        Ok(())
    }
}

/// Waits until load is under way.
async fn some_calls(load: &Load) -> Result<()> {
    let enough = || async { Ok(load.calls().len() >= 3 * CALLERS) };
    until("calls are under way", SETTLE, enough).await?;
    Ok(())
}

/// How long it takes until a call is answered that began after `since`, by one of these if they are named.
async fn answered_since(load: &Load, since: Instant, by: Option<&[String]>) -> Result<Duration> {
    let found = || first_answer(&load.calls(), since, by);
    until("a call is answered", SETTLE, || async {
        Ok(found().is_some())
    })
    .await?;
    found().context("it was there")
}

fn names(lab: &Lab, hosts: &[usize]) -> Result<Vec<String>> {
    let hosts = hosts.iter();
    hosts
        .map(|number| Ok(lab.get(*number)?.text("/peer").to_owned()))
        .collect()
}

fn island() -> std::collections::HashSet<std::net::Ipv4Addr> {
    ISLAND.map(address).into_iter().collect()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn say(what: &str, after: Duration) {
    eprintln!("{what} after {} ms", millis(after));
}

const CALLERS: usize = 8;
/// The hosts that are cut off from the caller.
const ISLAND: [usize; 2] = [2, 3];
const VICTIM: usize = 2;
/// Of each packet, on each way.
const DELAY: Duration = Duration::from_millis(100);
const LOSS_PERMILLE: u64 = 20;
const PAUSE: Duration = Duration::from_millis(50);
const SHORT: Duration = Duration::from_secs(4);
/// Longer than a line that is silent is kept.
const LONG: Duration = Duration::from_secs(25);
/// Calls that may be carried out twice, at the caller's cost. What a host that went silent may charge counts
/// with the most that the call may cost, so that is said, too.
const ELSEWHERE: &str = "region=open&idempotent=true&price_max=100&abandon_max=1000";
const HIDDEN_ONLY: &str = "region=hidden";
const TIME_MAX: Duration = Duration::from_secs(235);
