//! Changes of a running catalog: a version comes, another comes back, a service goes.
//!
//! One change at a time. What comes is loaded and checked beside what runs; only when it can run is the
//! record written, and then new calls go to it. Calls that began end where they began.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, MutexGuard, PoisonError};

use rialto_registry::Manifest;

use super::kept::{Choice, Record, Unclear, id_of};
use super::{COMPONENT, Candidate, Catalog, Current, MANIFEST, Service, ServiceError, Version};
use crate::manifest::read_manifest;
use crate::progress::Progress;
use crate::shelf::PendingError;

/// A version that new calls go to since now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// The service.
    pub service: String,
    /// The version: its number and the first digits of a digest over manifest and component.
    pub version: String,
    /// What ran before; none for a service that is new here.
    pub before: Option<String>,
    /// Calls that still run on it.
    pub ending: u32,
}

/// Why a service stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The folder cannot be read.
    #[error("cannot read {}: deploy a folder with {MANIFEST} and {COMPONENT}", file.display())]
    Read {
        /// Which file.
        file: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// What was deployed cannot run; what ran before runs on.
    #[error(
        "{service} {version} cannot run here, so nothing was changed: mend this and deploy it again"
    )]
    CannotRun {
        /// Which service.
        service: String,
        /// Which version.
        version: String,
        /// Why.
        #[source]
        source: Box<ServiceError>,
    },
    /// Its manifest is no good.
    #[error("nothing was changed")]
    Manifest(#[source] Box<ServiceError>),
    /// The version cannot be kept.
    #[error(
        "{service} cannot be kept in the data folder, so nothing was changed: is the disk full?"
    )]
    Keep {
        /// Which service.
        service: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The record cannot be kept.
    #[error("nothing was changed")]
    Record(#[from] PendingError),
    /// No such service.
    #[error("no service is named `{service}`: `rialto services --versions` lists them")]
    UnknownService {
        /// What was asked for.
        service: String,
    },
    /// No such version.
    #[error("{service} has no version `{version}`; kept are: {kept}")]
    UnknownVersion {
        /// Which service.
        service: String,
        /// What was asked for.
        version: String,
        /// What there is.
        kept: String,
    },
    /// No other version.
    #[error("{service} has no earlier version here: only deployed versions are kept")]
    NoneBefore {
        /// Which service.
        service: String,
    },
    /// A task crashed.
    #[error("the change crashed")]
    Task(#[from] tokio::task::JoinError),
}

/// A version's files, read once: what is checked is what is kept.
pub(super) struct Parcel {
    pub(super) manifest: Manifest,
    pub(super) id: String,
    pub(super) text: Vec<u8>,
    pub(super) component: Vec<u8>,
}

impl Catalog {
    /// Takes a version in from a folder, and lets new calls go to it.
    ///
    /// # Errors
    /// [`ChangeError`]; then everything is as it was.
    pub(crate) async fn deploy(&self, folder: &Path) -> Result<(Changed, Manifest), ChangeError> {
        let _alone = self.changing.lock().await;
        let parcel = Parcel::read(folder.to_owned()).await?;
        let service = parcel.manifest.name().to_string();
        let id = parcel.id.clone();
        let mut record = self.kept.record(&service);
        let was_kept = record.kept.contains(&id);
        let target = self.add(&service, parcel).await?;
        let version = match self.come(&service, &target, &id).await {
            Ok(version) => version,
            Err(error) => {
                if !was_kept {
                    self.kept.remove(&service, &id);
                }
                return Err(error);
            }
        };
        self.keep_what_runs(&service, &mut record).await;
        let manifest = Manifest::clone(&version.view.manifest);
        let changed = self.go(record, version, &id)?;
        Ok((changed, manifest))
    }

    /// Lets new calls go to a version that ran before.
    ///
    /// # Errors
    /// [`ChangeError`]; then everything is as it was.
    pub(crate) async fn roll_back(
        &self,
        service: &str,
        wanted: Option<&str>,
    ) -> Result<(Changed, Manifest), ChangeError> {
        let _alone = self.changing.lock().await;
        let mut record = self.kept.record(service);
        let is_known = self.services().contains_key(service) || !record.kept.is_empty();
        if !is_known {
            let service = service.to_owned();
            return Err(ChangeError::UnknownService { service });
        }
        let id = record
            .find(wanted)
            .map_err(|unclear| match (unclear, wanted) {
                (Unclear::None, _) | (_, None) => ChangeError::NoneBefore {
                    service: service.to_owned(),
                },
                (Unclear::Several | Unclear::Unknown, Some(wanted)) => {
                    ChangeError::UnknownVersion {
                        service: service.to_owned(),
                        version: wanted.to_owned(),
                        kept: record.kept.join(", "),
                    }
                }
            })?;
        let target = self.kept.folder(service, &id);
        let version = self.come(service, &target, &id).await?;
        self.keep_what_runs(service, &mut record).await;
        let manifest = Manifest::clone(&version.view.manifest);
        let changed = self.go(record, version, &id)?;
        Ok((changed, manifest))
    }

    /// Takes a service off this host. Its versions are kept: rolling back brings it back.
    ///
    /// # Errors
    /// [`ChangeError`]; then everything is as it was.
    pub(crate) async fn remove(&self, service: &str) -> Result<u32, ChangeError> {
        let _alone = self.changing.lock().await;
        let Some(known) = self.services().get(service).cloned() else {
            let service = service.to_owned();
            return Err(ChangeError::UnknownService { service });
        };
        let mut record = self.kept.record(service);
        self.keep_what_runs(service, &mut record).await;
        record.is_removed = true;
        self.kept.keep(record)?;
        self.services_mut().remove(service);
        Ok(known
            .current()
            .ready()
            .map_or(0, |version| version.running()))
    }

    /// Lets no new calls in, or lets them in again. Calls that still run.
    ///
    /// # Errors
    /// [`ChangeError`]; then everything is as it was.
    pub(crate) async fn drain(&self, service: &str, is_drained: bool) -> Result<u32, ChangeError> {
        let _alone = self.changing.lock().await;
        let Some(known) = self.services().get(service).cloned() else {
            let service = service.to_owned();
            return Err(ChangeError::UnknownService { service });
        };
        let mut record = self.kept.record(service);
        if record.is_drained != is_drained {
            if record.base.is_none() {
                record.base = self.base(service).await;
            }
            record.is_drained = is_drained;
            self.kept.keep(record)?;
        }
        known.drain(is_drained);
        if !is_drained && let Some(version) = known.current().ready() {
            version.release();
        }
        Ok(known.running())
    }

    async fn add(&self, service: &str, parcel: Parcel) -> Result<PathBuf, ChangeError> {
        let (kept, name) = (Arc::clone(&self.kept), service.to_owned());
        let add = move || kept.add(&name, &parcel.id, &parcel.text, &parcel.component);
        let added = tokio::task::spawn_blocking(add).await?;
        added.map_err(|source| ChangeError::Keep {
            service: service.to_owned(),
            source,
        })
    }

    /// A kept version, loaded and checked, and not called yet.
    async fn come(
        &self,
        service: &str,
        folder: &Path,
        id: &str,
    ) -> Result<Arc<Version>, ChangeError> {
        let cannot = |source: ServiceError| ChangeError::CannotRun {
            service: service.to_owned(),
            version: id.to_owned(),
            source: Box::new(source),
        };
        let manifest =
            read_manifest(&folder.join(MANIFEST)).map_err(|error| cannot(error.into()))?;
        let candidate = Candidate {
            folder: folder.to_owned(),
            manifest,
            id: Some(id.to_owned()),
        };
        let loaded = self.loaded(candidate, &Progress::silent()).await;
        loaded.map_err(cannot)
    }

    /// Keeps a version of the services folder that runs, so that one can come back to it.
    async fn keep_what_runs(&self, service: &str, record: &mut Record) {
        let runs = self
            .services()
            .get(service)
            .map(|service| service.current());
        let Some(runs) = runs else {
            return;
        };
        record.base = self.base(service).await;
        if record.current.is_some() && !record.is_removed {
            return;
        }
        let folder = runs.folder().to_owned();
        let kept = match Parcel::read(folder).await {
            Ok(parcel) if runs.is_of(&parcel.component) => {
                let (id, manifest) = (parcel.id.clone(), parcel.manifest.clone());
                let added = self.add(service, parcel).await;
                added.map(|_| record.ran(&id, &manifest))
            }
            // It was replaced while it ran: what ran is nowhere any more.
            Ok(_) => return,
            Err(error) => Err(error),
        };
        if let Err(error) = kept {
            tracing::warn!(service, error = %super::chain(&error), "the version that ran is not kept");
        }
    }

    /// What the services folder holds of a service.
    async fn base(&self, service: &str) -> Option<String> {
        let folder = self.bases().get(service).cloned()?;
        Parcel::read(folder).await.ok().map(|parcel| parcel.id)
    }

    /// Makes the record durable, then lets new calls go to `version`.
    fn go(
        &self,
        mut record: Record,
        version: Arc<Version>,
        id: &str,
    ) -> Result<Changed, ChangeError> {
        let service = record.service.clone();
        record.ran(id, &version.view.manifest);
        let old = record.beyond(self.loader.site.sandbox.loading.versions_max);
        let is_drained = record.is_drained;
        self.kept.keep(record)?;
        for id in old {
            self.kept.remove(&service, &id);
        }
        self.promise(&version.view.manifest);
        let mut services = self.services_mut();
        let before = services
            .get(&service)
            .map(|known| known.swap(Arc::clone(&version)));
        if before.is_none() {
            let new = Service::new(service.clone(), Current::Ready(version), is_drained);
            services.insert(service.clone(), Arc::new(new));
        }
        drop(services);
        let before = before.and_then(Current::ready);
        Ok(Changed {
            service,
            version: id.to_owned(),
            ending: before.as_ref().map_or(0, |before| before.running()),
            before: before.map(|before| before.label()),
        })
    }

    /// What runs from the start: what was deployed, unless the services folder changed since.
    pub(super) fn chosen(
        &self,
        mut folder: BTreeMap<String, Candidate>,
        progress: &Progress,
    ) -> BTreeMap<String, Result<Candidate, (PathBuf, ServiceError)>> {
        let mut chosen = BTreeMap::new();
        for (name, mut record) in self.kept.records() {
            for royalty in record.royalties() {
                self.promise_royalty(royalty);
            }
            let before = record.clone();
            let found = folder.remove(&name).and_then(|candidate| {
                let parcel = Parcel::read_now(&candidate.folder).ok()?;
                Some((Box::new(candidate), parcel.id))
            });
            match record.choose(&self.kept, found) {
                Choice::Folder { candidate, is_news } => {
                    if is_news {
                        progress.say(&format!(
                            "{name}: the services folder changed since the last `rialto deploy`, so its version runs"
                        ));
                    }
                    chosen.insert(name, Ok(*candidate));
                }
                Choice::Kept(folder) => {
                    let id = record.current.clone();
                    let candidate = match read_manifest(&folder.join(MANIFEST)) {
                        Ok(manifest) => Ok(Candidate {
                            folder,
                            manifest,
                            id,
                        }),
                        Err(error) => Err((folder, error.into())),
                    };
                    chosen.insert(name, candidate);
                }
                Choice::Nothing => {}
            }
            if record != before
                && let Err(error) = self.kept.keep(record)
            {
                tracing::warn!(error = %super::chain(&error), "what the services folder holds is not remembered");
            }
        }
        chosen.extend(folder.into_iter().map(|(name, found)| (name, Ok(found))));
        chosen
    }

    pub(super) fn bases(&self) -> MutexGuard<'_, BTreeMap<String, PathBuf>> {
        self.bases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Parcel {
    pub(super) async fn read(folder: PathBuf) -> Result<Self, ChangeError> {
        tokio::task::spawn_blocking(move || Self::read_now(&folder)).await?
    }

    fn read_now(folder: &Path) -> Result<Self, ChangeError> {
        let read = |name: &str| {
            let file = folder.join(name);
            std::fs::read(&file).map_err(|source| ChangeError::Read { file, source })
        };
        let (text, component) = (read(MANIFEST)?, read(COMPONENT)?);
        let manifest = read_manifest(&folder.join(MANIFEST))
            .map_err(|error| ChangeError::Manifest(Box::new(error.into())))?;
        Ok(Self {
            id: id_of(&manifest, &text, &component),
            manifest,
            text,
            component,
        })
    }
}
