//! The embedded engine: tract, on the CPU.
//!
//! tract runs fastest with every shape known, so a model keeps one optimised plan for each
//! combination of input shapes that was used lately. Callers with axes of many lengths should pad to
//! few: the first run of a new shape pays for its plan.
//!
//! Not supported: control flow inside the graph, shapes that depend on data, weights in other files.
//! Each would let a file ask for unbounded memory or time.

mod attributes;
pub(crate) mod cache;
pub(crate) mod confine;
mod convert;
mod fold;
pub(crate) mod graph;
mod measure;
mod model;
mod plan;

#[cfg(test)]
mod hostile;
#[cfg(test)]
pub(crate) mod real;
#[cfg(test)]
pub(crate) mod sample;

use std::sync::Arc;

use bytes::Bytes;

use crate::{Engine, LoadError, Model, joining::allow_joining, share::Pool};
use model::TractModel;

/// What the engine accepts. Sizes are in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The largest model file.
    pub file_bytes_max: u64,
    /// The most nodes of a graph.
    pub nodes_max: usize,
    /// The largest tensor in a run.
    pub tensor_bytes_max: u64,
    /// The most memory that the tensors of one run need at a time, weights not counted.
    pub run_bytes_max: u64,
    /// The most multiplications with addition in one run.
    pub multiply_adds_max: u64,
    /// The files of all models in use together.
    pub weights_bytes_max: u64,
    /// The most plans that a model keeps, one for each combination of input shapes. A plan may hold
    /// its own packed copy of the weights.
    pub plans_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            file_bytes_max: 512 << 20,
            nodes_max: 20_000,
            tensor_bytes_max: 256 << 20,
            run_bytes_max: 1 << 30,
            multiply_adds_max: 300_000_000_000,
            weights_bytes_max: 2 << 30,
            plans_max: 8,
        }
    }
}

/// The embedded CPU engine.
#[derive(Debug)]
pub struct TractEngine {
    config: Arc<Config>,
    weights: Pool,
}

impl TractEngine {
    /// The engine and its version.
    pub const NAME: &str = ENGINE;

    /// An engine without models.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            weights: Pool::new(config.weights_bytes_max),
            config: Arc::new(config),
        }
    }
}

impl Default for TractEngine {
    fn default() -> Self {
        Self::new(Config::default())
    }
}

impl Engine for TractEngine {
    fn load(&self, bytes: Bytes, name: &str) -> Result<Arc<dyn Model>, LoadError> {
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let bytes_max = self.config.file_bytes_max;
        if size > bytes_max {
            let model = name.to_owned();
            return Err(LoadError::FileTooLarge {
                model,
                bytes: size,
                bytes_max,
            });
        }
        let share = self
            .weights
            .reserve(size)
            .ok_or_else(|| LoadError::EngineFull {
                model: name.to_owned(),
                bytes_max: self.config.weights_bytes_max,
            })?;
        let file = bytes.clone();
        let model = TractModel::load(bytes, name, Arc::clone(&self.config), share)?;
        Ok(allow_joining(Arc::new(model), &file))
    }
}

/// The engine and its version, as abilities and fingerprints name it.
pub(crate) const ENGINE: &str = "tract 0.23.9";
/// The only device that this engine has.
const DEVICE: &str = "cpu";

#[cfg(test)]
mod tests {
    #[test]
    fn the_engines_name_has_the_version_that_is_built() {
        let lock = include_str!("../../../Cargo.lock");
        let version = super::ENGINE.strip_prefix("tract ").unwrap();
        assert!(lock.contains(&format!("name = \"tract-core\"\nversion = \"{version}\"\n")));
    }
}
