//! Enforces the limits of one call inside its store.
//!
//! A breach is an error of its own type raised as a trap; [`classify`] turns whatever ended a call into
//! the [`CallError`] that names the limit.

use std::sync::Arc;

use wasmtime::component::ResourceTableError;
use wasmtime::{PoolConcurrencyLimitError, ResourceLimiter, Trap};
use wasmtime_wasi::I32Exit;

use crate::error::CallError;
use crate::hires::HireError;
use crate::meters::ServiceMeters;
use crate::spec::Limits;

/// A limit that the guest hit; raised as a trap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Breach {
    /// Linear memory.
    #[error("memory limit")]
    Memory,
    /// Table elements.
    #[error("table limit")]
    Table,
    /// Processor time.
    #[error("processor time limit")]
    Cpu,
    /// Wall time.
    #[error("wall time limit")]
    Wall,
    /// Host calls.
    #[error("host call limit")]
    HostCalls,
    /// Bytes through host calls.
    #[error("host byte limit")]
    HostBytes,
    /// Live handles.
    #[error("handle limit")]
    Handles,
}

/// Sums all memories and tables of one store.
#[derive(Debug)]
pub(crate) struct Limiter {
    memory_bytes: u64,
    memory_bytes_max: u64,
    memory_peak: u64,
    table_elements: u64,
    table_elements_max: u64,
    table_peak: u64,
    /// The growth that was last allowed, taken back should it fail afterwards.
    last_growth: u64,
    meters: Arc<ServiceMeters>,
}

impl Limiter {
    pub(crate) fn new(limits: &Limits, meters: Arc<ServiceMeters>) -> Self {
        Self {
            memory_bytes: 0,
            memory_bytes_max: limits.memory_bytes_max,
            memory_peak: 0,
            table_elements: 0,
            table_elements_max: limits.table_elements_max,
            table_peak: 0,
            last_growth: 0,
            meters,
        }
    }

    /// The linear memory held now, in bytes.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    /// The most linear memory held at any time, in bytes.
    pub(crate) fn memory_peak(&self) -> u64 {
        self.memory_peak
    }

    /// The most table elements held at any time.
    pub(crate) fn table_peak(&self) -> u64 {
        self.table_peak
    }
}

impl Drop for Limiter {
    fn drop(&mut self) {
        self.meters.freed(self.memory_bytes);
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let growth = (desired as u64).saturating_sub(current as u64);
        let total = self.memory_bytes.saturating_add(growth);
        if total > self.memory_bytes_max {
            // A trap rather than a failed `memory.grow`: allocators abort on failure anyway, and so
            // the caller learns the reason instead of "unreachable".
            return Err(Breach::Memory.into());
        }
        self.memory_bytes = total;
        self.memory_peak = self.memory_peak.max(total);
        self.last_growth = growth;
        self.meters.grew(growth, total);
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        // The memory's own maximum or the pool's: the guest sees -1 and the sum is put right.
        self.memory_bytes = self.memory_bytes.saturating_sub(self.last_growth);
        self.meters.freed(self.last_growth);
        self.last_growth = 0;
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let growth = (desired as u64).saturating_sub(current as u64);
        let total = self.table_elements.saturating_add(growth);
        if total > self.table_elements_max {
            return Err(Breach::Table.into());
        }
        self.table_elements = total;
        self.table_peak = self.table_peak.max(total);
        Ok(true)
    }
}

/// Names the limit or fault that ended a call.
pub(crate) fn classify(error: &wasmtime::Error, limits: &Limits) -> CallError {
    if let Some(breach) = error.downcast_ref::<Breach>() {
        return from_breach(*breach, limits);
    }
    if let Some(hire) = error.downcast_ref::<HireError>() {
        return CallError::Callee(hire.to_string());
    }
    if let Some(trap) = error.downcast_ref::<Trap>() {
        if *trap == Trap::StackOverflow {
            return CallError::StackExhausted;
        }
        return CallError::Trapped(trap.to_string());
    }
    if error.is::<PoolConcurrencyLimitError>() {
        // A place is free and its instance not yet: no more than a moment.
        return CallError::Overloaded { retry_after_ms: 0 };
    }
    if let Some(exit) = error.downcast_ref::<I32Exit>() {
        return CallError::Trapped(format!("exited with status {}", exit.0));
    }
    if let Some(ResourceTableError::Full) = error.downcast_ref() {
        return from_breach(Breach::Handles, limits);
    }
    // These two error types are private to the engine, whose version is pinned; tests hold the texts.
    let text = format!("{error:#}");
    if text.contains("fuel allocated for hostcalls has been exhausted") {
        return CallError::OutputTooLarge {
            bytes_max: limits.output_bytes_max,
        };
    }
    if text.contains("store handle limit exceeded") {
        return from_breach(Breach::Handles, limits);
    }
    CallError::Trapped(first_line(&text))
}

/// The error that tells a caller about `breach`.
pub(crate) fn from_breach(breach: Breach, limits: &Limits) -> CallError {
    match breach {
        Breach::Memory => CallError::MemoryExceeded {
            bytes_max: limits.memory_bytes_max,
        },
        Breach::Table => CallError::TableExceeded {
            elements_max: limits.table_elements_max,
        },
        Breach::Cpu => CallError::CpuExceeded {
            limit_ms: u64::try_from(limits.cpu_max.as_millis()).unwrap_or(u64::MAX),
        },
        Breach::Wall => CallError::TimedOut {
            limit_ms: u64::try_from(limits.wall_max.as_millis()).unwrap_or(u64::MAX),
            busy: false,
        },
        Breach::HostCalls => CallError::HostCalls,
        Breach::HostBytes => CallError::HostBytes {
            bytes_max: limits.host_bytes_max,
        },
        Breach::Handles => CallError::HandlesExceeded {
            handles_max: limits.handles_max,
        },
    }
}

fn first_line(text: &str) -> String {
    const CHARS_MAX: usize = 300;
    text.lines()
        .next()
        .unwrap_or_default()
        .chars()
        .take(CHARS_MAX)
        .collect()
}
