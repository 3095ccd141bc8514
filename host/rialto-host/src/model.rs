//! Ports to a model engine: what the host needs, stated by the host.
//!
//! No engine is implemented here; the node adapts one. Calls block, so the host makes them on a
//! bounded pool of threads and a guest's deadline never waits for them.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

/// Finds models by the names that manifests grant.
pub trait Models: Send + Sync + 'static {
    /// Opens a model. `name` was already checked against the service's grant.
    ///
    /// May block (a first use loads the graph); must bound its own memory.
    ///
    /// # Errors
    /// [`ModelError`] with a text for the service's author.
    fn open(&self, name: &str) -> Result<Arc<dyn Model>, ModelError>;

    /// A model that can be had at once, without blocking; none sends the host to [`Models::open`] on
    /// another thread, which costs more than a small model's run.
    fn loaded(&self, name: &str) -> Option<Arc<dyn Model>> {
        let _ = name;
        None
    }
}

/// A loaded model, shared by all instances.
pub trait Model: Send + Sync + 'static {
    /// The inputs, in the graph's order.
    fn inputs(&self) -> &[Port];
    /// The outputs, in the graph's order.
    fn outputs(&self) -> &[Port];
    /// What runs this model.
    fn abilities(&self) -> &Abilities;
    /// Runs the graph once and returns the `outputs` named, in that order.
    ///
    /// # Errors
    /// [`ModelError`]; must never panic on hostile shapes or data.
    fn run(
        &self,
        inputs: Vec<(String, TensorData)>,
        outputs: &[String],
    ) -> Result<Vec<TensorData>, ModelError>;
}

/// A [`Models`] that has none.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoModels;

impl Models for NoModels {
    fn open(&self, name: &str) -> Result<Arc<dyn Model>, ModelError> {
        Err(ModelError::Unknown(name.to_owned()))
    }
}

/// One named input or output of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// The name in the graph.
    pub name: String,
    /// The element type.
    pub element: Element,
    /// The extent of each axis; none where the caller chooses it.
    pub shape: Vec<Option<u32>>,
}

/// What runs a model, for receipts and for callers who need equal bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Abilities {
    /// The engine and its version.
    pub engine: String,
    /// The device, for example `cpu`.
    pub device: String,
    /// Whether equal inputs give equal bits on an equal fingerprint.
    pub deterministic: bool,
    /// Names engine, version, model digest and device.
    pub fingerprint: String,
}

/// A dense, row-major, little-endian array. Cloning shares the bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct TensorData {
    /// The element type.
    pub element: Element,
    /// The extent of each axis, outermost first; empty for a scalar.
    pub shape: Vec<u32>,
    /// The elements.
    pub data: Bytes,
}

impl fmt::Debug for TensorData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TensorData")
            .field("element", &self.element)
            .field("shape", &self.shape)
            .field("bytes", &self.data.len())
            .finish()
    }
}

/// The element type of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Element {
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary16.
    F16,
    /// bfloat16.
    Bf16,
    /// Signed 64-bit integer.
    I64,
    /// Signed 32-bit integer.
    I32,
    /// Signed 8-bit integer.
    I8,
    /// Unsigned 8-bit integer.
    U8,
    /// One byte an element, 0 or 1.
    Bool,
}

impl Element {
    /// The size of one element in bytes.
    #[must_use]
    pub const fn byte_size(self) -> u64 {
        match self {
            Self::I64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }
}

/// Why a model could not be opened or run. Each text is written for the service's author.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// No such model here, although it is granted.
    #[error("model `{0}` is not on this host")]
    Unknown(String),
    /// A name, shape or element type does not fit; nothing ran.
    #[error("{0}")]
    Invalid(String),
    /// The engine does not implement what the graph or the caller needs.
    #[error("{0}")]
    Unsupported(String),
    /// The engine's own budget is spent.
    #[error("{0}")]
    OutOfBudget(String),
    /// The engine failed; the guest is not at fault.
    #[error("{0}")]
    Engine(String),
}
