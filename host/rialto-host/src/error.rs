//! What can go wrong, by operation; each variant says who acts next.

use std::io;

use bytes::Bytes;
use rialto_scheduler::Turned;

use crate::meters::Limit;

/// Why a host could not start. The operator acts.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The engine refused the configuration.
    #[error("the WebAssembly engine refused its configuration: {0}")]
    Engine(#[source] wasmtime::Error),
    /// The cache folder cannot be used safely.
    #[error("cannot use the cache folder: {0}")]
    Cache(#[source] io::Error),
    /// The epoch thread could not be started.
    #[error("cannot start the clock thread: {0}")]
    Clock(#[source] io::Error),
    /// The threads for long calls could not be started.
    #[error("cannot start the threads for long calls: {0}")]
    Background(#[source] io::Error),
    /// The thread for services' processes could not be started.
    #[error("cannot start the thread for services' processes: {0}")]
    Cells(#[source] io::Error),
}

/// An import that the manifest does not grant, and how to grant it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingGrant {
    /// The imported interface, for example `wasi:clocks/monotonic-clock@0.2.6`.
    pub interface: String,
    /// The exact line for the `[grants]` table of `service.toml`.
    pub line: String,
}

/// Why a component was not loaded. The service's author acts.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The bytes are no valid component, or too large.
    #[error("not a valid component: {0}")]
    Invalid(String),
    /// The component imports what its manifest does not grant.
    #[error("{}", describe_missing(.0))]
    NotGranted(Vec<MissingGrant>),
    /// The component imports something that this host never offers.
    #[error("the component imports `{interface}`, which no host offers: {advice}")]
    NeverGranted {
        /// The imported interface.
        interface: String,
        /// What to do instead.
        advice: String,
    },
    /// An import has another type or version than this host's.
    #[error("the component's imports do not fit this host: {0}")]
    Link(String),
    /// The exported interface cannot be offered as a service.
    #[error("the component's exports cannot be served: {0}")]
    Interface(String),
    /// The component needs more than its limits allow before it runs at all.
    #[error("the component cannot start within its limits: {0}")]
    TooLarge(String),
    /// It cannot have a process of its own as the operator asks, and is not run otherwise.
    #[error("it cannot run in a process of its own: {0}")]
    Isolation(String),
}

/// Why a call was refused before it ran or cost anything. The caller acts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentError {
    /// No such method.
    #[error("no method `{method}`; this service has {known}")]
    UnknownMethod {
        /// The method asked for.
        method: String,
        /// The methods there are, listed.
        known: String,
    },
    /// The body is not JSON.
    #[error("the body is not valid JSON: {0}")]
    Syntax(String),
    /// A value does not fit its type, is missing, or is unknown.
    #[error("{0}")]
    Type(String),
    /// The method takes no raw bytes.
    #[error("`{method}` does not take raw bytes: {reason}")]
    NotRaw {
        /// The method asked for.
        method: String,
        /// Why.
        reason: String,
    },
    /// The arguments are larger than the service's limit.
    #[error("the arguments have {bytes} bytes; this service takes at most {bytes_max}")]
    TooLarge {
        /// What was received, in bytes.
        bytes: u64,
        /// The limit, in bytes.
        bytes_max: u64,
    },
    /// The host holds as many prepared arguments as it may; try again later.
    #[error("the host is busy with other calls' arguments")]
    Overloaded,
}

impl ArgumentError {
    /// A stable name for programs.
    #[must_use]
    pub const fn wire_code(&self) -> &'static str {
        match self {
            Self::UnknownMethod { .. } => "unknown_method",
            Self::Syntax(_) => "invalid_json",
            Self::Type(_) => "invalid_argument",
            Self::NotRaw { .. } => "raw_body_not_accepted",
            Self::TooLarge { .. } => "input_too_large",
            Self::Overloaded => "overloaded",
        }
    }
}

/// How a call failed. Nothing is charged for any of these (money rule M3).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The service answered with its own error: the caller's input or state.
    #[error("the service refused the call")]
    Refused {
        /// The error value as JSON.
        error: Bytes,
    },
    /// The guest trapped, panicked or exited.
    #[error("the service crashed: {0}")]
    Trapped(String),
    /// The wall time ran out.
    #[error("the call took longer than {limit_ms} ms")]
    TimedOut {
        /// The limit, in milliseconds.
        limit_ms: u64,
        /// Whether it computed for half of the service's wall time or more, rather than wait.
        busy: bool,
    },
    /// The processor time ran out.
    #[error("the call took more than {limit_ms} ms of processor time")]
    CpuExceeded {
        /// The limit, in milliseconds.
        limit_ms: u64,
    },
    /// All memories together exceeded the limit.
    #[error("the service needs more than {bytes_max} bytes of memory")]
    MemoryExceeded {
        /// The limit, in bytes.
        bytes_max: u64,
    },
    /// All tables together exceeded the limit.
    #[error("the service needs more than {elements_max} table elements")]
    TableExceeded {
        /// The limit, in elements.
        elements_max: u64,
    },
    /// The call stack is exhausted.
    #[error("the service recursed too deeply")]
    StackExhausted,
    /// The result, or one transfer to the host, is too large.
    #[error("the service's output exceeds {bytes_max} bytes")]
    OutputTooLarge {
        /// The limit, in bytes.
        bytes_max: u64,
    },
    /// Too many calls to the host.
    #[error("the service exceeded its allowance of host calls")]
    HostCalls,
    /// Too many bytes through calls to the host.
    #[error("the service moved more than {bytes_max} bytes through host calls")]
    HostBytes {
        /// The limit, in bytes.
        bytes_max: u64,
    },
    /// Too many live handles.
    #[error("the service holds more than {handles_max} handles")]
    HandlesExceeded {
        /// The limit.
        handles_max: u32,
    },
    /// The host is at capacity: too many calls wait, or this one's turn would come after its deadline.
    #[error("the host is at capacity; come again in {retry_after_ms} ms")]
    Overloaded {
        /// When there may be room, in milliseconds.
        retry_after_ms: u64,
    },
    /// What the service keeps between calls could not be made durable. The operator acts.
    #[error("the service's state cannot be kept: {0}")]
    State(String),
    /// As many calls of this payer wait as may, or the host is at capacity and most of what waits is its.
    #[error("more calls of this payer wait than its share; come again in {retry_after_ms} ms")]
    OverShare {
        /// When there may be room, in milliseconds.
        retry_after_ms: u64,
    },
    /// The call computes for long, and as many such calls run as may.
    #[error(
        "the host has its fill of calls that compute for long; come again in {retry_after_ms} ms"
    )]
    LongCalls {
        /// When there may be room, in milliseconds.
        retry_after_ms: u64,
    },
    /// The process that the service runs in ended, or did not start.
    #[error("the service's process ended: {0}")]
    CellEnded(String),
    /// The process that the service runs in ended several times in a row, and is not started for a while.
    #[error("the service's process keeps ending; come again in {retry_after_ms} ms")]
    CellRests {
        /// When it is tried again, in milliseconds.
        retry_after_ms: u64,
    },
    /// Another service did not answer it, and it had no way to hear why.
    #[error("the service needs another one, which did not answer: {0}")]
    Callee(String),
    /// A bug of the host's; the guest and the caller are not at fault.
    #[error("internal host error: {0}")]
    Internal(String),
}

impl CallError {
    /// Whether the service failed by itself: it trapped, or broke a limit that its own code keeps or breaks.
    /// A refusal is an answer; a host that is full or wrong says nothing of its guests; and wall time that
    /// went by while others were waited for is not the guest's. The process of a service has a back-off of
    /// its own, and ends calls that did nothing to it.
    #[must_use]
    pub const fn is_fault(&self) -> bool {
        match self {
            Self::Trapped(_)
            | Self::MemoryExceeded { .. }
            | Self::TableExceeded { .. }
            | Self::StackExhausted
            | Self::OutputTooLarge { .. }
            | Self::HostCalls
            | Self::HostBytes { .. }
            | Self::CpuExceeded { .. }
            | Self::HandlesExceeded { .. } => true,
            Self::TimedOut { busy, .. } => *busy,
            Self::Refused { .. }
            | Self::Overloaded { .. }
            | Self::OverShare { .. }
            | Self::LongCalls { .. }
            | Self::State(_)
            | Self::CellEnded(_)
            | Self::CellRests { .. }
            | Self::Callee(_)
            | Self::Internal(_) => false,
        }
    }

    /// A stable name for programs.
    #[must_use]
    pub const fn wire_code(&self) -> &'static str {
        match self {
            Self::Refused { .. } => "refused",
            Self::Trapped(_) => "trapped",
            Self::TimedOut { .. } => "timed_out",
            Self::CpuExceeded { .. } => "cpu_exceeded",
            Self::MemoryExceeded { .. } => "memory_exceeded",
            Self::TableExceeded { .. } => "table_exceeded",
            Self::StackExhausted => "stack_exhausted",
            Self::OutputTooLarge { .. } => "output_too_large",
            Self::HostCalls => "host_calls_exceeded",
            Self::HostBytes { .. } => "host_bytes_exceeded",
            Self::HandlesExceeded { .. } => "handles_exceeded",
            Self::Overloaded { .. } => "overloaded",
            Self::State(_) => "state_unavailable",
            Self::OverShare { .. } => "over_share",
            Self::LongCalls { .. } => "long_calls",
            Self::CellEnded(_) => "cell_ended",
            Self::CellRests { .. } => "cell_rests",
            Self::Callee(_) => "callee_failed",
            Self::Internal(_) => "internal",
        }
    }

    /// The limit that the call hit; none if it ended otherwise.
    #[must_use]
    pub const fn limit(&self) -> Option<Limit> {
        match self {
            Self::TimedOut { .. } => Some(Limit::Time),
            Self::CpuExceeded { .. } => Some(Limit::Cpu),
            Self::MemoryExceeded { .. } => Some(Limit::Memory),
            Self::TableExceeded { .. } => Some(Limit::Table),
            Self::StackExhausted => Some(Limit::Stack),
            Self::OutputTooLarge { .. } => Some(Limit::Output),
            Self::HostCalls => Some(Limit::HostCalls),
            Self::HostBytes { .. } => Some(Limit::HostBytes),
            Self::HandlesExceeded { .. } => Some(Limit::Handles),
            Self::Refused { .. }
            | Self::Trapped(_)
            | Self::Overloaded { .. }
            | Self::OverShare { .. }
            | Self::LongCalls { .. }
            | Self::State(_)
            | Self::CellEnded(_)
            | Self::CellRests { .. }
            | Self::Callee(_)
            | Self::Internal(_) => None,
        }
    }
}

impl CallError {
    /// What a call is told that was turned away at the door. Those who pay nothing are one payer to the
    /// door, and many to us: none of them is told that it wants too much.
    pub(crate) fn turned(turned: &Turned, payer: &str) -> Self {
        let retry_after_ms = u64::try_from(turned.after().as_millis()).unwrap_or(u64::MAX);
        match turned {
            Turned::PayerFull { .. } | Turned::PayerLimit { .. } if !payer.is_empty() => {
                Self::OverShare { retry_after_ms }
            }
            Turned::PayerFull { .. }
            | Turned::PayerLimit { .. }
            | Turned::Full { .. }
            | Turned::TenantFull { .. }
            | Turned::TooLate { .. }
            | Turned::Standing { .. } => Self::Overloaded { retry_after_ms },
        }
    }
}

fn describe_missing(missing: &[MissingGrant]) -> String {
    let mut text = String::from("the manifest does not grant what the component imports:");
    for grant in missing {
        text.push_str(&format!(
            "\n  `{}`: add to [grants] in service.toml: {}",
            grant.interface, grant.line
        ));
    }
    text
}
