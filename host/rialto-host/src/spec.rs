//! What the host must know of a service's manifest, as plain data.
//!
//! The node converts the signed manifest into a [`ServiceSpec`]; nothing here is parsed or signed.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::outbound::Origin;
use crate::settings::Settings;

/// A service to load: its identity for logs, what it may import, and how much it may use.
///
/// Crosses the socket to a [cell](crate::cell), as do its parts; no other encoding of them exists.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ServiceSpec {
    /// The service's name, for log lines and spans.
    pub name: String,
    /// The service's version, for log lines and spans.
    pub version: String,
    /// The capabilities that are linked. Nothing else is.
    pub grants: Grants,
    /// The model names that the service may open, as the manifest writes them.
    pub models: Vec<String>,
    /// The SHA-256 digests of their files, as far as they are known: a guest may open a model by its
    /// digest or content identifier too.
    pub model_digests: Vec<(String, [u8; 32])>,
    /// What `wasi:config` says.
    #[serde(with = "crate::settings::crossing")]
    pub settings: Settings,
    /// Whether clocks stand and randomness follows from the call's arguments.
    pub deterministic: bool,
    /// The limits of one call, capped by [`Config::limits_max`](crate::Config::limits_max).
    pub limits: Limits,
    /// Where it runs.
    pub isolation: Isolation,
}

/// What lies between a service and its host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Isolation {
    /// WebAssembly's own walls, in the host's process.
    #[default]
    InProcess,
    /// A [process](crate::cell) of the service's own around them.
    Process,
}

impl Isolation {
    /// Both kinds.
    pub const ALL: [Self; 2] = [Self::InProcess, Self::Process];

    /// The name in a configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::InProcess => "in-process",
            Self::Process => "process",
        }
    }

    /// The kind with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// The capabilities granted by a manifest. The default grants nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grants {
    /// Links `rialto:tensor`.
    pub tensor: bool,
    /// Links `rialto:service/context`.
    pub context: bool,
    /// Links `rialto:service/log`.
    pub log: bool,
    /// Links `wasi:http`; requests may go to these origins, and to no other.
    pub http: Option<Vec<Origin>>,
    /// Links `wasi:keyvalue`.
    pub key_value: bool,
    /// Links `wasi:config`.
    pub config: bool,
    /// Links `rialto:mesh/calls`, and the interfaces of these services.
    pub calls: Option<Callees>,
    /// Groups of WASI 0.2 interfaces, each without any ambient authority.
    pub wasi: BTreeSet<WasiGroup>,
}

/// Services that a service may call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Callees {
    /// Any.
    All,
    /// These.
    Named(BTreeSet<String>),
}

impl Callees {
    /// Whether this one is among them.
    #[must_use]
    pub fn contains(&self, service: &str) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.contains(service),
        }
    }

    /// The line of a manifest that adds a service to these.
    pub(crate) fn line_with(granted: Option<&Self>, service: &str) -> String {
        let before = match granted {
            Some(Self::Named(names)) => names.iter().map(String::as_str).collect(),
            Some(Self::All) | None => Vec::new(),
        };
        let names: BTreeSet<&str> = before.into_iter().chain([service]).collect();
        let names: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
        format!("calls = [{}]", names.join(", "))
    }
}

/// A group of WASI 0.2 interfaces that a manifest can grant.
///
/// No group gives authority: there are no arguments, no environment and no directories; standard
/// output goes to the bounded log. Sockets have no group: they are never linked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum WasiGroup {
    /// `wasi:cli`: empty arguments and environment, standard streams, exit.
    Cli,
    /// `wasi:io`: streams, polling, errors.
    Io,
    /// `wasi:clocks`: wall clock and monotonic clock.
    Clocks,
    /// `wasi:random`: secure and insecure random bytes.
    Random,
    /// `wasi:filesystem`: no directory is open, so no file can be named.
    Filesystem,
}

impl WasiGroup {
    /// Every group, in the order in which manifests list them.
    pub const ALL: [Self; 5] = [
        Self::Cli,
        Self::Io,
        Self::Clocks,
        Self::Random,
        Self::Filesystem,
    ];

    /// The name in a manifest and in the WASI package's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cli => "cli",
            Self::Io => "io",
            Self::Clocks => "clocks",
            Self::Random => "random",
            Self::Filesystem => "filesystem",
        }
    }

    /// The group with this manifest name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|group| group.name() == name)
    }
}

impl fmt::Display for WasiGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What one call of a service may use. Each limit has its own [`CallError`](crate::CallError).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of linear memory, summed over all memories of the instance.
    pub memory_bytes_max: u64,
    /// Elements of tables, summed over all tables of the instance.
    pub table_elements_max: u64,
    /// Processor time of the guest. Waiting for the host (a model run) does not count.
    pub cpu_max: Duration,
    /// Time from admission to the result, waits included.
    pub wall_max: Duration,
    /// Bytes of the call's arguments as received.
    pub input_bytes_max: u64,
    /// Bytes of the JSON result.
    pub output_bytes_max: u64,
    /// Live handles (tensors, models, streams).
    pub handles_max: u32,
    /// Calls from the guest to the host.
    pub host_calls_max: u64,
    /// Bytes copied between guest and capabilities, summed over the call.
    pub host_bytes_max: u64,
    /// Bytes that the guest may hand over in one host call.
    pub transfer_bytes_max: u64,
    /// Bytes of live tensors owned by the call; and again, of what its operations hold while they run.
    pub tensor_bytes_max: u64,
    /// Multiplications with addition of the call's tensor operations.
    pub multiply_adds_max: u64,
    /// Keys and values of language models' sessions, in bytes.
    pub session_bytes_max: u64,
    /// Requests over HTTP that the call may send.
    pub outbound_requests_max: u32,
    /// Bytes of keys and values in one bucket, from call to call.
    pub key_value_bytes_max: u64,
    /// Lines of log, standard output included; more are dropped and counted.
    pub log_lines_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes_max: 64 << 20,
            table_elements_max: 65_536,
            cpu_max: Duration::from_secs(10),
            wall_max: Duration::from_secs(10),
            input_bytes_max: 8 << 20,
            output_bytes_max: 8 << 20,
            handles_max: 1_024,
            host_calls_max: 100_000,
            host_bytes_max: 256 << 20,
            transfer_bytes_max: 16 << 20,
            tensor_bytes_max: 64 << 20,
            multiply_adds_max: 300_000_000_000,
            session_bytes_max: 256 << 20,
            outbound_requests_max: 16,
            key_value_bytes_max: 16 << 20,
            log_lines_max: 64,
        }
    }
}

impl Limits {
    /// The smaller of each limit: a manifest asks, the host's policy caps.
    #[must_use]
    pub fn capped(&self, caps: &Self) -> Self {
        Self {
            memory_bytes_max: self.memory_bytes_max.min(caps.memory_bytes_max),
            table_elements_max: self.table_elements_max.min(caps.table_elements_max),
            cpu_max: self.cpu_max.min(caps.cpu_max),
            wall_max: self.wall_max.min(caps.wall_max),
            input_bytes_max: self.input_bytes_max.min(caps.input_bytes_max),
            output_bytes_max: self.output_bytes_max.min(caps.output_bytes_max),
            handles_max: self.handles_max.min(caps.handles_max),
            host_calls_max: self.host_calls_max.min(caps.host_calls_max),
            host_bytes_max: self.host_bytes_max.min(caps.host_bytes_max),
            transfer_bytes_max: self.transfer_bytes_max.min(caps.transfer_bytes_max),
            tensor_bytes_max: self.tensor_bytes_max.min(caps.tensor_bytes_max),
            multiply_adds_max: self.multiply_adds_max.min(caps.multiply_adds_max),
            session_bytes_max: self.session_bytes_max.min(caps.session_bytes_max),
            outbound_requests_max: self.outbound_requests_max.min(caps.outbound_requests_max),
            key_value_bytes_max: self.key_value_bytes_max.min(caps.key_value_bytes_max),
            log_lines_max: self.log_lines_max.min(caps.log_lines_max),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_cannot_raise_a_limit_above_the_hosts() {
        let asked = Limits {
            memory_bytes_max: u64::MAX,
            cpu_max: Duration::from_millis(5),
            ..Limits::default()
        };
        let given = asked.capped(&Limits::default());
        assert_eq!(given.memory_bytes_max, Limits::default().memory_bytes_max);
        assert_eq!(given.cpu_max, Duration::from_millis(5));
    }

    #[test]
    fn group_names_round_trip() {
        for group in WasiGroup::ALL {
            assert_eq!(WasiGroup::from_name(group.name()), Some(group));
        }
        assert_eq!(WasiGroup::from_name("sockets"), None);
    }
}
