//! The engines of this node: what the configuration asks for, what is here, and the worker's side.

use std::process::ExitCode;
use std::sync::Arc;

use rialto_compute::ops::Device;
use rialto_tensor::engines;
use rialto_tensor::worker::{Limits, serve};

use crate::computers;
use crate::config::Config;

pub use rialto_tensor::engines::{Found, State};
pub use rialto_tensor::worker::Program;

/// The engines that `config` asks for; `accelerator` is what may run models instead of the processor.
pub(crate) fn wanted(config: &Config, accelerator: Option<Arc<dyn Device>>) -> engines::Config {
    let wanted = &config.engines;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = wanted
        .threads
        .and_then(|threads| usize::try_from(threads).ok());
    let one_thread = threads.map_or(wanted.deterministic, |threads| threads == 1);
    engines::Config {
        choice: wanted.choice,
        deterministic: wanted.deterministic,
        threads,
        library: wanted.onnxruntime.clone(),
        device: wanted.device,
        accelerator,
        worker: wanted.worker.clone(),
        vet: wanted.vet,
        isolate: wanted.isolate,
        limits: Limits {
            load_time_max: wanted.load_time_max,
            run_time_max: wanted.run_time_max,
            // Where a run has one thread, as many runs as cores are worth a copy of the weights each.
            processes_max: if one_thread { cores } else { 1 },
            ..Limits::default()
        },
        embedded: rialto_tensor::Config {
            weights_bytes_max: wanted.weights_bytes_max,
            ..rialto_tensor::Config::default()
        },
        verdicts: Some(config.data_dir.join("engines")),
    }
}

/// Looks for every engine that this node could use, and measures those that are here, for a few hundred
/// milliseconds each. Blocks.
#[must_use]
pub fn survey(config: &Config) -> Vec<Found> {
    // What cannot be opened, `survey_computers` says with its reason.
    let opened = computers::open(config).unwrap_or_default();
    engines::survey(&wanted(config, computers::accelerator(&opened)))
}

/// Serves as a worker for a model, on the standard input; for a process that does nothing else and has
/// no other threads yet.
#[must_use]
pub fn serve_engine_worker() -> ExitCode {
    serve()
}
