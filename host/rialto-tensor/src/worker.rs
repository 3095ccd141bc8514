//! Engines in processes of their own, behind the same traits as an engine in this process.
//!
//! A native engine parses a stranger's file with code that was not written for strangers, and even the
//! embedded one can be asked for an hour of planning. Neither may happen in the host. So a
//! [`WorkerEngine`] starts a child process (this program again, with a hidden subcommand that calls
//! [`serve`]), gives it the file, and talks to it over a socket; the child is the only one who looks
//! into the file. What can go wrong there ends the child: it has limits of its own (memory, open files,
//! no dumps, no files to write; on Linux no new privileges and, where the kernel has Landlock, no files
//! to read and no connections either), and each load and run has a time limit after which the host
//! kills it. The caller gets an error; the next run starts another child.
//!
//! **One process holds one model.** Several models in one process would share its memory limit, its
//! crashes and, once one of them has taken the process over, their secrets. Apart, a crash costs one
//! model, giving a model up gives all of its memory back to the system, and what is common (the
//! program, the engine's library) is shared by the system anyway. Runs of one model take turns, as the
//! engine itself uses the cores that it may use; [`Limits::processes_max`] lets them overlap, each process
//! with a copy of the weights.
//!
//! A model whose process ends badly several times in a row rests for a while.
//!
//! Non-goals: choosing engines; a defence against the kernel's own faults; tensors in shared memory
//! (mapping it is unsafe code; a socket adds about 20 microseconds to a small run, and 4 milliseconds to one with
//! three megabytes each way).

mod child;
mod model;
mod process;
#[cfg(test)]
pub(crate) mod tests;
mod wire;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use child::serve;
pub use rialto_confine::Program;

use crate::{Engine, LoadError, Model, allow_joining};
use model::WorkerModel;
use rialto_confine::Quarantine;

/// Which engine a worker is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Task {
    /// The embedded engine.
    Tract(#[serde(with = "RawTract")] crate::Config),
    /// ONNX Runtime.
    OnnxRuntime(crate::onnxruntime::Config),
}

/// What a worker may take. Sizes are in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest model file.
    pub file_bytes_max: u64,
    /// How long starting and loading may take.
    pub load_time_max: Duration,
    /// How long a run may take, waiting for its turn included.
    pub run_time_max: Duration,
    /// The memory that every worker may take, whatever its file's size.
    pub memory_bytes: u64,
    /// The memory that it may take for each byte of its file: the graph, its folded and its packed form.
    pub memory_per_file_byte: u64,
    /// The largest tensor that is accepted from a worker.
    pub tensor_bytes_max: u64,
    /// The most that the outputs of a run may have together.
    pub outputs_bytes_max: u64,
    /// The most processes of one model.
    pub processes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            file_bytes_max: 512 << 20,
            load_time_max: Duration::from_secs(60),
            run_time_max: Duration::from_secs(60),
            memory_bytes: 2 << 30,
            memory_per_file_byte: 12,
            tensor_bytes_max: 256 << 20,
            outputs_bytes_max: 1 << 30,
            processes_max: 1,
        }
    }
}

impl Limits {
    fn memory(&self, file_bytes: u64) -> u64 {
        self.memory_per_file_byte
            .saturating_mul(file_bytes)
            .saturating_add(self.memory_bytes)
    }
}

/// An engine whose models live in processes of their own.
#[derive(Debug)]
pub struct WorkerEngine {
    setup: Arc<Setup>,
}

/// What all models of an engine have in common.
#[derive(Debug)]
struct Setup {
    program: Program,
    task: Task,
    limits: Limits,
    quarantine: Mutex<Quarantine>,
}

impl WorkerEngine {
    /// An engine without models; nothing is started yet.
    #[must_use]
    pub fn new(program: Program, task: Task, limits: Limits) -> Self {
        Self {
            setup: Arc::new(Setup {
                program,
                task,
                limits,
                quarantine: Mutex::default(),
            }),
        }
    }

    /// Loads a model as [`Engine::load`] does, and says what its process gave up before it looked at
    /// the file, for a log.
    ///
    /// # Errors
    /// As [`Engine::load`].
    pub fn load_confined(
        &self,
        bytes: Bytes,
        name: &str,
    ) -> Result<(Arc<dyn Model>, Vec<String>), LoadError> {
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let bytes_max = self.setup.limits.file_bytes_max;
        if size > bytes_max {
            return Err(LoadError::FileTooLarge {
                model: name.to_owned(),
                bytes: size,
                bytes_max,
            });
        }
        let file = bytes.clone();
        let (model, confined) = WorkerModel::load(Arc::clone(&self.setup), bytes, name)?;
        Ok((allow_joining(Arc::new(model), &file), confined))
    }
}

impl Engine for WorkerEngine {
    fn load(&self, bytes: Bytes, name: &str) -> Result<Arc<dyn Model>, LoadError> {
        self.load_confined(bytes, name).map(|(model, _)| model)
    }
}

impl Setup {
    fn quarantine(&self) -> std::sync::MutexGuard<'_, Quarantine> {
        // No step under this lock leaves the record half-changed.
        self.quarantine
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a reply with tensors, as a run does.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn read_reply(mut data: &[u8], bytes_max: u64) -> Option<Vec<crate::Tensor>> {
    let allowance = wire::Allowance {
        one_bytes_max: bytes_max,
        all_bytes_max: bytes_max,
    };
    match wire::read_header(&mut data).ok()? {
        wire::Reply::Outputs(forms) => wire::read_tensors(&mut data, &forms, allowance).ok(),
        wire::Reply::Loaded(description) => {
            let _ = (description.inputs(), description.outputs());
            None
        }
        wire::Reply::Refused(..) | wire::Reply::Failed(..) => None,
    }
}

/// The wire form of the embedded engine's limits.
#[derive(Serialize, Deserialize)]
#[serde(remote = "crate::Config")]
struct RawTract {
    file_bytes_max: u64,
    nodes_max: usize,
    tensor_bytes_max: u64,
    run_bytes_max: u64,
    multiply_adds_max: u64,
    weights_bytes_max: u64,
    plans_max: usize,
}
