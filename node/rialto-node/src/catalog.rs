//! The services of this node: read from a folder, checked, and called by name.
//!
//! A small host loads all of them before it is ready. A large one reads their manifests, and what their
//! components offer from its own cache; code comes into memory with the first call (`loader`). What this
//! host has never seen is looked at in the background and answers 503 until then.

mod change;
mod error;
mod inspect;
mod kept;
mod loader;
mod service;
mod stamps;
mod version;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use alloy_primitives::Address;
use rialto_artifacts::Store;
use rialto_channels::royalty::Royalty;
use rialto_host::Interface;
use rialto_registry::{Digest, Manifest};

use crate::api::{CallError, Closed, ServiceView};
use crate::artifacts;
use crate::manifest::{ManifestFileError, read_manifest};
use crate::models;
use crate::progress::Progress;
pub use change::{ChangeError, Changed};
pub(crate) use error::chain;
pub use error::{CatalogError, FetchAllError, ServiceError};
pub(crate) use inspect::Inspected;
use kept::Kept;
pub(crate) use loader::{Code, Loader, Site};
use service::{Current, Service};
pub use service::{ServiceStanding, Standing};
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
    /// Deployed versions, on disk.
    kept: Arc<Kept>,
    /// Held while one change is made.
    changing: tokio::sync::Mutex<()>,
    /// Where the services folder has each service.
    bases: Mutex<BTreeMap<String, PathBuf>>,
    /// The splitters of all versions that run or ran.
    splitters: Mutex<BTreeMap<Address, Royalty>>,
    /// What cannot run, and why.
    left_out: Mutex<BTreeMap<PathBuf, String>>,
    /// Whether the whole host takes no new calls.
    is_drained: AtomicBool,
}

/// A service of which the manifest alone is known.
#[derive(Debug, Clone)]
struct Candidate {
    folder: PathBuf,
    manifest: Manifest,
    /// What a deployed version is called.
    id: Option<String>,
}

impl Catalog {
    /// Where artifacts are kept.
    pub(crate) fn store(&self) -> &Store {
        &self.loader.site.store
    }

    /// The models of all services that run, and of all versions that one can go back to. Blocks.
    ///
    /// # Errors
    /// [`ManifestFileError`] for a version that is kept and cannot be read.
    pub(crate) fn kept_models(&self) -> Result<BTreeSet<Digest>, ManifestFileError> {
        let mut models = self.kept.models()?;
        for service in self.services().values() {
            let current = service.current();
            let own = current.manifest().models().iter();
            models.extend(own.map(|model| model.digest));
        }
        Ok(models)
    }

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
            kept: Arc::new(Kept::open(data_dir)?),
            changing: tokio::sync::Mutex::default(),
            bases: Mutex::default(),
            splitters: Mutex::default(),
            left_out: Mutex::default(),
            is_drained: AtomicBool::new(false),
        };
        let mut broken = Vec::new();
        let found = catalog.read_folder(folder, &mut broken)?;
        let mut candidates = BTreeMap::new();
        for (name, chosen) in catalog.chosen(found, progress) {
            match chosen {
                Ok(candidate) => drop(candidates.insert(name, candidate)),
                Err(error) => broken.push(error),
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
            catalog.leave_out(folder, error);
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

    /// The services of the services folder, by name.
    fn read_folder(
        &self,
        folder: &Path,
        broken: &mut Vec<(PathBuf, ServiceError)>,
    ) -> Result<BTreeMap<String, Candidate>, CatalogError> {
        let mut found: BTreeMap<String, Candidate> = BTreeMap::new();
        for folder in service_folders(folder)? {
            match read_manifest(&folder.join(MANIFEST)) {
                Ok(manifest) => {
                    let name = manifest.name().to_string();
                    if found.contains_key(&name) {
                        broken.push((folder, ServiceError::Duplicate { name }));
                        continue;
                    }
                    self.bases().insert(name.clone(), folder.clone());
                    let id = None;
                    let candidate = Candidate {
                        folder,
                        manifest,
                        id,
                    };
                    found.insert(name, candidate);
                }
                Err(error) => broken.push((folder, error.into())),
            }
        }
        Ok(found)
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
        let spec = loader.site.spec(&candidate.manifest)?;
        let digest = self.stamps().digest(&file);
        let known = digest.and_then(|digest| loader.site.host.describe(digest, &spec));
        let Some(known) = known else {
            return Ok(Current::Unseen(Arc::new(candidate)));
        };
        check_prices(&candidate.manifest, known.interface())?;
        let version = Version::new(&loader.site, candidate, known);
        Ok(Current::Ready(Arc::new(version)))
    }

    /// A version with its code and its models in memory.
    async fn loaded(
        &self,
        candidate: Candidate,
        progress: &Progress,
    ) -> Result<Arc<Version>, ServiceError> {
        let (folder, manifest) = (&candidate.folder, &candidate.manifest);
        let code = self.loader.compile(folder, manifest, progress).await?;
        let known = code.service.description().clone();
        self.stamp(folder, known.component_sha256());
        let version = Version::new(&self.loader.site, candidate, known);
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
            let (folder, manifest) = (&candidate.folder, &candidate.manifest);
            match self.loader.vet(folder, manifest).await {
                Ok(known) => {
                    self.stamp(folder, known.component_sha256());
                    let seen = Candidate::clone(&candidate);
                    let version = Version::new(&self.loader.site, seen, known);
                    service.seen(&candidate, Arc::new(version));
                }
                Err(error) => {
                    self.leave_out(folder, &error);
                    let mut services = self.services_mut();
                    if service.is_still(&candidate) {
                        services.remove(service.name());
                    }
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

    /// The version that new calls go to, if the service takes any.
    ///
    /// # Errors
    /// As [`get`](Self::get), and [`CallError::NotServing`] if it takes none.
    pub(crate) fn open(&self, name: &str) -> Result<Arc<Version>, CallError> {
        let version = self.get(name)?;
        let service = self.services().get(name).cloned();
        if service.is_some_and(|service| self.is_drained(&service)) {
            return Err(CallError::NotServing {
                service: name.to_owned(),
                why: Closed::Drained,
                retry_after_seconds: DRAINED_RETRY_AFTER_SECONDS,
            });
        }
        match version.shut_for() {
            None => Ok(version),
            Some(left) => Err(version.quarantined(left)),
        }
    }

    fn is_drained(&self, service: &Service) -> bool {
        self.is_drained.load(Ordering::Acquire) || service.is_drained()
    }

    fn closed(&self, service: &Service) -> Option<Closed> {
        if self.is_drained(service) {
            return Some(Closed::Drained);
        }
        let version = service.current().ready()?;
        version.is_quarantined().then_some(Closed::Quarantined)
    }

    /// Lets no new calls of any service in, or lets them in again. Calls that still run.
    pub(crate) fn drain_all(&self, is_drained: bool) -> u32 {
        self.is_drained.store(is_drained, Ordering::Release);
        self.running(None)
    }

    /// Calls that run or wait to: of one service, or of all.
    pub(crate) fn running(&self, service: Option<&str>) -> u32 {
        let services = self.services();
        let meant = services
            .values()
            .filter(|known| service.is_none_or(|it| known.name() == it));
        let running = meant.map(|service| service.running());
        running.fold(0, u32::saturating_add)
    }

    /// The splitters that services with a royalty are or were paid through, each once.
    pub(crate) fn splitters(&self) -> BTreeMap<Address, Royalty> {
        self.splitters
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn promise(&self, manifest: &Manifest) {
        if let Some(royalty) = manifest.royalty() {
            self.promise_royalty(*royalty);
        }
    }

    fn promise_royalty(&self, royalty: Royalty) {
        let splitter = royalty.receiver(self.loader.site.provider);
        let splitters = self.splitters.lock();
        splitters
            .unwrap_or_else(PoisonError::into_inner)
            .insert(splitter, royalty);
    }

    /// All services as callers see them, by name; without those that were not looked at yet.
    pub(crate) fn views(&self) -> Vec<ServiceView> {
        let services = self.services();
        let views = services.values().filter_map(|it| it.view(self.closed(it)));
        views.collect()
    }

    /// One service as callers see it.
    pub(crate) fn view(&self, name: &str) -> Option<ServiceView> {
        let service = self.services().get(name).cloned()?;
        service.view(self.closed(&service))
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

    /// What the operator sees: every service with its versions, and what was left out.
    pub(crate) fn standing(&self) -> Standing {
        let records = self.kept.records();
        let services = self.services();
        let services = services.iter().map(|(name, service)| {
            let kept = records.get(name).map(|record| record.kept.clone());
            // Without a record nothing is kept.
            service.standing(self.closed(service), kept.unwrap_or_default())
        });
        let left_out = self.left_out.lock().unwrap_or_else(PoisonError::into_inner);
        let removed = records.values().filter(|record| record.is_removed);
        Standing {
            services: services.collect(),
            removed: removed
                .map(|it| (it.service.clone(), it.kept.clone()))
                .collect(),
            left_out: left_out.clone(),
        }
    }

    fn put(&self, name: String, current: Current) {
        let is_unseen = matches!(current, Current::Unseen(_));
        self.promise(current.manifest());
        let is_drained = self.kept.record(&name).is_drained;
        let service = Arc::new(Service::new(name.clone(), current, is_drained));
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

    fn leave_out(&self, folder: &Path, error: &ServiceError) {
        let why = chain(error);
        tracing::warn!(folder = %folder.display(), error = %why, "service left out");
        let left_out = self.left_out.lock();
        let mut left_out = left_out.unwrap_or_else(PoisonError::into_inner);
        left_out.insert(folder.to_owned(), why);
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
    let store = Store::open(artifacts::settings(store))?;
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

const MANIFEST: &str = "service.toml";
const COMPONENT: &str = "component.wasm";
/// Of a name that somebody made up.
const NAME_SHOWN_MAX: usize = 64;
const NAMES_SHOWN_MAX: usize = 32;
/// The operator ends it by hand.
const DRAINED_RETRY_AFTER_SECONDS: u64 = 30;
