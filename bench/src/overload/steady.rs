//! A steady load in an open loop: calls come when they come, whatever became of those before.
//!
//! Arrivals are a Poisson process at a part of what saturates service and generator, which share this machine:
//! the most arrivals a second of that kind which are answered as they come. A call's time counts from the
//! moment at which it was due, so that one that had to wait for a free connection, or for a late generator,
//! is not flattered (coordinated omission).

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;
use tokio::sync::{Mutex, mpsc};

use super::grow::refusal;
use super::{Case, Served};
use crate::exchange::{Call, Connection};
use crate::spread::{Spread, percentile};

/// What a steady load saw.
#[derive(Debug, Serialize)]
pub(crate) struct Steady {
    pub(super) service: &'static str,
    saturated_per_second: f64,
    offered_per_second: f64,
    refused: usize,
    p50_ms: Spread,
    p99_ms: Spread,
    pub(super) p99_by_p50: Spread,
    /// How late the generator itself was with 99 of 100 calls; part of the above.
    generator_p99_ms: Spread,
}

impl Steady {
    pub(super) fn line(&self) -> String {
        format!(
            "{:9} at {:.0} of {:.0} calls a second, as they come: p50 {} ms, p99 {} ms, ratio {}; {} refused; \
             generator late by {} ms (p99)",
            self.service,
            self.offered_per_second,
            self.saturated_per_second,
            self.p50_ms,
            self.p99_ms,
            self.p99_by_p50,
            self.refused,
            self.generator_p99_ms
        )
    }
}

/// Loads one service at [`LOAD`] of what saturates it, several times. Callers who wait for their answers got `best`
/// calls a second of it.
pub(super) async fn measure(
    case: &Case,
    served: &Served,
    best: f64,
    seconds: f64,
) -> Result<Steady> {
    let time = Duration::from_secs_f64(seconds);
    let saturated = saturation(case, served, best, time).await?;
    let rate = saturated * LOAD;
    let (mut halves, mut tails, mut late) = (Vec::new(), Vec::new(), Vec::new());
    let mut refused = 0;
    for round in 0..=ROUNDS {
        let found = run(case, served, rate, time, round).await?;
        if round > 0 {
            // The first one warmed up.
            halves.push(percentile(&found.took_ms, 50));
            tails.push(percentile(&found.took_ms, 99));
            late.push(percentile(&found.late_ms, 99));
            refused += found.refused;
        }
    }
    Ok(Steady {
        service: case.name,
        saturated_per_second: saturated,
        offered_per_second: rate,
        refused,
        p99_by_p50: Spread::ratio(&tails, &halves),
        p50_ms: Spread::of(halves),
        p99_ms: Spread::of(tails),
        generator_p99_ms: Spread::of(late),
    })
}

/// The most arrivals a second that are answered as they come: from `best` downwards.
async fn saturation(case: &Case, served: &Served, best: f64, time: Duration) -> Result<f64> {
    let mut rate = best;
    for step in 0..STEPS_MAX {
        let found = run(case, served, rate, time, step).await?;
        if found.refused == 0 && found.behind < BEHIND_MAX {
            return Ok(rate);
        }
        rate *= STEP;
    }
    bail!("{} keeps up with no rate of arrivals", case.name)
}

#[derive(Debug, Default)]
struct Found {
    /// How long after the last arrival the last answer came.
    behind: Duration,
    took_ms: Vec<f64>,
    late_ms: Vec<f64>,
    refused: usize,
}

type Due = Arc<Mutex<mpsc::Receiver<Instant>>>;

async fn run(case: &Case, served: &Served, rate: f64, time: Duration, seed: u64) -> Result<Found> {
    ensure!(rate > 0.0, "nothing was accepted before");
    let (sender, due) = mpsc::channel(BACKLOG_MAX);
    let due: Due = Arc::new(Mutex::new(due));
    let mut tasks = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        let connection = Connection::open(served.address).await?;
        tasks.push(tokio::spawn(serve(
            connection,
            case.call.clone(),
            Arc::clone(&due),
        )));
    }
    let start = Instant::now();
    let clock = thread::spawn(move || arrivals(&sender, rate, time, seed));
    let mut all = Found::default();
    for task in tasks {
        let found = task.await??;
        all.took_ms.extend(found.took_ms);
        all.late_ms.extend(found.late_ms);
        all.refused += found.refused;
    }
    all.behind = start.elapsed().saturating_sub(time);
    let whole = clock.join().ok().context("the clock crashed")?;
    ensure!(whole, "more calls were due than a generator can hold");
    all.took_ms.sort_by(f64::total_cmp);
    all.late_ms.sort_by(f64::total_cmp);
    Ok(all)
}

/// Says when calls are due. False if nobody could keep up at all.
fn arrivals(sender: &mpsc::Sender<Instant>, rate: f64, time: Duration, seed: u64) -> bool {
    let start = Instant::now();
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut due = Duration::ZERO;
    while due < time {
        let now = start.elapsed();
        if due > now {
            thread::sleep(due - now);
        }
        if sender.try_send(start + due).is_err() {
            return false;
        }
        // Xorshift (Marsaglia, 2003): any even spread will do.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let even = ((random >> 11) as f64 + 1.0) / (1_u64 << 53) as f64;
        due += Duration::from_secs_f64(-even.ln() / rate);
    }
    true
}

async fn serve(mut connection: Connection, call: Call, due: Due) -> Result<Found> {
    let mut found = Found::default();
    loop {
        let next = due.lock().await.recv().await;
        let Some(due) = next else {
            return Ok(found);
        };
        let ms = |since: Instant| since.elapsed().as_secs_f64() * 1e3;
        found.late_ms.push(ms(due));
        let answer = connection.send(call.request(None)?).await?;
        if refusal(&answer)?.is_some() {
            found.refused += 1;
        } else {
            found.took_ms.push(ms(due));
        }
    }
}

/// Of what saturates the service.
const LOAD: f64 = 0.7;
const ROUNDS: u64 = 5;
/// From one rate that is tried to the next.
const STEP: f64 = 0.85;
const STEPS_MAX: u64 = 12;
/// Who is further behind at the end did not keep up.
const BEHIND_MAX: Duration = Duration::from_millis(40);
/// More than ever are in use.
const CONNECTIONS: usize = 128;
const BACKLOG_MAX: usize = 1 << 20;
