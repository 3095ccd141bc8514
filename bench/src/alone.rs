//! Parts that can be measured alone, with `--only`.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use tokio::runtime::{Builder, Runtime};

use crate::places::Places;
use crate::{
    Options, cells, chat, engines, flame, gpu, handlers, hops, hostile, measure_ledgers, mesh,
    operations, overload, sharing, start, swarm, table, write,
};

/// A part that can be measured alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// Both kinds of ledger on this machine's disk.
    Ledger,
    /// A language model's tokens a second beside llama.cpp's; needs the services and the clients.
    Chat,
    /// How services share the device; needs the services built.
    Device,
    /// Tensor operations through the sandbox; needs the tests' guests built.
    Operations,
    /// Tensor operations on a graphics processor beside the processor.
    Gpu,
    /// A flame graph of paid calls; needs `perf` and the benchmark's guests built.
    Flame,
    /// Unmodified handlers of HTTP under `wasmtime serve` and in the mesh; needs the tests' guests built.
    Handlers,
    /// Hostile guests beside honest callers; needs the benchmark's guests built.
    Hostile,
    /// Services in processes of their own beside the host's.
    Cells,
    /// From bytes to the first answer, and memory of services and calls; needs the guests of both built.
    Start,
    /// From ten to ten thousand callers, a steady load of 70%, a flood that computes; needs the services.
    Overload,
    /// Swarms of 100 to 1,000 nodes in this process, a fifth hostile; needs nothing else built.
    Swarm,
    /// Choosing among 300 offers, looking up among 300 nodes, an artifact from a peer; needs nothing else built.
    Mesh,
    /// Calls between services on one host and on two, and a thousand tools; needs the tests' guests built.
    Hops,
    /// Engines beside ONNX Runtime in Python, and runs done together; needs the clients.
    Engines,
}

/// Measures one part, prints it and writes its figures.
///
/// # Errors
/// What the part needs is not built, or it fails.
pub(crate) fn measure(part: Part, options: &Options, scratch: &Path) -> Result<()> {
    let rounds = options.rounds;
    match part {
        Part::Chat => {
            let found = chat::measure(scratch, rounds)?;
            chat::print(&found);
            table::say(&table::targets(&chat::targets(&found)));
            write(options, "chat", &found)
        }
        Part::Ledger => {
            let ledgers = measure_ledgers(scratch, options.million)?;
            ledgers.own.print();
            table::say("\nThe ledger of a fleet, in PostgreSQL");
            ledgers.shared.print();
            table::say(&table::targets(&ledgers.targets()));
            write(options, "ledger", &ledgers)
        }
        Part::Device => {
            let places = Places::from_env()?;
            let sharing = sharing::measure(&places, scratch, rounds, &several()?)?;
            sharing.print();
            sharing.draw(&options.plots)?;
            write(options, "device", &sharing)
        }
        Part::Operations => {
            let operations = operations::measure(scratch, rounds, &several()?)?;
            operations.print();
            write(options, "operations", &operations)
        }
        Part::Cells => {
            let cells = cells::measure(scratch, rounds, &several()?)?;
            cells.print();
            write(options, "cells", &cells)
        }
        Part::Gpu => {
            let found = gpu::measure(rounds)?;
            found.print();
            write(options, "gpu", &found)
        }
        Part::Flame => flame::draw(
            &Places::from_env()?,
            scratch,
            &options.plots,
            options.seconds,
        ),
        Part::Handlers => {
            let found = handlers::measure(&Places::from_env()?, scratch)?;
            found.print();
            write(options, "handlers", &found)
        }
        Part::Hostile => {
            let places = Places::from_env()?;
            let found = hostile::measure(&places, scratch, rounds, options.seconds)?;
            found.print();
            table::say(&table::targets(&found.targets()));
            write(options, "hostile", &found)
        }
        Part::Start => {
            let found = start::measure(&Places::from_env()?, scratch, rounds, &several()?)?;
            found.print();
            write(options, "start", &found)
        }
        Part::Overload => measure_overload(options, scratch),
        Part::Swarm => measure_swarm(options),
        Part::Mesh => measure_mesh(options, scratch),
        Part::Hops => measure_hops(options, scratch),
        Part::Engines => measure_engines(options),
    }
}

fn measure_swarm(options: &Options) -> Result<()> {
    let all_time = Duration::from_secs(options.minutes.saturating_mul(60));
    let found = swarm::measure(&options.nodes, options.rounds, all_time, &several()?)?;
    found.print();
    found.draw(&options.plots)?;
    table::say(&table::targets(&found.targets()));
    write(options, "swarm", &found)
}

fn measure_mesh(options: &Options, scratch: &Path) -> Result<()> {
    let found = mesh::measure(scratch, options.rounds, &several()?)?;
    found.print();
    table::say(&table::targets(&found.targets()));
    write(options, "mesh", &found)
}

fn measure_hops(options: &Options, scratch: &Path) -> Result<()> {
    let found = hops::measure(scratch, options.rounds, &several()?)?;
    found.print();
    table::say(&table::targets(&found.targets()));
    write(options, "hops", &found)
}

fn measure_overload(options: &Options, scratch: &Path) -> Result<()> {
    let one = Builder::new_current_thread().enable_all().build()?;
    let found = overload::measure(&Places::from_env()?, scratch, options.seconds, &one)?;
    found.print();
    found.draw(&options.plots)?;
    write(options, "overload", &found)
}

fn measure_engines(options: &Options) -> Result<()> {
    let found = engines::measure(options.rounds, options.model.as_deref())?;
    engines::print(&found);
    if options.model.is_none() {
        engines::draw(&found, &options.plots)?;
    }
    table::say(&table::targets(&engines::targets(&found)));
    write(options, "engines", &found)
}

/// Models are called as the host calls them: on a thread of a runtime that has several.
fn several() -> Result<Runtime> {
    Ok(Builder::new_multi_thread().enable_all().build()?)
}
