//! What the host counts of its services, for its operator: times, memory, instances, limits.
//!
//! The way of a call only adds to atomic numbers; names and locks are for loading a service and for
//! reading. Counts belong to a service's name and outlive its versions. Nothing here is by payer, and
//! nothing is kept of what a call said.
//!
//! Non-goals: money and outcomes (the node's), and how numbers are shown.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rialto_scheduler::Turned;

use crate::device::DeviceLoad;
use crate::door::DoorLoad;
use crate::error::CallError;
use crate::histogram::{Histogram, HistogramView};

/// What all services of a host have in common.
#[derive(Debug, Default)]
pub(crate) struct Meters {
    services: Mutex<BTreeMap<String, Arc<ServiceMeters>>>,
    turned: [AtomicU64; TURNED.len()],
    arguments_refused: AtomicU64,
}

/// A service's counts.
#[derive(Debug, Default)]
pub(crate) struct ServiceMeters {
    methods: Mutex<BTreeMap<String, Arc<MethodMeters>>>,
    instances: AtomicU64,
    memory_bytes: AtomicU64,
    memory_peak: AtomicU64,
    outbound_requests: AtomicU64,
    breaches: [AtomicU64; Limit::ALL.len()],
}

/// A method's counts.
#[derive(Debug, Default)]
pub(crate) struct MethodMeters {
    pub(crate) waited: Histogram,
    pub(crate) guest: Histogram,
    pub(crate) device: Histogram,
    pub(crate) input_bytes: AtomicU64,
    pub(crate) output_bytes: AtomicU64,
    /// How many of its latest calls computed for long, in thousandths.
    long_milli: AtomicU64,
}

/// What a call may use: the names are those of manifests where these have one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Wall time.
    Time,
    /// Processor time.
    Cpu,
    /// Linear memory.
    Memory,
    /// Table elements.
    Table,
    /// The guest's stack, which is the same for all.
    Stack,
    /// Live handles.
    Handles,
    /// Arguments.
    Input,
    /// The answer, or one transfer to the host.
    Output,
    /// Calls to the host.
    HostCalls,
    /// Bytes through calls to the host.
    HostBytes,
    /// Bytes of tensors; the guest is told.
    Tensors,
    /// Multiplications with addition; the guest is told.
    MultiplyAdds,
    /// Bytes of language models' sessions; the guest is told.
    Sessions,
    /// Requests over HTTP; the guest is told.
    OutboundRequests,
    /// Lines of log; more are dropped.
    LogLines,
}

impl Limit {
    /// Every limit, in the order of the variants.
    pub const ALL: [Self; 15] = [
        Self::Time,
        Self::Cpu,
        Self::Memory,
        Self::Table,
        Self::Stack,
        Self::Handles,
        Self::Input,
        Self::Output,
        Self::HostCalls,
        Self::HostBytes,
        Self::Tensors,
        Self::MultiplyAdds,
        Self::Sessions,
        Self::OutboundRequests,
        Self::LogLines,
    ];

    /// Its name in manifests.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Time => "time_ms_max",
            Self::Cpu => "cpu_ms_max",
            Self::Memory => "memory_bytes_max",
            Self::Table => "table_elements_max",
            Self::Stack => "stack",
            Self::Handles => "handles_max",
            Self::Input => "input_bytes_max",
            Self::Output => "output_bytes_max",
            Self::HostCalls => "host_calls_max",
            Self::HostBytes => "host_bytes_max",
            Self::Tensors => "tensor_bytes_max",
            Self::MultiplyAdds => "multiply_adds_max",
            Self::Sessions => "session_bytes_max",
            Self::OutboundRequests => "outbound_requests_max",
            Self::LogLines => "log_lines_max",
        }
    }
}

/// What a host is doing, and what it did since it began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostLoad {
    /// Calls of all services.
    pub door: DoorLoad,
    /// Calls that were turned away, by reason.
    pub turned: Vec<(&'static str, u64)>,
    /// Calls that began at the lowest priority, because such calls kept failing.
    pub held_back: u64,
    /// Components that were compiled before, and that were not.
    pub compiled_hits: u64,
    /// Components that had to be compiled.
    pub compiled_misses: u64,
    /// Bytes of compiled components on disk.
    pub compiled_bytes: u64,
    /// Instances that are ready for calls that have not come yet, and their bytes of linear memory.
    pub warm: (u64, u64),
    /// Calls that found one.
    pub warm_taken: u64,
    /// The device.
    pub device: DeviceLoad,
    /// Each service that was ever loaded.
    pub services: Vec<ServiceLoad>,
}

/// What a service is doing, and what it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceLoad {
    /// Its name.
    pub name: String,
    /// Calls that hold a place.
    pub running: u64,
    /// Calls that wait for a place or for memory.
    pub waiting: u64,
    /// Instances that were made.
    pub instances: u64,
    /// Linear memory that its running calls hold, and its instances that are ready, in bytes.
    pub memory_bytes: u64,
    /// The most that one call held, in bytes.
    pub memory_peak: u64,
    /// Requests over HTTP that its calls sent.
    pub outbound_requests: u64,
    /// Limits that its calls hit, by name.
    pub breaches: Vec<(&'static str, u64)>,
    /// Its methods.
    pub methods: Vec<MethodLoad>,
}

/// What calls of a method used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MethodLoad {
    /// Its name.
    pub name: String,
    /// Waiting at the door, of calls that were let in.
    pub waited: HistogramView,
    /// Processor time of guests.
    pub guest: HistogramView,
    /// Time on a device, of calls that used one.
    pub device: HistogramView,
    /// Bytes of arguments.
    pub input_bytes: u64,
    /// Bytes of results.
    pub output_bytes: u64,
}

/// Why the door turns calls away.
const TURNED: [&str; 6] = [
    "queue_full",
    "service_queue_full",
    "payer_share",
    "payer_limit",
    "too_late",
    "standing",
];

impl Meters {
    /// The counts of the service of this name.
    pub(crate) fn service(&self, name: &str) -> Arc<ServiceMeters> {
        let mut services = lock(&self.services);
        Arc::clone(services.entry(name.to_owned()).or_default())
    }

    /// The door turned a call away.
    pub(crate) fn turned(&self, why: &Turned) {
        let [full, service_full, share, limit, too_late, standing] = &self.turned;
        let counter = match why {
            Turned::Full { .. } => full,
            Turned::TenantFull { .. } => service_full,
            Turned::PayerFull { .. } => share,
            Turned::PayerLimit { .. } => limit,
            Turned::TooLate { .. } => too_late,
            Turned::Standing { .. } => standing,
        };
        add(counter, 1);
    }

    /// There was no memory for a call's arguments.
    pub(crate) fn no_room_for_arguments(&self) {
        add(&self.arguments_refused, 1);
    }

    /// Calls that were turned away, by reason; so many of them because of long calls.
    pub(crate) fn turned_away(&self, long_calls: u64) -> Vec<(&'static str, u64)> {
        let names = TURNED.into_iter().chain(["arguments_memory", "long_calls"]);
        let counts = self.turned.iter().chain([&self.arguments_refused]);
        names.zip(counts.map(get).chain([long_calls])).collect()
    }

    /// Each service, with its calls that run and that wait.
    pub(crate) fn services(&self, calls: &HashMap<String, (u64, u64)>) -> Vec<ServiceLoad> {
        let services = lock(&self.services);
        let loads = services.iter().map(|(name, meters)| {
            let (running, waiting) = calls.get(name).copied().unwrap_or((0, 0));
            ServiceLoad {
                running,
                waiting,
                ..meters.load(name)
            }
        });
        loads.collect()
    }
}

impl ServiceMeters {
    /// The counts of the method of this name.
    pub(crate) fn method(&self, name: &str) -> Arc<MethodMeters> {
        let mut methods = lock(&self.methods);
        Arc::clone(methods.entry(name.to_owned()).or_default())
    }

    pub(crate) fn instance(&self) {
        add(&self.instances, 1);
    }

    pub(crate) fn outbound_request(&self) {
        add(&self.outbound_requests, 1);
    }

    /// A call hit a limit.
    pub(crate) fn breach(&self, limit: Limit) {
        self.breaches(limit, 1);
    }

    /// A call hit a limit so many times.
    pub(crate) fn breaches(&self, limit: Limit, times: u64) {
        let counters = Limit::ALL.iter().zip(&self.breaches);
        for (_, counter) in counters.filter(|(known, _)| **known == limit) {
            add(counter, times);
        }
    }

    /// How often calls hit a limit.
    pub(crate) fn hits(&self, limit: Limit) -> u64 {
        let counters = Limit::ALL.iter().zip(&self.breaches);
        let known = counters.filter(|(known, _)| **known == limit);
        known.map(|(_, counter)| get(counter)).sum()
    }

    /// The most memory that one call held, in bytes.
    pub(crate) fn memory_peak(&self) -> u64 {
        get(&self.memory_peak)
    }

    /// A call failed: perhaps by a limit.
    pub(crate) fn failed(&self, error: &CallError) {
        if let Some(limit) = error.limit() {
            self.breach(limit);
        }
    }

    /// A call's memories grew by so much, to so much in all.
    pub(crate) fn grew(&self, growth: u64, total: u64) {
        add(&self.memory_bytes, growth);
        self.memory_peak.fetch_max(total, Ordering::Relaxed);
    }

    /// A call's memories are gone.
    pub(crate) fn freed(&self, bytes: u64) {
        self.memory_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn load(&self, name: &str) -> ServiceLoad {
        let breaches = Limit::ALL.iter().zip(&self.breaches);
        ServiceLoad {
            name: name.to_owned(),
            running: 0,
            waiting: 0,
            instances: get(&self.instances),
            memory_bytes: get(&self.memory_bytes),
            memory_peak: get(&self.memory_peak),
            outbound_requests: get(&self.outbound_requests),
            breaches: breaches
                .map(|(limit, counter)| (limit.name(), get(counter)))
                .collect(),
            methods: lock(&self.methods)
                .iter()
                .map(|(name, meters)| meters.load(name))
                .collect(),
        }
    }
}

impl MethodMeters {
    /// A call is over: whether it computed for long is an eighth of the news.
    pub(crate) fn ended(&self, long: bool) {
        let news = if long { LONG_MILLI } else { 0 };
        let before = get(&self.long_milli);
        let after = before.saturating_sub(before / 8).saturating_add(news);
        if after != before {
            // Of two calls that end at the same moment one may be forgotten.
            self.long_milli.store(after, Ordering::Relaxed);
        }
    }

    /// Whether most of its latest calls computed for long.
    pub(crate) fn is_long(&self) -> bool {
        get(&self.long_milli) >= 500
    }

    fn load(&self, name: &str) -> MethodLoad {
        MethodLoad {
            name: name.to_owned(),
            waited: self.waited.view(),
            guest: self.guest.view(),
            device: self.device.view(),
            input_bytes: get(&self.input_bytes),
            output_bytes: get(&self.output_bytes),
        }
    }
}

/// An eighth of a call, in thousandths.
const LONG_MILLI: u64 = 125;

pub(crate) fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// No step under these locks leaves something half-changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_belong_to_a_name_and_outlive_a_version() {
        let meters = Meters::default();
        meters.service("a").instance();
        meters.service("a").breach(Limit::LogLines);
        meters.service("a").grew(10, 30);
        meters.service("a").grew(5, 5);
        meters.service("a").freed(10);
        let [load] = &meters.services(&HashMap::new())[..] else {
            panic!("one service");
        };
        assert_eq!((load.instances, load.memory_bytes), (1, 5));
        assert_eq!(load.memory_peak, 30);
        let hit: Vec<_> = load.breaches.iter().filter(|(_, n)| *n > 0).collect();
        assert_eq!(hit, [&("log_lines_max", 1)]);
    }

    #[test]
    fn a_method_is_long_while_most_of_its_calls_are() {
        let method = MethodMeters::default();
        let after = |long: bool, times: usize| {
            (0..times).for_each(|_| method.ended(long));
            method.is_long()
        };
        assert!(!after(true, 3), "three of a hundred calls are no rule");
        assert!(after(true, 5));
        assert!(after(true, 100_000) && after(false, 3));
        assert!(!after(false, 3));
    }

    #[test]
    fn every_limit_is_listed_once_and_named_as_manifests_do() {
        for (place, limit) in Limit::ALL.into_iter().enumerate() {
            let first = Limit::ALL.iter().position(|other| *other == limit);
            assert_eq!(first, Some(place));
        }
    }
}
