//! Measures the full cycle of a call: check arguments, fresh instance, call, JSON, drop.
//!
//! `cargo run --release -p rialto-host --example cycle`; prints medians and spread of batches. Figures are
//! only comparable on one machine in one state.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rialto_host::{
    Arguments, CallContext, Config, Grants, Host, Limits, NoModels, Service, ServiceSpec,
};
use rialto_testkit::guests;

const BATCHES: usize = 21;
const CALLS: u32 = 200;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let host = Host::new(Config::new(dir.path().join("cache")))?;
    let types = load(&host, guests::TYPES)?;
    let kib = format!("{{\"text\":\"{}\"}}", "x".repeat(1_024));
    measure(&types, "nothing", Arguments::Json("{}".into())).await?;
    measure(
        &types,
        "add",
        Arguments::Json("{\"left_one\":1,\"right_one\":2}".into()),
    )
    .await?;
    measure(&types, "text", Arguments::Json(kib.into())).await?;
    measure(&types, "bytes", Arguments::Raw(vec![7; 1_024].into())).await?;
    measure(&types, "length", Arguments::Raw(vec![7; 1_024].into())).await?;
    measure(&types, "length", Arguments::Raw(vec![7; 65_536].into())).await?;
    measure(&types, "bytes", Arguments::Raw(vec![7; 65_536].into())).await?;
    Ok(())
}

fn load(host: &Host, text: &str) -> Result<Service, Box<dyn std::error::Error>> {
    let spec = ServiceSpec {
        name: "cycle".to_owned(),
        version: "0.1.0".to_owned(),
        grants: Grants::default(),
        models: Vec::new(),
        limits: Limits::default(),
        ..ServiceSpec::default()
    };
    Ok(host.load(&guests::component(text)?, spec, Arc::new(NoModels))?)
}

#[expect(clippy::print_stdout, reason = "an example that prints its figures")]
async fn measure(
    service: &Service,
    method: &str,
    arguments: Arguments,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut prepare = Vec::new();
    let mut call = Vec::new();
    let mut bytes = 0;
    for _ in 0..BATCHES {
        let (mut preparing, mut calling) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..CALLS {
            let arguments = arguments.clone();
            let context = CallContext {
                call_id: "cycle".to_owned(),
                deadline: Instant::now() + Duration::from_secs(10),
                payer: String::new(),
                price: 0,
                hirer: std::sync::Arc::new(rialto_host::NoHirer),
                awaited: None,
            };
            let start = Instant::now();
            let prepared = service.prepare(method, arguments)?;
            let middle = Instant::now();
            bytes = prepared.input_bytes();
            service.call(prepared, context).await?;
            preparing += middle - start;
            calling += middle.elapsed();
        }
        prepare.push(preparing.as_secs_f64() * 1e6 / f64::from(CALLS));
        call.push(calling.as_secs_f64() * 1e6 / f64::from(CALLS));
    }
    println!(
        "{method:8} {bytes:6} bytes: prepare {}, call {}",
        spread(&mut prepare),
        spread(&mut call)
    );
    Ok(())
}

/// Median, least and most, in microseconds.
fn spread(figures: &mut [f64]) -> String {
    figures.sort_by(f64::total_cmp);
    let at = |index: usize| figures.get(index).copied().unwrap_or_default();
    format!(
        "{:.1} us ({:.1} to {:.1})",
        at(figures.len() / 2),
        at(0),
        at(figures.len() - 1)
    )
}
