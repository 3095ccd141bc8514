//! Instances that were made before their call came, for components that take long to instantiate.
//!
//! Most components are instantiated in microseconds. Those that carry an interpreter with them take a
//! millisecond, which no call has to wait for: some of each such service are ready, made in the background when
//! nobody waits, and thrown away after one call like every other. Nobody has used one before its call, and
//! nothing of a call is known where it is made: limits, clocks, payer and randomness are armed when it is handed
//! out. A component that asks the host anything while it is instantiated is never made ahead.
//!
//! Not here: how one is made, and for whom (`service::warm`).

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use wasmtime::Store;
use wasmtime::component::Instance;

use crate::state::CallState;

/// What may be ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WarmConfig {
    /// Instances of all services together; none are made ahead if this is 0.
    pub instances_max: u32,
    /// Instances of one service.
    pub service_instances_max: u32,
    /// Linear memory of all of them, in bytes.
    pub bytes_max: u64,
    /// The processor time that an instance must take to be made ahead.
    pub cost_min: Duration,
}

impl Default for WarmConfig {
    fn default() -> Self {
        Self {
            instances_max: 16,
            service_instances_max: 4,
            bytes_max: 128 << 20,
            cost_min: Duration::from_micros(200),
        }
    }
}

/// An instance that nobody has used.
pub(crate) struct Made {
    pub(crate) store: Store<CallState>,
    pub(crate) instance: Instance,
}

/// The instances of all services that are ready.
pub(crate) struct Warm {
    config: WarmConfig,
    held: Mutex<Held>,
    /// The number of the service that was loaded last.
    services: AtomicU64,
    taken: AtomicU64,
}

#[derive(Default)]
struct Held {
    /// The oldest first.
    ready: VecDeque<Ready>,
    bytes: u64,
    /// Whose instances are being made.
    making: Vec<u64>,
}

struct Ready {
    service: u64,
    bytes: u64,
    since: Instant,
    made: Made,
}

/// A loaded service's part; its instances go with it.
#[derive(Debug)]
pub(crate) struct Part {
    warm: Arc<Warm>,
    service: u64,
}

/// Room for one instance that is being made.
pub(crate) struct Room<'w> {
    warm: &'w Warm,
    service: u64,
}

impl Warm {
    pub(crate) fn new(config: WarmConfig) -> Self {
        Self {
            config,
            held: Mutex::default(),
            services: AtomicU64::new(0),
            taken: AtomicU64::new(0),
        }
    }

    /// A part for a service that was just loaded.
    pub(crate) fn part(self: &Arc<Self>) -> Part {
        Part {
            warm: Arc::clone(self),
            service: self.services.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// How many instances are ready, and their bytes of linear memory.
    pub(crate) fn load(&self) -> (u64, u64) {
        let held = self.held();
        (
            u64::try_from(held.ready.len()).unwrap_or(u64::MAX),
            held.bytes,
        )
    }

    /// How many were handed out.
    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // No step under this lock leaves something half-changed.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Part {
    /// Whether instances that take so long are made ahead.
    pub(crate) fn is_for(&self, cost: Duration) -> bool {
        self.warm.config.instances_max > 0 && cost >= self.warm.config.cost_min
    }

    /// One that is ready, for its only call.
    pub(crate) fn take(&self) -> Option<Made> {
        let mut held = self.warm.held();
        let mut ready = held.ready.iter();
        let at = ready.position(|it| it.service == self.service)?;
        let taken = held.remove(at)?;
        self.warm.taken.fetch_add(1, Ordering::Relaxed);
        Some(taken.made)
    }

    /// Room for one more, if there is any. Instances of others that nobody wanted for a while make room.
    pub(crate) fn room(&self) -> Option<Room<'_>> {
        let config = &self.warm.config;
        let mut gone = None;
        let mut held = self.warm.held();
        if held.of(self.service) >= count(config.service_instances_max) {
            return None;
        }
        if held.ready.len() + held.making.len() >= count(config.instances_max) {
            gone = Some(held.stale(self.service)?);
        }
        held.making.push(self.service);
        drop(held);
        // Outside of the lock: memory is unmapped.
        drop(gone);
        Some(Room {
            warm: &self.warm,
            service: self.service,
        })
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let mut held = self.warm.held();
        let mut gone = Vec::new();
        while let Some(at) = held.ready.iter().position(|it| it.service == self.service) {
            gone.extend(held.remove(at));
        }
        drop(held);
    }
}

impl Room<'_> {
    /// Holds an instance with so much memory ready, unless all have more then than they may.
    pub(crate) fn fill(self, made: Made, bytes: u64) -> bool {
        let bytes_max = self.warm.config.bytes_max;
        let mut gone = Vec::new();
        let mut held = self.warm.held();
        while held.bytes.saturating_add(bytes) > bytes_max {
            let Some(stale) = held.stale(self.service) else {
                return false;
            };
            gone.push(stale);
        }
        held.bytes = held.bytes.saturating_add(bytes);
        held.ready.push_back(Ready {
            service: self.service,
            bytes,
            since: Instant::now(),
            made,
        });
        drop(held);
        true
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        let mut held = self.warm.held();
        let mut making = held.making.iter();
        if let Some(at) = making.position(|service| *service == self.service) {
            held.making.swap_remove(at);
        }
    }
}

impl Held {
    /// How many of a service are ready or being made.
    fn of(&self, service: u64) -> usize {
        let ready = self.ready.iter().filter(|it| it.service == service);
        let making = self.making.iter().filter(|it| **it == service);
        ready.count() + making.count()
    }

    fn remove(&mut self, at: usize) -> Option<Ready> {
        let removed = self.ready.remove(at)?;
        self.bytes = self.bytes.saturating_sub(removed.bytes);
        Some(removed)
    }

    /// The oldest of another service, if it has waited for a while.
    fn stale(&mut self, service: u64) -> Option<Ready> {
        let is_stale = |it: &Ready| it.service != service && it.since.elapsed() >= STALE_AFTER;
        let at = self.ready.iter().position(is_stale)?;
        self.remove(at)
    }
}

impl fmt::Debug for Warm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Warm")
            .field("config", &self.config)
            .field("load", &self.load())
            .finish_non_exhaustive()
    }
}

fn count(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// How long an instance is left to its own service.
const STALE_AFTER: Duration = Duration::from_secs(10);
