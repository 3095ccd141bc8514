//! What one call may use at most.
//!
//! Non-goals: enforcement, which the host does, and the host's own, possibly lower, caps.

use std::time::Duration;

/// The ceilings of one call. A host may lower them, never raise them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Linear memories of the instance together, in bytes.
    pub memory_bytes_max: u64,
    /// Time from the start of the guest to its answer, in milliseconds.
    pub time_ms_max: u64,
    /// The request's body, in bytes.
    pub input_bytes_max: u64,
    /// The answer's body, in bytes.
    pub output_bytes_max: u64,
    /// Calls from the guest to the host.
    pub host_calls_max: u64,
}

impl Limits {
    /// What a manifest gets that sets no limits.
    pub const DEFAULT: Self = Self {
        memory_bytes_max: 64 << 20,
        time_ms_max: 10_000,
        input_bytes_max: 8 << 20,
        output_bytes_max: 8 << 20,
        host_calls_max: 100_000,
    };

    /// What no manifest may exceed.
    pub const CAP: Self = Self {
        memory_bytes_max: 1 << 30,
        time_ms_max: 300_000,
        input_bytes_max: 64 << 20,
        output_bytes_max: 64 << 20,
        host_calls_max: 10_000_000,
    };

    /// The time ceiling as a duration.
    #[must_use]
    pub const fn time_max(&self) -> Duration {
        Duration::from_millis(self.time_ms_max)
    }

    /// The lower of both, limit by limit.
    #[must_use]
    pub fn lowered_to(self, other: Self) -> Self {
        Self {
            memory_bytes_max: self.memory_bytes_max.min(other.memory_bytes_max),
            time_ms_max: self.time_ms_max.min(other.time_ms_max),
            input_bytes_max: self.input_bytes_max.min(other.input_bytes_max),
            output_bytes_max: self.output_bytes_max.min(other.output_bytes_max),
            host_calls_max: self.host_calls_max.min(other.host_calls_max),
        }
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
}
