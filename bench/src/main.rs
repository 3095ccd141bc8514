//! Benchmarks: the mesh against its peers and limits, in one run on one machine.
//!
//! `cargo xtask bench` builds everything and starts this program. Rounds of all candidates are
//! interleaved, so that what else the machine does hits them alike; figures are medians over rounds
//! with the least and the most. What is judged are ratios within one run, never figures of two machines.
//!
//! Not here: anything about a network, other machines, or many cores.

mod alone;
mod cells;
mod chat;
mod cpu;
mod engines;
mod exchange;
mod flame;
mod fleet;
mod gpu;
mod handlers;
mod hops;
mod hostile;
mod instance;
mod ledger;
mod load;
mod machine;
mod mesh;
mod models;
mod operations;
mod overload;
mod parts;
mod payer;
mod peers;
mod places;
mod plot;
mod record;
mod report;
mod sharing;
mod spread;
mod start;
mod swarm;
mod table;
mod throughput;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use serde::Serialize;
use tokio::runtime::Builder;

use crate::alone::Part;
use crate::places::Places;
use crate::report::{Ledgers, Report};

/// Measures the mesh against its peers and limits on this machine.
#[derive(Debug, Parser)]
#[command(name = "rialto-bench")]
pub(crate) struct Options {
    /// Rounds of everything; medians are over them.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Seconds that each candidate is loaded in each round.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Connections to measure at.
    #[arg(long, value_delimiter = ',', default_values_t = [1_usize, 8, 64])]
    connections: Vec<usize>,
    /// Where the figures go as JSON: `bench/results/latest.json`, or that of the part measured alone.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Where plots go.
    #[arg(long, default_value = "docs/perf")]
    plots: PathBuf,
    /// Measure one part alone, which needs nothing else built.
    #[arg(long)]
    only: Option<Part>,
    /// Of engines, only the models whose names contain this, and no batches: for a profiler.
    #[arg(long)]
    model: Option<String>,
    /// Minutes that swarms of all sizes may take together; what does not fit is measured smaller, or not.
    #[arg(long, default_value_t = 8)]
    minutes: u64,
    /// The sizes of swarms, in nodes.
    #[arg(long, value_delimiter = ',', default_values_t = [100, 300, 1_000])]
    nodes: Vec<usize>,
    /// A ledger of a million channels too: some minutes more.
    #[arg(long)]
    million: bool,
    /// What a ledger's measurement starts itself with.
    #[arg(long, hide = true)]
    reopen: Option<PathBuf>,
}

fn main() -> Result<ExitCode> {
    if std::env::args().nth(1).as_deref() == Some(engines::WORKER) {
        return Ok(engines::serve());
    }
    if std::env::args().nth(1).as_deref() == Some(cells::WORD) {
        return Ok(cells::be_a_cell());
    }
    run(&Options::parse()).map(|()| ExitCode::SUCCESS)
}

fn run(options: &Options) -> Result<()> {
    if let Some(dir) = &options.reopen {
        return ledger::reopen(dir);
    }
    let scratch = tempfile::tempdir()?;
    if let Some(part) = options.only {
        return alone::measure(part, options, scratch.path());
    }
    let ledgers = measure_ledgers(scratch.path(), options.million)?;
    let report = measure(options, ledgers)?;
    table::print(&report);
    write(options, "latest", &report)
}

fn measure_ledgers(scratch: &Path, million: bool) -> Result<Ledgers> {
    table::say("the ledger by itself …");
    let own = ledger::measure(scratch, million)?;
    table::say("the ledger of a fleet …");
    let shared = fleet::measure(scratch)?;
    Ok(Ledgers { own, shared })
}

/// Writes the figures where the options say, or under a name among the results.
fn write(options: &Options, name: &str, figures: &impl Serialize) -> Result<()> {
    let usual = || PathBuf::from(format!("bench/results/{name}.json"));
    let out = options.out.clone().unwrap_or_else(usual);
    if let Some(folder) = out.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let json = serde_json::to_string_pretty(figures)? + "\n";
    std::fs::write(&out, json).with_context(|| format!("cannot write {}", out.display()))?;
    table::say(&format!("\nas JSON: {}", out.display()));
    Ok(())
}

fn measure(options: &Options, ledgers: Ledgers) -> Result<Report> {
    // Load comes from one thread, so that the servers have the rest of the machine.
    let one = Builder::new_current_thread().enable_all().build()?;
    // Models are called as the host calls them: on a thread of a runtime that has several.
    let several = Builder::new_multi_thread().enable_all().build()?;
    let places = Places::from_env()?;
    let scratch = tempfile::tempdir()?;
    table::say("starting the mesh …");
    let mesh = peers::start_mesh(&places, scratch.path())?;
    table::say("fresh instances …");
    let cycles = one.block_on(instance::measure(&places, scratch.path(), options.rounds))?;
    table::say("parts of a paid call …");
    let parts = one.block_on(parts::measure(&mesh, scratch.path(), options.rounds))?;
    table::say("models …");
    let threads = models::Threads {
        caller: &one,
        host: &several,
    };
    let models = models::measure(&places, scratch.path(), &mesh, options.rounds, threads)?;
    table::say("calls a second …");
    let throughput = one.block_on(throughput::measure(options, &places, &mesh))?;
    mesh.stop()?;
    Ok(Report::new(
        options,
        &cycles,
        &parts,
        &throughput,
        &models,
        ledgers,
    ))
}
