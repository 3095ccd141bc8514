//! The engines of a host: which one runs which model, and what is checked before.
//!
//! For each model, in this order:
//! 1. A device for tensor operations that is not the processor, where the host has one and its operations
//!    cover the graph. Once for each file its answers on seeded inputs, and its time, are compared with
//!    those of an engine on the processor; a model on which they differ is not run there.
//! 2. ONNX Runtime, where its library is found, in a worker; compared in the same way.
//! 3. The embedded engine. Once for each file a worker loads, plans and runs it under limits of time and
//!    memory; only what came through is loaded in the host's own process.
//!
//! A verdict holds for one file and one set of engines; it is kept on disk, so that a start costs no
//! second look. What runs a model is in its [abilities](Model::abilities), which receipts repeat. In
//! deterministic mode nothing depends on what happens to be installed: one engine that is named, a
//! fixed number of threads, and an error instead of another engine.
//!
//! What vetting does not cover: shapes that the trial run did not have. Their plans are made in this
//! process, bounded in size and arithmetic though not in time; [`Config::isolate`] keeps the embedded
//! engine in workers altogether.
//!
//! Non-goals: keeping models ([`ModelCache`](crate::ModelCache)), devices for tensor operations.

mod agree;
mod on_device;
mod probe;
mod seeded;
mod survey;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_on_device;
mod verdicts;

use std::{path::PathBuf, sync::Arc};

use bytes::Bytes;

use crate::{
    Engine, GraphEngine, Kind, LoadError, Model, TractEngine,
    onnxruntime::{self, Device, NotFound},
    ops,
    worker::{Limits, Program, Task, WorkerEngine},
};
use agree::Comparison;
use verdicts::Verdicts;

pub use agree::EXTENTS;
pub(crate) use agree::is_close;
pub use seeded::inputs_of as seeded_inputs;
pub use survey::{Found, State, survey};

/// Which engines to use, and how.
#[derive(Debug, Clone)]
pub struct Config {
    /// Which engine.
    pub choice: Choice,
    /// Fixed engine, fixed threads; never another engine instead.
    pub deterministic: bool,
    /// The threads of one run in ONNX Runtime; none means one for each core, or one if deterministic.
    pub threads: Option<usize>,
    /// ONNX Runtime's library; none looks for it.
    pub library: Option<PathBuf>,
    /// Where ONNX Runtime computes.
    pub device: Device,
    /// What may run models instead of the processor.
    pub accelerator: Option<Arc<dyn ops::Device>>,
    /// The program that serves as a worker; without one there is neither ONNX Runtime nor vetting.
    pub worker: Option<Program>,
    /// Whether the embedded engine only loads what came through a worker.
    pub vet: bool,
    /// Whether the embedded engine runs in workers altogether.
    pub isolate: bool,
    /// The limits of workers.
    pub limits: Limits,
    /// The limits of the embedded engine.
    pub embedded: crate::Config,
    /// Where verdicts are kept; none keeps them in memory.
    pub verdicts: Option<PathBuf>,
}

/// Which engine runs models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Choice {
    /// The device for tensor operations where it covers the model, agrees and is not slower; else ONNX
    /// Runtime where it is found and agrees; else the embedded one.
    #[default]
    Auto,
    /// The embedded one.
    Embedded,
    /// ONNX Runtime; a model that it does not run is an error.
    OnnxRuntime,
    /// The device for tensor operations wherever it covers the model and agrees, else as `Auto`; a model
    /// that it does not run is an error only in deterministic mode.
    Gpu,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            choice: Choice::Auto,
            deterministic: false,
            threads: None,
            library: None,
            device: Device::Cpu,
            accelerator: None,
            worker: None,
            vet: true,
            isolate: false,
            limits: Limits::default(),
            embedded: crate::Config::default(),
            verdicts: None,
        }
    }
}

/// Why there are no engines as configured.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// ONNX Runtime is asked for by name, and not here.
    #[error(transparent)]
    NotFound(#[from] NotFound),
    /// What is asked for needs workers.
    #[error("{0} needs a worker program, and this program cannot be one")]
    NoWorker(&'static str),
    /// A device is asked for, and the host has none but the processor.
    #[error(
        "models are to run on a graphics processor, and none is in use: see `rialto engines`, or choose another engine"
    )]
    NoAccelerator,
}

/// The engines of a host, as one.
#[derive(Debug)]
pub struct Engines {
    config: Config,
    embedded: TractEngine,
    /// The embedded engine, in workers.
    apart: Option<WorkerEngine>,
    on_device: Option<GraphEngine>,
    accelerated: Option<Accelerated>,
    verdicts: Verdicts,
}

/// ONNX Runtime in workers.
#[derive(Debug)]
struct Accelerated {
    engine: WorkerEngine,
    /// The same library on the processor, where the first computes elsewhere.
    reference: Option<WorkerEngine>,
    /// Names library, device and threads.
    identity: String,
}

impl Engines {
    /// Looks for what is configured. Starts nothing.
    ///
    /// # Errors
    /// [`SetupError`] where something that was asked for by name cannot be had.
    pub fn new(config: Config) -> Result<Self, SetupError> {
        if config.worker.is_none() && config.isolate {
            return Err(SetupError::NoWorker("isolating the embedded engine"));
        }
        let apart = config.worker.clone().map(|program| {
            let task = Task::Tract(config.embedded.clone());
            // A run of this engine has one thread.
            let limits = Limits {
                processes_max: cores(),
                ..config.limits
            };
            WorkerEngine::new(program, task, limits)
        });
        Ok(Self {
            on_device: on_device::engine(&config)?,
            accelerated: accelerated(&config)?,
            embedded: TractEngine::new(config.embedded.clone()),
            verdicts: Verdicts::new(config.verdicts.clone()),
            apart,
            config,
        })
    }

    /// The model in ONNX Runtime, if that agrees with another engine about it.
    fn load_accelerated(
        &self,
        ort: &Accelerated,
        bytes: &Bytes,
        name: &str,
    ) -> Result<Arc<dyn Model>, LoadError> {
        let (model, confined) = ort.engine.load_confined(bytes.clone(), name)?;
        tracing::debug!(model = name, ?confined, "loaded in a worker");
        let key = Verdicts::key(&["agrees", &ort.identity, crate::tract::ENGINE], bytes);
        let verdict = self.verdicts.get(&key).unwrap_or_else(|| {
            let verdict = self.compare(ort, model.as_ref(), bytes, name);
            if let Some(verdict) = &verdict {
                self.verdicts.put(&key, verdict);
            }
            verdict.unwrap_or_default()
        });
        match verdict.strip_prefix(DIFFERS) {
            None => Ok(model),
            Some(reason) => Err(LoadError::Unsupported {
                model: name.to_owned(),
                reason: format!(
                    "{} is not trusted with it: {reason}",
                    model.abilities().engine
                ),
            }),
        }
    }

    /// A verdict to keep, or none where a second engine could not be asked for a passing reason.
    fn compare(
        &self,
        ort: &Accelerated,
        model: &dyn Model,
        bytes: &Bytes,
        name: &str,
    ) -> Option<String> {
        let reference = ort.reference.as_ref().or(self.apart.as_ref())?;
        let reference = match reference.load(bytes.clone(), name) {
            Ok(reference) => reference,
            // On the processor ONNX Runtime is the measure itself; elsewhere it is nothing without one.
            Err(error) if ort.reference.is_some() => return Some(format!("{DIFFERS}{error}")),
            Err(error @ LoadError::Engine { .. }) => {
                tracing::warn!(model = name, %error, "the engines are not compared");
                return None;
            }
            Err(error) => {
                tracing::info!(model = name, %error, "only ONNX Runtime runs it: not compared");
                return Some("alone".to_owned());
            }
        };
        match agree::compare(model, reference.as_ref()) {
            Comparison::Agree { difference } => {
                tracing::info!(model = name, difference, "the engines agree");
                Some(format!("agrees within {difference:e}"))
            }
            Comparison::Differ(reason) => {
                tracing::warn!(model = name, reason, "the engines differ");
                Some(format!("{DIFFERS}{reason}"))
            }
            Comparison::NotComparable(reason) if ort.reference.is_some() => {
                Some(format!("{DIFFERS}{reason}"))
            }
            Comparison::NotComparable(reason) => {
                tracing::info!(model = name, reason, "the engines are not compared");
                Some("alone".to_owned())
            }
        }
    }

    fn load_embedded(&self, bytes: Bytes, name: &str) -> Result<Arc<dyn Model>, LoadError> {
        match &self.apart {
            Some(apart) if self.config.isolate => return apart.load(bytes, name),
            Some(apart) if self.config.vet => self.vet(apart, &bytes, name)?,
            Some(_) | None => {}
        }
        self.embedded.load(bytes, name)
    }

    /// Has a worker load, plan and run a file, unless one has before.
    fn vet(&self, apart: &WorkerEngine, bytes: &Bytes, name: &str) -> Result<(), LoadError> {
        let key = Verdicts::key(&["vetted", crate::tract::ENGINE], bytes);
        if self.verdicts.get(&key).is_some() {
            return Ok(());
        }
        let model = apart.load(bytes.clone(), name)?;
        if let Some(Err(error)) = agree::trial(model.as_ref())
            && error.kind() == Kind::Engine
        {
            return Err(LoadError::TooLarge {
                model: name.to_owned(),
                reason: format!("a first run, in a process of its own, failed: {error}"),
            });
        }
        self.verdicts.put(&key, "passed");
        Ok(())
    }
}

impl Engine for Engines {
    fn load(&self, bytes: Bytes, name: &str) -> Result<Arc<dyn Model>, LoadError> {
        if let Some(engine) = &self.on_device {
            match self.load_on_device(engine, &bytes, name) {
                Ok(model) => return Ok(model),
                Err(error) if self.config.deterministic => return Err(error),
                Err(error) => {
                    let device = engine.device();
                    tracing::warn!(model = name, device, %error, "it runs on the processor instead");
                }
            }
        }
        let Some(ort) = &self.accelerated else {
            return self.load_embedded(bytes, name);
        };
        match self.load_accelerated(ort, &bytes, name) {
            Ok(model) => Ok(model),
            Err(error) if self.config.choice == Choice::OnnxRuntime => Err(error),
            Err(error) => {
                tracing::warn!(model = name, %error, "it runs on the embedded engine instead");
                self.load_embedded(bytes, name)
            }
        }
    }
}

/// ONNX Runtime as configured; none where nobody asked for it by name and it is not to be had.
fn accelerated(config: &Config) -> Result<Option<Accelerated>, SetupError> {
    let wanted = match config.choice {
        Choice::Embedded => return Ok(None),
        Choice::Auto | Choice::Gpu if config.deterministic => return Ok(None),
        Choice::Auto | Choice::Gpu => false,
        Choice::OnnxRuntime => true,
    };
    let Some(program) = &config.worker else {
        return if wanted {
            Err(SetupError::NoWorker("ONNX Runtime"))
        } else {
            Ok(None)
        };
    };
    let library = match onnxruntime::find(config.library.as_deref()) {
        Ok(library) => library,
        Err(NotFound::Nowhere { .. }) if !wanted => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let threads = threads(config);
    let on = |device| {
        let task = Task::OnnxRuntime(onnxruntime::Config {
            library: library.clone(),
            threads,
            device,
        });
        let program = program.clone();
        let program = match device {
            Device::Cpu => program,
            Device::Cuda(_) => with_libraries(program),
        };
        WorkerEngine::new(program, task, config.limits)
    };
    Ok(Some(Accelerated {
        engine: on(config.device),
        reference: (config.device != Device::Cpu).then(|| on(Device::Cpu)),
        identity: format!(
            "{} {} {threads} {} {}",
            library.display(),
            config.device,
            onnxruntime::version(&library).unwrap_or_default(),
            std::fs::metadata(&library).map_or(0, |library| library.len())
        ),
    }))
}

/// A worker that finds a card's libraries where this process would: ONNX Runtime looks there alone.
fn with_libraries(mut program: Program) -> Program {
    let path = std::env::var_os(LIBRARIES).map(|path| (LIBRARIES.into(), path));
    program.environment.extend(path);
    program
}

/// The threads of one run in ONNX Runtime.
fn threads(config: &Config) -> usize {
    let wanted = config.threads.filter(|threads| *threads > 0);
    wanted.unwrap_or_else(|| if config.deterministic { 1 } else { cores() })
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// How a verdict against an engine begins.
const DIFFERS: &str = "differs: ";
const LIBRARIES: &str = "LD_LIBRARY_PATH";
