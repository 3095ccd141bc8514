//! Models for a host in this process, that keep what a service asked of them: the very same inputs are
//! then given to the engine directly.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use bytes::Bytes;
use rialto_host::{Models, OpenError};
use rialto_tensor::{Abilities, Engine as _, Model, Port, RunError, Tensor, TractEngine};

/// A run as a service asked for it.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    model: Arc<dyn Model>,
    inputs: Vec<(String, Tensor)>,
    outputs: Vec<String>,
}

impl Run {
    /// Does the same again, by the engine alone.
    ///
    /// # Errors
    /// The engine's, which the service would have seen too.
    pub(crate) fn again(&self) -> Result<Vec<Tensor>> {
        Ok(self.model.run(self.inputs.clone(), &self.outputs)?)
    }
}

/// What was asked last.
pub(crate) type Last = Arc<Mutex<Option<Run>>>;

/// Models by name.
#[derive(Default)]
pub(crate) struct Recording {
    models: HashMap<String, Arc<dyn Model>>,
    last: Last,
}

impl Recording {
    /// Loads the models that a service's manifest names.
    ///
    /// # Errors
    /// The manifest or a model is missing or bad.
    pub(crate) fn load(manifest: &Path, artifacts: &Path) -> Result<Self> {
        let manifest = rialto_node::read_manifest(manifest)?;
        let mut recording = Self::default();
        for grant in manifest.models() {
            let path = artifacts.join(grant.digest.to_string());
            let bytes = std::fs::read(path)
                .with_context(|| format!("model {} is not fetched", grant.name))?;
            let name = grant.name.to_string();
            let model = TractEngine::default().load(Bytes::from(bytes), &name)?;
            let last = Arc::clone(&recording.last);
            let recorded = Arc::new(Recorded { model, last });
            recording.models.insert(name, recorded);
        }
        Ok(recording)
    }

    /// The names of the models.
    pub(crate) fn names(&self) -> Vec<String> {
        self.models.keys().cloned().collect()
    }

    /// Where the last run is kept.
    pub(crate) fn last(&self) -> Last {
        Arc::clone(&self.last)
    }
}

impl Models for Recording {
    fn open(&self, name: &str) -> Result<Arc<dyn Model>, OpenError> {
        self.loaded(name)
            .ok_or_else(|| OpenError::Unknown(name.to_owned()))
    }

    fn loaded(&self, name: &str) -> Option<Arc<dyn Model>> {
        self.models.get(name).map(Arc::clone)
    }
}

/// An engine's model that keeps what it is given.
#[derive(Debug)]
struct Recorded {
    model: Arc<dyn Model>,
    last: Last,
}

impl Model for Recorded {
    fn inputs(&self) -> &[Port] {
        self.model.inputs()
    }

    fn outputs(&self) -> &[Port] {
        self.model.outputs()
    }

    fn abilities(&self) -> &Abilities {
        self.model.abilities()
    }

    fn joins(&self, inputs: &[(String, Vec<u32>)]) -> Option<Vec<(String, Vec<u32>)>> {
        self.model.joins(inputs)
    }

    fn run_joined(
        &self,
        runs: Vec<Vec<(String, Tensor)>>,
        outputs: &[String],
    ) -> Vec<Result<Vec<Tensor>, RunError>> {
        self.model.run_joined(runs, outputs)
    }

    fn run(
        &self,
        inputs: Vec<(String, Tensor)>,
        outputs: &[String],
    ) -> Result<Vec<Tensor>, RunError> {
        // Tensors share their bytes: keeping them costs next to nothing.
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Run {
            model: Arc::clone(&self.model),
            inputs: inputs.clone(),
            outputs: outputs.to_vec(),
        });
        self.model.run(inputs, outputs)
    }
}
