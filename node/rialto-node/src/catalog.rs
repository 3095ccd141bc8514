//! The services of this node: read from a folder, checked, compiled and ready to call.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use alloy_primitives::{Address, B256};
use rialto_artifacts::Store;
use rialto_channels::payee::Reject;
use rialto_channels::receipt::Usage;
use rialto_channels::royalty::Royalty;
use rialto_channels::{Amount, ChannelConfig};
use rialto_host::{Host, LoadError};
use rialto_registry::{Digest, Manifest, MethodName};
use rialto_tensor::ModelCache;

use crate::api::{CallError, PaymentError, ServiceView};
use crate::config::Sandbox;
use crate::languages::Languages;
use crate::manifest::{ManifestFileError, read_manifest, service_spec};
use crate::models::{self, ModelLoadError, ServiceModels};
use crate::progress::Progress;
use crate::reject::refused;

/// A service that can be called.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) view: ServiceView,
    pub(crate) host: rialto_host::Service,
    /// SHA-256 of each model, in the manifest's order.
    pub(crate) models: Vec<B256>,
    /// The engine's name for receipts.
    pub(crate) engine: String,
    /// Whether equal inputs give equal bits here.
    pub(crate) deterministic: bool,
    pub(crate) provider: Address,
    /// Who is paid by channels: the provider, or the splitter of its royalty.
    pub(crate) receiver: Address,
    pub(crate) chain_id: u64,
    pub(crate) token: Address,
}

impl Loaded {
    /// A channel for another service of this node pays other people.
    ///
    /// # Errors
    /// [`PaymentError::Invalid`] with the code of a wrong receiver.
    pub(crate) fn check_receiver(&self, config: &ChannelConfig) -> Result<(), PaymentError> {
        if config.receiver == self.receiver {
            Ok(())
        } else {
            Err(refused(&Reject::WrongReceiver))
        }
    }

    /// The most that a call with a body of `body_bytes` costs: the ceiling quoted before it.
    ///
    /// # Errors
    /// [`CallError::UnknownMethod`], or [`CallError::Arguments`] when a body is too large to price.
    pub(crate) fn price(&self, method: &str, body_bytes: u64) -> Result<Amount, CallError> {
        let unknown = || CallError::UnknownMethod {
            service: self.view.manifest.name().to_string(),
            name: method.to_owned(),
            known: self.method_names().join(", "),
        };
        let wanted: MethodName = method.replace('_', "-").parse().map_err(|_| unknown())?;
        if !self.has(&wanted) {
            return Err(unknown());
        }
        let Some(price) = self.view.manifest.price(&wanted) else {
            return Ok(Amount::ZERO);
        };
        let limits = self.view.manifest.limits();
        price.ceiling(body_bytes, &limits.bounds()).map_err(|_| {
            let bytes_max = limits.input_bytes_max;
            CallError::Arguments(rialto_host::ArgumentError::TooLarge {
                bytes: body_bytes,
                bytes_max,
            })
        })
    }

    /// The charge for a call that used so much, by the meter and at most the quoted ceiling.
    pub(crate) fn charge(&self, method: &str, usage: &Usage, ceiling: Amount) -> Amount {
        let name: Result<MethodName, _> = method.replace('_', "-").parse();
        let price = name
            .ok()
            .and_then(|name| self.view.manifest.price(&name).copied());
        price.map_or(Amount::ZERO, |price| price.charge(usage, ceiling))
    }

    fn has(&self, method: &MethodName) -> bool {
        let snake = method.to_snake_case();
        self.view
            .interface
            .methods
            .iter()
            .any(|known| known.name == snake || known.name == method.as_str())
    }

    fn method_names(&self) -> Vec<String> {
        self.view
            .interface
            .methods
            .iter()
            .map(|method| method.name.clone())
            .collect()
    }
}

/// All services by name.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    services: BTreeMap<String, Arc<Loaded>>,
}

/// What every service of a node has in common.
pub(crate) struct Site<'a> {
    pub(crate) host: &'a Host,
    pub(crate) store: &'a Store,
    pub(crate) models: &'a Arc<ModelCache>,
    pub(crate) languages: &'a Languages,
    pub(crate) sandbox: &'a Sandbox,
    pub(crate) provider: Address,
    pub(crate) chain_id: u64,
    pub(crate) token: Address,
    pub(crate) progress: &'a Progress,
}

impl Catalog {
    /// Loads every service below `folder`. One that cannot run is reported and left out: it must
    /// not take the others down.
    ///
    /// # Errors
    /// [`CatalogError`] when the folder cannot be read, holds no service, or none can run.
    pub(crate) async fn load(folder: &Path, site: &Site<'_>) -> Result<Self, CatalogError> {
        let mut catalog = Self::default();
        let mut broken = Vec::new();
        for service in service_folders(folder)? {
            match load_one(&service, site).await {
                Ok(loaded) => catalog.insert(loaded, &mut broken),
                Err(error) => broken.push((service, error)),
            }
        }
        for (service, error) in &broken {
            tracing::warn!(folder = %service.display(), error = %chain(error), "service left out");
            site.progress
                .say(&format!("left out {}: {}", service.display(), chain(error)));
        }
        if !catalog.services.is_empty() {
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

    /// The service of this name.
    pub(crate) fn get(&self, name: &str) -> Option<&Arc<Loaded>> {
        self.services.get(name)
    }

    /// The splitters that services with a royalty are paid through, each once.
    pub(crate) fn splitters(&self) -> BTreeMap<Address, Royalty> {
        let shared = |loaded: &&Arc<Loaded>| loaded.receiver != loaded.provider;
        let services = self.all().filter(shared);
        services
            .filter_map(|loaded| Some((loaded.receiver, *loaded.view.manifest.royalty()?)))
            .collect()
    }

    /// All services by name.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Loaded>> {
        self.services.values()
    }

    fn insert(&mut self, loaded: Loaded, broken: &mut Vec<(PathBuf, ServiceError)>) {
        let name = loaded.view.manifest.name().to_string();
        match self.services.entry(name) {
            Entry::Vacant(place) => {
                place.insert(Arc::new(loaded));
            }
            Entry::Occupied(place) => {
                let name = place.key().clone();
                broken.push((PathBuf::from(&name), ServiceError::Duplicate { name }));
            }
        }
    }
}

async fn load_one(folder: &Path, site: &Site<'_>) -> Result<Loaded, ServiceError> {
    let manifest = read_manifest(&folder.join("service.toml"))?;
    let file = folder.join("component.wasm");
    let component =
        std::fs::read(&file).map_err(|source| ServiceError::Component { file, source })?;
    let models = ServiceModels::load(
        &manifest,
        site.store,
        site.models,
        site.languages,
        site.progress,
    )
    .await
    .map_err(Box::new)?;
    site.progress.say(&format!(
        "compiling {} {}",
        manifest.name(),
        manifest.version()
    ));
    let spec = service_spec(&manifest, site.sandbox);
    let engines = models.engines();
    let digest = Digest::of(&component).into();
    let host = site.host.clone();
    let load = move || host.load(&component, spec, Arc::new(models));
    let service = tokio::task::spawn_blocking(load)
        .await
        .map_err(ServiceError::Task)??;
    check_prices(&manifest, &service)?;
    let (engine, deterministic) = engine(engines, &service);
    let digests = manifest
        .models()
        .iter()
        .map(|model| B256::from(model.digest))
        .collect();
    let royalty = manifest.royalty();
    let receiver = royalty.map_or(site.provider, |royalty| royalty.receiver(site.provider));
    Ok(Loaded {
        view: ServiceView {
            interface: Arc::new(service.interface().clone()),
            component: digest,
            limits: site.sandbox.limits_of(&manifest),
            manifest: Arc::new(manifest),
        },
        host: service,
        models: digests,
        engine: engine.unwrap_or_else(|| site.host.engine_name().to_owned()),
        deterministic,
        receiver,
        provider: site.provider,
        chain_id: site.chain_id,
        token: site.token,
    })
}

/// What computes for a service, for receipts: what runs its models and its tensor operations, and whether
/// all of it promises equal bits. A service with neither computes in the guest alone.
fn engine(
    mut engines: Vec<(String, bool)>,
    service: &rialto_host::Service,
) -> (Option<String>, bool) {
    let computers = service.computers().into_iter();
    engines.extend(computers.map(|it| (it.fingerprint.clone(), it.deterministic)));
    let deterministic = !engines.is_empty() && engines.iter().all(|(_, equal_bits)| *equal_bits);
    let mut names: Vec<String> = engines.into_iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    names.dedup();
    let name = (!names.is_empty()).then(|| names.join(" + "));
    (name, deterministic)
}

/// A price for a method that does not exist is a typing error that would give calls away.
fn check_prices(manifest: &Manifest, service: &rialto_host::Service) -> Result<(), ServiceError> {
    let methods = &service.interface().methods;
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
        if path.join("service.toml").is_file() {
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
        let manifest = read_manifest(&service.join("service.toml"))?;
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
