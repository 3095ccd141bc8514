//! `rialto engines`: what can run models and tensor operations here, how fast, and what to install for more.

use anyhow::{Context, Result};
use rialto_node::{Computer, ComputerState, Config, Found, Program, State};
use serde_json::json;

use crate::args::EnginesArgs;
use crate::{home, show};

/// The word that makes this program a worker; only this program says it.
pub(crate) const WORKER: &str = "engine-worker";

/// This program, as a worker for models.
pub(crate) fn worker() -> Option<Program> {
    let file = std::env::current_exe().ok()?;
    Some(Program {
        file,
        arguments: vec![WORKER.into()],
        environment: Vec::new(),
    })
}

/// The word that makes this program the process of one service; only this program says it.
pub(crate) const CELL: &str = "cell";

/// This program, as the process of one service.
pub(crate) fn cell() -> Option<Program> {
    let file = std::env::current_exe().ok()?;
    Some(Program {
        file,
        arguments: vec![CELL.into()],
        environment: Vec::new(),
    })
}

/// Looks, measures and shows.
pub(crate) async fn run(args: EnginesArgs) -> Result<()> {
    let data_dir = home::data_dir(args.data.data_dir.as_deref())?;
    let file = args.config.unwrap_or_else(|| data_dir.join("rialto.toml"));
    let mut config = if file.exists() {
        Config::load(&data_dir, &file)?
    } else {
        Config::in_dir(&data_dir)
    };
    config.check()?;
    config.engines.worker = worker();
    let look = move || {
        let engines = rialto_node::survey(&config);
        (engines, rialto_node::survey_computers(&config))
    };
    let (engines, computers) = tokio::task::spawn_blocking(look)
        .await
        .context("looking for engines crashed")?;
    if args.json {
        let engines = engines.iter().map(as_json);
        let list: Vec<serde_json::Value> = engines
            .chain(computers.iter().map(computer_as_json))
            .collect();
        show::json(&list.into());
        return Ok(());
    }
    show_engines(&engines);
    show_computers(&computers);
    Ok(())
}

fn show_engines(engines: &[Found]) {
    let mut table = show::table(&["models by", "device", "speed", "where, or what is missing"]);
    for engine in engines {
        let (speed, place) = match &engine.state {
            State::Works { gflops, confined } if confined.is_empty() => {
                (speed(*gflops), "in the host's process".to_owned())
            }
            State::Works { gflops, confined } => (
                speed(*gflops),
                format!("in a worker: {}", confined.join(", ")),
            ),
            State::Missing { reason } => ("-".to_owned(), reason.clone()),
        };
        table.add_row([&engine.engine, &engine.device, &speed, &place]);
    }
    show::line(table.to_string());
}

fn show_computers(computers: &[Computer]) {
    let mut table = show::table(&["operations on", "driver", "speed", "state"]);
    for computer in computers {
        let (speed, state) = match &computer.state {
            ComputerState::Works { gflops } => {
                let mut state = vec!["agrees with the processor"];
                if computer.driver.is_empty() {
                    state.clear();
                } else if computer.software {
                    state.push("software: only if it is asked for by name");
                }
                if computer.chosen {
                    state.push("in use");
                }
                (speed(*gflops), state.join("; "))
            }
            ComputerState::Missing { reason } => ("-".to_owned(), reason.clone()),
        };
        table.add_row([&computer.name, &computer.driver, &speed, &state]);
    }
    show::line(table.to_string());
}

fn speed(gflops: f64) -> String {
    format!("{gflops:.0} GFLOP/s")
}

fn as_json(engine: &Found) -> serde_json::Value {
    let (works, gflops, confined, missing) = match &engine.state {
        State::Works { gflops, confined } => (true, Some(*gflops), confined.clone(), None),
        State::Missing { reason } => (false, None, Vec::new(), Some(reason)),
    };
    json!({
        "computes": "models",
        "engine": engine.engine,
        "device": engine.device,
        "works": works,
        "gflops": gflops,
        "confined": confined,
        "missing": missing,
    })
}

fn computer_as_json(computer: &Computer) -> serde_json::Value {
    let (works, gflops, missing) = match &computer.state {
        ComputerState::Works { gflops } => (true, Some(*gflops), None),
        ComputerState::Missing { reason } => (false, None, Some(reason)),
    };
    json!({
        "computes": "operations",
        "device": computer.name,
        "driver": computer.driver,
        "software": computer.software,
        "chosen": computer.chosen,
        "works": works,
        "gflops": gflops,
        "missing": missing,
    })
}
