//! Overload: callers from ten to ten thousand, a steady load of 70%, and a flood that computes.
//!
//! The mesh is a process of its own, and so is this generator. Callers who are refused come again when the
//! answer says so (`Retry-After`), as they are meant to.

mod contended;
mod grow;
mod steady;

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result};
use bytes::Bytes;
use rialto_testkit::mesh::Mesh;
use rustix::process::{Resource, getrlimit, setrlimit};
use serde::Serialize;
use tokio::runtime::Runtime;

use crate::exchange::{Call, address};
use crate::machine::Machine;
use crate::peers;
use crate::places::Places;
use crate::plot::{Line, Plot};
use crate::report::Target;
use crate::spread::Spread;
use crate::table;

/// What was found.
#[derive(Debug, Serialize)]
pub(crate) struct Overload {
    machine: Machine,
    /// Most files that a process may have open; none without a limit.
    open_files: Option<u64>,
    grown: Vec<grow::Step>,
    steady: Vec<steady::Steady>,
    /// A flood of guests that compute, and one caller of another service.
    contended: Vec<contended::Contended>,
}

/// A service under load.
#[derive(Debug, Clone)]
struct Case {
    name: &'static str,
    call: Call,
}

/// Measures all of it.
///
/// # Errors
/// Something is not built, or a call is answered with anything but success or a refusal for overload.
pub(crate) fn measure(
    places: &Places,
    scratch: &Path,
    seconds: f64,
    one: &Runtime,
) -> Result<Overload> {
    let open_files = raise_open_files()?;
    let callers = callers(open_files);
    let contended = contended::measure(places, scratch, seconds)?;
    let config = scratch.join("overload.toml");
    let most = callers.iter().max().copied();
    let most = most.context("too few open files for any callers; raise `ulimit -Hn`")?;
    let text = format!("[gateway]\nconnections_max = {}\n", most + SPARE);
    std::fs::write(&config, text)?;
    let config = config.to_str().context("a path that is no text")?;
    let mesh = peers::start_mesh_with(places, scratch, &["--config", config])?;
    let (mut grown, mut loads) = (Vec::new(), Vec::new());
    for case in cases() {
        let steps = one.block_on(grow::measure(&case, &served(&mesh)?, &callers, seconds))?;
        let best = best(&steps);
        table::say(&format!(
            "{}: saturated at {best:.0} calls a second",
            case.name
        ));
        grown.extend(steps);
        loads.push(one.block_on(steady::measure(&case, &served(&mesh)?, best, seconds))?);
    }
    mesh.stop()?;
    Ok(Overload {
        machine: Machine::describe(),
        open_files,
        grown,
        steady: loads,
        contended,
    })
}

/// The process that serves, and where.
#[derive(Debug, Clone, Copy)]
struct Served {
    address: SocketAddr,
    process: u32,
}

fn served(mesh: &Mesh) -> Result<Served> {
    Ok(Served {
        address: address(mesh.gateway())?,
        process: mesh.process_id(),
    })
}

fn cases() -> [Case; 2] {
    let file = Call {
        path: "/services/filetype-free/identify".to_owned(),
        media_type: "application/octet-stream",
        body: Bytes::from_static(include_bytes!("../../LICENSE")),
    };
    [
        Case {
            name: "hello",
            call: Call::json("/services/hello/hello", r#"{"name":"world"}"#),
        },
        Case {
            name: "filetype",
            call: file,
        },
    ]
}

fn best(steps: &[grow::Step]) -> f64 {
    steps.iter().map(grow::Step::rate).fold(0.0, f64::max)
}

/// As many open files as this process may have: ten thousand connections are as many, on both sides. What is
/// started from here has them too.
fn raise_open_files() -> Result<Option<u64>> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).context("the number of open files cannot be raised")?;
    Ok(limit.maximum)
}

/// The numbers of callers for which there are open files.
fn callers(open_files: Option<u64>) -> Vec<usize> {
    let most = open_files.map_or(usize::MAX, |files| {
        usize::try_from(files).unwrap_or(usize::MAX)
    });
    let most = most.saturating_sub(SPARE);
    let (fit, left): (Vec<usize>, Vec<usize>) =
        grow::CALLERS.iter().partition(|callers| **callers <= most);
    if let Some(wanted) = left.iter().max() {
        table::say(&format!(
            "left out: {left:?} callers, for want of open files; as root `ulimit -Hn {}` first, or LimitNOFILE of a unit",
            wanted + SPARE
        ));
    }
    fit
}

impl Overload {
    /// Prints the figures.
    pub(crate) fn print(&self) {
        self.grown.iter().for_each(|step| table::say(&step.line()));
        self.steady.iter().for_each(|load| table::say(&load.line()));
        for row in &self.contended {
            table::say(&row.line());
        }
        table::say(&table::targets(&self.targets()));
    }

    fn targets(&self) -> Vec<Target> {
        let mut targets = Vec::new();
        for case in cases() {
            let steps = self.grown.iter().filter(|step| step.service == case.name);
            let rates: Vec<f64> = steps.map(grow::Step::rate).collect();
            let best = rates.iter().copied().fold(0.0, f64::max);
            let what = format!("{}: accepted at the most callers, by the best", case.name);
            if let Some(last) = rates.last() {
                targets.push(Target::least(what, FLAT_MIN, Spread::of([last / best])));
            }
        }
        for load in &self.steady {
            let what = format!("{}: p99 by p50 at 70% load", load.service);
            targets.push(Target::most(what, TAIL_MAX, load.p99_by_p50));
        }
        targets
    }

    /// Draws both plots.
    ///
    /// # Errors
    /// A file cannot be written.
    pub(crate) fn draw(&self, folder: &Path) -> Result<()> {
        let line = |case: &Case, up: fn(&grow::Step) -> f64, by: f64| Line {
            name: case.name.to_owned(),
            points: self
                .grown
                .iter()
                .filter(|step| step.service == case.name)
                .map(|step| (step.callers(), Spread::of([up(step) / by])))
                .collect(),
        };
        let cases = cases();
        let of = |case: &Case| {
            let steps = self.grown.iter().filter(|step| step.service == case.name);
            steps
                .map(grow::Step::rate)
                .fold(f64::MIN_POSITIVE, f64::max)
        };
        let across = "callers, each with one call at a time";
        Plot {
            title: "Accepted calls a second, by the best",
            across,
            up: "part of the best",
            lines: cases
                .iter()
                .map(|case| line(case, grow::Step::rate, of(case)))
                .collect(),
        }
        .draw(&folder.join("overload-throughput.svg"))?;
        Plot {
            title: "What 99 of 100 accepted calls stay below",
            across,
            up: "ms",
            lines: cases
                .iter()
                .map(|case| line(case, grow::Step::p99_ms, 1.0))
                .collect(),
        }
        .draw(&folder.join("overload-latency.svg"))
    }
}

/// Open files that are no callers' connections.
const SPARE: usize = 200;
/// What is left of the best throughput at the most callers.
const FLAT_MIN: f64 = 0.9;
/// The 99th percentile by the median at 70% load.
const TAIL_MAX: f64 = 3.0;
