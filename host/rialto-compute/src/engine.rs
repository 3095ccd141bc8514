//! The narrow trait that every engine implements.
//!
//! Non-goals: any engine's own vocabulary. Sessions with bound state will be added beside
//! [`Model::run`], not instead of it.

use std::{fmt, sync::Arc};

use bytes::Bytes;

use crate::{Element, LoadError, RunError, Tensor};

/// Turns model files into models.
pub trait Engine: fmt::Debug + Send + Sync {
    /// Parses and checks a model's file. Blocks. `name` is for messages only.
    ///
    /// # Errors
    /// [`LoadError`] for every file that this engine cannot run, however it is malformed.
    fn load(&self, bytes: Bytes, name: &str) -> Result<Arc<dyn Model>, LoadError>;
}

/// A loaded model, shared by all who run it.
pub trait Model: fmt::Debug + Send + Sync {
    /// The inputs, in the graph's order. All are needed for a run.
    fn inputs(&self) -> &[Port];

    /// The outputs, in the graph's order.
    fn outputs(&self) -> &[Port];

    /// What runs the model here.
    fn abilities(&self) -> &Abilities;

    /// What the model's file says about itself: producer, operator sets, sizes, and its own properties
    /// behind `property.`, where exporters put licences. A stranger's words, at most 64 entries of at
    /// most 128 and 4,096 bytes.
    fn metadata(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    /// Runs the graph once and returns the named outputs, in the order of `outputs`. Blocks the
    /// calling thread, and computes on it; runs on several threads are independent.
    ///
    /// # Errors
    /// [`RunError`]; its [kind](RunError::kind) says whose fault it is.
    fn run(
        &self,
        inputs: Vec<(String, Tensor)>,
        outputs: &[String],
    ) -> Result<Vec<Tensor>, RunError>;

    /// With what runs on inputs of these names and shapes may be [joined](Model::run_joined): all whose
    /// names and shapes give the same here; none for runs that are always alone. As far as is known,
    /// each then gives what it gives alone, to the bit where the engine promises equal bits.
    fn joins(&self, inputs: &[(String, Vec<u32>)]) -> Option<Vec<(String, Vec<u32>)>> {
        let _ = inputs;
        None
    }

    /// Does several runs, all with inputs that [join](Model::joins), and returns the result of
    /// each: what [`Model::run`] would, in less time if the model joins them.
    fn run_joined(
        &self,
        runs: Vec<Vec<(String, Tensor)>>,
        outputs: &[String],
    ) -> Vec<Result<Vec<Tensor>, RunError>> {
        let alone = |inputs| self.run(inputs, outputs);
        runs.into_iter().map(alone).collect()
    }
}

/// One named input or output of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// The name in the graph.
    pub name: String,
    /// The element type.
    pub element: Element,
    /// The extent of each axis; none where the caller chooses it (or, of an output, where it follows
    /// from the inputs).
    pub shape: Vec<Option<u32>>,
}

/// What runs a model, for receipts and for callers who need equal bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Abilities {
    /// The engine and its version.
    pub engine: String,
    /// The device.
    pub device: String,
    /// Whether equal inputs give equal bits on an equal fingerprint.
    pub deterministic: bool,
    /// Names engine, version, model and instruction set, as 64 hex digits of BLAKE3; equal bits are
    /// promised only within it.
    pub fingerprint: String,
}
