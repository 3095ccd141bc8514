//! What a service costs in each language: the templates of `rialto new`, called on a host as it is.
//!
//! `cargo xtask languages`, then `cargo run --release -p rialto-host --example languages`, which prints the
//! table of docs/languages.md. Arguments are components to measure instead of the templates'. Not here:
//! HTTP and payments, which are the same for all (`bench`).
#![expect(clippy::print_stdout, reason = "the table is what this program is for")]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rialto_host::{
    Arguments, CallContext, Config, Grants, Host, Limits, NoModels, Outcome, Service, ServiceSpec,
    WarmConfig, WasiGroup,
};

/// Calls that are measured, one after the other.
const CALLS: usize = 400;
const SHORT: &str = r#"{"document": {"text": "measuring is knowing"}}"#;
/// In which the background makes an instance.
const PAUSE: Duration = Duration::from_millis(5);
/// A text of about two hundred words.
const REPEATS: usize = 40;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut components: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    if components.is_empty() {
        let built = std::env::var_os("RIALTO_TEST_GUESTS").ok_or("set RIALTO_TEST_GUESTS")?;
        components = ["rust", "javascript", "python"]
            .map(|language| Path::new(&built).join(format!("template-{language}/component.wasm")))
            .into();
    }
    println!(
        "| component | size, KB | compile, s | load compiled, ms | first call, ms | call, us (p50) | call, us (p99) | {} words, us (p50) | memory, MB | call after a pause, us (p50) | the same, made ahead |",
        REPEATS * 5
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    for component in components {
        measure(&component).await?;
    }
    Ok(())
}

async fn measure(path: &Path) -> Result<(), Box<dyn Error>> {
    let component = std::fs::read(path)?;
    let cache = std::env::temp_dir().join(format!("rialto-languages-{}", std::process::id()));
    let (compiled, _) = load(&cache, &component, 0)?;
    let (loaded, service) = load(&cache, &component, 0)?;
    let (_, warm) = load(&cache, &component, WarmConfig::default().instances_max)?;
    let short = SHORT.to_owned();
    let long = format!(
        r#"{{"document": {{"text": "{}"}}}}"#,
        "to measure is to know ".repeat(REPEATS)
    );
    let (first, outcome) = call(&service, &short).await?;
    let short = times(&service, &short).await?;
    let long = times(&service, &long).await?;
    let (cold, warm) = (paused(&service).await?, paused(&warm).await?);
    let name = path.parent().and_then(Path::file_name).unwrap_or_default();
    println!(
        "| {} | {} | {:.2} | {:.1} | {:.1} | {} | {} | {} | {:.1} | {} | {} |",
        name.display(),
        component.len() / 1000,
        compiled.as_secs_f64(),
        loaded.as_secs_f64() * 1e3,
        first.as_secs_f64() * 1e3,
        quantile(&short, 50).as_micros(),
        quantile(&short, 99).as_micros(),
        quantile(&long, 50).as_micros(),
        f64::from(u32::try_from(outcome.usage.memory_peak)?) / 1e6,
        quantile(&cold, 50).as_micros(),
        quantile(&warm, 50).as_micros(),
    );
    std::fs::remove_dir_all(&cache)?;
    Ok(())
}

/// A host of its own with this cache and so many instances made ahead, the time that loading takes, and the
/// service.
fn load(cache: &Path, component: &[u8], warm: u32) -> Result<(Duration, Service), Box<dyn Error>> {
    let mut config = Config::new(cache);
    config.warm.instances_max = warm;
    let host = Host::new(config)?;
    let spec = ServiceSpec {
        name: "measured".to_owned(),
        version: "0.1.0".to_owned(),
        grants: Grants {
            log: true,
            wasi: WasiGroup::ALL.into(),
            ..Grants::default()
        },
        models: Vec::new(),
        limits: Limits::default(),
        ..ServiceSpec::default()
    };
    let since = Instant::now();
    let service = host.load(component, spec, Arc::new(NoModels))?;
    Ok((since.elapsed(), service))
}

/// One call: arguments decoded, a fresh instance, the answer encoded.
async fn call(service: &Service, body: &str) -> Result<(Duration, Outcome), Box<dyn Error>> {
    let since = Instant::now();
    let prepared = service.prepare("measure", Arguments::Json(body.to_owned().into()))?;
    let context = CallContext {
        call_id: "call".to_owned(),
        deadline: since + Duration::from_secs(10),
        payer: String::new(),
        price: 0,
        hirer: std::sync::Arc::new(rialto_host::NoHirer),
        awaited: None,
    };
    let outcome = service.call(prepared, context).await?;
    Ok((since.elapsed(), outcome))
}

/// How long calls took, in order.
async fn times(service: &Service, body: &str) -> Result<Vec<Duration>, Box<dyn Error>> {
    let mut times = Vec::with_capacity(CALLS);
    for _ in 0..CALLS {
        times.push(call(service, body).await?.0);
    }
    times.sort_unstable();
    Ok(times)
}

/// How long calls took that came one every few milliseconds, in order.
async fn paused(service: &Service) -> Result<Vec<Duration>, Box<dyn Error>> {
    let mut times = Vec::with_capacity(CALLS);
    for _ in 0..CALLS {
        times.push(call(service, SHORT).await?.0);
        tokio::time::sleep(PAUSE).await;
    }
    times.sort_unstable();
    Ok(times)
}

fn quantile(sorted: &[Duration], percent: usize) -> Duration {
    sorted
        .get(sorted.len() * percent / 100)
        .copied()
        .unwrap_or_default()
}
