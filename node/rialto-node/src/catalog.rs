//! The services of this node: read from a folder, checked, and called by name.
//!
//! A small host loads all of them before it is ready. A large one reads their manifests, and what their
//! components offer from its own cache; code comes into memory with the first call (`loader`). What this
//! host has never seen is looked at in the background and answers 503 until then.

mod loader;
mod stamps;
mod version;

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use alloy_primitives::Address;
use rialto_artifacts::Store;
use rialto_channels::royalty::Royalty;
use rialto_host::{Interface, LoadError};
use rialto_registry::{Digest, Manifest};

use crate::api::{CallError, Closed, ServiceView};
use crate::manifest::{ManifestFileError, read_manifest, service_spec};
use crate::models::{self, ModelLoadError};
use crate::progress::Progress;
pub(crate) use loader::{Code, Loader, Site};
use stamps::Stamps;
pub(crate) use version::{Version, Visit};

/// All services by name.
#[derive(Debug)]
pub(crate) struct Catalog {
    loader: Arc<Loader>,
    services: RwLock<BTreeMap<String, Arc<Service>>>,
    /// Those that were not looked at yet, the next first.
    unseen: Mutex<VecDeque<Arc<Service>>>,
    stamps_file: PathBuf,
    stamps: Mutex<Stamps>,
}

/// A name under which calls come in.
#[derive(Debug)]
pub(crate) struct Service {
    name: String,
    current: RwLock<Current>,
}

/// What runs under a name.
#[derive(Debug, Clone)]
enum Current {
    /// Its component has yet to be looked at.
    Unseen(Arc<Candidate>),
    Ready(Arc<Version>),
}

/// A service of which the manifest alone is known.
#[derive(Debug, Clone)]
struct Candidate {
    folder: PathBuf,
    manifest: Manifest,
}

impl Catalog {
    /// Reads every service below `folder`. One that cannot run is reported and left out: it must
    /// not take the others down.
    ///
    /// # Errors
    /// [`CatalogError`] when the folder cannot be read, holds no service, or none can run.
    pub(crate) async fn load(
        folder: &Path,
        site: Site,
        data_dir: &Path,
        progress: &Progress,
    ) -> Result<Self, CatalogError> {
        let stamps_file = data_dir.join("components.json");
        let catalog = Self {
            loader: Arc::new(Loader::new(site)),
            services: RwLock::default(),
            unseen: Mutex::default(),
            stamps: Mutex::new(Stamps::read(&stamps_file)),
            stamps_file,
        };
        let mut broken = Vec::new();
        let mut candidates: BTreeMap<String, Candidate> = BTreeMap::new();
        for folder in service_folders(folder)? {
            match read_manifest(&folder.join(MANIFEST)) {
                Ok(manifest) => {
                    let name = manifest.name().to_string();
                    if candidates.contains_key(&name) {
                        broken.push((folder, ServiceError::Duplicate { name }));
                    } else {
                        candidates.insert(name, Candidate { folder, manifest });
                    }
                }
                Err(error) => broken.push((folder, error.into())),
            }
        }
        let eager_max = catalog.loader.site.sandbox.loading.eager_max;
        let all = u32::try_from(candidates.len()).is_ok_and(|count| count <= eager_max);
        for (name, candidate) in candidates {
            let folder = candidate.folder.clone();
            match catalog.first(&name, candidate, all, progress).await {
                Ok(current) => catalog.put(name, current),
                Err(error) => broken.push((folder, error)),
            }
        }
        for (folder, error) in &broken {
            catalog.left_out(folder, error);
            let line = format!("left out {}: {}", folder.display(), chain(error));
            progress.say(&line);
        }
        catalog.stamps().write(&catalog.stamps_file);
        if !catalog.services().is_empty() {
            return Ok(catalog);
        }
        Err(match broken.into_iter().next() {
            Some((service, error)) => CatalogError::Service {
                service,
                error: Box::new(error),
            },
            None => CatalogError::Empty {
                folder: folder.to_owned(),
            },
        })
    }

    /// What runs under a name from the start.
    async fn first(
        &self,
        name: &str,
        candidate: Candidate,
        load_all: bool,
        progress: &Progress,
    ) -> Result<Current, ServiceError> {
        let loading = &self.loader.site.sandbox.loading;
        if load_all || loading.preload.contains(name) {
            return self.loaded(candidate, progress).await.map(Current::Ready);
        }
        let (loader, file) = (&self.loader, candidate.folder.join(COMPONENT));
        let spec = service_spec(&candidate.manifest, &loader.site.sandbox);
        let digest = self.stamps().digest(&file);
        let known = digest.and_then(|digest| loader.site.host.describe(digest, &spec));
        let Some(known) = known else {
            return Ok(Current::Unseen(Arc::new(candidate)));
        };
        check_prices(&candidate.manifest, known.interface())?;
        let Candidate { folder, manifest } = candidate;
        let version = Version::new(&loader.site, folder, manifest, known);
        Ok(Current::Ready(Arc::new(version)))
    }

    /// A version with its code and its models in memory.
    async fn loaded(
        &self,
        candidate: Candidate,
        progress: &Progress,
    ) -> Result<Arc<Version>, ServiceError> {
        let Candidate { folder, manifest } = candidate;
        let code = self.loader.compile(&folder, &manifest, progress).await?;
        let known = code.service.description().clone();
        self.stamp(&folder, known.component_sha256());
        let version = Version::new(&self.loader.site, folder, manifest, known);
        let version = Arc::new(version.with(code));
        self.loader.adopt(&version);
        Ok(version)
    }

    /// Looks at one service that was not looked at yet. False when there is none.
    pub(crate) async fn look_at_next(&self) -> bool {
        let Some(service) = self.unseen().pop_front() else {
            return false;
        };
        if let Current::Unseen(candidate) = service.current() {
            let Candidate { folder, manifest } = candidate.as_ref();
            match self.loader.vet(folder, manifest).await {
                Ok(known) => {
                    self.stamp(folder, known.component_sha256());
                    let site = &self.loader.site;
                    let version = Version::new(site, folder.clone(), manifest.clone(), known);
                    service.set(Current::Ready(Arc::new(version)));
                }
                Err(error) => {
                    self.left_out(folder, &error);
                    self.services_mut().remove(&service.name);
                }
            }
        }
        if self.unseen().is_empty() {
            self.stamps().write(&self.stamps_file);
        }
        true
    }

    /// The version of this name that new calls go to.
    ///
    /// # Errors
    /// [`CallError::UnknownService`], or [`CallError::NotServing`] while it has not been looked at.
    pub(crate) fn get(&self, name: &str) -> Result<Arc<Version>, CallError> {
        let service = self.services().get(name).cloned();
        let Some(service) = service else {
            return Err(CallError::UnknownService {
                name: name.chars().take(NAME_SHOWN_MAX).collect(),
                known: self.names(),
            });
        };
        match service.current() {
            Current::Ready(version) => Ok(version),
            Current::Unseen(_) => {
                self.hurry(&service);
                Err(CallError::NotServing {
                    service: name.to_owned(),
                    why: Closed::Preparing,
                    retry_after_seconds: version::RETRY_AFTER_SECONDS,
                })
            }
        }
    }

    /// A version's code, loaded if it has to be.
    ///
    /// # Errors
    /// As [`Version::code`].
    pub(crate) async fn code(&self, version: &Arc<Version>) -> Result<Arc<Code>, CallError> {
        version.code(&self.loader).await
    }

    /// The splitters that services with a royalty are paid through, each once.
    pub(crate) fn splitters(&self) -> BTreeMap<Address, Royalty> {
        let provider = self.loader.site.provider;
        let services = self.services();
        let royalties = services.values().filter_map(|service| {
            let royalty = match service.current() {
                Current::Ready(version) => version.view.manifest.royalty().copied(),
                Current::Unseen(candidate) => candidate.manifest.royalty().copied(),
            };
            royalty.map(|royalty| (royalty.receiver(provider), royalty))
        });
        royalties.collect()
    }

    /// All services as callers see them, by name; without those that were not looked at yet.
    pub(crate) fn views(&self) -> Vec<ServiceView> {
        self.services()
            .values()
            .filter_map(|it| it.view())
            .collect()
    }

    /// One service as callers see it.
    pub(crate) fn view(&self, name: &str) -> Option<ServiceView> {
        self.services().get(name)?.view()
    }

    /// Some of the names, for messages.
    fn names(&self) -> String {
        let services = self.services();
        let some: Vec<&str> = services
            .keys()
            .take(NAMES_SHOWN_MAX)
            .map(String::as_str)
            .collect();
        let more = services.len().saturating_sub(some.len());
        let names = some.join(", ");
        if more == 0 {
            names
        } else {
            format!("{names} and {more} more")
        }
    }

    fn put(&self, name: String, current: Current) {
        let is_unseen = matches!(current, Current::Unseen(_));
        let service = Arc::new(Service {
            name: name.clone(),
            current: RwLock::new(current),
        });
        if is_unseen {
            self.unseen().push_back(Arc::clone(&service));
        }
        self.services_mut().insert(name, service);
    }

    /// What somebody asks for is looked at next.
    fn hurry(&self, service: &Arc<Service>) {
        let mut unseen = self.unseen();
        let place = unseen.iter().position(|other| Arc::ptr_eq(other, service));
        if let Some(asked) = place.and_then(|place| unseen.remove(place)) {
            unseen.push_front(asked);
        }
    }

    fn left_out(&self, folder: &Path, error: &ServiceError) {
        tracing::warn!(folder = %folder.display(), error = %chain(error), "service left out");
    }

    fn stamp(&self, folder: &Path, digest: [u8; 32]) {
        self.stamps().keep(folder.join(COMPONENT), digest);
    }

    fn services(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<String, Arc<Service>>> {
        // No step under these locks leaves something half-changed.
        self.services.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn services_mut(&self) -> std::sync::RwLockWriteGuard<'_, BTreeMap<String, Arc<Service>>> {
        self.services
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn unseen(&self) -> MutexGuard<'_, VecDeque<Arc<Service>>> {
        self.unseen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stamps(&self) -> MutexGuard<'_, Stamps> {
        self.stamps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Service {
    fn current(&self) -> Current {
        let current = self.current.read();
        current.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, current: Current) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = current;
    }
}

impl Service {
    fn view(&self) -> Option<ServiceView> {
        let version = self.current().ready()?;
        Some(version.view(None))
    }
}

impl Current {
    fn ready(self) -> Option<Arc<Version>> {
        match self {
            Self::Ready(version) => Some(version),
            Self::Unseen(_) => None,
        }
    }
}

/// A price for a method that does not exist is a typing error that would give calls away.
fn check_prices(manifest: &Manifest, interface: &Interface) -> Result<(), ServiceError> {
    let methods = &interface.methods;
    for priced in manifest.prices().keys() {
        let snake = priced.to_snake_case();
        if !methods
            .iter()
            .any(|method| method.name == snake || method.name == priced.as_str())
        {
            let known = methods
                .iter()
                .map(|method| method.name.as_str())
                .collect::<Vec<_>>()
                .join(", ");
            return Err(ServiceError::UnknownPrice {
                method: priced.to_string(),
                known,
            });
        }
    }
    Ok(())
}

fn service_folders(folder: &Path) -> Result<Vec<PathBuf>, CatalogError> {
    let fail = |source| CatalogError::Folder {
        folder: folder.to_owned(),
        source,
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        if path.join(MANIFEST).is_file() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Fetches every model that the services below `folder` name into the store at `store`, and
/// returns each model's name and digest.
///
/// # Errors
/// [`FetchAllError`] for the first manifest or model that is no good.
pub async fn fetch_artifacts(
    folder: &Path,
    store: &Path,
    progress: &Progress,
) -> Result<Vec<(String, Digest)>, FetchAllError> {
    let store = Store::open(rialto_artifacts::Config::new(store))?;
    let mut fetched = Vec::new();
    for service in service_folders(folder)? {
        let manifest = read_manifest(&service.join(MANIFEST))?;
        for model in manifest.models() {
            models::fetch(model, &store, progress).await?;
            fetched.push((format!("{}/{}", manifest.name(), model.name), model.digest));
        }
    }
    Ok(fetched)
}

/// Why not all artifacts could be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchAllError {
    /// The services folder.
    #[error(transparent)]
    Folder(#[from] CatalogError),
    /// A manifest.
    #[error(transparent)]
    Manifest(#[from] ManifestFileError),
    /// A model.
    #[error(transparent)]
    Model(#[from] ModelLoadError),
    /// The store.
    #[error("the artifact store cannot be opened")]
    Store(#[from] rialto_artifacts::OpenError),
}

/// An error with all its causes, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}

/// Why no service runs.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The folder cannot be read.
    #[error("cannot read the services folder {}: pass one with --services", folder.display())]
    Folder {
        /// Which folder.
        folder: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The folder holds no service.
    #[error("no service in {}: each needs a folder with service.toml and component.wasm", folder.display())]
    Empty {
        /// Which folder.
        folder: PathBuf,
    },
    /// Not one service can run; this is the first one's reason.
    #[error("the service in {} cannot run", service.display())]
    Service {
        /// Which service.
        service: PathBuf,
        /// Why.
        #[source]
        error: Box<ServiceError>,
    },
}

/// Why one service cannot run. Its author acts.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// Its manifest is no good.
    #[error(transparent)]
    Manifest(#[from] ManifestFileError),
    /// Its component cannot be read.
    #[error("cannot read {}", file.display())]
    Component {
        /// Which file.
        file: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A model is missing or refused.
    #[error(transparent)]
    Model(#[from] Box<ModelLoadError>),
    /// The host refuses the component.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Its component was replaced while the node ran.
    #[error(
        "the component in {} is not the one that was checked at the start: put it back, or run `rialto deploy` with the new one", folder.display()
    )]
    Changed {
        /// Where it is.
        folder: PathBuf,
    },
    /// The node stops.
    #[error("the node is stopping")]
    Stopping,
    /// Compiling it crashed.
    #[error("compiling the component crashed")]
    Task(#[source] tokio::task::JoinError),
    /// A price names no method.
    #[error("[prices.{method}] names no method of the component; it has: {known}")]
    UnknownPrice {
        /// What the manifest prices.
        method: String,
        /// What there is.
        known: String,
    },
    /// Two services have one name.
    #[error("two services are named `{name}`")]
    Duplicate {
        /// The name.
        name: String,
    },
}

const MANIFEST: &str = "service.toml";
const COMPONENT: &str = "component.wasm";
/// Of a name that somebody made up.
const NAME_SHOWN_MAX: usize = 64;
const NAMES_SHOWN_MAX: usize = 32;
