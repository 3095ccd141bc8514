//! `rialto services`: what a host runs, and for how much.

use anyhow::{Context, Result};
use comfy_table::Table;
use rialto_gateway::client::{DOCUMENT_BYTES_MAX, read_bounded};
use serde_json::{Map, Value};

use crate::args::ServicesArgs;
use crate::up::first_sentence;
use crate::{lifecycle, show};

/// Lists services with their methods and prices.
pub(crate) async fn run(args: ServicesArgs) -> Result<()> {
    if args.versions {
        let data_dir = args.gateway.data.data_dir.as_deref();
        return lifecycle::versions(data_dir, args.gateway.json).await;
    }
    let listing: Value = get(&args.gateway.gateway, "/services").await?;
    if args.gateway.json {
        show::json(&listing);
        return Ok(());
    }
    let services = listing
        .get("services")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let table = if args.limits {
        limits(&services)
    } else {
        methods(&services)
    };
    show::line(table.to_string());
    if args.limits
        && let Some(calls) = listing.get("calls")
    {
        show::line(fullness(calls));
    }
    Ok(())
}

/// How full a host is, and what it takes from one payer.
fn fullness(calls: &Value) -> String {
    let count = |pointer: &str| calls.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
    let mut text = format!(
        "calls of all services: {} run ({} compute, {} for long) in {} places of at most {}; {} wait, at most {}\n\
         one payer: {} run, {} wait",
        count("/running"),
        count("/computing").saturating_add(count("/background")),
        count("/background"),
        count("/places"),
        count("/limits/calls_max"),
        count("/waiting"),
        count("/limits/queue_max"),
        count("/payer_limits/calls_max"),
        count("/payer_limits/queue_max"),
    );
    for name in ["time_ms_max", "input_bytes_max"] {
        let own = calls.pointer(&format!("/payer_limits/{name}"));
        if let Some(own) = own.and_then(Value::as_u64) {
            text.push_str(&format!(", {name} {own}"));
        }
    }
    text
}

/// A row for each limit, a column for each service.
fn limits(services: &[Value]) -> Table {
    let names: Vec<String> = services.iter().map(|it| text(it, "name")).collect();
    let heads: Vec<&str> = std::iter::once("a call may use")
        .chain(names.iter().map(String::as_str))
        .collect();
    let mut table = show::table(&heads);
    let of = |service: &Value| service.get("limits").and_then(Value::as_object).cloned();
    let all: Vec<_> = services
        .iter()
        .map(of)
        .map(Option::unwrap_or_default)
        .collect();
    let walls = services.iter().map(|it| text(it, "isolation"));
    table.add_row(std::iter::once("isolation".to_owned()).chain(walls));
    for (name, what) in [
        ("calls_max", "calls at once"),
        ("queue_max", "calls waiting"),
    ] {
        let counts = services.iter().map(|it| it.get(name));
        let counts = counts.map(|it| it.map_or_else(|| "not said".to_owned(), Value::to_string));
        table.add_row(std::iter::once(what.to_owned()).chain(counts));
    }
    for name in all.iter().take(1).flat_map(|first| first.keys()) {
        let value = |limits: &Map<String, Value>| {
            let value = limits.get(name).and_then(Value::as_u64);
            value.map_or_else(|| "not said".to_owned(), |value| in_units(name, value))
        };
        table.add_row(std::iter::once(name.clone()).chain(all.iter().map(value)));
    }
    table
}

/// A limit as people read it.
fn in_units(name: &str, value: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    if name.contains("_bytes_") {
        let unit = UNITS
            .iter()
            .find(|(_, size)| value >= *size && value.is_multiple_of(*size));
        return unit.map_or_else(
            || format!("{value} B"),
            |(unit, size)| format!("{} {unit}", value / size),
        );
    }
    if name.contains("_ms_") && value >= 1_000 && value.is_multiple_of(1_000) {
        return format!("{} s", value / 1_000);
    }
    value.to_string()
}

fn methods(services: &[Value]) -> Table {
    let mut table = show::table(&["service", "version", "method", "price", "what it does"]);
    for service in services {
        for method in service
            .get("methods")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            table.add_row([
                text(service, "name"),
                text(service, "version"),
                text(method, "name"),
                price(method),
                first_sentence(&text(method, "docs")),
            ]);
        }
    }
    table
}

/// A JSON document of the gateway.
pub(crate) async fn get(gateway: &str, path: &str) -> Result<Value> {
    let url = format!("{}{path}", gateway.trim_end_matches('/'));
    let answer = reqwest::get(&url).await.with_context(|| {
        format!(
            "no gateway answers at {gateway}: start one with `rialto up`, or pass --gateway URL"
        )
    })?;
    let answer = answer
        .error_for_status()
        .with_context(|| format!("{url} refused"))?;
    let body = read_bounded(answer, DOCUMENT_BYTES_MAX)
        .await
        .with_context(|| format!("{url} cannot be read"))?;
    serde_json::from_slice(&body)
        .with_context(|| format!("{url} answered something else than JSON"))
}

fn text(value: &Value, field: &str) -> String {
    value
        .get(field)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

fn price(method: &Value) -> String {
    let part = |field: &str| -> rialto_channels::Amount {
        let units = method
            .get("price")
            .and_then(|price| price.get(field))
            .and_then(Value::as_str);
        units
            .and_then(|units| units.parse().ok())
            .unwrap_or_default()
    };
    let parts = [
        ("call", ""),
        ("per_input_kib", " per KiB in"),
        ("per_output_kib", " per KiB out"),
        ("per_guest_ms", " per guest ms"),
        ("per_host_ms", " per host ms"),
        ("per_tensor_run", " per model run"),
        ("per_device_ms", " per device ms"),
        ("per_giga_multiply_adds", " per billion multiply-adds"),
        ("per_moved_mib", " per MiB moved to or from the device"),
        ("per_token_read", " per token read"),
        ("per_token_written", " per token written"),
        ("spend_max", " at most for other services"),
    ];
    let priced = parts.iter().map(|(field, what)| (part(field), what));
    let priced = priced.filter(|(units, _)| !units.is_zero());
    let text: Vec<_> = priced
        .map(|(units, what)| format!("{}{what}", show::money(units)))
        .collect();
    let max = part("max");
    match (text.is_empty(), max.is_zero()) {
        (true, _) => "free".to_owned(),
        (false, true) => text.join(" + "),
        (false, false) => format!("{}, at most {}", text.join(" + "), show::money(max)),
    }
}
