//! How the table looks: on a terminal that is drawn again and again, and as plain text.
//!
//! A frame is a list of lines, which anything can look at; only [`Terminal`] knows of terminals.

use std::collections::VecDeque;
use std::io::{self, Stdout, Write as _};

use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::style::Print;
use crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode,
    enable_raw_mode, size,
};
use crossterm::{execute, queue};
use rialto_channels::Amount;

use super::sample::Sample;
use super::table::{self, Host, Order, Table};
use crate::show;

/// What the terminal shows, with what it showed before.
#[derive(Debug)]
pub(super) struct Screen {
    samples: VecDeque<Sample>,
    /// Calls in a second, and bytes of memory, at each sample.
    rates: VecDeque<u64>,
    memory: VecDeque<u64>,
    order: Order,
}

const HEADS: [&str; 10] = [
    "service",
    "calls/s",
    "in flight",
    "waiting",
    "p50",
    "p99",
    "errors",
    "earned",
    "memory",
    "device",
];

impl Screen {
    pub(super) fn new(first: Sample) -> Self {
        Self {
            samples: VecDeque::from([first]),
            rates: VecDeque::new(),
            memory: VecDeque::new(),
            order: Order::Calls,
        }
    }

    /// Adds what the node said now. Rates are over the last ten of them.
    pub(super) fn add(&mut self, sample: Sample) {
        let latest = Table::new(self.samples.back(), &sample);
        push(&mut self.rates, round(latest.host.calls_per_second));
        push(&mut self.memory, latest.host.memory_bytes);
        self.samples.push_back(sample);
        while self.samples.len() > SAMPLES_MAX {
            self.samples.pop_front();
        }
    }

    pub(super) fn sort(&mut self, order: Order) {
        self.order = order;
    }

    /// The lines of a terminal so wide and high, none wider and not more.
    pub(super) fn frame(&self, columns: usize, rows: usize) -> Vec<String> {
        let Some(now) = self.samples.back() else {
            return Vec::new();
        };
        let before = self.samples.front().filter(|it| it.at < now.at);
        let mut table = Table::new(before, now);
        table.sort(self.order);
        let graph = columns.saturating_sub(GRAPH_NAME);
        let mut lines = Vec::from(head_lines(&table.host));
        lines.push(format!("calls/s  {}", sparkline(&self.rates, graph)));
        lines.push(format!("memory   {}", sparkline(&self.memory, graph)));
        lines.push(String::new());
        lines.extend(grid(&table).to_string().lines().map(str::to_owned));
        lines.truncate(rows.saturating_sub(1));
        lines.push(self.keys());
        lines
            .into_iter()
            .map(|line| line.chars().take(columns).collect())
            .take(rows)
            .collect()
    }

    fn keys(&self) -> String {
        let keys = Order::ALL.map(|order| {
            let (key, name) = (order.key(), order.name());
            if order == self.order {
                format!("[{key} {name}]")
            } else {
                format!(" {key} {name} ")
            }
        });
        format!("sort by {}   q quit", keys.join(" "))
    }
}

/// The table as text, for a pipe or a log.
pub(super) fn plain(table: &Table) -> String {
    format!("{}\n{}", head_lines(&table.host).join("\n"), grid(table))
}

fn grid(table: &Table) -> comfy_table::Table {
    let mut grid = show::table(&HEADS);
    for row in &table.services {
        grid.add_row(cells(row));
    }
    grid
}

fn head_lines(host: &Host) -> [String; 3] {
    [
        format!(
            "{:.1} calls/s   {} running   {} waiting   {} refused at the door   device: {} waiting",
            host.calls_per_second, host.running, host.waiting, host.refused, host.device_waiting,
        ),
        format!(
            "earned {}   unclaimed {}   {} channels   {} reservations   chain seen {:.1} s ago",
            money(host.charged),
            money(host.unclaimed),
            host.channels,
            host.reservations,
            host.chain_view_age_seconds,
        ),
        format!(
            "memory {}   models {}   {:.2} processors   ledger behind by {}",
            bytes(host.memory_bytes),
            bytes(host.model_memory_bytes),
            host.processors,
            bytes(host.ledger_backlog_bytes),
        ),
    ]
}

fn cells(row: &table::Row) -> [String; 10] {
    [
        row.service.clone(),
        format!("{:.1}", row.calls_per_second),
        row.in_flight.to_string(),
        row.waiting.to_string(),
        time(row.p50_ms),
        time(row.p99_ms),
        row.errors.to_string(),
        money(row.charged),
        bytes(row.memory_bytes),
        format!("{:.2} s", row.device_seconds),
    ]
}

/// The last values as bars, the highest full; as many as there is room for.
pub(super) fn sparkline(values: &VecDeque<u64>, columns: usize) -> String {
    let shown = values.iter().skip(values.len().saturating_sub(columns));
    let most = shown.clone().copied().max().unwrap_or(0).max(1);
    let top = u64::try_from(BARS.len().saturating_sub(1)).unwrap_or(0);
    shown
        .map(|value| {
            let height = value.saturating_mul(top).div_ceil(most);
            let bar = usize::try_from(height).ok();
            bar.and_then(|bar| BARS.get(bar)).copied().unwrap_or(' ')
        })
        .collect()
}

fn time(ms: Option<f64>) -> String {
    match ms {
        None => "-".to_owned(),
        Some(ms) if ms < 1.0 => format!("{:.0} us", ms * 1_000.0),
        Some(ms) if ms < 1_000.0 => format!("{ms:.1} ms"),
        Some(ms) => format!("{:.2} s", ms / 1_000.0),
    }
}

fn money(units: u64) -> String {
    show::money(Amount::new(units.into()))
}

/// Bytes, rounded down to tenths of the largest unit that they fill.
fn bytes(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let fits = units.into_iter().find(|(bits, _)| bytes >> bits > 0);
    let Some((bits, unit)) = fits else {
        return format!("{bytes} B");
    };
    let whole = bytes >> bits;
    let rest = bytes.saturating_sub(whole << bits);
    format!("{whole}.{} {unit}", ((rest >> (bits - 10)) * 10) >> 10)
}

fn push(values: &mut VecDeque<u64>, value: u64) {
    values.push_back(value);
    while values.len() > POINTS_MAX {
        values.pop_front();
    }
}

/// To a whole number, for a graph.
fn round(value: f64) -> u64 {
    format!("{value:.0}").parse().unwrap_or(0)
}

/// The terminal while frames are shown on it; as it was before, once this is dropped.
pub(super) struct Terminal {
    out: Stdout,
}

impl Terminal {
    /// Takes the terminal.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn open() -> io::Result<Self> {
        enable_raw_mode()?;
        let mut terminal = Self { out: io::stdout() };
        execute!(terminal.out, EnterAlternateScreen, Hide)?;
        Ok(terminal)
    }

    /// Shows a frame in place of the one before.
    pub(super) fn show(&mut self, screen: &Screen) -> io::Result<()> {
        let (columns, rows) = size()?;
        let lines = screen.frame(columns.into(), rows.into());
        for (line, row) in lines.iter().zip(0_u16..) {
            let clear = Clear(ClearType::UntilNewLine);
            queue!(self.out, MoveTo(0, row), Print(line), clear)?;
        }
        queue!(self.out, Clear(ClearType::FromCursorDown))?;
        self.out.flush()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Whatever cannot be undone here, the shell's own reset undoes.
        execute!(self.out, LeaveAlternateScreen, Show).ok();
        disable_raw_mode().ok();
    }
}

const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const GRAPH_NAME: usize = 9;
const SAMPLES_MAX: usize = 10;
/// As many as a very wide terminal has columns.
const POINTS_MAX: usize = 512;
