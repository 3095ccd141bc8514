//! Power cuts under load: a host is killed twenty times while eight callers pay on one channel.
//! What was answered is never lost, and every call is charged exactly once, however often it had
//! to be sent. At the end ledger, chain and the caller's own books agree to the base unit.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};
use rialto_channels::receipt::SignedReceipt;
use rialto_channels::{Amount, SigningKey};
use rialto_gateway::client::{Body, Config, PayingClient};
use rialto_testkit::mesh::Mesh;
use serde_json::json;
use tokio::sync::Notify;

use crate::fixture::{self, Fixture};

const KILLS: usize = 20;
pub(crate) const CALLERS: usize = 8;
pub(crate) const PRICE: u128 = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_under_load_lose_nothing_and_charge_nothing_twice() -> Result<()> {
    let fixture = Fixture::hostile(
        PRICE,
        "[payments]\ncollect_every_seconds = 1\nwatch_every_ms = 200\n",
    )?;
    let (port, chain_port) = (fixture::free_port()?, fixture::free_port()?);
    let mut mesh = fixture.start_with(port, chain_port)?;
    let before = Balances::read(&mesh, &fixture).await?;
    let client = client(&mesh, fixture.dir())?;

    let load = Load::start(&client);
    for kill in 0..KILLS {
        load.wait_for_answers(3 + kill * 7 % 23).await;
        mesh.kill().with_context(|| format!("at kill {kill}"))?;
        mesh = fixture
            .start_with(port, chain_port)
            .with_context(|| format!("after kill {kill}"))?;
    }
    load.wait_for_answers(CALLERS).await;
    let mut answers = load.finish().await?;
    // While calls overlap, a payer may not know which charges a count holds; a quiet call tells.
    let (_, quiet) = pay(&client, &Body::json(&json!({ "text": "quiet" }))).await?;
    answers.push(quiet);

    let charged = Amount::new(PRICE * answers.len() as u128);
    check_books(&client, &mesh, &answers, charged).await?;
    check_chain_of_receipts(&answers)?;
    let refunded = client.refund(None).await?;
    ensure!(!refunded.amount.is_zero(), "a refund of nothing");
    check_balances(&mesh, &fixture, before, charged).await?;
    mesh.stop()
}

fn client(mesh: &Mesh, dir: &Path) -> Result<PayingClient> {
    let mut config = Config::new(mesh.gateway());
    config.store = Some(dir.join("payer"));
    config.attempts = 500;
    Ok(PayingClient::new(
        config,
        SigningKey::from_hex(mesh.test_key(0))?,
    )?)
}

/// Callers that never give up.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    news: Arc<Notify>,
    callers: Vec<tokio::task::JoinHandle<Result<Vec<SignedReceipt>>>>,
}

impl Load {
    pub(crate) fn start(client: &PayingClient) -> Self {
        let (stop, answered, news) = (Arc::default(), Arc::default(), Arc::<Notify>::default());
        let callers = (0..CALLERS)
            .map(|caller| {
                let (client, stop) = (client.clone(), Arc::clone(&stop));
                let (answered, news) = (Arc::clone(&answered), Arc::clone(&news));
                tokio::spawn(call_until_stopped(client, caller, stop, answered, news))
            })
            .collect();
        Self {
            stop,
            answered,
            news,
            callers,
        }
    }

    /// Waits for so many answers more; the callers' progress is the clock.
    pub(crate) async fn wait_for_answers(&self, more: usize) {
        let goal = self.answered.load(Ordering::SeqCst) + more;
        while self.answered.load(Ordering::SeqCst) < goal
            && self.callers.iter().all(|caller| !caller.is_finished())
        {
            self.news.notified().await;
        }
    }

    pub(crate) async fn finish(self) -> Result<Vec<SignedReceipt>> {
        self.stop.store(true, Ordering::SeqCst);
        let mut receipts = Vec::new();
        for caller in self.callers {
            receipts.extend(caller.await??);
        }
        Ok(receipts)
    }
}

async fn call_until_stopped(
    client: PayingClient,
    caller: usize,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    news: Arc<Notify>,
) -> Result<Vec<SignedReceipt>> {
    let mut receipts = Vec::new();
    for call in 0.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let text = format!("caller {caller}, call {call}");
        let body = Body::json(&json!({ "text": text }));
        let outcome = pay(&client, &body).await.with_context(|| text.clone());
        answered.fetch_add(1, Ordering::SeqCst);
        news.notify_one();
        let (answer, receipt) = outcome?;
        ensure!(answer == json!(text), "another call's answer: {answer}");
        receipts.push(receipt);
    }
    Ok(receipts)
}

pub(crate) async fn pay(
    client: &PayingClient,
    body: &Body,
) -> Result<(serde_json::Value, SignedReceipt)> {
    let quote = fixture::until_reachable(|| client.quote("hostile", "echo", body)).await?;
    let answer = client.call(&quote, body).await?;
    ensure!(
        answer.charged == Amount::new(PRICE),
        "charged {}",
        answer.charged
    );
    ensure!(
        answer.receipt_fault.is_none(),
        "receipt: {:?}",
        answer.receipt_fault
    );
    let receipt = answer.receipt.context("no receipt")?;
    Ok((serde_json::from_slice(&answer.body)?, receipt))
}

/// The host's ledger and the payer's own count say what the answers add up to.
async fn check_books(
    client: &PayingClient,
    mesh: &Mesh,
    receipts: &[SignedReceipt],
    charged: Amount,
) -> Result<()> {
    let channels = client.channels().await;
    ensure!(
        channels.len() == 1,
        "one payer, one provider, one channel: {channels:?}"
    );
    let own = &channels[0];
    ensure!(
        own.charged == charged,
        "the payer counts {}, the answers {charged}",
        own.charged
    );
    let host = fixture::get(mesh, &format!("/channels/{}", own.id)).await?;
    ensure!(
        host["charged"] == json!(charged.to_string()),
        "the host counts {}, the answers {charged}",
        host["charged"]
    );
    for signed in receipts {
        let id = signed.receipt.id;
        let kept = fixture::get(mesh, &format!("/receipts/{id}"))
            .await
            .with_context(|| format!("receipt {id} is lost"))?;
        ensure!(
            kept.to_string().contains(&id.to_string()),
            "another receipt: {kept}"
        );
    }
    Ok(())
}

/// In the order of their sums, every receipt follows the one before: no charge is missing between
/// two answers and none is counted twice.
pub(crate) fn check_chain_of_receipts(receipts: &[SignedReceipt]) -> Result<()> {
    let mut sorted: Vec<_> = receipts.iter().map(|signed| &signed.receipt).collect();
    sorted.sort_by_key(|receipt| receipt.before);
    ensure!(
        sorted.first().is_some_and(|first| first.before.is_zero()),
        "the first charge is missing"
    );
    for pair in sorted.windows(2) {
        ensure!(
            pair[1].follows(pair[0]),
            "{:?} does not follow {:?}",
            pair[1],
            pair[0]
        );
    }
    Ok(())
}

#[derive(Debug, Clone, Copy)]
struct Balances {
    payer: u128,
    provider: u128,
    contract: u128,
}

impl Balances {
    async fn read(mesh: &Mesh, fixture: &Fixture) -> Result<Self> {
        let payer = SigningKey::from_hex(mesh.test_key(0))?
            .address()
            .to_string();
        Ok(Self {
            payer: fixture.token_balance(mesh, &payer).await?,
            provider: fixture
                .token_balance(mesh, mesh.text("/addresses/receiver"))
                .await?,
            contract: fixture
                .token_balance(mesh, mesh.text("/addresses/settlement"))
                .await?,
        })
    }
}

/// Every base unit is where it belongs once the last claim is settled.
async fn check_balances(
    mesh: &Mesh,
    fixture: &Fixture,
    before: Balances,
    charged: Amount,
) -> Result<()> {
    let expected = before.provider + charged.get();
    fixture::until("the last claim is settled", || async {
        Ok(Balances::read(mesh, fixture).await?.provider >= expected)
    })
    .await?;
    let after = Balances::read(mesh, fixture).await?;
    ensure!(
        after.provider == expected,
        "the provider has {after:?}, began with {before:?}, earned {charged}"
    );
    ensure!(
        after.payer == before.payer - charged.get(),
        "the payer has {after:?}, began with {before:?}"
    );
    ensure!(
        after.contract == before.contract,
        "the contract keeps {after:?}, began with {before:?}"
    );
    Ok(())
}
