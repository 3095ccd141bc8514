//! `rialto search`: what can be called on the mesh, by words, interface, tag, price, region and hardware.

use anyhow::{Context as _, Result, bail};
use rialto_gateway::client::{DOCUMENT_BYTES_MAX, read_bounded};
use serde_json::Value;

use crate::args::SearchArgs;
use crate::show::{self, dim, line};

/// Asks a node's local door and shows what it knows.
pub(crate) async fn run(args: SearchArgs) -> Result<()> {
    let mut query: Vec<(&str, String)> = vec![("text", args.words.join(" "))];
    let options = [
        ("interface", args.interface),
        ("tag", args.tag),
        ("method", args.method),
        ("price_max", args.max_price.map(|price| price.0.to_string())),
        ("region", args.region),
        ("hardware", args.hardware),
        ("meaning", args.meaning.then(|| "true".to_owned())),
        ("limit", Some(args.limit.to_string())),
    ];
    query.extend(
        options
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    let url = format!("{}/search", args.door.local.trim_end_matches('/'));
    let mut asking = reqwest::Url::parse(&url).with_context(|| format!("--local: {url}"))?;
    asking.query_pairs_mut().extend_pairs(&query);
    let asked = reqwest::get(asking).await;
    let answer = asked.with_context(|| {
        format!("no node answers at {url}: start one with `rialto up --mesh`, or pass --local URL")
    })?;
    let status = answer.status();
    let body = read_bounded(answer, DOCUMENT_BYTES_MAX).await?;
    let found: Value = serde_json::from_slice(&body)
        .with_context(|| format!("{url} answers something else than a node"))?;
    if !status.is_success() {
        let message = found["error"]["message"].as_str();
        bail!("{}", message.unwrap_or("the node refuses"));
    }
    if args.json {
        show::json(&found);
        return Ok(());
    }
    let services = found["services"]
        .as_array()
        .context("the answer has no services")?;
    if services.is_empty() {
        line("nothing found: try fewer words, or a higher --max-price");
        return Ok(());
    }
    show_services(services);
    Ok(())
}

fn show_services(services: &[Value]) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut table = show::table(&[
        "service",
        "version",
        "from",
        "providers",
        "what it does",
        "",
    ]);
    for service in services {
        let providers = service["providers"].as_array().map_or(0, Vec::len);
        let cheapest = service["price_min"]
            .as_str()
            .and_then(|price| price.parse().ok());
        table.add_row([
            text(&service["service"]),
            text(&service["version"]),
            cheapest.map_or_else(String::new, show::money),
            providers.to_string(),
            text(&service["description"]),
            warnings(service),
        ]);
    }
    line(table.to_string());
    line(dim(
        "rialto call NAME METHOD JSON calls one; rialto deploy --mesh NAME runs it here",
    ));
}

/// Why to be careful.
fn warnings(service: &Value) -> String {
    let mut warnings = Vec::new();
    if let Some(why) = service["deprecated"].as_str() {
        warnings.push(format!("deprecated: {why}"));
    }
    if let Some(name) = service["resembles"].as_str() {
        warnings.push(format!("looks like {name}"));
    }
    if service["verified"] == Value::Bool(false) {
        warnings.push("not verified".to_owned());
    }
    warnings.join(", ")
}
