//! How services share the device: what joining runs gains, and what a tenant that floods it costs another.
//!
//! In this process, without HTTP and payment: the host's queue is measured, not the way to it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use bytes::Bytes;
use rialto_host::{
    Arguments, CallContext, Config, DeviceConfig, Grants, Host, Limits, Service, ServiceSpec,
    WasiGroup,
};
use serde::Serialize;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::places::Places;
use crate::plot::{Line, Plot};
use crate::record::Recording;
use crate::spread::{Spread, percentile};
use crate::table;

/// What was found.
#[derive(Debug, Serialize)]
pub(crate) struct Sharing {
    /// Calls a second at [`CALLERS`] callers, each run alone, and joined; by service.
    throughput: Vec<Throughput>,
    /// Calls a second by the number of callers, joined.
    by_callers: Vec<ByCallers>,
    /// The 99th percentile of a quiet service's calls, in milliseconds: alone, and beside a flood.
    quiet_p99_ms: Spread,
    flooded_p99_ms: Spread,
    /// The latter over the former, round by round.
    flooded_by_quiet: Spread,
}

#[derive(Debug, Serialize)]
struct Throughput {
    service: &'static str,
    alone_per_second: Spread,
    joined_per_second: Spread,
    joined_by_alone: Spread,
}

#[derive(Debug, Serialize)]
struct ByCallers {
    service: &'static str,
    callers: usize,
    per_second: Spread,
}

/// The numbers of callers that are compared.
const STEPS: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];

/// Calls in progress at a time.
const CALLERS: usize = 64;

/// How long each side is loaded in a round.
const LOAD: Duration = Duration::from_secs(2);

/// Calls of the quiet service in a round.
const QUIET_CALLS: usize = 200;

/// Measures, in turns.
///
/// # Errors
/// A service or its models are not there, or a call fails.
pub(crate) fn measure(
    places: &Places,
    scratch: &Path,
    rounds: u32,
    runtime: &Runtime,
) -> Result<Sharing> {
    let host = |name: &str, batch_max| {
        Host::new(Config {
            calls_max: 2 * u32::try_from(CALLERS).unwrap_or(u32::MAX),
            device: DeviceConfig {
                batch_max,
                ..DeviceConfig::default()
            },
            ..Config::new(scratch.join(name))
        })
    };
    let (alone, joined) = (host("alone-cache", 1)?, host("joined-cache", 16)?);
    let mut throughput = Vec::new();
    for case in [&FILETYPE, &EMBED] {
        let sides = [case.load(places, &alone)?, case.load(places, &joined)?];
        let mut rates = [Vec::new(), Vec::new()];
        for round in 0..=rounds {
            for (service, rates) in sides.iter().zip(&mut rates) {
                let rate = runtime.block_on(load(case, service, CALLERS))?;
                // The first round warms up: engines plan for each shape.
                if round > 0 {
                    rates.push(rate);
                }
            }
        }
        let [alone, joined] = rates;
        throughput.push(Throughput {
            service: case.service,
            joined_by_alone: Spread::ratio(&joined, &alone),
            alone_per_second: Spread::of(alone),
            joined_per_second: Spread::of(joined),
        });
    }
    let by_callers = by_callers(places, &joined, rounds, runtime)?;
    let (quiet, flood) = (
        FILETYPE.load(places, &joined)?,
        EMBED.load(places, &joined)?,
    );
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        alone.push(runtime.block_on(quiet_p99(&quiet))?);
        beside.push(runtime.block_on(flooded_p99(&quiet, &flood))?);
    }
    Ok(Sharing {
        throughput,
        by_callers,
        flooded_by_quiet: Spread::ratio(&beside, &alone),
        quiet_p99_ms: Spread::of(alone),
        flooded_p99_ms: Spread::of(beside),
    })
}

impl Sharing {
    /// Draws throughput against callers.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn draw(&self, folder: &Path) -> Result<()> {
        let line = |service: &'static str| {
            let steps = self.by_callers.iter().filter(|row| row.service == service);
            let point = |row: &ByCallers| {
                let callers = u32::try_from(row.callers).unwrap_or(u32::MAX);
                (f64::from(callers), row.per_second)
            };
            Line {
                name: service.to_owned(),
                points: steps.map(point).collect(),
            }
        };
        Plot {
            title: "Throughput against concurrent guests",
            across: "callers, each with one call at a time",
            up: "calls a second",
            lines: vec![line(FILETYPE.service), line(EMBED.service)],
        }
        .draw(&folder.join("throughput-by-guests.svg"))
    }

    /// Prints the figures.
    pub(crate) fn print(&self) {
        for row in &self.throughput {
            table::say(&format!(
                "{}: {CALLERS} callers, calls a second: each run alone {}, joined {}, ratio {}",
                row.service, row.alone_per_second, row.joined_per_second, row.joined_by_alone
            ));
        }
        table::say(&format!(
            "filetype one call at a time, p99 in ms: alone {}, beside {CALLERS} callers of embed {}, ratio {}",
            self.quiet_p99_ms, self.flooded_p99_ms, self.flooded_by_quiet
        ));
    }
}

fn by_callers(
    places: &Places,
    host: &Host,
    rounds: u32,
    runtime: &Runtime,
) -> Result<Vec<ByCallers>> {
    let mut found = Vec::new();
    for case in [&FILETYPE, &EMBED] {
        let service = case.load(places, host)?;
        let mut rates = vec![Vec::new(); STEPS.len()];
        for _ in 0..rounds {
            for (callers, rates) in STEPS.iter().zip(&mut rates) {
                rates.push(runtime.block_on(load(case, &service, *callers))?);
            }
        }
        let steps = STEPS.iter().zip(rates);
        found.extend(steps.map(|(callers, rates)| ByCallers {
            service: case.service,
            callers: *callers,
            per_second: Spread::of(rates),
        }));
    }
    Ok(found)
}

struct Case {
    service: &'static str,
    method: &'static str,
    /// Another body for each caller: equal inputs are never joined.
    body: fn(usize) -> Arguments,
}

static FILETYPE: Case = Case {
    service: "filetype",
    method: "identify",
    body: |caller| {
        let text: &[u8] = include_bytes!("../../LICENSE");
        Arguments::Raw(Bytes::from_static(text.get(caller..).unwrap_or(text)))
    },
};

static EMBED: Case = Case {
    service: "embed",
    method: "embed",
    body: |caller| {
        // One token each: all inputs have one shape.
        let letter = char::from(b'a' + u8::try_from(caller % 26).unwrap_or(0));
        let text = format!(
            r#"{{"texts":["A sentence of some length about {letter}, as people search."]}}"#
        );
        Arguments::Json(text.into())
    },
};

impl Case {
    fn load(&self, places: &Places, host: &Host) -> Result<Service> {
        let folder = places.services.join(self.service);
        let models = Recording::load(&folder.join("service.toml"), &places.artifacts)?;
        let spec = ServiceSpec {
            name: self.service.to_owned(),
            version: "0.1.0".to_owned(),
            grants: Grants {
                tensor: true,
                wasi: WasiGroup::ALL.into(),
                ..Grants::default()
            },
            models: models.names(),
            limits: Limits::default(),
            ..ServiceSpec::default()
        };
        let component = std::fs::read(folder.join("component.wasm"))?;
        Ok(host.load(&component, spec, Arc::new(models))?)
    }

    async fn call(&self, service: &Service, caller: usize) -> Result<()> {
        let context = CallContext {
            call_id: "bench".to_owned(),
            deadline: Instant::now() + Duration::from_secs(30),
            payer: String::new(),
            price: 0,
            hirer: std::sync::Arc::new(rialto_host::NoHirer),
            awaited: None,
        };
        let prepared = service.prepare(self.method, (self.body)(caller))?;
        service.call(prepared, context).await?;
        Ok(())
    }
}

/// Calls a second, with so many callers.
async fn load(case: &'static Case, service: &Service, count: usize) -> Result<f64> {
    let end = Instant::now() + LOAD;
    let mut tasks = callers(case, service, count, move || Instant::now() < end);
    let mut calls = 0_u32;
    while let Some(done) = tasks.join_next().await {
        calls = calls.saturating_add(done??);
    }
    // Calls that were in progress at the end are counted with their time.
    let took = LOAD + end.elapsed();
    Ok(f64::from(calls) / took.as_secs_f64())
}

fn callers(
    case: &'static Case,
    service: &Service,
    count: usize,
    goes_on: impl Fn() -> bool + Clone + Send + Sync + 'static,
) -> JoinSet<Result<u32>> {
    let mut tasks = JoinSet::new();
    for caller in 0..count {
        let (service, goes_on) = (service.clone(), goes_on.clone());
        tasks.spawn(async move {
            let mut calls = 0_u32;
            while goes_on() {
                case.call(&service, caller).await?;
                calls = calls.saturating_add(1);
            }
            Ok(calls)
        });
    }
    tasks
}

async fn quiet_p99(quiet: &Service) -> Result<f64> {
    let service = quiet.clone();
    // On a thread of the runtime, as calls over HTTP are.
    let task = tokio::spawn(async move {
        let mut times = Vec::with_capacity(QUIET_CALLS);
        for _ in 0..QUIET_CALLS {
            let start = Instant::now();
            FILETYPE.call(&service, 0).await?;
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
        times.sort_by(f64::total_cmp);
        anyhow::Ok(percentile(&times, 99))
    });
    task.await?
}

async fn flooded_p99(quiet: &Service, flood: &Service) -> Result<f64> {
    let on = Arc::new(AtomicBool::new(true));
    let goes_on = Arc::clone(&on);
    let mut tasks = callers(&EMBED, flood, CALLERS, move || {
        goes_on.load(Ordering::Relaxed)
    });
    let p99 = quiet_p99(quiet).await;
    on.store(false, Ordering::Relaxed);
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    p99
}
