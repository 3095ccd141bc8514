//! What a call used, as JSON.

use rialto_channels::Amount;
use rialto_channels::receipt::{DeviceUsage, HireUsage, LimitUsage, Usage};
use serde::{Deserialize, Serialize};

/// What a call used, as JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageRecord {
    /// Microseconds inside the guest.
    pub guest_time_us: u64,
    /// Microseconds inside the host on the guest's behalf.
    pub host_time_us: u64,
    /// Bytes.
    pub memory_peak_bytes: u64,
    /// Calls from the guest into the host.
    pub host_calls: u64,
    /// Bytes of the request's body.
    pub input_bytes: u64,
    /// Bytes of the answer.
    pub output_bytes: u64,
    /// Runs of a model, and of recorded tensor operations.
    pub tensor_runs: u64,
    /// What it used of a device; absent if nothing.
    #[serde(default, skip_serializing_if = "DeviceRecord::is_none")]
    pub device: DeviceRecord,
    /// What limits bound and no price counts; absent if the host did not tell.
    #[serde(default, skip_serializing_if = "LimitRecord::is_none")]
    pub limits: LimitRecord,
    /// What it had other services do; absent if nothing.
    #[serde(default, skip_serializing_if = "HireRecord::is_none")]
    pub hires: HireRecord,
}

/// What a call had other services do, as JSON.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HireRecord {
    /// Calls of other services that were answered.
    pub calls: u64,
    /// What is charged for them, in base units.
    #[serde(with = "decimal")]
    pub spent: u128,
}

impl HireRecord {
    /// True if it had nothing done.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// An amount as a string of decimal digits, like all amounts.
mod decimal {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(units: &u128, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(units)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u128, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// What a call used of the host's devices, as JSON.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRecord {
    /// Microseconds of models and operations on their device.
    pub time_us: u64,
    /// Multiplications with addition of tensor operations.
    pub multiply_adds: u64,
    /// Bytes of tensors moved between guest and device.
    pub moved_bytes: u64,
    /// Tokens that language models read.
    pub tokens_read: u64,
    /// Tokens that language models wrote.
    pub tokens_written: u64,
}

impl DeviceRecord {
    /// True if no device was used.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// What a call used of what limits bound and no price counts, as JSON.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitRecord {
    /// Microseconds from the call to the end of its answer; waiting for a place counted.
    pub wall_time_us: u64,
    /// Microseconds of waiting for a place.
    pub waited_us: u64,
    /// Most elements of the instance's tables together.
    pub table_peak_elements: u64,
    /// Most handles held at once, of those that the host keeps.
    pub handles_peak: u64,
    /// Bytes copied between the guest and what the host offers it.
    pub host_bytes: u64,
    /// Most bytes of tensors held at once.
    pub tensor_peak_bytes: u64,
    /// Most bytes of language models' sessions held at once.
    pub session_peak_bytes: u64,
    /// Requests sent over HTTP.
    pub outbound_requests: u64,
    /// Bytes of their bodies, both ways.
    pub outbound_bytes: u64,
    /// Bytes of keys and values of changes to what the service keeps.
    pub state_bytes: u64,
    /// Lines of log, those beyond the limit included.
    pub log_lines: u64,
}

impl LimitRecord {
    /// True if the host did not tell.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

impl From<Usage> for UsageRecord {
    fn from(usage: Usage) -> Self {
        Self {
            guest_time_us: usage.guest_time_us,
            host_time_us: usage.host_time_us,
            memory_peak_bytes: usage.memory_peak_bytes,
            host_calls: usage.host_calls,
            input_bytes: usage.input_bytes,
            output_bytes: usage.output_bytes,
            tensor_runs: usage.tensor_runs,
            device: usage.device.into(),
            limits: usage.limits.into(),
            hires: HireRecord {
                calls: usage.hires.calls,
                spent: usage.hires.spent.get(),
            },
        }
    }
}

impl From<UsageRecord> for Usage {
    fn from(record: UsageRecord) -> Self {
        Self {
            guest_time_us: record.guest_time_us,
            host_time_us: record.host_time_us,
            memory_peak_bytes: record.memory_peak_bytes,
            host_calls: record.host_calls,
            input_bytes: record.input_bytes,
            output_bytes: record.output_bytes,
            tensor_runs: record.tensor_runs,
            device: record.device.into(),
            limits: record.limits.into(),
            hires: HireUsage {
                calls: record.hires.calls,
                spent: Amount::new(record.hires.spent),
            },
        }
    }
}

impl From<DeviceUsage> for DeviceRecord {
    fn from(usage: DeviceUsage) -> Self {
        Self {
            time_us: usage.time_us,
            multiply_adds: usage.multiply_adds,
            moved_bytes: usage.moved_bytes,
            tokens_read: usage.tokens_read,
            tokens_written: usage.tokens_written,
        }
    }
}

impl From<DeviceRecord> for DeviceUsage {
    fn from(record: DeviceRecord) -> Self {
        Self {
            time_us: record.time_us,
            multiply_adds: record.multiply_adds,
            moved_bytes: record.moved_bytes,
            tokens_read: record.tokens_read,
            tokens_written: record.tokens_written,
        }
    }
}

impl From<LimitUsage> for LimitRecord {
    fn from(usage: LimitUsage) -> Self {
        Self {
            wall_time_us: usage.wall_time_us,
            waited_us: usage.waited_us,
            table_peak_elements: usage.table_peak_elements,
            handles_peak: usage.handles_peak,
            host_bytes: usage.host_bytes,
            tensor_peak_bytes: usage.tensor_peak_bytes,
            session_peak_bytes: usage.session_peak_bytes,
            outbound_requests: usage.outbound_requests,
            outbound_bytes: usage.outbound_bytes,
            state_bytes: usage.state_bytes,
            log_lines: usage.log_lines,
        }
    }
}

impl From<LimitRecord> for LimitUsage {
    fn from(record: LimitRecord) -> Self {
        Self {
            wall_time_us: record.wall_time_us,
            waited_us: record.waited_us,
            table_peak_elements: record.table_peak_elements,
            handles_peak: record.handles_peak,
            host_bytes: record.host_bytes,
            tensor_peak_bytes: record.tensor_peak_bytes,
            session_peak_bytes: record.session_peak_bytes,
            outbound_requests: record.outbound_requests,
            outbound_bytes: record.outbound_bytes,
            state_bytes: record.state_bytes,
            log_lines: record.log_lines,
        }
    }
}
