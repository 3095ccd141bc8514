//! Models for a host in this process, that keep what a service asked of them: the very same inputs are
//! then given to the engine directly.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use bytes::Bytes;
use rialto_host::{Abilities, Element, Model, ModelError, Models, Port, TensorData};
use rialto_tensor::{Engine as _, Tensor, TractEngine};

/// A run as a service asked for it.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    model: Arc<dyn rialto_tensor::Model>,
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
#[derive(Debug, Default)]
pub(crate) struct Recording {
    models: HashMap<String, Arc<Recorded>>,
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
            let recorded = Recorded::new(model, Arc::clone(&recording.last));
            recording.models.insert(name, Arc::new(recorded));
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
    fn open(&self, name: &str) -> Result<Arc<dyn Model>, ModelError> {
        match self.models.get(name) {
            Some(model) => Ok(Arc::clone(model) as Arc<dyn Model>),
            None => Err(ModelError::Unknown(name.to_owned())),
        }
    }

    fn loaded(&self, name: &str) -> Option<Arc<dyn Model>> {
        let model = self.models.get(name)?;
        Some(Arc::clone(model) as Arc<dyn Model>)
    }
}

#[derive(Debug)]
struct Recorded {
    model: Arc<dyn rialto_tensor::Model>,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    abilities: Abilities,
    last: Last,
}

impl Recorded {
    fn new(model: Arc<dyn rialto_tensor::Model>, last: Last) -> Self {
        let ports = |ports: &[rialto_tensor::Port]| {
            let convert = |port: &rialto_tensor::Port| Port {
                name: port.name.clone(),
                element: to_host(port.element),
                shape: port.shape.clone(),
            };
            ports.iter().map(convert).collect()
        };
        let from = model.abilities();
        Self {
            inputs: ports(model.inputs()),
            outputs: ports(model.outputs()),
            abilities: Abilities {
                engine: from.engine.clone(),
                device: from.device.clone(),
                deterministic: from.deterministic,
                fingerprint: from.fingerprint.clone(),
            },
            model,
            last,
        }
    }
}

impl Model for Recorded {
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
        let invalid = |error: &dyn std::fmt::Display| ModelError::Invalid(error.to_string());
        let mut tensors = Vec::with_capacity(inputs.len());
        for (name, input) in inputs {
            let tensor = Tensor::new(to_engine(input.element), input.shape, input.data);
            tensors.push((name, tensor.map_err(|error| invalid(&error))?));
        }
        // Tensors share their bytes: keeping them costs next to nothing.
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Run {
            model: Arc::clone(&self.model),
            inputs: tensors.clone(),
            outputs: outputs.to_vec(),
        });
        let results = self.model.run(tensors, outputs);
        let results = results.map_err(|error| invalid(&error))?;
        Ok(results.into_iter().map(data).collect())
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

/// The engine's element types and the host's are the same eight.
const ELEMENTS: [(rialto_tensor::Element, Element); 8] = [
    (rialto_tensor::Element::F32, Element::F32),
    (rialto_tensor::Element::F16, Element::F16),
    (rialto_tensor::Element::Bf16, Element::Bf16),
    (rialto_tensor::Element::I64, Element::I64),
    (rialto_tensor::Element::I32, Element::I32),
    (rialto_tensor::Element::I8, Element::I8),
    (rialto_tensor::Element::U8, Element::U8),
    (rialto_tensor::Element::Bool, Element::Bool),
];

fn to_host(element: rialto_tensor::Element) -> Element {
    let found = ELEMENTS.iter().find(|(engine, _)| *engine == element);
    found.map_or(Element::U8, |(_, host)| *host)
}

fn to_engine(element: Element) -> rialto_tensor::Element {
    let found = ELEMENTS.iter().find(|(_, host)| *host == element);
    found.map_or(rialto_tensor::Element::U8, |(engine, _)| *engine)
}
