//! What a receipt's record says of what was used, in its four versions.

use rialto_channels::Amount;
use rialto_channels::receipt::{DeviceUsage, HireUsage, LimitUsage, Usage};
use serde::{Deserialize, Serialize};

/// Usage as version 1 has it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PlainUsageRow {
    guest_time_us: u64,
    host_time_us: u64,
    memory_peak_bytes: u64,
    host_calls: u64,
    input_bytes: u64,
    output_bytes: u64,
    tensor_runs: u64,
}

/// Usage as version 2 has it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct DeviceUsageRow {
    plain: PlainUsageRow,
    device: DeviceRow,
}

/// Usage as version 3 has it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct MeteredUsageRow {
    plain: PlainUsageRow,
    device: DeviceRow,
    limits: LimitRow,
}

/// Usage as version 4 has it, and the call for which this one was made; what is nothing at its end is left out,
/// as earlier versions have it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct UsageRow {
    plain: PlainUsageRow,
    #[serde(skip_serializing_if = "MoreRow::is_none")]
    more: MoreRow,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct MoreRow {
    device: DeviceRow,
    #[serde(skip_serializing_if = "RestRow::is_none")]
    rest: RestRow,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct RestRow {
    limits: LimitRow,
    #[serde(skip_serializing_if = "LinkRow::is_none")]
    links: LinkRow,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct LinkRow {
    hires: u64,
    spent: u128,
    parent: Option<[u8; 32]>,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct DeviceRow {
    time_us: u64,
    multiply_adds: u64,
    moved_bytes: u64,
    tokens_read: u64,
    tokens_written: u64,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct LimitRow {
    wall_time_us: u64,
    waited_us: u64,
    table_peak_elements: u64,
    handles_peak: u64,
    host_bytes: u64,
    tensor_peak_bytes: u64,
    session_peak_bytes: u64,
    outbound_requests: u64,
    outbound_bytes: u64,
    state_bytes: u64,
    log_lines: u64,
}

impl MoreRow {
    fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

impl RestRow {
    fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

impl LinkRow {
    fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

impl UsageRow {
    /// The lowest version that tells all of it.
    pub(crate) fn version(&self) -> u8 {
        if self.more.is_none() {
            1
        } else if self.more.rest.is_none() {
            2
        } else if self.more.rest.links.is_none() {
            3
        } else {
            4
        }
    }

    /// With the call for which this one was made.
    pub(crate) fn made_for(mut self, parent: Option<[u8; 32]>) -> Self {
        self.more.rest.links.parent = parent;
        self
    }

    /// The call for which this one was made.
    pub(crate) fn parent(&self) -> Option<[u8; 32]> {
        self.more.rest.links.parent
    }
}

impl From<PlainUsageRow> for UsageRow {
    fn from(plain: PlainUsageRow) -> Self {
        let more = MoreRow::default();
        Self { plain, more }
    }
}

impl From<DeviceUsageRow> for UsageRow {
    fn from(row: DeviceUsageRow) -> Self {
        let more = MoreRow {
            device: row.device,
            rest: RestRow::default(),
        };
        let plain = row.plain;
        Self { plain, more }
    }
}

impl From<MeteredUsageRow> for UsageRow {
    fn from(row: MeteredUsageRow) -> Self {
        let rest = RestRow {
            limits: row.limits,
            links: LinkRow::default(),
        };
        let more = MoreRow {
            device: row.device,
            rest,
        };
        let plain = row.plain;
        Self { plain, more }
    }
}

impl From<&Usage> for UsageRow {
    fn from(usage: &Usage) -> Self {
        Self {
            plain: PlainUsageRow {
                guest_time_us: usage.guest_time_us,
                host_time_us: usage.host_time_us,
                memory_peak_bytes: usage.memory_peak_bytes,
                host_calls: usage.host_calls,
                input_bytes: usage.input_bytes,
                output_bytes: usage.output_bytes,
                tensor_runs: usage.tensor_runs,
            },
            more: MoreRow {
                device: usage.device.into(),
                rest: RestRow {
                    limits: usage.limits.into(),
                    links: LinkRow {
                        hires: usage.hires.calls,
                        spent: usage.hires.spent.get(),
                        parent: None,
                    },
                },
            },
        }
    }
}

impl From<UsageRow> for Usage {
    fn from(row: UsageRow) -> Self {
        let plain = row.plain;
        Self {
            guest_time_us: plain.guest_time_us,
            host_time_us: plain.host_time_us,
            memory_peak_bytes: plain.memory_peak_bytes,
            host_calls: plain.host_calls,
            input_bytes: plain.input_bytes,
            output_bytes: plain.output_bytes,
            tensor_runs: plain.tensor_runs,
            device: row.more.device.into(),
            limits: row.more.rest.limits.into(),
            hires: HireUsage {
                calls: row.more.rest.links.hires,
                spent: Amount::new(row.more.rest.links.spent),
            },
        }
    }
}

impl From<DeviceUsage> for DeviceRow {
    fn from(device: DeviceUsage) -> Self {
        Self {
            time_us: device.time_us,
            multiply_adds: device.multiply_adds,
            moved_bytes: device.moved_bytes,
            tokens_read: device.tokens_read,
            tokens_written: device.tokens_written,
        }
    }
}

impl From<DeviceRow> for DeviceUsage {
    fn from(row: DeviceRow) -> Self {
        Self {
            time_us: row.time_us,
            multiply_adds: row.multiply_adds,
            moved_bytes: row.moved_bytes,
            tokens_read: row.tokens_read,
            tokens_written: row.tokens_written,
        }
    }
}

impl From<LimitUsage> for LimitRow {
    fn from(limits: LimitUsage) -> Self {
        Self {
            wall_time_us: limits.wall_time_us,
            waited_us: limits.waited_us,
            table_peak_elements: limits.table_peak_elements,
            handles_peak: limits.handles_peak,
            host_bytes: limits.host_bytes,
            tensor_peak_bytes: limits.tensor_peak_bytes,
            session_peak_bytes: limits.session_peak_bytes,
            outbound_requests: limits.outbound_requests,
            outbound_bytes: limits.outbound_bytes,
            state_bytes: limits.state_bytes,
            log_lines: limits.log_lines,
        }
    }
}

impl From<LimitRow> for LimitUsage {
    fn from(row: LimitRow) -> Self {
        Self {
            wall_time_us: row.wall_time_us,
            waited_us: row.waited_us,
            table_peak_elements: row.table_peak_elements,
            handles_peak: row.handles_peak,
            host_bytes: row.host_bytes,
            tensor_peak_bytes: row.tensor_peak_bytes,
            session_peak_bytes: row.session_peak_bytes,
            outbound_requests: row.outbound_requests,
            outbound_bytes: row.outbound_bytes,
            state_bytes: row.state_bytes,
            log_lines: row.log_lines,
        }
    }
}
