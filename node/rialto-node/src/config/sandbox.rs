//! `[sandbox]`: what guests may use, all services together.

use std::collections::BTreeMap;
use std::net::IpAddr;

use rialto_host::cell::Program;
use rialto_host::{Concurrency, Isolation, Order, WarmConfig};
use rialto_registry::{Limits, Manifest};
use rialto_scheduler::QuarantinePolicy;
use serde::{Deserialize, Serialize};

use super::loading::{Loading, RawLoading};
use super::quarantine::{self, RawQuarantine};
use super::settings::{self, RawService, ServiceSettings};
use super::warm::{self, RawWarm};

/// What guests may use, all services together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sandbox {
    /// Calls that run at once, at most; more wait for a while or are refused.
    pub calls_max: u32,
    /// How many of them may run now: as many as the processors get on with, or a number.
    pub concurrency: Concurrency,
    /// Who goes first of those who wait: by turns, or by price.
    pub priority: Order,
    /// Calls that wait for a place, of all services together; more are refused.
    pub queue_max: u32,
    /// Calls of one service that wait.
    pub service_queue_max: u32,
    /// Calls that may compute in the background at once, once they have computed for long; one more is
    /// refused.
    pub background_max: u32,
    /// Largest memory that a manifest may ask for, in bytes.
    pub memory_bytes_max: u64,
    /// Longest wall time that a manifest may ask for, in milliseconds.
    pub time_ms_max: u64,
    /// How long the reader of a stream may take for one item, in milliseconds, before the call is cut.
    pub stall_ms_max: u64,
    /// What no call may exceed, whatever its manifest says.
    pub limits_max: Limits,
    /// What a service's calls may use, by its name, instead of what its manifest says.
    pub services: BTreeMap<String, BTreeMap<String, u64>>,
    /// What is set for a service, by its name.
    pub settings: BTreeMap<String, ServiceSettings>,
    /// Whether services run in the node's process or each in one of its own, where nothing is set for one.
    pub isolation: Isolation,
    /// The program that serves as such a process, from whoever starts the node; not from the file.
    pub cell: Option<Program>,
    /// Whether services may send requests to the origins that their manifests name, as far as those lead
    /// to public addresses.
    pub outbound: bool,
    /// Addresses that are good for that although they are not public.
    pub outbound_private: Vec<IpAddr>,
    /// Which services are in memory.
    pub loading: Loading,
    /// When a service that keeps failing is taken out.
    pub quarantine: QuarantinePolicy,
    /// What all services keep together, in bytes; 0 keeps nothing.
    pub state_bytes_max: u64,
    /// Instances that are made before their calls come.
    pub warm: WarmConfig,
}

impl Default for Sandbox {
    fn default() -> Self {
        Self {
            calls_max: 128,
            concurrency: Concurrency::Adaptive,
            priority: Order::Turns,
            queue_max: 1_024,
            service_queue_max: 512,
            background_max: 64,
            memory_bytes_max: 256 << 20,
            time_ms_max: 30_000,
            stall_ms_max: 10_000,
            limits_max: usual_limits_max(),
            services: BTreeMap::new(),
            isolation: Isolation::InProcess,
            cell: None,
            settings: BTreeMap::new(),
            outbound: false,
            outbound_private: Vec::new(),
            loading: Loading::default(),
            quarantine: QuarantinePolicy::default(),
            state_bytes_max: 4 << 30,
            warm: WarmConfig::default(),
        }
    }
}

impl Sandbox {
    /// What a service's calls may use here: what its manifest asks for or the operator says of this
    /// service, and no more than any may.
    #[must_use]
    pub fn limits_of(&self, manifest: &Manifest) -> Limits {
        let mut limits = *manifest.limits();
        let own = self.services.get(manifest.name().as_str());
        for (name, value) in own.into_iter().flatten() {
            limits.set(name, *value);
        }
        let caps = Limits {
            memory_bytes_max: self.memory_bytes_max.min(self.limits_max.memory_bytes_max),
            time_ms_max: self.time_ms_max.min(self.limits_max.time_ms_max),
            ..self.limits_max
        };
        limits.lowered_to(caps)
    }

    /// How many calls of the service of this name run at the same time, at most.
    #[must_use]
    pub fn calls_max_of(&self, service: &str) -> u32 {
        let own = self.settings.get(service).and_then(|it| it.calls_max);
        own.map_or(self.calls_max, |own| own.min(self.calls_max))
    }

    /// How many calls of the service of this name may wait.
    #[must_use]
    pub fn queue_max_of(&self, service: &str) -> u32 {
        let own = self.settings.get(service).and_then(|it| it.queue_max);
        own.unwrap_or(self.service_queue_max).min(self.queue_max)
    }

    /// Whether the service of this name has a process of its own.
    #[must_use]
    pub fn isolation_of(&self, service: &str) -> Isolation {
        let own = self.settings.get(service).and_then(|it| it.isolation);
        own.unwrap_or(self.isolation)
    }

    pub(super) fn overlay(&mut self, raw: RawSandbox, problems: &mut Vec<String>) {
        self.calls_max = raw.calls_max.unwrap_or(self.calls_max);
        self.overlay_turns(raw.concurrency, raw.priority, problems);
        self.queue_max = raw.queue_max.unwrap_or(self.queue_max);
        self.service_queue_max = raw.service_queue_max.unwrap_or(self.service_queue_max);
        self.background_max = raw.background_max.unwrap_or(self.background_max);
        self.memory_bytes_max = raw.memory_bytes_max.unwrap_or(self.memory_bytes_max);
        self.time_ms_max = raw.time_ms_max.unwrap_or(self.time_ms_max);
        self.stall_ms_max = raw.stall_ms_max.unwrap_or(self.stall_ms_max);
        if let Some(word) = raw.isolation {
            match Isolation::from_name(&word) {
                Some(isolation) => self.isolation = isolation,
                None => problems.push(settings::no_isolation("sandbox.isolation", &word)),
            }
        }
        for (name, value) in raw.limits {
            if !self.limits_max.set(&name, value) || value == 0 {
                problems.push(problem(&format!("sandbox.limits.{name}"), &name));
            }
        }
        for (service, mut raw) in raw.services {
            if let Some(settings) = raw.settings(&service, problems) {
                self.settings.insert(service.clone(), settings);
            }
            let limits = raw.limits;
            for (name, value) in &limits {
                if Limits::DEFAULT.get(name).is_none() || *value == 0 {
                    problems.push(problem(&format!("sandbox.services.{service}.{name}"), name));
                }
            }
            if !limits.is_empty() {
                self.services.insert(service, limits);
            }
        }
        self.outbound = raw.outbound.unwrap_or(self.outbound);
        self.loading.overlay(raw.loading);
        quarantine::overlay(&mut self.quarantine, raw.quarantine);
        warm::overlay(&mut self.warm, raw.warm);
        self.state_bytes_max = raw.state_bytes_max.unwrap_or(self.state_bytes_max);
        for text in raw.outbound_private {
            match text.parse() {
                Ok(address) => self.outbound_private.push(address),
                Err(_) => problems.push(format!(
                    "sandbox.outbound_private has `{text}`: use addresses such as \"10.0.0.5\""
                )),
            }
        }
    }

    fn overlay_turns(
        &mut self,
        concurrency: Option<RawConcurrency>,
        priority: Option<String>,
        problems: &mut Vec<String>,
    ) {
        match concurrency {
            None => {}
            Some(RawConcurrency::Word(word)) if word == ADAPTIVE => {
                self.concurrency = Concurrency::Adaptive;
            }
            Some(RawConcurrency::Number(number)) if number > 0 => {
                self.concurrency = Concurrency::Fixed(number);
            }
            Some(RawConcurrency::Word(_) | RawConcurrency::Number(_)) => problems
                .push("sandbox.concurrency: use \"adaptive\", or a number above zero".to_owned()),
        }
        match priority.as_deref() {
            None => {}
            Some(TURNS) => self.priority = Order::Turns,
            Some(PRICE) => self.priority = Order::Price,
            Some(other) => problems.push(format!(
                "sandbox.priority is `{other}`: use \"{TURNS}\" or \"{PRICE}\""
            )),
        }
    }

    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.calls_max == 0 {
            problems.push("sandbox.calls_max is 0: no call could run".to_owned());
        }
        if self.stall_ms_max == 0 {
            problems.push("sandbox.stall_ms_max is 0: no stream could be read".to_owned());
        }
        problems.extend(self.problems_at_the_door());
        if !self.outbound && !self.outbound_private.is_empty() {
            problems.push(
                "sandbox.outbound_private goes with `outbound = true`: without it nothing is sent"
                    .to_owned(),
            );
        }
        problems.extend(self.loading.problems());
        problems.extend(quarantine::problems(&self.quarantine));
        problems
    }

    fn problems_at_the_door(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (name, value, then) in [
            (
                "background_max",
                self.background_max,
                "no call could be long",
            ),
            ("queue_max", self.queue_max, "no call could wait"),
            (
                "service_queue_max",
                self.service_queue_max,
                "no call could wait",
            ),
        ] {
            if value == 0 {
                problems.push(format!("sandbox.{name} is 0: {then}; use 1 or more"));
            }
        }
        if let Concurrency::Fixed(number) = self.concurrency
            && number > self.calls_max
        {
            problems.push(format!(
                "sandbox.concurrency is {number}, more than sandbox.calls_max ({})",
                self.calls_max
            ));
        }
        problems
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawSandbox {
    calls_max: Option<u32>,
    concurrency: Option<RawConcurrency>,
    priority: Option<String>,
    queue_max: Option<u32>,
    service_queue_max: Option<u32>,
    background_max: Option<u32>,
    memory_bytes_max: Option<u64>,
    time_ms_max: Option<u64>,
    stall_ms_max: Option<u64>,
    isolation: Option<String>,
    outbound: Option<bool>,
    state_bytes_max: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    outbound_private: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    limits: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    services: BTreeMap<String, RawService>,
    loading: RawLoading,
    quarantine: RawQuarantine,
    warm: RawWarm,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum RawConcurrency {
    Number(u32),
    Word(String),
}

const ADAPTIVE: &str = "adaptive";
const TURNS: &str = "turns";
const PRICE: &str = "price";

/// What is wrong with a limit.
fn problem(field: &str, name: &str) -> String {
    if Limits::DEFAULT.get(name).is_some() {
        return format!("{field} is 0: no call could run");
    }
    let names = Limits::NAMES.join(", ");
    format!("{field} is no limit: use one of {names}")
}

/// What no call of a host may exceed whose operator says nothing else.
fn usual_limits_max() -> Limits {
    Limits {
        memory_bytes_max: 512 << 20,
        table_elements_max: 65_536,
        time_ms_max: 120_000,
        cpu_ms_max: 60_000,
        input_bytes_max: 32 << 20,
        output_bytes_max: 32 << 20,
        handles_max: 16_384,
        host_calls_max: 1_000_000,
        host_bytes_max: 2 << 30,
        transfer_bytes_max: 64 << 20,
        tensor_bytes_max: 512 << 20,
        multiply_adds_max: 10_000_000_000_000,
        session_bytes_max: 1 << 30,
        outbound_requests_max: 64,
        key_value_bytes_max: 256 << 20,
        log_lines_max: 1_024,
    }
}

/// What is said of each service of which anything is.
fn services(sandbox: &Sandbox) -> BTreeMap<String, RawService> {
    let names = sandbox.services.keys().chain(sandbox.settings.keys());
    let raw = |name: &String| {
        let (limits, settings) = (sandbox.services.get(name), sandbox.settings.get(name));
        (name.clone(), RawService::new(limits, settings))
    };
    names.map(raw).collect()
}

impl From<&Sandbox> for RawSandbox {
    fn from(sandbox: &Sandbox) -> Self {
        let private = sandbox.outbound_private.iter();
        Self {
            calls_max: Some(sandbox.calls_max),
            concurrency: Some(match sandbox.concurrency {
                Concurrency::Adaptive => RawConcurrency::Word(ADAPTIVE.to_owned()),
                Concurrency::Fixed(number) => RawConcurrency::Number(number),
            }),
            priority: Some(match sandbox.priority {
                Order::Turns => TURNS.to_owned(),
                Order::Price => PRICE.to_owned(),
            }),
            queue_max: Some(sandbox.queue_max),
            service_queue_max: Some(sandbox.service_queue_max),
            background_max: Some(sandbox.background_max),
            memory_bytes_max: Some(sandbox.memory_bytes_max),
            time_ms_max: Some(sandbox.time_ms_max),
            stall_ms_max: Some(sandbox.stall_ms_max),
            isolation: Some(sandbox.isolation.name().to_owned()),
            outbound: Some(sandbox.outbound),
            state_bytes_max: Some(sandbox.state_bytes_max),
            outbound_private: private.map(IpAddr::to_string).collect(),
            limits: sandbox
                .limits_max
                .all()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            services: services(sandbox),
            loading: RawLoading::from(&sandbox.loading),
            quarantine: RawQuarantine::from(&sandbox.quarantine),
            warm: RawWarm::from(&sandbox.warm),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sandbox(text: &str) -> (Sandbox, Vec<String>) {
        let (mut sandbox, mut problems) = (Sandbox::default(), Vec::new());
        sandbox.overlay(toml::from_str(text).unwrap(), &mut problems);
        problems.extend(sandbox.problems());
        (sandbox, problems)
    }

    #[test]
    fn what_is_printed_reads_back() {
        let text = "calls_max = 3\nconcurrency = 2\npriority = \"price\"\nqueue_max = 5\nservice_queue_max = 2\nbackground_max = 9\nmemory_bytes_max = 4\ntime_ms_max = 5\nstall_ms_max = 8\nisolation = \"process\"\noutbound = true\nstate_bytes_max = 0\n\
                    outbound_private = [\"10.0.0.5\", \"::1\"]\n\
                    [limits]\nhandles_max = 6\n[services.chat]\ntime_ms_max = 7\nisolation = \"in-process\"\n\
                    [services.chat.config]\ngreeting = \"hi\"\n[services.chat.secrets]\n\
                    a = { file = \"/a\" }\nb = { env = \"B\" }\n[services.other.config]\nx = \"y\"\n\
                    [services.draw]\nisolation = \"process\"\ncalls_max = 3\nqueue_max = 4\n\
                    [warm]\ninstances_max = 9\nservice_instances_max = 10\nbytes_max = 11\ncost_us_min = 12";
        let (before, problems) = sandbox(text);
        assert_eq!(problems, Vec::<String>::new());
        for sandbox in [before, Sandbox::default()] {
            let printed = toml::to_string(&RawSandbox::from(&sandbox)).unwrap();
            assert_eq!(super::tests::sandbox(&printed).0, sandbox);
        }
    }

    #[test]
    fn every_problem_is_named() {
        let (_, problems) = sandbox(
            "calls_max = 0\nstall_ms_max = 0\noutbound_private = [\"here\", \"::1\"]\n[limits]\nmemory = 1\n\
             handles_max = 0\n[services.chat]\ntime = 1\ntime_ms_max = 0\n\
             isolation = \"jail\"\ncalls_max = 0\nqueue_max = 0\nsecrets.a = {}\nsecrets.b = { file = \"/b\", env = \"B\" }",
        );
        assert_eq!(problems.len(), 13, "{problems:?}");
        for text in [
            "concurrency = \"many\"",
            "concurrency = 0",
            "concurrency = 200",
            "priority = \"age\"",
            "background_max = 0",
            "queue_max = 0",
            "service_queue_max = 0",
        ] {
            assert_eq!(sandbox(text).1.len(), 1, "{text}");
        }
    }

    #[test]
    fn a_service_has_a_process_where_the_operator_says_so() {
        let text = "isolation = \"process\"\n[services.chat]\nisolation = \"in-process\"";
        let (some, _) = sandbox(text);
        assert_eq!(some.isolation_of("chat"), Isolation::InProcess);
        assert_eq!(some.isolation_of("draw"), Isolation::Process);
        let usual = Sandbox::default().isolation_of("draw");
        assert_eq!(usual, Isolation::InProcess);
    }

    #[test]
    fn a_service_gets_what_it_asks_for_or_the_operator_says_and_no_more_than_any() {
        let text = "name = \"chat\"\nversion = \"0.1.0\"\ndescription = \"Talks.\"\n\
                    license = \"MIT\"\n[limits]\nhandles_max = 10\ntime_ms_max = 100\n\
                    log_lines_max = 9000";
        let raw: rialto_registry::RawManifest = toml::from_str(text).unwrap();
        let manifest = Manifest::try_from(raw).unwrap();
        let limits = |text: &str| sandbox(text).0.limits_of(&manifest);
        let usual = limits("");
        assert_eq!((usual.handles_max, usual.time_ms_max), (10, 100));
        assert_eq!(usual.log_lines_max, 1_024, "the host's cap");
        let other = limits(
            "time_ms_max = 50\n[limits]\nlog_lines_max = 5\n[services.chat]\nhandles_max = 20",
        );
        assert_eq!((other.handles_max, other.time_ms_max), (20, 50));
        assert_eq!(other.log_lines_max, 5);
    }
}
