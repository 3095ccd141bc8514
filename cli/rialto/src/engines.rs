//! `rialto engines`: what can run models here, how fast, and what to install for more.

use anyhow::{Context, Result};
use rialto_node::{Config, Found, Program, State};
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
    let found = tokio::task::spawn_blocking(move || rialto_node::survey(&config))
        .await
        .context("looking for engines crashed")?;
    if args.json {
        let list: Vec<serde_json::Value> = found.iter().map(as_json).collect();
        show::json(&list.into());
        return Ok(());
    }
    let mut table = show::table(&["engine", "device", "speed", "where, or what is missing"]);
    for engine in &found {
        let (speed, place) = match &engine.state {
            State::Works { gflops, confined } if confined.is_empty() => (
                format!("{gflops:.0} GFLOP/s"),
                "in the host's process".to_owned(),
            ),
            State::Works { gflops, confined } => (
                format!("{gflops:.0} GFLOP/s"),
                format!("in a worker: {}", confined.join(", ")),
            ),
            State::Missing { reason } => ("-".to_owned(), reason.clone()),
        };
        table.add_row([&engine.engine, &engine.device, &speed, &place]);
    }
    show::line(table.to_string());
    Ok(())
}

fn as_json(engine: &Found) -> serde_json::Value {
    let (works, gflops, confined, missing) = match &engine.state {
        State::Works { gflops, confined } => (true, Some(*gflops), confined.clone(), None),
        State::Missing { reason } => (false, None, Vec::new(), Some(reason)),
    };
    json!({
        "engine": engine.engine,
        "device": engine.device,
        "works": works,
        "gflops": gflops,
        "confined": confined,
        "missing": missing,
    })
}
