//! Calls a second and their latencies: a bare server, `wasmtime serve`, the mesh free and paid.

use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use rialto_testkit::mesh::Mesh;
use serde::Serialize;

use crate::Options;
use crate::cpu;
use crate::exchange::{Call, address};
use crate::load::{self, Target, Window};
use crate::payer::{Channel, Payer};
use crate::peers::{self, HYPER_THREADS, Served};
use crate::places::Places;

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Candidate {
    /// The least that an HTTP server can do.
    Hyper,
    /// The engine's own server with an equal component.
    Wasmtime,
    /// The mesh, a service that costs nothing.
    Free,
    /// The mesh, paid by vouchers, a channel for each connection.
    Paid,
}

impl Candidate {
    /// All, in the order of the table.
    pub(crate) const ALL: [Self; 4] = [Self::Hyper, Self::Wasmtime, Self::Free, Self::Paid];
}

/// One candidate at one number of connections in one round.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) candidate: Candidate,
    pub(crate) connections: usize,
    pub(crate) window: Window,
    /// Processor time of the server.
    pub(crate) server: Duration,
    /// Of that, the mesh's ledger: the thread of its log and that of its tables.
    pub(crate) ledger: Duration,
}

/// Every sample, round by round.
#[derive(Debug)]
pub(crate) struct Throughput {
    pub(crate) samples: Vec<Sample>,
    /// Vouchers that had to be signed while the clock ran.
    pub(crate) signed_late: u64,
}

/// Loads each candidate in turn, in every round at every number of connections.
///
/// # Errors
/// A server does not start, or gives a wrong answer.
pub(crate) async fn measure(options: &Options, places: &Places, mesh: &Mesh) -> Result<Throughput> {
    let mut bench = Bench::start(options, places, mesh).await?;
    let mut samples = Vec::new();
    for candidate in Candidate::ALL {
        for &connections in &options.connections {
            let warm_up = Duration::from_millis(300);
            bench.sample(candidate, connections, warm_up).await?;
        }
    }
    let time = Duration::from_secs_f64(options.seconds);
    for _ in 0..options.rounds {
        for &connections in &options.connections {
            for candidate in Candidate::ALL {
                samples.push(bench.sample(candidate, connections, time).await?);
            }
        }
    }
    let signed_late = bench.channels.iter().map(|c| c.signed_late).sum();
    Ok(Throughput {
        samples,
        signed_late,
    })
}

/// The servers and the means to call them.
struct Bench<'a> {
    mesh: &'a Mesh,
    wasmtime: Served,
    hyper: std::net::SocketAddr,
    handler: Call,
    free: Call,
    paid: Call,
    expected: Bytes,
    channels: Vec<Channel>,
    /// Paid calls a second of the busiest sample so far: how many vouchers to have in stock.
    paid_rate_max: usize,
}

impl<'a> Bench<'a> {
    async fn start(options: &Options, places: &Places, mesh: &'a Mesh) -> Result<Self> {
        let handler = Call::json("/", BODY);
        let expected = Bytes::from_static(ANSWER);
        let paid = Call::json(PAID_PATH, BODY);
        let count = options.connections.iter().max().copied().unwrap_or(1);
        Ok(Self {
            mesh,
            wasmtime: peers::start_wasmtime(places, &handler).await?,
            hyper: peers::start_hyper(expected.clone())?,
            handler,
            free: Call::json("/services/hello/hello", BODY),
            channels: open_channels(mesh, &paid, count).await?,
            paid,
            expected,
            paid_rate_max: 1_000,
        })
    }

    async fn sample(
        &mut self,
        candidate: Candidate,
        connections: usize,
        time: Duration,
    ) -> Result<Sample> {
        let (address, call) = match candidate {
            Candidate::Hyper => (self.hyper, &self.handler),
            Candidate::Wasmtime => (self.wasmtime.address, &self.handler),
            Candidate::Free => (address(self.mesh.gateway())?, &self.free),
            Candidate::Paid => (address(self.mesh.gateway())?, &self.paid),
        };
        let mut lent = Vec::new();
        if candidate == Candidate::Paid {
            lent = self.channels.split_off(self.channels.len() - connections);
            // Twice what each will need if all get on at the best rate seen, and some more.
            let window_ms = usize::try_from(time.as_millis())?;
            let share = 2 * self.paid_rate_max * window_ms / 1_000 / connections;
            for channel in &mut lent {
                channel.stock_up(share + 100)?;
            }
        }
        let callers = load::connect(address, connections, &mut lent).await?;
        let target = Target {
            call,
            expected: &self.expected,
        };
        let before = self.server_time(candidate)?;
        let window = load::run(callers, &target, time, &mut self.channels).await?;
        let after = self.server_time(candidate)?;
        if candidate == Candidate::Paid {
            let elapsed_ms = usize::try_from(window.elapsed.as_millis())?.max(1);
            let rate = window.calls * 1_000 / elapsed_ms;
            self.paid_rate_max = self.paid_rate_max.max(rate);
        }
        Ok(Sample {
            candidate,
            connections,
            window,
            server: after.0.saturating_sub(before.0),
            ledger: after.1.saturating_sub(before.1),
        })
    }

    /// The processor time of a candidate's server, and of the mesh's ledger.
    fn server_time(&self, candidate: Candidate) -> Result<(Duration, Duration)> {
        let threads = |process, names: &[&str]| -> Result<Duration> {
            let times = cpu::of_threads(process)?;
            let times = names.iter().filter_map(|name| times.get(*name));
            Ok(times.sum())
        };
        let mesh = self.mesh.process_id();
        Ok(match candidate {
            Candidate::Hyper => (
                threads(std::process::id(), &[HYPER_THREADS])?,
                Duration::ZERO,
            ),
            Candidate::Wasmtime => (cpu::of_process(self.wasmtime.process_id())?, Duration::ZERO),
            Candidate::Free | Candidate::Paid => {
                (cpu::of_process(mesh)?, threads(mesh, &LEDGER_THREADS)?)
            }
        })
    }
}

/// Opens channels that calls are paid with, one after the other.
///
/// # Errors
/// A deposit is refused.
pub(crate) async fn open_channels(mesh: &Mesh, call: &Call, count: usize) -> Result<Vec<Channel>> {
    let payer = Payer::new(mesh, call).await?;
    let mut connection = crate::exchange::Connection::open(address(mesh.gateway())?).await?;
    let mut channels = Vec::new();
    for salt in (1_u64..).take(count) {
        let channel = payer
            .open(&mut connection, call, salt, CALLS_PER_CHANNEL_MAX)
            .await?;
        channels.push(channel);
    }
    Ok(channels)
}

/// What the greeting is called with.
pub(crate) const BODY: &str = r#"{"name":"world"}"#;
/// What it answers.
pub(crate) const ANSWER: &[u8] = b"\"hello, world\"";
/// The paid greeting.
pub(crate) const PAID_PATH: &str = "/services/hello-paid/hello";
const LEDGER_THREADS: [&str; 2] = ["rialto-ledger", "rialto-tables"];
const CALLS_PER_CHANNEL_MAX: u32 = 1_000_000;
