//! Connects the host's model port to the tensor engine, and models to the artifact store.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use rialto_artifacts::{Held, Store};
use rialto_compute::language::LanguageModel;
use rialto_compute::{Abilities, LoadError, Model};
use rialto_host::{Models, OpenError};
use rialto_registry::{Digest, Manifest, ModelGrant};
use rialto_tensor::ModelCache;

use crate::artifacts;
use crate::languages::Languages;
use crate::progress::Progress;

/// The models that one service may open, shared with everybody who opens the same files.
pub(crate) struct ServiceModels {
    granted: HashMap<String, Granted>,
    languages: HashMap<String, Arc<dyn LanguageModel>>,
    cache: Arc<ModelCache>,
    /// Keeps the files from being evicted: a model that was given up is opened again.
    _holds: Vec<Held>,
}

/// A model that was loaded once, and may have been given up since.
struct Granted {
    path: PathBuf,
    digest: Digest,
    bytes: u64,
    /// What ran it when the service was loaded: receipts say so, so nothing else may.
    abilities: Abilities,
}

impl ServiceModels {
    /// Fetches, checks and loads what the manifest names.
    ///
    /// # Errors
    /// [`ModelLoadError`] for the first model that cannot be had or is refused.
    pub(crate) async fn load(
        manifest: &Manifest,
        store: &Store,
        cache: &Arc<ModelCache>,
        known: &Languages,
        progress: &Progress,
    ) -> Result<Self, ModelLoadError> {
        let mut granted = HashMap::new();
        let mut languages = HashMap::new();
        let mut holds = Vec::new();
        for grant in manifest.models() {
            fetch(grant, store, progress).await?;
            let held = hold(grant, store).await?;
            let path = held.path().to_owned();
            holds.push(held);
            progress.say(&format!("loading model {}", grant.name));
            let language = known.load(&path, &grant.digest, grant.name.as_str());
            if let Some(model) = language.await? {
                languages.insert(grant.name.to_string(), model);
                continue;
            }
            let (name, digest, cache) = (grant.name.to_string(), grant.digest, Arc::clone(cache));
            let first = move || Granted::first(path, digest, &name, &cache);
            let loaded = tokio::task::spawn_blocking(first)
                .await
                .map_err(ModelLoadError::Task)??;
            granted.insert(grant.name.to_string(), loaded);
        }
        Ok(Self {
            granted,
            languages,
            cache: Arc::clone(cache),
            _holds: holds,
        })
    }

    /// What runs these models: the engines' names, and whether each promises equal bits.
    pub(crate) fn engines(&self) -> Vec<(String, bool)> {
        let languages = self.languages.values().map(|model| model.abilities());
        let graphs = self.granted.values().map(|granted| &granted.abilities);
        graphs
            .chain(languages)
            .map(|it| (it.engine.clone(), it.deterministic))
            .collect()
    }
}

impl Granted {
    fn first(
        path: PathBuf,
        digest: Digest,
        name: &str,
        cache: &ModelCache,
    ) -> Result<Self, ModelLoadError> {
        let read = |source| ModelLoadError::Read {
            name: name.to_owned(),
            source,
        };
        let bytes = std::fs::metadata(&path).map_err(read)?.len();
        let model = open(cache, &path, digest, name, bytes)?;
        Ok(Self {
            path,
            digest,
            bytes,
            abilities: model.abilities().clone(),
        })
    }

    /// This model, unless another engine than the first would run it.
    fn same(&self, name: &str, model: Arc<dyn Model>) -> Result<Arc<dyn Model>, OpenError> {
        let (now, first) = (model.abilities(), &self.abilities);
        if now == first {
            return Ok(model);
        }
        Err(OpenError::Engine(format!(
            "model `{name}` would run on {} instead of {}, which receipts name: restart the host",
            now.engine, first.engine
        )))
    }
}

impl Models for ServiceModels {
    fn open(&self, name: &str) -> Result<Arc<dyn Model>, OpenError> {
        let granted = self.granted.get(name);
        let granted = granted.ok_or_else(|| OpenError::Unknown(name.to_owned()))?;
        let model = open(
            &self.cache,
            &granted.path,
            granted.digest,
            name,
            granted.bytes,
        );
        match model {
            Ok(model) => granted.same(name, model),
            Err(error @ rialto_tensor::OpenError::Load(LoadError::EngineFull { .. })) => {
                Err(OpenError::OutOfBudget(error.to_string()))
            }
            Err(error) => Err(OpenError::Engine(crate::catalog::chain(&error))),
        }
    }

    fn loaded(&self, name: &str) -> Option<Arc<dyn Model>> {
        let granted = self.granted.get(name)?;
        let model = self.cache.loaded(granted.digest.as_bytes())?;
        granted.same(name, model).ok()
    }

    fn language(&self, name: &str) -> Option<Arc<dyn LanguageModel>> {
        self.languages.get(name).cloned()
    }
}

/// A model's file from the store, loaded once for all.
fn open(
    cache: &ModelCache,
    path: &Path,
    digest: Digest,
    name: &str,
    bytes: u64,
) -> Result<Arc<dyn Model>, rialto_tensor::OpenError> {
    let read = || std::fs::read(path).map(Bytes::from);
    cache.open(*digest.as_bytes(), name, bytes, read)
}

/// Holds a model that was fetched a moment ago in use.
async fn hold(grant: &ModelGrant, store: &Store) -> Result<Held, ModelLoadError> {
    let (store, digest, name) = (store.clone(), grant.digest, grant.name.to_string());
    let held = tokio::task::spawn_blocking(move || store.hold(&digest))
        .await
        .map_err(ModelLoadError::Task)?;
    match held {
        Ok(Some(held)) => Ok(held),
        Ok(None) => Err(ModelLoadError::Gone { name }),
        Err(error) => Err(ModelLoadError::Fetch {
            name,
            source: Box::new(error.into()),
        }),
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
    let report = artifacts::reported(progress);
    store
        .fetch_any(grant.source.as_slice(), None, &grant.digest, &report)
        .await
        .map_err(|source| ModelLoadError::Fetch {
            name: grant.name.to_string(),
            source: Box::new(source),
        })
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
        source: Box<rialto_artifacts::FetchError>,
    },
    /// Somebody removed it from the store as soon as it was there.
    #[error("model `{name}` is gone from the artifact store again; make room there and try again")]
    Gone {
        /// Which model.
        name: String,
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
    Engine(#[from] LoadError),
    /// The engine refuses it, or it cannot be read any more.
    #[error(transparent)]
    Open(#[from] rialto_tensor::OpenError),
    /// Loading it crashed.
    #[error("loading a model crashed")]
    Task(#[source] tokio::task::JoinError),
}
