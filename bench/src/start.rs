//! What it takes to have a service: from bytes to the first answer, compiled anew and from the cache, and
//! memory of services that wait and of calls that live.
//!
//! In this process, by the host alone.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rialto_host::{
    Arguments, CallContext, Config, Grants, Host, Limits, NoModels, Service, ServiceSpec, WasiGroup,
};
use serde::Serialize;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::cpu;
use crate::places::{Places, path_from_env};
use crate::spread::Spread;
use crate::table;

/// What was found.
#[derive(Debug, Serialize)]
pub(crate) struct Start {
    components: Vec<Component>,
    /// Memory of one service more that is loaded and not called, in KiB.
    idle_service_kib: f64,
    /// Memory of one call more that is under way, in KiB: an HTTP server with the standard library, asleep.
    live_call_kib: f64,
}

#[derive(Debug, Serialize)]
struct Component {
    name: &'static str,
    bytes: usize,
    /// From its bytes to its first answer, in milliseconds.
    compiled_ms: Spread,
    /// The same when it was compiled before.
    cached_ms: Spread,
}

/// Services that are loaded at once, and calls that live at once.
const MANY: u32 = 100;
/// How long the sleeping call sleeps is a second: by then all are asleep.
const ALL_ASLEEP: Duration = Duration::from_millis(700);

/// Measures.
///
/// # Errors
/// A component is not built, or is refused.
pub(crate) fn measure(
    places: &Places,
    scratch: &Path,
    rounds: u32,
    runtime: &Runtime,
) -> Result<Start> {
    let server = path_from_env("RIALTO_TEST_GUESTS")?.join("wstd-server/component.wasm");
    let server = std::fs::read(&server).context("the tests' guests are not built")?;
    let hello = std::fs::read(places.hello())?;
    let mut components = Vec::new();
    for (name, bytes, call) in [
        ("greeting", &hello, ("hello", r#"{"name":"world"}"#)),
        ("HTTP server of wstd", &server, ("handle", HOME)),
    ] {
        let (mut compiled, mut cached) = (Vec::new(), Vec::new());
        for round in 0..rounds {
            let cache = scratch.join(format!("{name}-{round}"));
            compiled.push(first_answer(&cache, bytes, call, runtime)?);
            cached.push(first_answer(&cache, bytes, call, runtime)?);
        }
        components.push(Component {
            name,
            bytes: bytes.len(),
            compiled_ms: Spread::of(compiled),
            cached_ms: Spread::of(cached),
        });
    }
    Ok(Start {
        components,
        idle_service_kib: idle(&scratch.join("idle"), &hello)?,
        live_call_kib: live(&scratch.join("live"), &server, runtime)?,
    })
}

impl Start {
    /// Prints the figures.
    pub(crate) fn print(&self) {
        for row in &self.components {
            table::say(&format!(
                "{} ({} KB): from bytes to the first answer in ms: compiled {}, from the cache {}",
                row.name,
                row.bytes / 1_000,
                row.compiled_ms,
                row.cached_ms
            ));
        }
        table::say(&format!(
            "memory in KiB: a loaded service that waits {:.0}, a call that sleeps {:.0}",
            self.idle_service_kib, self.live_call_kib
        ));
    }
}

/// From a component's bytes to its first answer on a host that has just started, in milliseconds.
fn first_answer(
    cache: &Path,
    component: &[u8],
    (method, arguments): (&str, &'static str),
    runtime: &Runtime,
) -> Result<f64> {
    let host = Host::new(Config::new(cache))?;
    let start = Instant::now();
    let service = load(&host, component)?;
    runtime.block_on(call(service, method, arguments))?;
    Ok(start.elapsed().as_secs_f64() * 1e3)
}

/// Memory of one loaded service, in KiB: of many different ones.
fn idle(cache: &Path, component: &[u8]) -> Result<f64> {
    let host = Host::new(Config::new(cache))?;
    let mut services = vec![load(&host, &variant(component, 0))?];
    let before = cpu::resident_mib(std::process::id())?;
    for number in 1..=MANY {
        services.push(load(&host, &variant(component, number))?);
    }
    let after = cpu::resident_mib(std::process::id())?;
    drop(services);
    Ok((after - before) * 1_024.0 / f64::from(MANY))
}

/// The same component with another digest: a custom section more.
fn variant(component: &[u8], number: u32) -> Vec<u8> {
    const NAME: &[u8; 7] = b"variant";
    let mut bytes = component.to_vec();
    let content = number.to_le_bytes();
    // Section 0, its size, the name's size; all below 128, so that each is one byte.
    bytes.extend([0, 12, 7]);
    bytes.extend(NAME);
    bytes.extend(content);
    bytes
}

/// Memory of one live call, in KiB: of many that sleep.
fn live(cache: &Path, server: &[u8], runtime: &Runtime) -> Result<f64> {
    let host = Host::new(Config {
        calls_max: 2 * MANY,
        // None waits at the door: all are to live at once.
        values_bytes_total: 1 << 40,
        ..Config::new(cache)
    })?;
    let service = load(&host, server)?;
    runtime.block_on(async {
        call(service.clone(), "handle", HOME).await?;
        let before = cpu::resident_mib(std::process::id())?;
        let mut calls = JoinSet::new();
        for _ in 0..MANY {
            calls.spawn(call(service.clone(), "handle", SLEEP));
        }
        tokio::time::sleep(ALL_ASLEEP).await;
        let during = cpu::resident_mib(std::process::id())?;
        while let Some(done) = calls.join_next().await {
            done??;
        }
        Ok((during - before) * 1_024.0 / f64::from(MANY))
    })
}

fn load(host: &Host, component: &[u8]) -> Result<Service> {
    let spec = ServiceSpec {
        name: "measured".to_owned(),
        version: "0.1.0".to_owned(),
        grants: Grants {
            http: Some(Vec::new()),
            wasi: WasiGroup::ALL.into(),
            ..Grants::default()
        },
        limits: Limits::default(),
        ..ServiceSpec::default()
    };
    Ok(host.load(component, spec, Arc::new(NoModels))?)
}

async fn call(service: Service, method: &str, arguments: &'static str) -> Result<()> {
    let context = CallContext {
        call_id: "bench".to_owned(),
        deadline: Instant::now() + Duration::from_secs(30),
        payer: String::new(),
        price: 0,
        hirer: std::sync::Arc::new(rialto_host::NoHirer),
        awaited: None,
    };
    let prepared = service.prepare(method, Arguments::Json(arguments.into()))?;
    service.call(prepared, context).await?;
    Ok(())
}

const HOME: &str = r#"{"method":"GET","path":"/","body":""}"#;
const SLEEP: &str = r#"{"method":"GET","path":"/wait-response","body":""}"#;
