//! What tensor operations cost through the sandbox: a round trip of a mebibyte, an operation that is only
//! recorded, one of a long chain, and a matrix product beside the device alone.
//!
//! In this process, without HTTP and payment. Each figure is the difference of a long and a short call, so
//! that instances and the first use of everything are in neither.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rialto_compute::Element;
use rialto_compute::ops::{
    Cancel, Device, Distribution, Limits as RecordingLimits, Matmul, Op, Program, Random,
    Recording, Spec,
};
use rialto_host::{
    Arguments, CallContext, Config, Grants, Host, Limits, NoModels, Service, ServiceSpec, WasiGroup,
};
use rialto_tensor::CpuDevice;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::spread::Spread;
use crate::table;

/// What was found.
#[derive(Debug, Serialize)]
pub(crate) struct Operations {
    /// A mebibyte from the guest into a tensor and back, in microseconds.
    round_trip_us: Spread,
    /// The same copied twice in this process: the least that it can take.
    copies_us: Spread,
    /// Recording an operation and dropping its result, in nanoseconds.
    recorded_ns: Spread,
    /// An addition to 1,024 elements within a long chain, computed, in nanoseconds.
    chained_ns: Spread,
    /// A product of matrices of 1,024 rows and columns by the guest, in milliseconds, on one thread.
    product_ms: Spread,
    /// The same by the device alone.
    direct_ms: Spread,
    /// The former over the latter, round by round.
    product_by_direct: Spread,
}

/// Measures, in turns.
///
/// # Errors
/// The guest is not built, or a call fails.
pub(crate) fn measure(scratch: &Path, rounds: u32, runtime: &Runtime) -> Result<Operations> {
    let device = Arc::new(CpuDevice::new(1, 1 << 30));
    let lab = Lab::new(scratch, Arc::clone(&device))?;
    let direct = Direct::new(&device)?;
    let mut found: [Vec<f64>; 6] = Default::default();
    for round in 0..=rounds {
        let trip = |times| json!({ "bytes": MIB, "times": times });
        let churn = |times| json!({ "times": times });
        let chain = |length| json!({ "length": length, "elements": 1_024 });
        let products = |times| json!({ "size": SIZE, "times": times });
        let figures = [
            runtime.block_on(lab.each("round-trip", 1, TRIPS, trip))? * 1e6,
            copies()? * 1e6,
            runtime.block_on(lab.each("churn", 1_000, CALLS, churn))? * 1e9,
            runtime.block_on(lab.each("chain", 1_000, CALLS, chain))? * 1e9,
            runtime.block_on(lab.each("products", 1, PRODUCTS, products))? * 1e3,
            direct.each()? * 1e3,
        ];
        // The first round warms up.
        if round > 0 {
            for (all, figure) in found.iter_mut().zip(figures) {
                all.push(figure);
            }
        }
    }
    let [trip, copies, recorded, chained, product, direct] = found;
    Ok(Operations {
        product_by_direct: Spread::ratio(&product, &direct),
        round_trip_us: Spread::of(trip),
        copies_us: Spread::of(copies),
        recorded_ns: Spread::of(recorded),
        chained_ns: Spread::of(chained),
        product_ms: Spread::of(product),
        direct_ms: Spread::of(direct),
    })
}

impl Operations {
    /// Prints the figures.
    pub(crate) fn print(&self) {
        table::say(&format!(
            "a MiB into a tensor and back, us: {}; two copies of it {}",
            self.round_trip_us, self.copies_us
        ));
        table::say(&format!(
            "an operation, ns: recorded and dropped {}, within a computed chain on 1,024 elements {}",
            self.recorded_ns, self.chained_ns
        ));
        table::say(&format!(
            "a product of {SIZE} x {SIZE}, ms: through the sandbox {}, the device alone {}, ratio {}",
            self.product_ms, self.direct_ms, self.product_by_direct
        ));
    }
}

/// The guest that computes.
struct Lab {
    service: Service,
}

impl Lab {
    fn new(scratch: &Path, device: Arc<CpuDevice>) -> Result<Self> {
        let host = Host::new(Config {
            computers: vec![device],
            ..Config::new(scratch.join("operations-cache"))
        })?;
        let guests = std::env::var_os("RIALTO_TEST_GUESTS")
            .context("RIALTO_TEST_GUESTS is not set: start this with `cargo xtask bench`")?;
        let place = PathBuf::from(guests).join("operations/component.wasm");
        let component =
            std::fs::read(&place).with_context(|| format!("cannot read {}", place.display()))?;
        let spec = ServiceSpec {
            name: "operations".to_owned(),
            version: "0.1.0".to_owned(),
            grants: Grants {
                tensor: true,
                wasi: WasiGroup::ALL.into(),
                ..Grants::default()
            },
            limits: Limits {
                host_calls_max: 1_000_000,
                host_bytes_max: 2 << 30,
                wall_max: Duration::from_secs(120),
                cpu_max: Duration::from_secs(60),
                ..Limits::default()
            },
            ..ServiceSpec::default()
        };
        let service = host.load(&component, spec, Arc::new(NoModels))?;
        Ok(Self { service })
    }

    /// Seconds for each of `more` repeats, beyond what a call of `few` takes.
    async fn each(
        &self,
        method: &str,
        few: u32,
        more: u32,
        body: impl Fn(u32) -> Value,
    ) -> Result<f64> {
        let short = self.call(method, &body(few)).await?;
        let long = self.call(method, &body(few + more)).await?;
        Ok(long.saturating_sub(short).as_secs_f64() / f64::from(more))
    }

    async fn call(&self, method: &str, body: &Value) -> Result<Duration> {
        let context = CallContext {
            call_id: "bench".to_owned(),
            deadline: Instant::now() + Duration::from_secs(120),
            payer: String::new(),
            price: 0,
            hirer: std::sync::Arc::new(rialto_host::NoHirer),
            awaited: None,
        };
        let arguments = Arguments::Json(serde_json::to_vec(body)?.into());
        let prepared = self.service.prepare(method, arguments)?;
        let start = Instant::now();
        self.service.call(prepared, context).await?;
        Ok(start.elapsed())
    }
}

/// The same product by the device alone.
struct Direct<'a> {
    device: &'a CpuDevice,
    program: Program,
}

impl<'a> Direct<'a> {
    fn new(device: &'a CpuDevice) -> Result<Self> {
        let mut recording = Recording::new(RecordingLimits::default());
        let spec = Spec::new(Element::F32, [SIZE, SIZE])?;
        let mut values = Vec::new();
        for seed in [1, 2] {
            let random = Op::Random(Random {
                spec: spec.clone(),
                distribution: Distribution::Uniform {
                    low: -1.0,
                    high: 1.0,
                },
                seed,
                stream: 0,
            });
            values.push(recording.one(random, &[])?);
        }
        let program = recording.program(&values)?;
        let made = device.run(&program, &[], &Cancel::new())?;
        for (value, made) in values.iter().zip(made) {
            recording.settle(*value, made)?;
        }
        let product = recording.one(Op::Matmul(Matmul::default()), &values)?;
        let program = recording.program(&[product])?;
        Ok(Self { device, program })
    }

    fn each(&self) -> Result<f64> {
        let start = Instant::now();
        for _ in 0..PRODUCTS {
            self.device.run(&self.program, &[], &Cancel::new())?;
        }
        Ok(start.elapsed().as_secs_f64() / f64::from(PRODUCTS))
    }
}

/// Seconds to copy a mebibyte into fresh memory twice.
fn copies() -> Result<f64> {
    let mut data = vec![1_u8; usize::try_from(MIB)?];
    let start = Instant::now();
    for _ in 0..2 * TRIPS {
        data = std::hint::black_box(data.clone());
    }
    Ok(start.elapsed().as_secs_f64() / f64::from(TRIPS))
}

const MIB: u32 = 1 << 20;
const TRIPS: u32 = 50;
const CALLS: u32 = 50_000;
const PRODUCTS: u32 = 10;
const SIZE: u32 = 1_024;
