//! A closed loop of callers: each sends its next request when it has read the last answer.
//!
//! All callers share one thread, which leaves as much of the machine as possible to the server. What
//! the generator itself takes is measured and reported, not subtracted.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bytes::Bytes;

use crate::cpu;
use crate::exchange::{Call, Connection};
use crate::payer::Channel;
use crate::spread::percentile;

/// What the callers of one window saw.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    /// Answers.
    pub(crate) calls: usize,
    /// From the first request to the last answer.
    pub(crate) elapsed: Duration,
    /// Half of the answers took at most so long, in microseconds.
    pub(crate) p50_us: f64,
    /// 99 of 100 answers took at most so long, in microseconds.
    pub(crate) p99_us: f64,
    /// The generator's own processor time.
    pub(crate) generator: Duration,
}

impl Window {
    /// Answers a second.
    pub(crate) fn rate(&self) -> f64 {
        self.calls as f64 / self.elapsed.as_secs_f64()
    }

    /// `time`'s share of one call, in microseconds.
    pub(crate) fn per_call_us(&self, time: Duration) -> f64 {
        time.as_secs_f64() * 1e6 / self.calls.max(1) as f64
    }
}

/// What every caller sends, and what must come back.
#[derive(Debug)]
pub(crate) struct Target<'a> {
    /// The call, always the same.
    pub(crate) call: &'a Call,
    /// The only right answer.
    pub(crate) expected: &'a Bytes,
}

/// One connection with the channel that pays its calls, if they cost.
#[derive(Debug)]
pub(crate) struct Caller {
    connection: Connection,
    channel: Option<Channel>,
}

/// Connects `count` callers; the channels, if any, are dealt one to each.
///
/// # Errors
/// Nobody listens there.
pub(crate) async fn connect(
    address: SocketAddr,
    count: usize,
    channels: &mut Vec<Channel>,
) -> Result<Vec<Caller>> {
    let mut callers = Vec::with_capacity(count);
    for _ in 0..count {
        callers.push(Caller {
            connection: Connection::open(address).await?,
            channel: channels.pop(),
        });
    }
    Ok(callers)
}

/// Lets the callers call for `time`, and hands back their channels.
///
/// # Errors
/// Any answer that is not the expected one: a wrong figure is worse than none.
pub(crate) async fn run(
    callers: Vec<Caller>,
    target: &Target<'_>,
    time: Duration,
    channels: &mut Vec<Channel>,
) -> Result<Window> {
    let generator = cpu::own_thread();
    let start = Instant::now();
    let tasks: Vec<_> = callers
        .into_iter()
        .map(|caller| {
            let (call, expected) = (target.call.clone(), target.expected.clone());
            tokio::spawn(drive(caller, call, expected, start + time))
        })
        .collect();
    let mut latencies = Vec::new();
    for task in tasks {
        let (caller, seen) = task.await??;
        latencies.extend(seen);
        channels.extend(caller.channel);
    }
    let elapsed = start.elapsed();
    let generator = cpu::own_thread().saturating_sub(generator);
    latencies.sort_by(f64::total_cmp);
    Ok(Window {
        calls: latencies.len(),
        elapsed,
        p50_us: percentile(&latencies, 50),
        p99_us: percentile(&latencies, 99),
        generator,
    })
}

async fn drive(
    mut caller: Caller,
    call: Call,
    expected: Bytes,
    until: Instant,
) -> Result<(Caller, Vec<f64>)> {
    let mut latencies = Vec::new();
    while Instant::now() < until {
        let payment = match &mut caller.channel {
            Some(channel) => Some(channel.next()?),
            None => None,
        };
        let request = call.request(payment)?;
        let start = Instant::now();
        let body = caller.connection.send(request).await?.success()?;
        latencies.push(start.elapsed().as_secs_f64() * 1e6);
        ensure!(body == expected, "another answer: {body:?}");
    }
    Ok((caller, latencies))
}
