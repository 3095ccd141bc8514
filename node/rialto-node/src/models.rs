//! Connects the host's model port to the tensor engine, and models to the artifact store.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use rialto_artifacts::Store;
use rialto_host::{Abilities, Element, Model, ModelError, Models, Port, TensorData};
use rialto_registry::{Manifest, ModelGrant};
use rialto_tensor::{Engine, Kind, RunError, Tensor};

use crate::progress::Progress;

/// The models that one service may open, loaded and shared by all its instances.
pub(crate) struct ServiceModels {
    models: HashMap<String, Arc<dyn Model>>,
}

impl ServiceModels {
    /// Fetches, checks and loads what the manifest names.
    ///
    /// # Errors
    /// [`ModelLoadError`] for the first model that cannot be had or is refused.
    pub(crate) async fn load(
        manifest: &Manifest,
        store: &Store,
        engine: &Arc<dyn Engine>,
        progress: &Progress,
    ) -> Result<Self, ModelLoadError> {
        let mut models = HashMap::new();
        for grant in manifest.models() {
            let path = fetch(grant, store, progress).await?;
            progress.say(&format!("loading model {}", grant.name));
            let (name, engine) = (grant.name.to_string(), Arc::clone(engine));
            let loaded = tokio::task::spawn_blocking(move || load(&path, &name, engine.as_ref()))
                .await
                .map_err(ModelLoadError::Task)??;
            models.insert(grant.name.to_string(), host_model(loaded));
        }
        Ok(Self { models })
    }

    /// What runs these models, for receipts: the engines' names, and whether all promise equal bits.
    /// A service without models computes in the guest alone.
    pub(crate) fn engine(&self) -> (String, bool) {
        let mut names: Vec<&str> = self
            .models
            .values()
            .map(|model| model.abilities().engine.as_str())
            .collect();
        names.sort_unstable();
        names.dedup();
        let deterministic = !names.is_empty()
            && self
                .models
                .values()
                .all(|model| model.abilities().deterministic);
        (names.join(" + "), deterministic)
    }
}

impl Models for ServiceModels {
    fn open(&self, name: &str) -> Result<Arc<dyn Model>, ModelError> {
        self.models
            .get(name)
            .cloned()
            .ok_or_else(|| ModelError::Unknown(name.to_owned()))
    }

    fn loaded(&self, name: &str) -> Option<Arc<dyn Model>> {
        self.models.get(name).cloned()
    }
}

/// Fetches one model into the store, unless it is there.
///
/// # Errors
/// [`ModelLoadError::Fetch`].
pub(crate) async fn fetch(
    grant: &ModelGrant,
    store: &Store,
    progress: &Progress,
) -> Result<PathBuf, ModelLoadError> {
    let sink = progress.clone();
    let report: rialto_artifacts::ProgressFn = Arc::new(move |step: rialto_artifacts::Progress| {
        sink.transfer(&step.message, step.bytes, step.bytes_total);
    });
    store
        .fetch(&grant.source, &grant.digest, &report)
        .await
        .map_err(|source| ModelLoadError::Fetch {
            name: grant.name.to_string(),
            source,
        })
}

fn load(
    path: &PathBuf,
    name: &str,
    engine: &dyn Engine,
) -> Result<Arc<dyn rialto_tensor::Model>, ModelLoadError> {
    let bytes = std::fs::read(path).map_err(|source| ModelLoadError::Read {
        name: name.to_owned(),
        source,
    })?;
    Ok(engine.load(Bytes::from(bytes), name)?)
}

/// Why a model cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ModelLoadError {
    /// It cannot be fetched, or its bytes are wrong.
    #[error("model `{name}` cannot be fetched")]
    Fetch {
        /// Which model.
        name: String,
        /// Why.
        #[source]
        source: rialto_artifacts::FetchError,
    },
    /// It cannot be read.
    #[error("model `{name}` cannot be read")]
    Read {
        /// Which model.
        name: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The engine refuses it.
    #[error(transparent)]
    Engine(#[from] rialto_tensor::LoadError),
    /// Loading it crashed.
    #[error("loading a model crashed")]
    Task(#[source] tokio::task::JoinError),
}

/// Puts an engine's model behind the host's port.
pub fn host_model(model: Arc<dyn rialto_tensor::Model>) -> Arc<dyn Model> {
    Arc::new(Adapted::new(model))
}

/// A model of the tensor engine behind the host's port.
struct Adapted {
    model: Arc<dyn rialto_tensor::Model>,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    abilities: Abilities,
}

impl Adapted {
    fn new(model: Arc<dyn rialto_tensor::Model>) -> Self {
        let from = model.abilities();
        let abilities = Abilities {
            engine: from.engine.clone(),
            device: from.device.clone(),
            deterministic: from.deterministic,
            fingerprint: from.fingerprint.clone(),
        };
        let ports = |ports: &[rialto_tensor::Port]| ports.iter().map(port).collect();
        Self {
            inputs: ports(model.inputs()),
            outputs: ports(model.outputs()),
            abilities,
            model,
        }
    }
}

impl Model for Adapted {
    fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    fn abilities(&self) -> &Abilities {
        &self.abilities
    }

    fn run(
        &self,
        inputs: Vec<(String, TensorData)>,
        outputs: &[String],
    ) -> Result<Vec<TensorData>, ModelError> {
        let mut operands = Vec::with_capacity(inputs.len());
        for (name, input) in inputs {
            let tensor = Tensor::new(to_engine(input.element), input.shape, input.data)
                .map_err(|error| ModelError::Invalid(format!("`{name}`: {error}")))?;
            operands.push((name, tensor));
        }
        let results = self
            .model
            .run(operands, outputs)
            .map_err(|error| refused(&error))?;
        Ok(results.into_iter().map(data).collect())
    }
}

fn refused(error: &RunError) -> ModelError {
    let text = error.to_string();
    match error.kind() {
        Kind::InvalidArgument => ModelError::Invalid(text),
        Kind::Unsupported => ModelError::Unsupported(text),
        Kind::OutOfBudget => ModelError::OutOfBudget(text),
        Kind::Engine => ModelError::Engine(text),
    }
}

fn data(tensor: Tensor) -> TensorData {
    let (element, shape, data) = tensor.into_parts();
    TensorData {
        element: to_host(element),
        shape,
        data,
    }
}

fn port(port: &rialto_tensor::Port) -> Port {
    Port {
        name: port.name.clone(),
        element: to_host(port.element),
        shape: port.shape.clone(),
    }
}

fn to_host(element: rialto_tensor::Element) -> Element {
    match element {
        rialto_tensor::Element::F32 => Element::F32,
        rialto_tensor::Element::F16 => Element::F16,
        rialto_tensor::Element::Bf16 => Element::Bf16,
        rialto_tensor::Element::I64 => Element::I64,
        rialto_tensor::Element::I32 => Element::I32,
        rialto_tensor::Element::I8 => Element::I8,
        rialto_tensor::Element::U8 => Element::U8,
        rialto_tensor::Element::Bool => Element::Bool,
    }
}

fn to_engine(element: Element) -> rialto_tensor::Element {
    match element {
        Element::F32 => rialto_tensor::Element::F32,
        Element::F16 => rialto_tensor::Element::F16,
        Element::Bf16 => rialto_tensor::Element::Bf16,
        Element::I64 => rialto_tensor::Element::I64,
        Element::I32 => rialto_tensor::Element::I32,
        Element::I8 => rialto_tensor::Element::I8,
        Element::U8 => rialto_tensor::Element::U8,
        Element::Bool => rialto_tensor::Element::Bool,
    }
}
