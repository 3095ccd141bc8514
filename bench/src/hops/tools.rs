//! What a thousand services cost an agent that looks for tools: its list, all of them, and a search.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use rialto_testkit::guests;
use serde::Serialize;
use serde_json::{Value, json};

use super::world::{self, Host};
use crate::exchange::{Call, Connection, address};
use crate::spread::Spread;
use crate::table;

/// What was found, in milliseconds but for bytes.
#[derive(Debug, Serialize)]
pub(super) struct Tools {
    services: usize,
    /// What an agent gets that asks for a list: the tools that find others.
    list_ms: Spread,
    list_bytes: usize,
    /// All, page by page.
    all_ms: Spread,
    all_bytes: usize,
    search_ms: Spread,
    search_bytes: usize,
}

/// Measures.
///
/// # Errors
/// The host does not start, or answers otherwise.
pub(super) async fn measure(scratch: &Path, rounds: u32) -> Result<Tools> {
    let services = scratch.join("services");
    let component = guests::component(ONE)?;
    for number in 0..SERVICES {
        let name = format!("service-{number}");
        let about = format!("Counts {} for tests.", WORDS[number % WORDS.len()]);
        world::install(&services, &name, &component, &about, "")?;
    }
    let host = Host::start(&scratch.join("data"), &services, None).await?;
    host.knows(SERVICES).await?;
    let mut connection = Connection::open(address(&host.url)?).await?;
    let (mut list, mut all, mut search) = (vec![], vec![], vec![]);
    let mut bytes = [0; 3];
    for round in 0..=rounds {
        let begun = Instant::now();
        bytes[0] = asked(&mut connection, "/mcp", "tools/list", json!({}))
            .await?
            .0;
        let first = begun.elapsed();
        let begun = Instant::now();
        bytes[1] = every(&mut connection).await?;
        let second = begun.elapsed();
        let begun = Instant::now();
        let wanted =
            json!({ "name": "rialto__search", "arguments": { "query": "counts planets" } });
        bytes[2] = asked(&mut connection, "/mcp", "tools/call", wanted)
            .await?
            .0;
        let third = begun.elapsed();
        if round > 0 {
            list.push(first.as_secs_f64() * 1e3);
            all.push(second.as_secs_f64() * 1e3);
            search.push(third.as_secs_f64() * 1e3);
        }
    }
    host.stop().await;
    Ok(Tools {
        services: SERVICES,
        list_ms: Spread::of(list),
        list_bytes: bytes[0],
        all_ms: Spread::of(all),
        all_bytes: bytes[1],
        search_ms: Spread::of(search),
        search_bytes: bytes[2],
    })
}

/// Reads all pages, and gives their bytes.
async fn every(connection: &mut Connection) -> Result<usize> {
    let (mut params, mut bytes, mut tools) = (json!({}), 0, 0);
    loop {
        let (more, result) = asked(connection, "/mcp?tools=all", "tools/list", params).await?;
        bytes += more;
        tools += result["tools"].as_array().map_or(0, Vec::len);
        match result["nextCursor"].as_str() {
            Some(cursor) => params = json!({ "cursor": cursor }),
            None => break,
        }
    }
    ensure!(tools > SERVICES, "{tools} tools came");
    Ok(bytes)
}

async fn asked(
    connection: &mut Connection,
    path: &str,
    method: &str,
    params: Value,
) -> Result<(usize, Value)> {
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let call = Call::json(path, body.to_string());
    let mut request = call.request(None)?;
    let headers = request.headers_mut();
    headers.insert("accept", "application/json, text/event-stream".parse()?);
    headers.insert("mcp-protocol-version", "2025-11-25".parse()?);
    let answer: Bytes = connection.send(request).await?.success()?;
    let json: Value = serde_json::from_slice(&answer)?;
    let result = json.get("result").with_context(|| json.to_string())?;
    ensure!(result["isError"] != true, "{result}");
    Ok((answer.len(), result.clone()))
}

impl Tools {
    pub(super) fn print(&self) {
        table::say(&format!(
            "{} services as tools: the list {} ms ({} bytes), all of them {} ms ({} bytes), a search {} ms ({} bytes)",
            self.services,
            self.list_ms,
            self.list_bytes,
            self.all_ms,
            self.all_bytes,
            self.search_ms,
            self.search_bytes,
        ));
    }
}

/// A service with one method.
const ONE: &str = r#"(component
    (core module $m (func (export "f") (result i32) i32.const 7))
    (core instance $i (instantiate $m))
    (func $count (result u32) (canon lift (core func $i "f")))
    (instance $api (export "count" (func $count)))
    (export "rialto-bench:count/api@0.1.0" (instance $api)))"#;
const SERVICES: usize = 1_000;
const WORDS: [&str; 7] = [
    "words", "planets", "faces", "votes", "birds", "prices", "letters",
];
