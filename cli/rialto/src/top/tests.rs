//! What is shown of made-up samples.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::draw::{Screen, plain, sparkline};
use super::sample::Sample;
use super::table::{Order, Table, quantile};
use super::{Pressed, pressed};

/// A node on which `calls` calls of `embed` ended, a tenth of them badly, each in a millisecond or less.
fn answer(calls: u64) -> Value {
    let of = |service: &str| json!({ "service": service, "method": "run" });
    let ended = |service: &str, outcome: &str, count: u64| {
        let labels = json!({ "service": service, "method": "run", "outcome": outcome });
        json!({ "labels": labels, "value": count })
    };
    let metric = |name: &str, points: Value| json!({ "name": name, "points": points });
    let one = |name: &str, value: Value| metric(name, json!([{ "labels": {}, "value": value }]));
    let mut counts = vec![0_u64; 19];
    counts[4] = calls;
    json!({ "metrics": [
        metric("rialto.calls", json!([
            ended("embed", "ok", calls - calls / 10),
            ended("embed", "trapped", calls / 10),
            ended("chat", "ok", 0),
        ])),
        metric("rialto.call.duration", json!([
            { "labels": of("embed"), "value": { "counts": counts, "sum": 0.5 } },
        ])),
        metric("rialto.call.device.duration", json!([
            { "labels": of("embed"), "value": { "counts": counts, "sum": 1.5 } },
        ])),
        metric("rialto.calls.in_flight", json!([{ "labels": of("embed"), "value": 3 }])),
        metric("rialto.door.waiting", json!([{ "labels": { "service": "embed" }, "value": 2 }])),
        metric("rialto.earnings.charged", json!([{ "labels": of("embed"), "value": calls * 100 }])),
        metric("rialto.guest.memory", json!([{ "labels": { "service": "embed" }, "value": 3_670_016 }])),
        metric("rialto.channels.amount", json!([{ "labels": { "kind": "unclaimed" }, "value": 5 }])),
        one("rialto.channels", json!(7)),
        one("rialto.chain.view.age", json!(1.25)),
        one("process.cpu", json!(f64::from(u32::try_from(calls).unwrap()) / 100.0)),
        one("process.resident_memory", json!(1_u64 << 30)),
    ]})
}

fn samples() -> (Sample, Sample) {
    let now = Instant::now();
    let before = Sample::read(&answer(100), now).unwrap();
    let after = Sample::read(&answer(150), now + Duration::from_secs(2)).unwrap();
    (before, after)
}

#[test]
fn rates_are_of_two_samples_and_sums_of_the_last() {
    let (before, after) = samples();
    let mut table = Table::new(Some(&before), &after);
    table.sort(Order::Calls);
    let [embed, chat] = &table.services[..] else {
        panic!("{table:?}");
    };
    assert_eq!((embed.service.as_str(), embed.calls), ("embed", 150));
    assert!((embed.calls_per_second - 25.0).abs() < 1e-9);
    assert_eq!((embed.errors, embed.in_flight, embed.waiting), (15, 3, 2));
    assert_eq!(embed.charged, 15_000);
    let (p50, p99) = (embed.p50_ms.unwrap(), embed.p99_ms.unwrap());
    assert!(
        (0.5..=1.0).contains(&p50) && p50 < p99 && p99 <= 1.0,
        "{p50} {p99}"
    );
    assert_eq!((chat.calls, chat.p50_ms), (0, None));
    assert_eq!((table.host.channels, table.host.unclaimed), (7, 5));
    assert!((table.host.processors - 0.25).abs() < 1e-9);
}

#[test]
fn quantiles_lie_in_their_bucket() {
    assert_eq!(quantile(&[0; 19], 0.5), None);
    let mut counts = vec![0; 19];
    counts[18] = 1;
    assert_eq!(quantile(&counts, 0.5), Some(60_000.0), "above all bounds");
    counts[0] = 9;
    assert!(quantile(&counts, 0.5).unwrap() < 0.05);
}

#[test]
fn the_plain_table_has_every_number() {
    let (before, after) = samples();
    let text = plain(&Table::new(Some(&before), &after));
    for part in [
        "25.0 calls/s",
        "7 channels",
        "chain seen 1.2 s ago",
        "1.0 GiB",
        "embed",
        "0.015000 USDC",
        "3.5 MiB",
        "1.50 s",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
}

#[test]
fn the_terminal_shows_services_in_order_and_the_keys() {
    let (before, after) = samples();
    let mut screen = Screen::new(before);
    screen.add(after);
    let line = |shown: &[String], word: &str| {
        let at = shown.iter().position(|line| line.contains(word));
        at.unwrap_or_else(|| panic!("{word} in {shown:#?}"))
    };
    let shown = screen.frame(120, 30);
    assert!(line(&shown, "embed") < line(&shown, "chat"), "{shown:#?}");
    assert!(
        line(&shown, "25.0 calls/s") < line(&shown, "memory   █"),
        "{shown:#?}"
    );
    line(&shown, "[c calls]");
    line(&shown, "q quit");
    screen.sort(Order::Name);
    let shown = screen.frame(120, 30);
    assert!(line(&shown, "chat") < line(&shown, "embed"), "{shown:#?}");
    for (columns, rows) in [(0, 0), (1, 1), (5, 3), (40, 8)] {
        let shown = screen.frame(columns, rows);
        assert!(shown.len() <= rows);
        assert!(shown.iter().all(|line| line.chars().count() <= columns));
    }
}

#[test]
fn a_sparkline_is_full_where_most_happened() {
    let values = VecDeque::from([9, 0, 1, 4, 8]);
    assert_eq!(sparkline(&values, 4), " ▁▄█");
    assert_eq!(sparkline(&VecDeque::new(), 4), "");
}

#[test]
fn keys_sort_and_quit() {
    for key in [b'q', 3, 4] {
        assert_eq!(pressed(key), Pressed::Quit);
    }
    assert_eq!(pressed(b'c'), Pressed::Sort(Order::Calls));
    assert_eq!(pressed(b'x'), Pressed::Nothing);
}

#[test]
fn another_versions_answer_is_refused() {
    for answer in [
        json!({}),
        json!({ "metrics": [] }),
        json!({ "metrics": [1] }),
    ] {
        Sample::read(&answer, Instant::now()).unwrap_err();
    }
}
