//! The devices that run tensor operations: the one that the configuration asks for, and all that are here.
//!
//! Non-goals: models (`engines`), whose turn it is (the host's queue).

use std::sync::Arc;
use std::time::{Duration, Instant};

use rialto_compute::Element;
use rialto_compute::ops::{
    Cancel, Device, DeviceKind, Distribution, EvalError, Limits, Matmul, Op, ProgramError, Random,
    Recording, Spec,
};
use rialto_gpu::{
    AdapterInfo, AdapterKind, GpuDevice, INSTALL, OpenError, Wanted, hardware_is_likely,
};
use rialto_tensor::CpuDevice;

use crate::config::{Config, DeviceChoice};

/// Opens what the configuration asks for: the default device first, the processor always among them. Blocks.
///
/// # Errors
/// [`OpenError`] if a graphics processor is asked for and cannot be had.
pub(crate) fn open(config: &Config) -> Result<Vec<Arc<dyn Device>>, OpenError> {
    let cpu: Arc<dyn Device> = Arc::new(cpu(config));
    let wanted = match &config.device_choice {
        DeviceChoice::Cpu => return Ok(vec![cpu]),
        DeviceChoice::Auto if config.engines.deterministic => return Ok(vec![cpu]),
        // Drivers are much code to load in vain.
        DeviceChoice::Auto if !hardware_is_likely() => {
            tracing::info!("tensor operations run on the processor: no graphics processor is here");
            return Ok(vec![cpu]);
        }
        DeviceChoice::Auto | DeviceChoice::Gpu => Wanted::Hardware,
        DeviceChoice::GpuNamed(name) => Wanted::Named(name.clone()),
    };
    match GpuDevice::open(gpu_config(config, wanted), Arc::clone(&cpu)) {
        Ok(gpu) => {
            tracing::info!(adapter = %gpu.adapter(), "tensor operations run on the graphics processor");
            Ok(vec![Arc::new(gpu), cpu])
        }
        Err(error) if config.device_choice.is_gpu() => Err(error),
        Err(error @ OpenError::NotFound { .. }) => {
            tracing::info!(%error, "tensor operations run on the processor");
            Ok(vec![cpu])
        }
        Err(error) => {
            tracing::warn!(%error, "tensor operations run on the processor");
            Ok(vec![cpu])
        }
    }
}

/// What may run models instead of the processor: the device that operations run on, if it is another one.
pub(crate) fn accelerator(opened: &[Arc<dyn Device>]) -> Option<Arc<dyn Device>> {
    let first = opened.first()?;
    (first.abilities().kind != DeviceKind::Cpu).then(|| Arc::clone(first))
}

/// As many threads a run as leave none of the runs at a time without.
fn cpu(config: &Config) -> CpuDevice {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = (cores / config.device.runs_max.get()).max(1);
    CpuDevice::new(threads, config.device.memory_bytes_max)
}

fn gpu_config(config: &Config, adapter: Wanted) -> rialto_gpu::Config {
    rialto_gpu::Config {
        adapter,
        memory_bytes_max: config.device.memory_bytes_max,
        // Nobody waits longer for a run than a call may take.
        run_time_max: Duration::from_millis(config.sandbox.time_ms_max),
        ..rialto_gpu::Config::default()
    }
}

/// A device for tensor operations that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Computer {
    /// Its name.
    pub name: String,
    /// The interface and the driver; empty for the processor.
    pub driver: String,
    /// Whether it computes on processor cores.
    pub software: bool,
    /// Whether operations run on it as this node is configured.
    pub chosen: bool,
    /// Whether it can be used.
    pub state: ComputerState,
}

/// Whether a device can be used.
#[derive(Debug, Clone, PartialEq)]
pub enum ComputerState {
    /// It computes what the processor does.
    Works {
        /// Billions of operations a second in products of matrices in single precision.
        gflops: f64,
    },
    /// It cannot.
    Missing {
        /// Why, and what to do.
        reason: String,
    },
}

/// Looks for every device for tensor operations, compares graphics processors with the processor, and
/// measures each for a few hundred milliseconds. Blocks.
#[must_use]
pub fn survey_computers(config: &Config) -> Vec<Computer> {
    let cpu = Arc::new(cpu(config));
    let mut found: Vec<Computer> = rialto_gpu::adapters()
        .into_iter()
        .map(|adapter| look(config, adapter, &cpu))
        .collect();
    if found.iter().all(|computer| computer.software) {
        found.push(Computer {
            name: "graphics processor".to_owned(),
            driver: String::new(),
            software: false,
            chosen: false,
            state: ComputerState::Missing {
                reason: format!("none in hardware is found: {INSTALL}"),
            },
        });
    }
    choose(config, &mut found);
    let on_gpu = found.iter().any(|computer| computer.chosen);
    found.insert(
        0,
        Computer {
            name: "processor".to_owned(),
            driver: String::new(),
            software: true,
            chosen: !on_gpu && !config.device_choice.is_gpu(),
            state: state(rate(&*cpu)),
        },
    );
    found
}

fn look(config: &Config, adapter: AdapterInfo, cpu: &Arc<CpuDevice>) -> Computer {
    let wanted = Wanted::Exactly(adapter.clone());
    let opened = GpuDevice::open(
        gpu_config(config, wanted),
        Arc::clone(cpu) as Arc<dyn Device>,
    );
    Computer {
        software: adapter.kind == AdapterKind::Software,
        driver: format!("{}, {}", adapter.backend, adapter.driver),
        name: adapter.name,
        chosen: false,
        state: match opened {
            Ok(gpu) => state(rate(&gpu)),
            Err(error) => ComputerState::Missing {
                reason: error.to_string(),
            },
        },
    }
}

fn state(rate: Result<f64, MeasureError>) -> ComputerState {
    match rate {
        Ok(gflops) => ComputerState::Works { gflops },
        Err(error) => ComputerState::Missing {
            reason: error.to_string(),
        },
    }
}

/// Marks the one that [`open`] would take; they are in its order.
fn choose(config: &Config, found: &mut [Computer]) {
    let name = match &config.device_choice {
        DeviceChoice::Cpu => return,
        DeviceChoice::Auto if config.engines.deterministic => return,
        DeviceChoice::Auto | DeviceChoice::Gpu => None,
        DeviceChoice::GpuNamed(name) => Some(name.to_lowercase()),
    };
    let wanted = found.iter_mut().find(|computer| match &name {
        None => !computer.software,
        Some(name) => computer.name.to_lowercase().contains(name),
    });
    if let Some(computer) = wanted {
        computer.chosen = matches!(computer.state, ComputerState::Works { .. });
    }
}

/// Billions of operations a second: products of matrices, larger ones until each takes some milliseconds.
fn rate(device: &dyn Device) -> Result<f64, MeasureError> {
    let mut size = SIZE_MIN;
    loop {
        let each = product(device, size)?;
        if each >= LONG_ENOUGH || size >= SIZE_MAX {
            let operations = 2.0 * f64::from(size).powi(3);
            return Ok(operations / each.as_secs_f64() / 1e9);
        }
        size *= 2;
    }
}

/// The time of a product of square matrices on the device, the mean over a while.
fn product(device: &dyn Device, size: u32) -> Result<Duration, MeasureError> {
    let spec = Spec::new(Element::F32, [size, size]).map_err(EvalError::from)?;
    let mut recording = Recording::new(Limits::default());
    let random = Random {
        spec: spec.clone(),
        distribution: Distribution::Uniform {
            low: -1.0,
            high: 1.0,
        },
        seed: 1,
        stream: 0,
    };
    let made = recording.one(Op::Random(random), &[])?;
    let inputs = device.run(&recording.program(&[made])?, &[], &Cancel::new())?;
    let mut recording = Recording::new(Limits::default());
    let x = recording.input(spec)?;
    let y = recording.one(Op::Matmul(Matmul::default()), &[x, x])?;
    let program = recording.program(&[y])?;
    // The first one may compile.
    device.run(&program, &inputs, &Cancel::new())?;
    let (start, mut runs) = (Instant::now(), 0);
    while runs == 0 || start.elapsed() < MEASURED {
        device.run(&program, &inputs, &Cancel::new())?;
        runs += 1;
    }
    Ok(start.elapsed() / runs)
}

#[derive(Debug, thiserror::Error)]
enum MeasureError {
    #[error("a product of matrices does not run: {0}")]
    Run(#[from] EvalError),
    #[error("a product of matrices cannot be recorded: {0}")]
    Record(#[from] ProgramError),
}

/// Rows and columns of the smallest product that is measured.
const SIZE_MIN: u32 = 256;
/// And of the largest: 64 MiB a matrix.
const SIZE_MAX: u32 = 4096;
/// A product for which the way to the device and back hardly counts.
const LONG_ENOUGH: Duration = Duration::from_millis(4);
/// How long products of one size are repeated.
const MEASURED: Duration = Duration::from_millis(60);

#[cfg(test)]
mod tests {
    use super::*;

    fn with(choice: DeviceChoice) -> Config {
        Config {
            device_choice: choice,
            ..Config::in_dir("nowhere")
        }
    }

    fn names(config: &Config) -> Result<Vec<String>, OpenError> {
        let opened = open(config)?;
        Ok(opened.iter().map(|it| it.name().to_owned()).collect())
    }

    #[test]
    fn the_choice_decides_what_is_opened() {
        let software = || DeviceChoice::GpuNamed("llvmpipe".to_owned());
        assert_eq!(names(&with(DeviceChoice::Cpu)).unwrap(), ["cpu"]);
        assert_eq!(names(&with(software())).unwrap(), ["gpu", "cpu"]);
        let error = names(&with(DeviceChoice::GpuNamed("Voodoo 2".to_owned()))).unwrap_err();
        assert!(matches!(error, OpenError::NotFound { .. }), "{error}");
        // Where there is a card or none: the processor is always there, and alone in deterministic mode.
        let mut auto = with(DeviceChoice::Auto);
        assert_eq!(names(&auto).unwrap().last().unwrap(), "cpu");
        auto.engines.deterministic = true;
        assert_eq!(names(&auto).unwrap(), ["cpu"]);
    }

    #[test]
    fn the_survey_marks_what_would_be_opened() {
        let chosen = |choice| {
            let found = survey_computers(&with(choice));
            let chosen = found.into_iter().filter(|computer| computer.chosen);
            chosen.map(|computer| computer.name).collect::<Vec<_>>()
        };
        assert_eq!(chosen(DeviceChoice::Cpu), ["processor"]);
        let software = chosen(DeviceChoice::GpuNamed("LLVMPIPE".to_owned()));
        assert!(
            software.len() == 1 && software[0].contains("llvmpipe"),
            "{software:?}"
        );
        assert!(chosen(DeviceChoice::GpuNamed("Voodoo 2".to_owned())).is_empty());
    }
}
