//! Runs seeds of the simulation on all cores and stops at the first that breaks a rule.

use std::num::NonZero;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use rialto_sim::{Failure, Options, Rule, Summary, run};

/// Payers, a payee, a chain and a network, one seed a run.
#[derive(Debug, Parser)]
#[command(name = "rialto-sim")]
struct Arguments {
    /// Run this seed alone.
    #[arg(long, conflicts_with_all = ["first", "count"])]
    seed: Option<u64>,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// How many seeds.
    #[arg(long, default_value_t = 10_000)]
    count: u64,
    /// Put a known bug in, to see it found.
    #[arg(long = "break", value_name = "RULE")]
    broken: Option<Rule>,
    /// Print every event; for one seed.
    #[arg(long, requires = "seed")]
    trace: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let (first, count) = match arguments.seed {
        Some(seed) => (seed, 1),
        None => (arguments.first, arguments.count),
    };
    let options = Options {
        broken: arguments.broken,
        trace: arguments.trace,
    };
    let started = Instant::now();
    let (summary, failure) = run_all(first, count, &options);
    if let Some(failure) = failure {
        say(&failure.to_string());
        return ExitCode::FAILURE;
    }
    let secs = started.elapsed().as_secs_f64();
    say(&format!(
        "{count} seeds from {first} in {secs:.1} s: every rule held\n{summary:#?}"
    ));
    ExitCode::SUCCESS
}

/// Every core takes the next seed; the failure of the lowest seed seen is told.
fn run_all(first: u64, count: u64, options: &Options) -> (Summary, Option<Failure>) {
    let bar = ProgressBar::new(count).with_style(style());
    let next = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let found: Mutex<(Summary, Option<Failure>)> = Mutex::default();
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(|| {
                let mut sum = Summary::default();
                let mut failed = None;
                while !stop.load(Ordering::Relaxed) {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count {
                        break;
                    }
                    match run(first.wrapping_add(index), options) {
                        Ok(summary) => sum = sum.plus(&summary),
                        Err(failure) => {
                            stop.store(true, Ordering::Relaxed);
                            failed = Some(failure);
                        }
                    }
                    bar.inc(1);
                }
                if let Ok(mut all) = found.lock() {
                    all.0 = all.0.plus(&sum);
                    let lower =
                        |known: &Failure| failed.as_ref().is_some_and(|it| it.seed < known.seed);
                    if all.1.is_none() || all.1.as_ref().is_some_and(lower) {
                        all.1 = failed.or(all.1.take());
                    }
                }
            });
        }
    });
    bar.finish_and_clear();
    found.into_inner().unwrap_or_default()
}

fn style() -> ProgressStyle {
    let template = "{bar:40} {pos}/{len} seeds, {per_sec}, {eta} left";
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[expect(clippy::print_stdout, reason = "this is what the program is for")]
fn say(text: &str) {
    println!("{text}");
}
