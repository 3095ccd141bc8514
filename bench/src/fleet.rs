//! The fleet's ledger by itself: paid calls a second that one replica records in a PostgreSQL server of
//! its own, on the same disk, with real syncs; and where their time goes.
//!
//! Not here: a network between replica and database, which adds its round trips, and signatures, which
//! cost the same as everywhere.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rialto_channels::payee::{PayeeChannel, Reject, Terms};
use rialto_channels::receipt::SignedReceipt;
use rialto_channels::{
    Address, Amount, ChainTime, ChannelConfig, ChannelId, OnChainView, SigningKey, U256,
    VerifiedVoucher, Voucher,
};
use rialto_ledger::{
    Begun, Charged, PaymentRecord, Provider, SharedConfig, SharedLedger, StoredAnswer,
};
use rialto_testkit::postgres::Server;
use serde::Serialize;
use tokio::task::JoinSet;

use crate::ledger::{DOMAIN, disk_syncs, hash, receipt, sorted_ms};
use crate::spread::percentile;
use crate::{cpu, table};

/// What was found, or why nothing was.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Found {
    /// The figures.
    Measured(Box<Figures>),
    /// Why there are none.
    NotMeasured(String),
}

/// Figures of one replica and one server.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    /// The server's version.
    server: String,
    /// Many callers, each with a channel of its own.
    many: Load,
    /// Many callers on one channel, whose row they take turns at.
    one_channel: Load,
    /// One caller alone: what a call waits for the database.
    alone: Load,
    /// A write and a sync of 4 KiB on the same disk, in milliseconds.
    disk_p50_ms: f64,
    disk_p99_ms: f64,
}

/// Paid calls as fast as they are recorded: taken, reserved, charged.
#[derive(Debug, Clone, Copy, Serialize)]
struct Load {
    callers: usize,
    calls: usize,
    /// By the clock.
    per_second: f64,
    /// A whole call, in milliseconds.
    p50_ms: f64,
    p99_ms: f64,
    /// The parts of a call by the clock, waiting for a connection included, in milliseconds.
    begin_ms: f64,
    reserve_ms: f64,
    charge_ms: f64,
    /// Processor time of one call, in microseconds: the replica's and the server's.
    replica_cpu_us: f64,
    server_cpu_us: f64,
    /// Transactions that were tried again.
    retries: u64,
}

impl Found {
    /// For people.
    pub(crate) fn print(&self) {
        let figures = match self {
            Self::Measured(figures) => figures,
            Self::NotMeasured(why) => {
                table::say(&format!("not measured: {why}"));
                return;
            }
        };
        table::say(&figures.server);
        for (what, load) in [
            ("a channel each", figures.many),
            ("on one channel", figures.one_channel),
            ("alone", figures.alone),
        ] {
            let Load {
                callers,
                per_second,
                p50_ms,
                p99_ms,
                begin_ms,
                reserve_ms,
                charge_ms,
                replica_cpu_us,
                server_cpu_us,
                retries,
                ..
            } = load;
            table::say(&format!(
                "{callers} callers, {what}: {per_second:.0} charges a second; {p50_ms:.2} ms, p99 {p99_ms:.2} \
                 (begin {begin_ms:.2}, reserve {reserve_ms:.2}, charge {charge_ms:.2}); processor time \
                 {replica_cpu_us:.0} us here and {server_cpu_us:.0} us in the server; {retries} tried again"
            ));
        }
        table::say(&format!(
            "a write and sync of 4 KiB alone: {:.2} ms, p99 {:.2}",
            figures.disk_p50_ms, figures.disk_p99_ms
        ));
    }
}

/// Measures everything, on a server that is started in a temporary folder and ended afterwards.
///
/// # Errors
/// The server or the disk fails; that PostgreSQL is not installed is no error.
pub(crate) fn measure(scratch: &Path) -> Result<Found> {
    // Its data is in the temporary folder, as `scratch` is.
    let server = match Server::start_with(&["fsync=on"]) {
        Ok(server) => server,
        Err(error) => return Ok(Found::NotMeasured(format!("{error:#}"))),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let mut syncs = disk_syncs(&scratch.join("before"))?;
    let figures = runtime.block_on(async {
        let load = |callers, channels, calls| one(&server, callers, channels, calls);
        Ok::<_, anyhow::Error>((
            load(CALLERS, CALLERS, CALLS).await?,
            load(CALLERS_OF_ONE, 1, CALLS / 4).await?,
            load(1, 1, CALLS / 8).await?,
        ))
    });
    let (many, one_channel, alone) = figures?;
    syncs.extend(disk_syncs(&scratch.join("after"))?);
    let syncs = sorted_ms(syncs);
    let version = server.sql("postgres", "SHOW server_version")?;
    Ok(Found::Measured(Box::new(Figures {
        server: format!("PostgreSQL {version}"),
        many,
        one_channel,
        alone,
        disk_p50_ms: percentile(&syncs, 50),
        disk_p99_ms: percentile(&syncs, 99),
    })))
}

/// A fresh database, warmed up and loaded.
async fn one(server: &Server, callers: usize, channels: usize, calls: usize) -> Result<Load> {
    let key = SigningKey::from_bytes(&[7; 32])?;
    let url = server.database(&format!("bench_{callers}"))?;
    let provider = Provider {
        domain: DOMAIN,
        host: key.address(),
    };
    let ledger = SharedLedger::open(SharedConfig::new(url.parse()?), &provider).await?;
    let channels = (0..channels)
        .map(|number| Customer::new(&key, u64::try_from(number)?))
        .collect::<Result<Vec<_>>>()?;
    for customer in &channels {
        ledger.enter(&customer.channel.snapshot()).await?;
    }
    let warm_up = calls / 10;
    run(&ledger, &channels, callers, 0, warm_up).await?;
    let process = server.process_id().context("the server does not run")?;
    let (own, theirs) = (cpu::own_process(), cpu::of_family(process)?);
    let (start, retries) = (Instant::now(), ledger.retries());
    let times = run(&ledger, &channels, callers, warm_up, calls).await?;
    let elapsed = start.elapsed();
    let own = cpu::own_process().saturating_sub(own);
    let theirs = cpu::of_family(process)?.saturating_sub(theirs);
    let retries = ledger.retries() - retries;
    ledger.close().await;
    let count = times.len().max(1) as f64;
    let mean_ms = |part: fn(&Times) -> Duration| {
        times.iter().map(part).sum::<Duration>().as_secs_f64() * 1e3 / count
    };
    let whole = sorted_ms(times.iter().map(Times::whole).collect());
    Ok(Load {
        callers,
        calls: times.len(),
        per_second: count / elapsed.as_secs_f64(),
        p50_ms: percentile(&whole, 50),
        p99_ms: percentile(&whole, 99),
        begin_ms: mean_ms(|times| times.begin),
        reserve_ms: mean_ms(|times| times.reserve),
        charge_ms: mean_ms(|times| times.charge),
        replica_cpu_us: own.as_secs_f64() * 1e6 / count,
        server_cpu_us: theirs.as_secs_f64() * 1e6 / count,
        retries,
    })
}

/// Each caller makes its share of the calls, one after the other.
async fn run(
    ledger: &SharedLedger,
    customers: &[Customer],
    callers: usize,
    first: usize,
    calls: usize,
) -> Result<Vec<Times>> {
    let mut tasks = JoinSet::new();
    for caller in 0..callers {
        let customer = customers.get(caller % customers.len());
        let customer = customer.context("no channel")?.clone();
        let ledger = ledger.clone();
        tasks.spawn(async move {
            let mut times = Vec::new();
            for number in (first + caller..first + calls).step_by(callers) {
                times.push(customer.pay(&ledger, u64::try_from(number)?).await?);
            }
            Ok::<_, anyhow::Error>(times)
        });
    }
    let mut times = Vec::with_capacity(calls);
    while let Some(done) = tasks.join_next().await {
        times.extend(done??);
    }
    ensure!(times.len() == calls, "calls are missing");
    Ok(times)
}

/// How long the parts of a call took.
#[derive(Debug, Clone, Copy)]
struct Times {
    begin: Duration,
    reserve: Duration,
    charge: Duration,
}

impl Times {
    fn whole(&self) -> Duration {
        self.begin + self.reserve + self.charge
    }
}

/// A channel and what its payer signed: a ceiling that is never reached.
#[derive(Debug, Clone)]
struct Customer {
    channel: PayeeChannel,
    id: ChannelId,
    voucher: VerifiedVoucher,
    receipt: SignedReceipt,
}

impl Customer {
    fn new(key: &SigningKey, number: u64) -> Result<Self> {
        let config = ChannelConfig {
            payer: key.address(),
            payer_authorizer: key.address(),
            receiver: Address::repeat_byte(2),
            receiver_authorizer: key.address(),
            token: Address::repeat_byte(4),
            withdraw_delay: 900,
            salt: hash(number),
        };
        let terms = Terms {
            receiver: config.receiver,
            receiver_authorizer: config.receiver_authorizer,
            token: config.token,
            withdraw_delay: 900,
            in_flight_max: IN_FLIGHT_MAX,
        };
        let view = OnChainView {
            balance: Amount::new(1 << 60),
            claimed: Amount::ZERO,
            refund_nonce: U256::ZERO,
            withdrawal: None,
            read_at: NOW,
        };
        let channel = PayeeChannel::new(&terms, &DOMAIN, config, &view)?;
        let id = channel.state().id;
        let voucher = Voucher {
            channel: id,
            ceiling: Amount::new(1 << 60),
        };
        let voucher = voucher.sign(&DOMAIN, key).verify(&DOMAIN, key.address())?;
        Ok(Self {
            channel,
            id,
            voucher,
            receipt: receipt().sign(key),
        })
    }

    /// What a replica does with a paid call, but the call.
    async fn pay(&self, ledger: &SharedLedger, number: u64) -> Result<Times> {
        let start = Instant::now();
        let key = hash(number << 1).0;
        let mut execution = match ledger.begin(key).await? {
            Begun::Now(execution) => execution,
            known @ (Begun::Before(_) | Begun::Elsewhere) => {
                bail!("a new payment is not new: {known:?}")
            }
        };
        let begin = start.elapsed();
        let start = Instant::now();
        let work = |channel: &mut PayeeChannel| channel.reserve(&self.voucher, Amount::new(1), NOW);
        let reserved = ledger
            .reserve(&mut execution, self.id, IN_FLIGHT_MAX, work)
            .await?;
        reserved.outcome?;
        let reserve = start.elapsed();
        let start = Instant::now();
        let held = execution.reservation().context("no reservation")?;
        let work = |channel: &mut PayeeChannel| self.charge(channel, held, key, number);
        let charged = ledger
            .charge(&mut execution, self.id, IN_FLIGHT_MAX, work)
            .await?;
        ensure!(matches!(charged, Charged::Now { .. }), "{charged:?}");
        Ok(Times {
            begin,
            reserve,
            charge: start.elapsed(),
        })
    }

    fn charge(
        &self,
        channel: &mut PayeeChannel,
        held: u64,
        key: [u8; 32],
        number: u64,
    ) -> Result<PaymentRecord, Reject> {
        let call = channel.held(held).ok_or(Reject::Busy)?;
        let mut receipt = self.receipt.clone();
        receipt.receipt.id = hash(number << 1 | 1);
        receipt.receipt.channel = Some(self.id);
        receipt.receipt.before = channel.state().charged;
        let digest = receipt.receipt.id;
        let committed = channel.commit(call, Amount::new(1), digest);
        drop(committed.map_err(|_| Reject::Busy)?);
        Ok(PaymentRecord {
            key,
            receipt,
            answer: Some(StoredAnswer {
                content_type: "application/json".to_owned(),
                body: b"\"hello, world\"".to_vec(),
            }),
        })
    }
}

const NOW: ChainTime = ChainTime::new(1_000_000);
const IN_FLIGHT_MAX: usize = 64;
const CALLERS: usize = 64;
/// As many as may be in flight on one channel by default.
const CALLERS_OF_ONE: usize = 8;
const CALLS: usize = 8_000;
