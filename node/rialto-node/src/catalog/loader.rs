//! Brings services' code into memory and lets it go again.
//!
//! So many at the same time as the operator says; beyond the memory for it the longest unused goes first.
//! Which those are is `rialto_scheduler::surplus`'s to say.

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use alloy_primitives::Address;
use rialto_artifacts::Store;
use rialto_host::{Description, Host, NoModels, ServiceSpec};
use rialto_registry::{Digest, Manifest};
use rialto_scheduler::{Resident, surplus};
use rialto_tensor::ModelCache;
use tokio::sync::{Semaphore, watch};

use super::version::Version;
use super::{ServiceError, check_prices};
use crate::config::Sandbox;
use crate::languages::Languages;
use crate::manifest::service_spec;
use crate::meters::Meters;
use crate::models::{ModelLoadError, ServiceModels};
use crate::progress::Progress;
use crate::settings::{SettingsError, settings};

/// What every service of a node has in common.
#[derive(Clone)]
pub(crate) struct Site {
    pub(crate) host: Host,
    pub(crate) store: Store,
    pub(crate) models: Arc<ModelCache>,
    pub(crate) languages: Arc<Languages>,
    pub(crate) sandbox: Sandbox,
    /// Whether every service's calls are deterministic.
    pub(crate) deterministic: bool,
    pub(crate) provider: Address,
    pub(crate) chain_id: u64,
    pub(crate) token: Address,
    pub(crate) meters: Arc<Meters>,
}

impl Site {
    /// What the host must know of a service, secrets included.
    ///
    /// # Errors
    /// [`SettingsError`], the operator's to solve.
    pub(super) fn spec(&self, manifest: &Manifest) -> Result<ServiceSpec, SettingsError> {
        let given = self.sandbox.settings.get(manifest.name().as_str());
        let settings = settings(manifest, given)?;
        let seeded = self.deterministic || manifest.deterministic();
        Ok(service_spec(manifest, &self.sandbox, settings, seeded))
    }
}

/// A service's code with its models, and what receipts say of it.
#[derive(Debug)]
pub(crate) struct Code {
    pub(crate) service: rialto_host::Service,
    /// The engine's name for receipts.
    pub(crate) engine: String,
    /// Whether equal requests give equal answers: engines give equal bits, and nothing else that the guest
    /// can ask varies.
    pub(crate) deterministic: bool,
}

/// Loads code for calls.
pub(crate) struct Loader {
    pub(super) site: Site,
    at_once: Semaphore,
    /// Grows with every use of a service.
    uses: AtomicU64,
    /// Those whose code may be in memory.
    loaded: Mutex<Vec<Weak<Version>>>,
}

impl Loader {
    pub(super) fn new(site: Site) -> Self {
        let at_once = usize::try_from(site.sandbox.loading.at_once);
        Self {
            at_once: Semaphore::new(at_once.unwrap_or(1).clamp(1, Semaphore::MAX_PERMITS)),
            site,
            uses: AtomicU64::new(0),
            loaded: Mutex::default(),
        }
    }

    /// How long a call waits for code.
    pub(super) fn wait_max(&self) -> Duration {
        self.site.sandbox.loading.wait_max
    }

    /// The next count of uses.
    pub(super) fn tick(&self) -> u64 {
        self.uses.fetch_add(1, Ordering::Relaxed)
    }

    /// Loads a version's code; `_over` tells those who wait, when it is dropped.
    pub(super) async fn load(self: Arc<Self>, version: Arc<Version>, _over: watch::Sender<()>) {
        let Ok(_place) = self.at_once.acquire().await else {
            return;
        };
        let silent = Progress::silent();
        let manifest = &version.view.manifest;
        let mut code = self.compile(&version.folder, manifest, &silent).await;
        if code.as_ref().is_err_and(is_full) {
            // Others' models are in the way, which nobody may be using.
            self.keep_within(0, 0);
            code = self.compile(&version.folder, manifest, &silent).await;
        }
        let code = code.and_then(|code| {
            let loaded = code.service.description().component_sha256();
            let is_same = version.host.component_sha256() == loaded;
            is_same
                .then_some(code)
                .ok_or_else(|| ServiceError::Changed {
                    folder: version.folder.clone(),
                })
        });
        version.settle(code, self.tick());
        self.adopt(&version);
    }

    /// Counts a version whose code is in memory, and puts others aside if there are too many.
    pub(super) fn adopt(&self, version: &Arc<Version>) {
        {
            let mut loaded = self.loaded();
            loaded.retain(|other| {
                other.strong_count() > 0 && !std::ptr::eq(other.as_ptr(), Arc::as_ptr(version))
            });
            loaded.push(Arc::downgrade(version));
        }
        let loading = &self.site.sandbox.loading;
        let count_max = usize::try_from(loading.services_max).unwrap_or(usize::MAX);
        self.keep_within(loading.bytes_max, count_max);
    }

    /// Compiles a component (or takes it from the cache) and loads its models.
    pub(super) async fn compile(
        &self,
        folder: &Path,
        manifest: &Manifest,
        progress: &Progress,
    ) -> Result<Code, ServiceError> {
        let site = &self.site;
        let models = ServiceModels::load(
            manifest,
            &site.store,
            &site.models,
            &site.languages,
            progress,
        )
        .await
        .map_err(Box::new)?;
        progress.say(&format!(
            "compiling {} {}",
            manifest.name(),
            manifest.version()
        ));
        let spec = site.spec(manifest)?;
        let engines = models.engines();
        let (host, folder) = (site.host.clone(), folder.to_owned());
        let load = move || {
            let component = read_component(&folder)?;
            Ok::<_, ServiceError>(host.load(&component, spec, Arc::new(models))?)
        };
        let service = tokio::task::spawn_blocking(load)
            .await
            .map_err(ServiceError::Task)??;
        check_prices(manifest, service.interface())?;
        let (engine, equal_bits) = engine(engines, &service);
        // Others do not know what the operator has set.
        let is_told = site.sandbox.settings.contains_key(manifest.name().as_str());
        let deterministic = equal_bits && service.is_steady() && !is_told;
        Ok(Code {
            engine: engine.unwrap_or_else(|| site.host.engine_name().to_owned()),
            deterministic,
            service,
        })
    }

    /// What a component offers, without its models; from the cache if this host has seen it before.
    pub(super) async fn vet(
        &self,
        folder: &Path,
        manifest: &Manifest,
    ) -> Result<Description, ServiceError> {
        let Ok(_place) = self.at_once.acquire().await else {
            return Err(ServiceError::Stopping);
        };
        let spec = self.site.spec(manifest)?;
        let (host, folder) = (self.site.host.clone(), folder.to_owned());
        let look = move || {
            let component = read_component(&folder)?;
            let digest = *Digest::of(&component).as_bytes();
            if let Some(known) = host.describe(digest, &spec) {
                return Ok(known);
            }
            let service = host.load(&component, spec, Arc::new(NoModels))?;
            Ok::<_, ServiceError>(service.description().clone())
        };
        let known = tokio::task::spawn_blocking(look)
            .await
            .map_err(ServiceError::Task)??;
        check_prices(manifest, known.interface())?;
        Ok(known)
    }

    /// Lets code go until the rest fits, the longest unused first; what calls use stays.
    fn keep_within(&self, bytes_max: u64, count_max: usize) {
        let versions: Vec<Arc<Version>> = self.loaded().iter().filter_map(Weak::upgrade).collect();
        let loaded: Vec<(&Arc<Version>, Resident)> = versions
            .iter()
            .filter_map(|version| {
                let resident = Resident {
                    bytes: version.loaded_bytes()?,
                    used: version.used(),
                    may_go: version.running() == 0 && !version.is_pinned,
                };
                Some((version, resident))
            })
            .collect();
        let residents: Vec<Resident> = loaded.iter().map(|(_, resident)| *resident).collect();
        for place in surplus(&residents, bytes_max, count_max) {
            if let Some((version, _)) = loaded.get(place) {
                version.cool();
            }
        }
    }

    fn loaded(&self) -> MutexGuard<'_, Vec<Weak<Version>>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Loader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loader").finish_non_exhaustive()
    }
}

fn read_component(folder: &Path) -> Result<Vec<u8>, ServiceError> {
    let file = folder.join(super::COMPONENT);
    std::fs::read(&file).map_err(|source| ServiceError::Component { file, source })
}

/// Whether a service could not be loaded for want of memory for its models alone.
fn is_full(error: &ServiceError) -> bool {
    use rialto_compute::LoadError::EngineFull;
    let ServiceError::Model(error) = error else {
        return false;
    };
    matches!(
        **error,
        ModelLoadError::Engine(EngineFull { .. })
            | ModelLoadError::Open(rialto_tensor::OpenError::Load(EngineFull { .. }))
    )
}

/// What computes for a service, for receipts: what runs its models and its tensor operations, and whether
/// all of it promises equal bits. A service with neither computes in the guest alone.
fn engine(
    mut engines: Vec<(String, bool)>,
    service: &rialto_host::Service,
) -> (Option<String>, bool) {
    let computers = service.computers().into_iter();
    engines.extend(computers.map(|it| (it.fingerprint.clone(), it.deterministic)));
    let deterministic = engines.iter().all(|(_, equal_bits)| *equal_bits);
    let mut names: Vec<String> = engines.into_iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    names.dedup();
    let name = (!names.is_empty()).then(|| names.join(" + "));
    (name, deterministic)
}
