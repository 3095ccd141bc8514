//! What one call owns: the data of its store.
//!
//! Capabilities read and write it; it lives exactly as long as the call.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rialto_scheduler::Tenant;
use wasmtime::StoreContextMut;
use wasmtime::UpdateDeadline;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::WasiCtx;

use crate::capabilities::http::HttpState;
use crate::capabilities::log::Lines;
use crate::capabilities::random::Chance;
use crate::clock::CpuClock;
use crate::computer::Computer;
use crate::deterministic::Seed;
use crate::device::Device;
use crate::digest;
use crate::keyvalue::KeyValue;
use crate::limits::{Breach, Limiter};
use crate::meters::{Limit, MethodMeters, ServiceMeters};
use crate::model::Models;
use crate::outbound::{Origin, Outbound};
use crate::pace::Pace;
use crate::recorder::Recorder;
use crate::settings::{Redactor, Settings};
use crate::spec::Limits;

/// What all calls of one service share.
pub(crate) struct Shared {
    /// The service's name, for log lines.
    pub(crate) service: String,
    /// The models that the manifest grants, by name, and what their runs here took.
    pub(crate) models_granted: HashMap<String, Arc<Pace>>,
    /// The names of granted models by the SHA-256 digests of their files.
    pub(crate) models_by_digest: HashMap<[u8; 32], String>,
    /// Where models come from.
    pub(crate) models: Arc<dyn Models>,
    /// The limits of each call.
    pub(crate) limits: Limits,
    /// Whose work this service's is, on the device.
    pub(crate) tenant: Tenant,
    /// What all services of the host compute on.
    pub(crate) device: Device,
    /// What tensor operations may run on.
    pub(crate) computers: Arc<[Computer]>,
    /// What `wasi:config` says.
    pub(crate) settings: Settings,
    /// Takes secrets out of what leaves the host.
    pub(crate) redactor: Arc<Redactor>,
    /// Where requests may go.
    pub(crate) origins: Arc<[Origin]>,
    /// Who sends them.
    pub(crate) outbound: Arc<dyn Outbound>,
    /// Who keeps keys and values.
    pub(crate) key_value: Arc<dyn KeyValue>,
    /// The service's counts.
    pub(crate) meters: Arc<ServiceMeters>,
}

impl Shared {
    /// The granted model that a guest names by its name, or by the digest of its file.
    pub(crate) fn granted(&self, reference: &str) -> Option<(&str, &Arc<Pace>)> {
        let by_name = self.models_granted.get_key_value(reference);
        let by_digest = || {
            let name = self.models_by_digest.get(&digest::read(reference)?)?;
            self.models_granted.get_key_value(name)
        };
        let (name, pace) = by_name.or_else(by_digest)?;
        Some((name.as_str(), pace))
    }
}

/// The data of a call's store.
pub(crate) struct CallState {
    pub(crate) shared: Arc<Shared>,
    /// The method's counts.
    meters: Arc<MethodMeters>,
    pub(crate) call_id: String,
    /// What everything that varies follows from, in a deterministic call.
    pub(crate) seed: Option<Seed>,
    pub(crate) chance: Chance,
    /// Who pays; empty for nobody.
    pub(crate) payer: String,
    pub(crate) deadline: Instant,
    pub(crate) clock: CpuClock,
    pub(crate) limiter: Limiter,
    pub(crate) table: ResourceTable,
    /// Made on first use: a guest that never asks WASI anything does not pay for it.
    pub(crate) wasi: Option<WasiCtx>,
    pub(crate) http: Option<Box<HttpState>>,
    pub(crate) lines: Lines,
    pub(crate) host_calls: u64,
    pub(crate) host_bytes: u64,
    pub(crate) tensor_bytes: u64,
    pub(crate) tensor_runs: u64,
    /// Made by the first operation.
    pub(crate) recorder: Option<Recorder>,
    /// Which of the host's computers this call's operations run on.
    pub(crate) computer: usize,
    pub(crate) multiply_adds: u64,
    /// Bytes of tensors made of the guest's bytes, or read.
    pub(crate) moved_bytes: u64,
    /// Live sessions of language models.
    pub(crate) sessions: u32,
    pub(crate) session_bytes: u64,
    pub(crate) tokens_read: u64,
    pub(crate) tokens_written: u64,
    /// The run of the state's store in which the call first read or wrote there.
    pub(crate) state_run: Option<u64>,
    /// Bytes of values that the guest holds to swap.
    pub(crate) noted_bytes: u64,
    /// This call's part of the device's time.
    pub(crate) device_time: Duration,
}

impl CallState {
    pub(crate) fn new(
        shared: Arc<Shared>,
        meters: Arc<MethodMeters>,
        call_id: String,
        payer: String,
        seed: Option<Seed>,
        deadline: Instant,
        clock: CpuClock,
    ) -> Self {
        let limits = &shared.limits;
        let mut table = ResourceTable::new();
        table.set_max_capacity(usize::try_from(limits.handles_max).unwrap_or(usize::MAX));
        Self {
            call_id,
            seed,
            chance: Chance::new(seed),
            payer,
            deadline,
            clock,
            limiter: Limiter::new(limits, Arc::clone(&shared.meters)),
            table,
            wasi: None,
            http: None,
            lines: Lines::new(limits.log_lines_max, Arc::clone(&shared.redactor)),
            host_calls: 0,
            host_bytes: 0,
            tensor_bytes: 0,
            tensor_runs: 0,
            recorder: None,
            computer: 0,
            multiply_adds: 0,
            moved_bytes: 0,
            sessions: 0,
            session_bytes: 0,
            tokens_read: 0,
            tokens_written: 0,
            state_run: None,
            noted_bytes: 0,
            device_time: Duration::ZERO,
            meters,
            shared,
        }
    }

    /// Counts one call of the guest to the host that moves `bytes`.
    ///
    /// # Errors
    /// [`Breach::HostCalls`] or [`Breach::HostBytes`], to be raised as a trap, when the allowance is spent.
    pub(crate) fn charge_host_call(&mut self, bytes: u64) -> Result<(), Breach> {
        self.host_calls = self.host_calls.saturating_add(1);
        self.charge_host_bytes(bytes)
    }

    /// Counts bytes of a call that was counted before its answer's size was known.
    ///
    /// # Errors
    /// [`Breach::HostCalls`], to be raised as a trap, when the allowance is spent.
    pub(crate) fn charge_host_bytes(&mut self, bytes: u64) -> Result<(), Breach> {
        self.host_bytes = self.host_bytes.saturating_add(bytes);
        self.check_host_calls()
    }

    /// Runs at every clock tick while the guest executes: ends a call that is out of time, else lets
    /// other tasks run.
    pub(crate) fn on_tick(context: StoreContextMut<'_, Self>) -> wasmtime::Result<UpdateDeadline> {
        let state = context.data();
        // First, so that a call that may use all of its time is always late and never too busy.
        if Instant::now() >= state.deadline {
            return Err(Breach::Wall.into());
        }
        if state.clock.used() >= state.shared.limits.cpu_max {
            return Err(Breach::Cpu.into());
        }
        // WASI calls are counted where their context is handed out, which cannot fail: they end here.
        state.check_host_calls()?;
        Ok(UpdateDeadline::YieldCustom(
            1,
            Box::pin(tokio::task::yield_now()),
        ))
    }

    fn check_host_calls(&self) -> Result<(), Breach> {
        let limits = &self.shared.limits;
        if self.host_calls > limits.host_calls_max {
            return Err(Breach::HostCalls);
        }
        if self.host_bytes > limits.host_bytes_max {
            return Err(Breach::HostBytes);
        }
        Ok(())
    }
}

impl Drop for CallState {
    /// Hands the lines over, and counts what was used, however the call ended.
    fn drop(&mut self) {
        let dropped = self.lines.emit(&self.shared.service, &self.call_id);
        if dropped > 0 {
            self.shared.meters.breach(Limit::LogLines);
        }
        self.meters.guest.observe(self.clock.used());
        if !self.device_time.is_zero() {
            self.meters.device.observe(self.device_time);
        }
    }
}
