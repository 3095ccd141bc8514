//! A name under which calls come in, and the versions behind it: the one for new calls, and those that end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};

use rialto_registry::{Digest, Manifest};

use super::{Candidate, Version};
use crate::api::{Closed, ServiceView};

/// A name under which calls come in.
#[derive(Debug)]
pub(super) struct Service {
    name: String,
    current: RwLock<Current>,
    is_drained: AtomicBool,
    /// Versions that are no longer called, while their calls last.
    ending: Mutex<Vec<Weak<Version>>>,
}

/// What runs under a name.
#[derive(Debug, Clone)]
pub(super) enum Current {
    /// Its component has yet to be looked at.
    Unseen(Arc<Candidate>),
    Ready(Arc<Version>),
}

/// What an operator sees of the services of a host.
#[derive(Debug, Clone)]
pub struct Standing {
    /// Those that are called by name.
    pub services: Vec<ServiceStanding>,
    /// Those that were taken off this host, with the versions that are kept of each.
    pub removed: BTreeMap<String, Vec<String>>,
    /// Folders of what cannot run, and why.
    pub left_out: BTreeMap<PathBuf, String>,
}

/// What an operator sees of one service.
#[derive(Debug, Clone)]
pub struct ServiceStanding {
    /// Its name.
    pub name: String,
    /// The version that new calls go to: a number, and for a deployed one the digits after it.
    pub version: String,
    /// Whether the host has looked at it yet.
    pub is_seen: bool,
    /// Why it takes no calls, if it takes none.
    pub closed: Option<Closed>,
    /// Bytes of compiled code in memory; none if it is not there.
    pub code_bytes: Option<u64>,
    /// Calls that run on this version, or wait to.
    pub running: u32,
    /// Earlier versions whose calls still run, and how many.
    pub ending: Vec<(String, u32)>,
    /// The versions to which one can go back, the one that ran last first.
    pub kept: Vec<String>,
}

impl Service {
    pub(super) fn new(name: String, current: Current, is_drained: bool) -> Self {
        Self {
            name,
            current: RwLock::new(current),
            is_drained: AtomicBool::new(is_drained),
            ending: Mutex::default(),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn current(&self) -> Current {
        let current = self.current.read();
        current.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether nothing but this candidate is known of it.
    pub(super) fn is_still(&self, candidate: &Arc<Candidate>) -> bool {
        matches!(self.current(), Current::Unseen(other) if Arc::ptr_eq(&other, candidate))
    }

    /// What a candidate turned out to be, unless something else came meanwhile.
    pub(super) fn seen(&self, candidate: &Arc<Candidate>, version: Arc<Version>) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if matches!(&*current, Current::Unseen(other) if Arc::ptr_eq(other, candidate)) {
            *current = Current::Ready(version);
        }
    }

    /// Lets new calls go to another version. Returns what ran before.
    pub(super) fn swap(&self, version: Arc<Version>) -> Current {
        let before = {
            let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *current, Current::Ready(version))
        };
        if let Current::Ready(before) = &before {
            let mut ending = self.ending();
            ending.retain(|version| version.strong_count() > 0);
            ending.push(Arc::downgrade(before));
        }
        before
    }

    pub(super) fn is_drained(&self) -> bool {
        self.is_drained.load(Ordering::Acquire)
    }

    pub(super) fn drain(&self, is_drained: bool) {
        self.is_drained.store(is_drained, Ordering::Release);
    }

    /// Calls that run or wait to, of all its versions.
    pub(super) fn running(&self) -> u32 {
        let current = self
            .current()
            .ready()
            .map_or(0, |version| version.running());
        let ending = self.ended().into_iter().map(|(_, running)| running);
        ending.fold(current, u32::saturating_add)
    }

    /// As callers see it; none if it was not looked at yet.
    pub(super) fn view(&self, closed: Option<Closed>) -> Option<ServiceView> {
        let version = self.current().ready()?;
        Some(version.view(closed))
    }

    /// As the operator sees it.
    pub(super) fn standing(&self, closed: Option<Closed>, kept: Vec<String>) -> ServiceStanding {
        let current = self.current();
        let version = current.label();
        let ready = current.ready();
        ServiceStanding {
            name: self.name.clone(),
            version,
            is_seen: ready.is_some(),
            closed,
            code_bytes: ready.as_ref().and_then(|version| version.loaded_bytes()),
            running: ready.map_or(0, |version| version.running()),
            ending: self.ended(),
            kept,
        }
    }

    fn ended(&self) -> Vec<(String, u32)> {
        let ending = self.ending();
        let alive = ending.iter().filter_map(Weak::upgrade);
        let running = alive.map(|version| (version.label(), version.running()));
        running.filter(|(_, running)| *running > 0).collect()
    }

    fn ending(&self) -> MutexGuard<'_, Vec<Weak<Version>>> {
        self.ending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Current {
    pub(super) fn ready(self) -> Option<Arc<Version>> {
        match self {
            Self::Ready(version) => Some(version),
            Self::Unseen(_) => None,
        }
    }

    pub(super) fn manifest(&self) -> &Manifest {
        match self {
            Self::Ready(version) => &version.view.manifest,
            Self::Unseen(candidate) => &candidate.manifest,
        }
    }

    pub(super) fn folder(&self) -> &Path {
        match self {
            Self::Ready(version) => &version.folder,
            Self::Unseen(candidate) => &candidate.folder,
        }
    }

    /// Whether these bytes are what runs.
    pub(super) fn is_of(&self, component: &[u8]) -> bool {
        match self {
            Self::Ready(version) => {
                version.host.component_sha256() == *Digest::of(component).as_bytes()
            }
            // Nothing of it ran yet.
            Self::Unseen(_) => true,
        }
    }

    fn label(&self) -> String {
        match self {
            Self::Ready(version) => version.label(),
            Self::Unseen(candidate) => candidate.label(),
        }
    }
}

impl Candidate {
    /// What the version is called.
    pub(super) fn label(&self) -> String {
        let number = || self.manifest.version().to_string();
        self.id.clone().unwrap_or_else(number)
    }
}
