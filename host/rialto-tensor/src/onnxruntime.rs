//! ONNX Runtime, where its library is found on this machine.
//!
//! The library is native code that was not written for strangers' files, so nothing here is meant for
//! the host's own process: [`InProcess`] runs in a [worker](crate::worker). Here is only how the
//! library is found, what a worker is told, and the engine that the worker then is.
//!
//! Non-goals: fetching the library; providers other than the CPU's and CUDA's; random operators (they
//! run, and the model is then not deterministic).

mod convert;
mod find;
mod model;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use ort::environment::Environment;
use serde::{Deserialize, Serialize};

use crate::{Engine, LoadError, Model};
use model::OrtModel;

#[cfg(test)]
pub(crate) use find::of_tests as library_of_tests;
pub use find::{NotFound, find, version};

/// How to run models.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// ONNX Runtime's shared library.
    pub library: PathBuf,
    /// How many threads compute one operator; at least one.
    pub threads: usize,
    /// Where.
    pub device: Device,
}

/// Where models run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Device {
    /// The processor.
    Cpu,
    /// The NVIDIA card of this number, with a library that was built for CUDA.
    Cuda(u32),
}

impl std::fmt::Display for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(card) => write!(f, "cuda:{card}"),
        }
    }
}

/// The engine in this process, for workers.
pub struct InProcess {
    environment: Environment,
    config: Config,
    engine: String,
}

/// Why ONNX Runtime cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The library cannot be loaded, or is too old.
    #[error("ONNX Runtime cannot be loaded from {}: {reason}", library.display())]
    Library {
        /// Its file.
        library: PathBuf,
        /// Why.
        reason: String,
    },
}

impl InProcess {
    /// Loads the library, for the rest of this process's life.
    ///
    /// # Errors
    /// [`OpenError`] when it is missing, of another machine, or older than 1.24.
    pub fn open(config: Config) -> Result<Self, OpenError> {
        let failed = |reason: String| OpenError::Library {
            library: config.library.clone(),
            reason,
        };
        let builder = ort::init_from(&config.library).map_err(|error| failed(error.to_string()))?;
        let environment = builder.with_name("rialto").with_telemetry(false).build();
        let environment = environment.map_err(|error| failed(error.to_string()))?;
        let engine = format!("ONNX Runtime {}", version_of(&config.library));
        Ok(Self {
            environment,
            config,
            engine,
        })
    }
}

impl Engine for InProcess {
    fn load(&self, bytes: Bytes, name: &str) -> Result<Arc<dyn Model>, LoadError> {
        Ok(Arc::new(OrtModel::load(self, &bytes, name)?))
    }
}

impl std::fmt::Debug for InProcess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InProcess")
            .field("config", &self.config)
            .field("engine", &self.engine)
            .finish_non_exhaustive()
    }
}

/// The library's version: from its file's name, or else from what it says of its own build.
fn version_of(library: &Path) -> String {
    version(library).unwrap_or_else(|| {
        let build = ort::info();
        let commit = build.split_once("git-commit-id=").map(|(_, rest)| rest);
        let commit = commit.and_then(|rest| rest.split(',').next());
        commit.map_or_else(|| "of unknown version".into(), |id| format!("commit {id}"))
    })
}
