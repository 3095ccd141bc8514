//! The port through which models come: what the host needs, stated by the host.
//!
//! No engine is implemented here; the node connects one. Calls block, so the host makes them off the
//! guests' threads and a guest's deadline never waits for them.

use std::sync::Arc;

use rialto_compute::Model;
use rialto_compute::language::LanguageModel;

/// Finds models by the names that manifests grant.
pub trait Models: Send + Sync + 'static {
    /// Opens a model. `name` was already checked against the service's grant.
    ///
    /// May block (a first use loads the graph); must bound its own memory.
    ///
    /// # Errors
    /// [`OpenError`] with a text for the service's author.
    fn open(&self, name: &str) -> Result<Arc<dyn Model>, OpenError>;

    /// A model that can be had at once, without blocking; none sends the host to [`Models::open`] on
    /// another thread, which costs more than a small model's run.
    fn loaded(&self, name: &str) -> Option<Arc<dyn Model>> {
        let _ = name;
        None
    }

    /// A language model; none if the name stands for a model of another kind. Does not block.
    fn language(&self, name: &str) -> Option<Arc<dyn LanguageModel>> {
        let _ = name;
        None
    }
}

/// A [`Models`] that has none.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoModels;

impl Models for NoModels {
    fn open(&self, name: &str) -> Result<Arc<dyn Model>, OpenError> {
        Err(OpenError::Unknown(name.to_owned()))
    }
}

/// Why a granted model could not be opened. Each text is written for the service's author.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It is not here, although it is granted.
    #[error("model `{0}` is not on this host")]
    Unknown(String),
    /// There is no room for it now.
    #[error("{0}")]
    OutOfBudget(String),
    /// The engine refuses it, or failed.
    #[error("{0}")]
    Engine(String),
}
