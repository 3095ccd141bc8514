//! A flood of guests that compute, and one caller of another service beside it: what a limit that adapts is
//! worth, next to fixed ones. In this process, without HTTP.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use bytes::Bytes;
use rialto_host::{
    Arguments, CallContext, CallError, Concurrency, Config, Grants, Host, Limits, NoModels,
    Service, ServiceSpec, WasiGroup,
};
use rialto_testkit::guests;
use serde::Serialize;
use tokio::runtime::Builder;
use tokio::task::JoinSet;

use crate::places::Places;
use crate::spread::percentile;

/// One way to limit calls, under the flood.
#[derive(Debug, Serialize)]
pub(crate) struct Contended {
    concurrency: &'static str,
    /// Calls of the flood that ended, a second; each computes [`COMPUTES`].
    flood_per_second: f64,
    flood_p50_ms: f64,
    flood_p99_ms: f64,
    /// The other service's caller.
    quiet_p50_ms: f64,
    quiet_p99_ms: f64,
    /// The most calls that ran at once.
    running_most: u32,
}

impl Contended {
    pub(super) fn line(&self) -> String {
        format!(
            "{CALLERS} callers that compute, {:12}: {:5.1} calls a second, p50 {:6.0} ms, p99 {:6.0} ms, at most {:3} at once; \
             another service's caller: p50 {:6.2} ms, p99 {:7.2} ms",
            self.concurrency,
            self.flood_per_second,
            self.flood_p50_ms,
            self.flood_p99_ms,
            self.running_most,
            self.quiet_p50_ms,
            self.quiet_p99_ms
        )
    }
}

const CALLERS: usize = 128;
/// What a call of the flood computes.
const COMPUTES: Duration = Duration::from_millis(50);
const PLACES: u32 = 128;

pub(super) fn measure(places: &Places, scratch: &Path, seconds: f64) -> Result<Vec<Contended>> {
    let ways = [
        ("adaptive", Concurrency::Adaptive),
        ("fixed at 128", Concurrency::Fixed(128)),
        ("fixed at 16", Concurrency::Fixed(16)),
        ("fixed at 4", Concurrency::Fixed(4)),
    ];
    let mut found = Vec::new();
    for (name, concurrency) in ways {
        let runtime = Builder::new_multi_thread().enable_all().build()?;
        let host = Host::new(Config {
            calls_max: PLACES,
            concurrency,
            ..Config::new(scratch.join("contended-cache"))
        })?;
        let hello = std::fs::read(places.hello())?;
        let flood = load(&host, "flood", &guests::component(guests::HOSTILE)?)?;
        let quiet = load(&host, "quiet", &hello)?;
        let time = Duration::from_secs_f64(4.0 * seconds);
        let row = runtime.block_on(contend(name, &host, flood, quiet, time))?;
        crate::table::say(&row.line());
        found.push(row);
    }
    Ok(found)
}

fn load(host: &Host, name: &str, component: &[u8]) -> Result<Service> {
    let spec = ServiceSpec {
        name: name.to_owned(),
        version: "0.1.0".to_owned(),
        grants: Grants {
            wasi: WasiGroup::ALL.into(),
            ..Grants::default()
        },
        limits: Limits {
            cpu_max: COMPUTES,
            wall_max: Duration::from_secs(60),
            ..Limits::default()
        },
        ..ServiceSpec::default()
    };
    Ok(host.load(component, spec, Arc::new(NoModels))?)
}

async fn contend(
    name: &'static str,
    host: &Host,
    flood: Service,
    quiet: Service,
    time: Duration,
) -> Result<Contended> {
    let over = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    for caller in 0..CALLERS {
        let (flood, over) = (flood.clone(), Arc::clone(&over));
        tasks.spawn(async move {
            let mut took_ms = Vec::new();
            while !over.load(Ordering::Relaxed) {
                let start = Instant::now();
                // A payer whose calls fail again and again would be held back: each of these fails once.
                let payer = took_ms.len() * CALLERS + caller;
                match call(&flood, &payer.to_string(), "spin", "{}").await {
                    // It computes until its limit.
                    Err(CallError::CpuExceeded { .. }) => {
                        took_ms.push(start.elapsed().as_secs_f64() * 1e3);
                    }
                    Err(
                        CallError::Overloaded { retry_after_ms }
                        | CallError::LongCalls { retry_after_ms },
                    ) => {
                        let pause = Duration::from_millis(retry_after_ms.clamp(10, 1_000));
                        tokio::time::sleep(pause).await;
                    }
                    other => anyhow::bail!("a flood was answered with {other:?}"),
                }
            }
            Ok(took_ms)
        });
    }
    let begun = Instant::now();
    let watch = tokio::spawn(watch(host.clone(), quiet, begun + time));
    let (quiet_ms, running_most) = watch.await??;
    over.store(true, Ordering::Relaxed);
    let elapsed = begun.elapsed().as_secs_f64();
    let mut flood_ms = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        flood_ms.extend(ended??);
    }
    flood_ms.sort_by(f64::total_cmp);
    Ok(Contended {
        concurrency: name,
        flood_per_second: flood_ms.len() as f64 / elapsed,
        flood_p50_ms: percentile(&flood_ms, 50),
        flood_p99_ms: percentile(&flood_ms, 99),
        quiet_p50_ms: percentile(&quiet_ms, 50),
        quiet_p99_ms: percentile(&quiet_ms, 99),
        running_most,
    })
}

/// One call after the other, with pauses.
async fn watch(host: Host, quiet: Service, until: Instant) -> Result<(Vec<f64>, u32)> {
    let (mut took_ms, mut most) = (Vec::new(), 0);
    while Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let start = Instant::now();
        call(&quiet, "", "hello", r#"{"name":"world"}"#).await?;
        took_ms.push(start.elapsed().as_secs_f64() * 1e3);
        most = most.max(host.door_load().running);
    }
    took_ms.sort_by(f64::total_cmp);
    Ok((took_ms, most))
}

async fn call(
    service: &Service,
    payer: &str,
    method: &str,
    body: &'static str,
) -> Result<(), CallError> {
    let arguments = Arguments::Json(Bytes::from_static(body.as_bytes()));
    let prepared = service
        .prepare(method, arguments)
        .map_err(|error| CallError::Internal(error.to_string()))?;
    let context = CallContext {
        call_id: "bench".to_owned(),
        deadline: Instant::now() + Duration::from_secs(60),
        payer: payer.to_owned(),
        price: 0,
        hirer: std::sync::Arc::new(rialto_host::NoHirer),
        awaited: None,
    };
    service.call(prepared, context).await.map(|_| ())
}
