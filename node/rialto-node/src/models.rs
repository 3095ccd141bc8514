//! Connects the host's model port to the tensor engine, and models to the artifact store.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use rialto_artifacts::Store;
use rialto_compute::{Engine, Model};
use rialto_host::{Models, OpenError};
use rialto_registry::{Manifest, ModelGrant};

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
            models.insert(grant.name.to_string(), loaded);
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
    fn open(&self, name: &str) -> Result<Arc<dyn Model>, OpenError> {
        self.models
            .get(name)
            .cloned()
            .ok_or_else(|| OpenError::Unknown(name.to_owned()))
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

fn load(path: &PathBuf, name: &str, engine: &dyn Engine) -> Result<Arc<dyn Model>, ModelLoadError> {
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
    Engine(#[from] rialto_compute::LoadError),
    /// Loading it crashed.
    #[error("loading a model crashed")]
    Task(#[source] tokio::task::JoinError),
}
