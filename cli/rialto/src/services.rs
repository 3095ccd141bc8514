//! `rialto services`: what a host runs, and for how much.

use anyhow::{Context, Result};
use rialto_gateway::client::{DOCUMENT_BYTES_MAX, read_bounded};
use serde_json::Value;

use crate::args::GatewayArgs;
use crate::show;
use crate::up::first_sentence;

/// Lists services with their methods and prices.
pub(crate) async fn run(args: GatewayArgs) -> Result<()> {
    let listing: Value = get(&args.gateway, "/services").await?;
    if args.json {
        show::json(&listing);
        return Ok(());
    }
    let mut table = show::table(&["service", "version", "method", "price", "what it does"]);
    let services = listing
        .get("services")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    for service in &services {
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
    show::line(table.to_string());
    Ok(())
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
