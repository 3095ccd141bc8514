//! A graphics processor beside the processor's cores: products of matrices and a convolution, in single and
//! half precision.
//!
//! The best adapter that is here; on software Vulkan, whose figures only say that it works, with small sizes.
//! Each run waits until the device is done. Not here: makers' own libraries (cuBLAS, cuDNN), which need a card.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rialto_compute::Element;
use rialto_compute::ops::{
    Cancel, Conv, Device, Distribution, Limits, Matmul, Op, Program, Random, Recording, Resident,
    Spec, Window,
};
use rialto_gpu::{AdapterKind, Config, GpuDevice, INSTALL, Wanted, adapters};
use rialto_tensor::CpuDevice;
use serde::Serialize;

use crate::spread::Spread;
use crate::table;

/// What was found.
#[derive(Debug, Serialize)]
pub(crate) struct Gpu {
    /// The adapter, its interface and driver.
    adapter: String,
    /// Whether it computes on processor cores.
    software: bool,
    /// Threads of the processor that it is compared with.
    threads: usize,
    work: Vec<Work>,
}

/// One kind of work.
#[derive(Debug, Serialize)]
struct Work {
    name: String,
    /// Thousand millions of operations a second: a multiplication with addition is two.
    gpu_gflops: Spread,
    /// The same on the processor.
    cpu_gflops: Spread,
    /// The former over the latter, round by round.
    gpu_by_cpu: Spread,
}

/// Measures, in turns.
///
/// # Errors
/// There is no adapter, it computes wrong results, or the work does not run.
pub(crate) fn measure(rounds: u32) -> Result<Gpu> {
    let Some(adapter) = adapters().into_iter().next() else {
        bail!("no graphics processor is found: {INSTALL}");
    };
    let software = adapter.kind == AdapterKind::Software;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let cpu: Arc<dyn Device> = Arc::new(CpuDevice::new(threads, MEMORY_BYTES));
    let config = Config {
        adapter: Wanted::Exactly(adapter.clone()),
        memory_bytes_max: MEMORY_BYTES,
        run_time_max: Duration::from_secs(300),
        ..Config::default()
    };
    let gpu: Arc<dyn Device> = Arc::new(GpuDevice::open(config, Arc::clone(&cpu))?);
    table::say(&format!("on {adapter} …"));
    let mut work = Vec::new();
    for case in cases(software) {
        work.push(compare(&case, &gpu, &cpu, rounds)?);
    }
    Ok(Gpu {
        adapter: adapter.to_string(),
        software,
        threads,
        work,
    })
}

impl Gpu {
    /// Prints the figures.
    pub(crate) fn print(&self) {
        let what = if self.software { ", in software" } else { "" };
        table::say(&format!("\n{}{what}, GFLOP/s", self.adapter));
        for work in &self.work {
            table::say(&format!(
                "{:34} {}; the processor with {} threads {}; ratio {}",
                work.name, work.gpu_gflops, self.threads, work.cpu_gflops, work.gpu_by_cpu
            ));
        }
    }
}

/// Work to measure.
struct Case {
    op: Op,
    element: Element,
    shapes: [Vec<u32>; 2],
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [left, right] = &self.shapes;
        let name = self.op.name();
        write!(f, "{name} {} {left:?} {right:?}", self.element)
    }
}

fn cases(software: bool) -> Vec<Case> {
    let (sizes, images): (&[u32], u32) = if software {
        (&[256, 512], 1)
    } else {
        (&[1024, 2048, 4096], 32)
    };
    let window = Window {
        before: 1,
        after: 1,
        ..Window::default()
    };
    let convolution = Conv {
        windows: [window; 2],
        ..Conv::default()
    };
    let mut cases = Vec::new();
    for element in [Element::F32, Element::F16] {
        cases.extend(sizes.iter().map(|size| Case {
            op: Op::Matmul(Matmul::default()),
            element,
            shapes: [vec![*size, *size], vec![*size, *size]],
        }));
        cases.push(Case {
            op: Op::Conv2d(convolution),
            element,
            shapes: [vec![images, 64, 56, 56], vec![64, 64, 3, 3]],
        });
    }
    cases
}

fn compare(case: &Case, gpu: &Arc<dyn Device>, cpu: &Arc<dyn Device>, rounds: u32) -> Result<Work> {
    let (on_gpu, on_cpu) = (Bench::new(case, gpu)?, Bench::new(case, cpu)?);
    let (mut gpu_rates, mut cpu_rates) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        let rates = (on_gpu.gflops()?, on_cpu.gflops()?);
        // The first round compiles and warms up.
        if round > 0 {
            gpu_rates.push(rates.0);
            cpu_rates.push(rates.1);
        }
    }
    Ok(Work {
        name: case.to_string(),
        gpu_by_cpu: Spread::ratio(&gpu_rates, &cpu_rates),
        gpu_gflops: Spread::of(gpu_rates),
        cpu_gflops: Spread::of(cpu_rates),
    })
}

/// Work on a device, with its operands there.
struct Bench {
    device: Arc<dyn Device>,
    program: Program,
    inputs: Vec<Resident>,
}

impl Bench {
    fn new(case: &Case, device: &Arc<dyn Device>) -> Result<Self> {
        let mut recording = Recording::new(Limits::default());
        let (mut inputs, mut values) = (Vec::new(), Vec::new());
        for (stream, shape) in (0..).zip(&case.shapes) {
            let spec = Spec::new(case.element, shape.clone())?;
            inputs.push(random(&**device, spec.clone(), stream)?);
            values.push(recording.input(spec)?);
        }
        let result = recording.one(case.op.clone(), &values)?;
        let program = recording.program(&[result])?;
        let device = Arc::clone(device);
        Ok(Self {
            device,
            program,
            inputs,
        })
    }

    /// The rate over a while.
    #[expect(clippy::cast_precision_loss, reason = "a rate needs no last digit")]
    fn gflops(&self) -> Result<f64> {
        let (start, mut runs) = (Instant::now(), 0_u32);
        while runs == 0 || start.elapsed() < MEASURED {
            self.device
                .run(&self.program, &self.inputs, &Cancel::new())?;
            runs += 1;
        }
        let each = start.elapsed().as_secs_f64() / f64::from(runs);
        Ok(2.0 * self.program.cost().multiply_adds as f64 / each / 1e9)
    }
}

fn random(device: &dyn Device, spec: Spec, stream: u64) -> Result<Resident> {
    let mut recording = Recording::new(Limits::default());
    let distribution = Distribution::Uniform {
        low: -1.0,
        high: 1.0,
    };
    let op = Op::Random(Random {
        spec,
        distribution,
        seed: 1,
        stream,
    });
    let value = recording.one(op, &[])?;
    let program = recording.program(&[value])?;
    let made = device.run(&program, &[], &Cancel::new())?;
    made.into_iter().next().context("nothing was made")
}

const MEMORY_BYTES: u64 = 4 << 30;
/// How long work is repeated in a round.
const MEASURED: Duration = Duration::from_millis(200);
