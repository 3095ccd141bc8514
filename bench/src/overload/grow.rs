//! More and more callers in a closed loop: throughput, the wait of those who are let in, and refusals.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hyper::header::RETRY_AFTER;
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::{Case, Served};
use crate::cpu;
use crate::exchange::{Answer, Call, Connection};
use crate::spread::percentile;

/// The numbers of callers that are compared.
pub(super) const CALLERS: [usize; 7] = [10, 30, 100, 300, 1_000, 3_000, 10_000];

/// What so many callers saw.
#[derive(Debug, Serialize)]
pub(crate) struct Step {
    pub(super) service: &'static str,
    callers: usize,
    accepted_per_second: f64,
    refused_per_second: f64,
    /// Of accepted calls.
    p50_ms: f64,
    /// Of accepted calls.
    p99_ms: f64,
    /// Of accepted calls.
    most_ms: f64,
    /// The server's processor time for an answer, refusals too.
    server_us: f64,
    /// The server's memory at the end.
    resident_mib: u64,
}

impl Step {
    pub(super) fn rate(&self) -> f64 {
        self.accepted_per_second
    }

    pub(super) fn p99_ms(&self) -> f64 {
        self.p99_ms
    }

    pub(super) fn callers(&self) -> f64 {
        u32::try_from(self.callers).map_or(f64::MAX, f64::from)
    }

    pub(super) fn line(&self) -> String {
        format!(
            "{:9} {:6} callers: {:7.0} accepted/s, {:6.0} refused/s; p50 {:8.2} ms, p99 {:8.2} ms, most {:8.2} ms; \
             server {:6.1} us an answer, {} MiB",
            self.service,
            self.callers,
            self.accepted_per_second,
            self.refused_per_second,
            self.p50_ms,
            self.p99_ms,
            self.most_ms,
            self.server_us,
            self.resident_mib
        )
    }
}

/// Loads one service with each number of callers in turn.
pub(super) async fn measure(
    case: &Case,
    served: &Served,
    callers: &[usize],
    seconds: f64,
) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    for &callers in callers {
        let step = step(case, served, callers, seconds).await?;
        crate::table::say(&step.line());
        steps.push(step);
    }
    Ok(steps)
}

/// Told to every caller.
#[derive(Debug, Clone)]
struct Flags {
    counts: Arc<AtomicBool>,
    over: watch::Receiver<bool>,
}

#[derive(Debug, Default)]
struct Seen {
    latencies_ms: Vec<f64>,
    refused: usize,
}

async fn step(case: &Case, served: &Served, callers: usize, seconds: f64) -> Result<Step> {
    let (end, over) = watch::channel(false);
    let counts = Arc::new(AtomicBool::new(false));
    let flags = Flags {
        counts: Arc::clone(&counts),
        over,
    };
    let mut tasks = Vec::with_capacity(callers);
    for _ in 0..callers {
        let connection = Connection::open(served.address).await?;
        tasks.push(tokio::spawn(call(
            connection,
            case.call.clone(),
            flags.clone(),
        )));
    }
    sleep(WARM_UP).await;
    let before = cpu::of_process(served.process)?;
    let start = Instant::now();
    counts.store(true, Ordering::Relaxed);
    sleep(Duration::from_secs_f64(seconds)).await;
    counts.store(false, Ordering::Relaxed);
    let elapsed = start.elapsed().as_secs_f64();
    let server = cpu::of_process(served.process)?.saturating_sub(before);
    let resident_mib = resident_mib(served.process)?;
    end.send(true)?;
    let mut all = Seen::default();
    for task in tasks {
        let seen = timeout(PATIENCE, task)
            .await
            .context("a caller was never answered")???;
        all.latencies_ms.extend(seen.latencies_ms);
        all.refused += seen.refused;
    }
    all.latencies_ms.sort_by(f64::total_cmp);
    let accepted = all.latencies_ms.len();
    let most_ms = all.latencies_ms.last().copied();
    let most_ms = most_ms.with_context(|| format!("none of {callers} callers was let in"))?;
    Ok(Step {
        service: case.name,
        callers,
        accepted_per_second: accepted as f64 / elapsed,
        refused_per_second: all.refused as f64 / elapsed,
        p50_ms: percentile(&all.latencies_ms, 50),
        p99_ms: percentile(&all.latencies_ms, 99),
        most_ms,
        server_us: server.as_secs_f64() * 1e6 / (accepted + all.refused).max(1) as f64,
        resident_mib,
    })
}

async fn call(mut connection: Connection, call: Call, mut flags: Flags) -> Result<Seen> {
    let mut seen = Seen::default();
    while !*flags.over.borrow() {
        let start = Instant::now();
        let answer = connection.send(call.request(None)?).await?;
        let counts = flags.counts.load(Ordering::Relaxed);
        if let Some(pause) = refusal(&answer)? {
            seen.refused += usize::from(counts);
            // Until then, or until it is over.
            timeout(pause, flags.over.wait_for(|over| *over)).await.ok();
        } else if counts {
            seen.latencies_ms.push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    Ok(seen)
}

/// After which time to come again, if that is the answer; any failure but that ends the run.
pub(super) fn refusal(answer: &Answer) -> Result<Option<Duration>> {
    if answer.status.is_success() {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&answer.body);
    ensure!(
        matches!(answer.status.as_u16(), 429 | 503),
        "answered {}: {text}",
        answer.status
    );
    let after = answer.headers.get(RETRY_AFTER);
    let after = after.context("a refusal without Retry-After")?.to_str()?;
    Ok(Some(Duration::from_secs(after.parse()?)))
}

fn resident_mib(process: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.context("no VmRSS")?.trim().trim_end_matches(" kB");
    Ok(kib.parse::<u64>()? >> 10)
}

const WARM_UP: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(60);
