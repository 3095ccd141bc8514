//! Models as programs of our own tensor operations, on any device that runs those.
//!
//! A graph's operators become recorded operations ([`rialto_compute::ops`]); what no input decides (shapes,
//! folded weights) is computed once, on the processor. For each combination of input shapes that was used
//! lately a model keeps a program; weights are on the device once, whatever the number of programs.
//!
//! A graph is refused at load if an operator, an attribute or an element type is not known here; whoever
//! loads it then uses another engine. What is accepted is still to be compared with another engine before
//! it is trusted ([`engines`](crate::engines) does).
//!
//! Not supported: branches and shapes that depend on data (but a branch may depend on a small whole-numbered
//! input: programs are then kept by its value), loops, weights in other files.

mod attributes;
mod fact;
mod file;
mod literal;
mod model;
mod operators;
mod plan;
mod products;
mod refusal;
mod scope;
mod walk;
mod weights;

#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc};

use bytes::Bytes;

use crate::{
    Config, Engine, LoadError, Model,
    joining::allow_joining,
    ops::Device,
    share::{Pool, Share},
};
use model::GraphModel;

/// Runs model files on a device for tensor operations.
pub struct GraphEngine {
    config: Arc<Config>,
    devices: Arc<Devices>,
    weights: Pool,
    equal_bits: bool,
}

/// Where programs run, and where constants are folded.
struct Devices {
    device: Arc<dyn Device>,
    cpu: Arc<dyn Device>,
}

impl GraphEngine {
    /// An engine without models, on `device`; `cpu` computes what no input decides. The limits hold as for
    /// the embedded engine.
    #[must_use]
    pub fn new(device: Arc<dyn Device>, cpu: Arc<dyn Device>, config: Config) -> Self {
        Self {
            weights: Pool::new(config.weights_bytes_max),
            config: Arc::new(config),
            devices: Arc::new(Devices { device, cpu }),
            equal_bits: true,
        }
    }

    /// Lets runs that wait be joined where that changes results within rounding only; models then do not
    /// promise equal bits. A device that computes large products in another order than small ones gains
    /// most by this.
    #[must_use]
    pub const fn joining_within_rounding(mut self) -> Self {
        self.equal_bits = false;
        self
    }

    /// The device's short name.
    #[must_use]
    pub fn device(&self) -> &str {
        self.devices.device.name()
    }

    /// Names everything that decides whether a model runs well here: engine, device, driver.
    #[must_use]
    pub fn identity(&self) -> String {
        let abilities = self.devices.device.abilities();
        format!("{ENGINE} {} {}", self.device(), abilities.fingerprint)
    }

    /// The file's share of the memory for weights.
    fn reserve(&self, bytes: u64, name: &str) -> Result<Share, LoadError> {
        self.weights
            .reserve(bytes)
            .ok_or_else(|| LoadError::EngineFull {
                model: name.to_owned(),
                bytes_max: self.config.weights_bytes_max,
            })
    }
}

impl Engine for GraphEngine {
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
        let share = self.reserve(size, name)?;
        let config = Arc::clone(&self.config);
        let devices = Arc::clone(&self.devices);
        let model = GraphModel::load(&bytes, name, config, devices, share, self.equal_bits)?;
        Ok(allow_joining(Arc::new(model), &bytes))
    }
}

impl fmt::Debug for GraphEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GraphEngine({})", self.device())
    }
}

impl fmt::Debug for Devices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Devices({}, {})", self.device.name(), self.cpu.name())
    }
}

/// The engine, as abilities and fingerprints name it.
pub(crate) const ENGINE: &str = concat!("rialto graph ", env!("CARGO_PKG_VERSION"));
