//! The report for people.

use std::io::Write as _;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, Table};

use crate::report::{Report, Target};
use crate::throughput::Candidate;

/// Prints everything, a table each.
pub(crate) fn print(report: &Report) {
    let machine = serde_json::to_string(&report.machine).unwrap_or_default();
    say(&format!(
        "\n{machine}\nServer, load generator and chain share {} cores. Medians of {} interleaved rounds \
         (least to most); {} s a window; loopback, HTTP/1.1, keep-alive.",
        report.machine.cores, report.rounds, report.seconds
    ));
    say("\nCalls a second of a greeting, JSON in and out");
    say(&throughput(report));
    say(&format!(
        "\nHost's processor time for a paid call at {} connections, us",
        report.parts_at_connections
    ));
    say(&parts(report));
    say(&format!(
        "A charge in a ledger by itself, in groups of 64: {} us",
        report.ledger_alone_us
    ));
    say("\nThe ledger by itself");
    report.ledger.print();
    say("\nThe ledger of a fleet by itself, in PostgreSQL");
    report.shared_ledger.print();
    say("\nModels, medians in us");
    say(&models(report));
    say("\nFresh instance, us of processor time");
    say(&instance(report));
    say("\nTargets");
    say(&targets(&report.targets));
    if report.vouchers_signed_late > 0 {
        say(&format!(
            "{} vouchers were signed while the clock ran: the paid figures are too low",
            report.vouchers_signed_late
        ));
    }
}

/// One line on standard output; a closed pipe is nobody's loss.
pub(crate) fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    drop(writeln!(out, "{line}"));
    drop(out.flush());
}

fn throughput(report: &Report) -> String {
    let mut table = table(&[
        "connections",
        "calls/s",
        "p50 us",
        "p99 us",
        "server CPU us",
        "generator CPU us",
    ]);
    for row in &report.throughput {
        table.add_row(cells(&[
            format!("{:2}  {}", row.connections, name(row.candidate)),
            row.calls_per_second.to_string(),
            row.p50_us.to_string(),
            row.p99_us.to_string(),
            row.server_cpu_us.to_string(),
            row.generator_cpu_us.to_string(),
        ]));
    }
    table.to_string()
}

fn parts(report: &Report) -> String {
    let mut table = table(&["part", "us"]);
    for part in &report.parts_us {
        let indent = if part.within_rest { "  of it: " } else { "" };
        table.add_row([
            Cell::new(format!("{indent}{}", part.part)),
            Cell::new(part.us).set_alignment(CellAlignment::Right),
        ]);
    }
    table.to_string()
}

fn models(report: &Report) -> String {
    let mut table = table(&[
        "model",
        "engine",
        "host",
        "HTTP, unpaid",
        "HTTP, paid",
        "host/engine",
        "unpaid/engine",
        "paid/engine",
    ]);
    for row in &report.models {
        table.add_row(cells(&[
            row.model.to_owned(),
            row.direct_us.to_string(),
            row.host_us.to_string(),
            row.free_us.to_string(),
            row.paid_us.to_string(),
            row.host_by_direct.to_string(),
            row.free_by_direct.to_string(),
            row.paid_by_direct.to_string(),
        ]));
    }
    table.to_string()
}

fn instance(report: &Report) -> String {
    let mut table = table(&["what", "us"]);
    let instance = &report.instance;
    for (what, us) in [
        ("engine alone, without a call", instance.engine_without_call),
        ("engine alone, with the call", instance.engine),
        ("host: limits, call, JSON", instance.host),
        ("host, by the wall clock", instance.host_wall),
        ("host: checking the arguments before", instance.prepare),
    ] {
        table.add_row(cells(&[what.to_owned(), us.to_string()]));
    }
    table.to_string()
}

/// What was to be reached, and what was.
pub(crate) fn targets(targets: &[Target]) -> String {
    let mut table = table(&["what", "target", "reached", ""]);
    for target in targets {
        let bound = if target.at_most {
            "at most"
        } else {
            "at least"
        };
        table.add_row(cells(&[
            target.what.clone(),
            format!("{bound} {}", target.goal),
            target.reached.to_string(),
            if target.met { "met" } else { "missed" }.to_owned(),
        ]));
    }
    table.to_string()
}

fn name(candidate: Candidate) -> &'static str {
    match candidate {
        Candidate::Hyper => "(a) bare hyper",
        Candidate::Wasmtime => "(b) wasmtime serve",
        Candidate::Free => "(c) ours, unpaid",
        Candidate::Paid => "(d) ours, paid",
    }
}

fn table(headers: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(headers.iter().copied());
    table
}

/// The first column says what; figures stand to the right.
fn cells(texts: &[String]) -> Vec<Cell> {
    let figure = |text: &String| Cell::new(text).set_alignment(CellAlignment::Right);
    let (first, figures) = texts.split_at(texts.len().min(1));
    first
        .iter()
        .map(Cell::new)
        .chain(figures.iter().map(figure))
        .collect()
}
