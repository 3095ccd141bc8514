//! What a process of its own costs a service: the same small call in the host's process and in a cell, by
//! one caller and by 64, in turns; and what starting a cell takes, in time and memory.
//!
//! In this process, without HTTP and payment, with a guest that gives a text back: what is measured is the
//! way, not the work.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use rialto_host::cell::{Program, serve};
use rialto_host::{
    Arguments, CallContext, CellConfig, Config, Host, Isolation, NoModels, Service, ServiceSpec,
};
use rialto_testkit::guests;
use serde::Serialize;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::spread::{Spread, percentile};
use crate::table;

/// The word that makes this program a cell.
pub(crate) const WORD: &str = "cell";

/// Serves as a cell.
pub(crate) fn be_a_cell() -> ExitCode {
    serve(|_| Vec::new())
}

/// What was found.
#[derive(Debug, Serialize)]
pub(crate) struct Cells {
    /// By the number of callers.
    callers: Vec<Callers>,
    /// From a call that finds no process to its answer, in milliseconds.
    first_call_ms: Spread,
    /// Of a process that has answered a call and is idle, what nobody shares, in mebibytes.
    idle_mib: Spread,
}

/// With so many callers.
#[derive(Debug, Serialize)]
struct Callers {
    callers: usize,
    here: Calls,
    cell: Calls,
    /// Latency in a cell over that here, round by round.
    median_ratio: Spread,
    p99_ratio: Spread,
    /// Calls a second in a cell over those here.
    rate_ratio: Spread,
}

/// Calls in one place.
#[derive(Debug, Serialize)]
struct Calls {
    median_us: Spread,
    p99_us: Spread,
    per_second: Spread,
}

/// Measures, in turns.
///
/// # Errors
/// A call fails.
pub(crate) fn measure(scratch: &Path, rounds: u32, runtime: &Runtime) -> Result<Cells> {
    let lab = Lab::new(scratch)?;
    runtime.block_on(async {
        let (mut first, mut idle) = (Vec::new(), Vec::new());
        for _ in 0..rounds.max(3) {
            let service = lab.service("fresh", Isolation::Process)?;
            let start = Instant::now();
            call(&service).await?;
            first.push(start.elapsed().as_secs_f64() * 1e3);
            let process = service.process().context("the cell is gone")?;
            idle.push(private_mib(process)?);
        }
        let here = lab.service("here", Isolation::InProcess)?;
        let cell = lab.service("there", Isolation::Process)?;
        let mut callers = Vec::new();
        for count in CALLERS {
            callers.push(compare(count, rounds, &here, &cell).await?);
        }
        Ok(Cells {
            callers,
            first_call_ms: Spread::of(first),
            idle_mib: Spread::of(idle),
        })
    })
}

impl Cells {
    /// Prints the figures.
    pub(crate) fn print(&self) {
        for it in &self.callers {
            table::say(&format!(
                "{} callers, us: here {} (p99 {}), in a cell {} (p99 {})",
                it.callers, it.here.median_us, it.here.p99_us, it.cell.median_us, it.cell.p99_us
            ));
            table::say(&format!(
                "  in a cell over here: median {}, p99 {}, calls a second {} ({} of {})",
                it.median_ratio,
                it.p99_ratio,
                it.rate_ratio,
                it.cell.per_second,
                it.here.per_second
            ));
        }
        table::say(&format!(
            "the first call of a cell, ms: {}; an idle cell's own memory, MiB: {}",
            self.first_call_ms, self.idle_mib
        ));
    }
}

async fn compare(count: usize, rounds: u32, here: &Service, cell: &Service) -> Result<Callers> {
    let mut found: [[Vec<f64>; 3]; 2] = Default::default();
    for round in 0..=rounds {
        for (service, all) in [here, cell].into_iter().zip(&mut found) {
            let figures = load(service, count).await?;
            // The first round warms up.
            if round > 0 {
                for (all, figure) in all.iter_mut().zip(figures) {
                    all.push(figure);
                }
            }
        }
    }
    let [here, cell] = found;
    let ratio = |place: usize| -> Result<Spread> {
        let (cell, here) = cell.get(place).zip(here.get(place)).context("a figure")?;
        Ok(Spread::ratio(cell, here))
    };
    Ok(Callers {
        callers: count,
        median_ratio: ratio(0)?,
        p99_ratio: ratio(1)?,
        rate_ratio: ratio(2)?,
        here: Calls::of(here),
        cell: Calls::of(cell),
    })
}

impl Calls {
    fn of([median, p99, rate]: [Vec<f64>; 3]) -> Self {
        Self {
            median_us: Spread::of(median),
            p99_us: Spread::of(p99),
            per_second: Spread::of(rate),
        }
    }
}

/// Median and 99th percentile in microseconds, and calls a second, of callers that call one after another.
async fn load(service: &Service, callers: usize) -> Result<[f64; 3]> {
    let each = CALLS / callers;
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..callers {
        let service = service.clone();
        tasks.spawn(async move {
            let mut times = Vec::with_capacity(each);
            for _ in 0..each {
                let start = Instant::now();
                call(&service).await?;
                times.push(start.elapsed().as_secs_f64() * 1e6);
            }
            anyhow::Ok(times)
        });
    }
    let mut times = Vec::with_capacity(CALLS);
    while let Some(done) = tasks.join_next().await {
        times.extend(done??);
    }
    let seconds = start.elapsed().as_secs_f64();
    times.sort_by(f64::total_cmp);
    let count = u32::try_from(times.len()).unwrap_or(u32::MAX);
    Ok([
        percentile(&times, 50),
        percentile(&times, 99),
        f64::from(count) / seconds,
    ])
}

async fn call(service: &Service) -> Result<()> {
    let context = CallContext {
        call_id: "bench".to_owned(),
        deadline: Instant::now() + Duration::from_secs(60),
        payer: String::new(),
        price: 0,
        hirer: std::sync::Arc::new(rialto_host::NoHirer),
        awaited: None,
    };
    let body = Bytes::from_static(br#"{"text":"hello"}"#);
    let prepared = service.prepare("echo", Arguments::Json(body))?;
    let outcome = service.call(prepared, context).await?;
    anyhow::ensure!(&outcome.body[..] == b"\"hello\"", "another answer");
    Ok(())
}

/// Memory of a process that it shares with nobody, in mebibytes.
fn private_mib(process: u32) -> Result<f64> {
    let path = format!("/proc/{process}/smaps_rollup");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let mut kib = 0.0;
    for line in text.lines() {
        if let Some(rest) = line
            .strip_prefix("Private_")
            .and_then(|it| it.split_once(':'))
        {
            let number = rest.1.trim().trim_end_matches("kB").trim();
            kib += number.parse::<f64>().context("a size")?;
        }
    }
    Ok(kib / 1_024.0)
}

/// A host whose services may have processes.
struct Lab {
    host: Host,
}

impl Lab {
    fn new(scratch: &Path) -> Result<Self> {
        let program = Program {
            file: std::env::current_exe()?,
            arguments: vec![WORD.into()],
            environment: Vec::new(),
        };
        let host = Host::new(Config {
            cells: Some(CellConfig::new(program)),
            ..Config::new(scratch.join("cells-cache"))
        })?;
        Ok(Self { host })
    }

    fn service(&self, name: &str, isolation: Isolation) -> Result<Service> {
        let spec = ServiceSpec {
            name: name.to_owned(),
            version: "0.1.0".to_owned(),
            isolation,
            ..ServiceSpec::default()
        };
        let component = guests::component(guests::HOSTILE)?;
        Ok(self.host.load(&component, spec, Arc::new(NoModels))?)
    }
}

const CALLERS: [usize; 2] = [1, 64];
/// Calls of all callers in a round.
const CALLS: usize = 6_400;
