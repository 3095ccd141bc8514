//! `rialto top`: what a running host does, live: its services with rates, times, money and memory.
//!
//! The node is asked over its desk in the data folder, so nothing of it needs to be public.

mod draw;
mod sample;
mod table;
#[cfg(test)]
mod tests;

use std::io::{self, IsTerminal as _, Read as _};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rialto_node::metrics::{Kind, Metric, Value as MetricValue};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::args::TopArgs;
use crate::{admin, home, show};
use draw::{Screen, Terminal};
use sample::Sample;
use table::{Order, Table};

/// Shows what the node in the data folder does.
pub(crate) async fn run(args: TopArgs) -> Result<()> {
    let data_dir = home::data_dir(args.data_dir.as_deref())?;
    let every = Duration::from_secs(args.every.into());
    if !args.once && !args.json {
        return live(&data_dir, every).await;
    }
    let before = ask(&data_dir).await?;
    tokio::time::sleep(every).await;
    let now = ask(&data_dir).await?;
    let table = Table::new(Some(&before), &now);
    if args.json {
        show::json(&serde_json::to_value(&table)?);
    } else {
        show::line(draw::plain(&table));
    }
    Ok(())
}

/// The metrics as the desk says them.
pub(crate) fn to_json(metrics: &[Metric]) -> Value {
    let metrics = metrics.iter().map(|metric| {
        let points = metric.points.iter().map(|point| {
            let labels = point.labels.iter();
            let labels = labels.map(|(name, value)| ((*name).to_owned(), json!(value)));
            let value = match &point.value {
                MetricValue::Whole(value) => json!(value),
                MetricValue::Seconds(value) => json!(value),
                MetricValue::Histogram(view) => json!({
                    "counts": view.counts,
                    "sum": view.sum.as_secs_f64(),
                }),
            };
            json!({ "labels": labels.collect::<Map<_, _>>(), "value": value })
        });
        json!({
            "name": metric.name,
            "unit": metric.unit,
            "kind": match metric.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram => "histogram",
            },
            "points": points.collect::<Vec<_>>(),
        })
    });
    json!({ "metrics": metrics.collect::<Vec<_>>() })
}

async fn ask(data_dir: &Path) -> Result<Sample> {
    let Some(answer) = admin::ask(data_dir, "metrics").await? else {
        bail!(
            "no node runs in {}: start one with `rialto up`, or pass the --data-dir of one that runs",
            data_dir.display()
        );
    };
    Sample::read(&answer, Instant::now()).context("the running node is of another version")
}

async fn live(data_dir: &Path, every: Duration) -> Result<()> {
    // Before the terminal changes: whoever has no node sees that, and nothing else.
    let first = ask(data_dir).await?;
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        bail!(
            "`rialto top` needs a terminal: for scripts there is `rialto top --once` or `--json`"
        );
    }
    let mut screen = Screen::new(first);
    let mut terminal = Terminal::open()?;
    let mut keys = keys();
    let mut ticks = tokio::time::interval(every);
    loop {
        tokio::select! {
            _ = ticks.tick() => screen.add(ask(data_dir).await?),
            key = keys.recv() => match key.map_or(Pressed::Quit, pressed) {
                Pressed::Quit => return Ok(()),
                Pressed::Sort(order) => screen.sort(order),
                Pressed::Nothing => {}
            },
        }
        terminal.show(&screen)?;
    }
}

/// The bytes of pressed keys. Their thread waits for the next one until the process ends.
fn keys() -> mpsc::Receiver<u8> {
    let (sender, keys) = mpsc::channel(KEYS_MAX);
    std::thread::spawn(move || {
        for key in io::stdin().lock().bytes() {
            let Ok(key) = key else { return };
            if sender.blocking_send(key).is_err() {
                return;
            }
        }
    });
    keys
}

/// What a key means.
#[derive(Debug, PartialEq, Eq)]
enum Pressed {
    Quit,
    Sort(Order),
    Nothing,
}

fn pressed(key: u8) -> Pressed {
    match key {
        b'q' | CTRL_C | CTRL_D => Pressed::Quit,
        other => {
            let order = Order::ALL.into_iter();
            let mut order = order.filter(|it| it.key() == char::from(other));
            order.next().map_or(Pressed::Nothing, Pressed::Sort)
        }
    }
}

const CTRL_C: u8 = 3;
const CTRL_D: u8 = 4;
/// Keys that wait; more wait in the terminal.
const KEYS_MAX: usize = 16;
