//! What one call may use at most.
//!
//! Non-goals: enforcement, which the host does, and the host's own, possibly lower, caps.

use std::time::Duration;

/// One line a limit: its name, what a manifest gets that does not set it, and what none may exceed.
macro_rules! limits {
    ($($(#[$docs:meta])* $name:ident: $default:expr, $cap:expr;)*) => {
        /// The ceilings of one call. A host may lower them, never raise them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct Limits {
            $($(#[$docs])* pub $name: u64,)*
        }

        impl Limits {
            /// What a manifest gets that sets no limits.
            pub const DEFAULT: Self = Self { $($name: $default,)* };

            /// What no manifest may exceed.
            pub const CAP: Self = Self { $($name: $cap,)* };

            /// The names of all limits, as manifests write them.
            pub const NAMES: &[&str] = &[$(stringify!($name),)*];

            /// The limit of this name.
            #[must_use]
            pub fn get(&self, name: &str) -> Option<u64> {
                match name {
                    $(stringify!($name) => Some(self.$name),)*
                    _ => None,
                }
            }

            /// Sets the limit of this name, and says whether there is one.
            pub fn set(&mut self, name: &str, value: u64) -> bool {
                match name {
                    $(stringify!($name) => self.$name = value,)*
                    _ => return false,
                }
                true
            }

            /// The lower of both, limit by limit.
            #[must_use]
            pub fn lowered_to(self, other: Self) -> Self {
                Self { $($name: self.$name.min(other.$name),)* }
            }
        }
    };
}

limits! {
    /// Linear memories of the instance together, in bytes.
    memory_bytes_max: 64 << 20, 1 << 30;
    /// Elements of all tables of the instance.
    table_elements_max: 65_536, 1 << 20;
    /// Time from the start of the guest to its answer, in milliseconds.
    time_ms_max: 10_000, 300_000;
    /// Processor time of the guest, in milliseconds; waiting for the host does not count. No more than
    /// `time_ms_max` counts.
    cpu_ms_max: 300_000, 300_000;
    /// The request's body, in bytes.
    input_bytes_max: 8 << 20, 64 << 20;
    /// The answer's body, in bytes.
    output_bytes_max: 8 << 20, 64 << 20;
    /// Live handles: tensors, models, streams.
    handles_max: 1_024, 1 << 20;
    /// Calls from the guest to the host.
    host_calls_max: 100_000, 10_000_000;
    /// Bytes copied between guest and capabilities.
    host_bytes_max: 256 << 20, 64 << 30;
    /// Bytes that the guest may hand over in one call to the host.
    transfer_bytes_max: 16 << 20, 256 << 20;
    /// Bytes of live tensors; and again, of what operations hold while they run.
    tensor_bytes_max: 64 << 20, 64 << 30;
    /// Multiplications with addition of tensor operations.
    multiply_adds_max: 300_000_000_000, 1_000_000_000_000_000;
    /// Keys and values of language models' sessions, in bytes.
    session_bytes_max: 256 << 20, 64 << 30;
    /// Requests over HTTP that a call may send.
    outbound_requests_max: 16, 1_024;
    /// Bytes of keys and values in one bucket, from call to call; an entry counts 64 more.
    key_value_bytes_max: 16 << 20, 16 << 30;
    /// Lines of log; more are dropped and counted.
    log_lines_max: 64, 10_000;
}

impl Limits {
    /// The time ceiling as a duration.
    #[must_use]
    pub const fn time_max(&self) -> Duration {
        Duration::from_millis(self.time_ms_max)
    }

    /// Name and value of each limit.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let names = Self::NAMES.iter();
        names.filter_map(|name| Some((*name, self.get(name)?)))
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_respect_the_caps() {
        assert_eq!(Limits::DEFAULT.lowered_to(Limits::CAP), Limits::DEFAULT);
        assert_eq!(Limits::CAP.lowered_to(Limits::DEFAULT), Limits::DEFAULT);
        assert_eq!(Limits::default().time_max(), Duration::from_secs(10));
    }

    #[test]
    fn every_limit_is_known_by_its_name() {
        let mut limits = Limits::DEFAULT;
        for (value, name) in (1..).zip(Limits::NAMES) {
            assert!(limits.set(name, value), "{name}");
        }
        let all: Vec<u64> = limits.all().map(|(_, value)| value).collect();
        let wanted: Vec<u64> = (1..).take(Limits::NAMES.len()).collect();
        assert_eq!(all, wanted);
        assert!(!limits.set("memory", 1) && limits.get("memory").is_none());
    }
}
