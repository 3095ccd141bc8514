//! What one call owns: the data of its store.
//!
//! Capabilities read and write it; it lives exactly as long as the call.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rialto_scheduler::Tenant;
use wasmtime::StoreContextMut;
use wasmtime::UpdateDeadline;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::WasiCtx;

use crate::capabilities::http::HttpState;
use crate::capabilities::log::{Lines, Sink};
use crate::capabilities::random::Chance;
use crate::clock::CpuClock;
use crate::computer::Computer;
use crate::deterministic::Seed;
use crate::device::Device;
use crate::digest;
use crate::handles;
use crate::hires::{Hirer, NoHirer};
use crate::keyvalue::KeyValue;
use crate::limits::{Breach, Limiter};
use crate::meters::{Limit, MethodMeters, ServiceMeters};
use crate::model::Models;
use crate::outbound::{Origin, Outbound};
use crate::pace::Pace;
use crate::recorder::Recorder;
use crate::service::Usage;
use crate::settings::{Redactor, Settings};
use crate::spec::Limits;

/// What all calls of one service share.
#[derive(Clone)]
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
    /// Who gets what guests write.
    pub(crate) lines: Arc<dyn Sink>,
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

/// What makes a call this one.
pub(crate) struct Call {
    /// The method's counts.
    pub(crate) meters: Arc<MethodMeters>,
    pub(crate) call_id: String,
    /// Who pays; empty for nobody.
    pub(crate) payer: String,
    pub(crate) hirer: Arc<dyn Hirer>,
    /// Host memory that it leaves to a call that it waits for, in bytes.
    pub(crate) lends: u64,
    pub(crate) seed: Option<Seed>,
    pub(crate) deadline: Instant,
    pub(crate) clock: CpuClock,
}

/// The data of a call's store.
pub(crate) struct CallState {
    pub(crate) shared: Arc<Shared>,
    /// The method's counts; none before the call began.
    meters: Option<Arc<MethodMeters>>,
    pub(crate) call_id: String,
    /// What everything that varies follows from, in a deterministic call.
    pub(crate) seed: Option<Seed>,
    pub(crate) chance: Chance,
    /// Who pays; empty for nobody.
    pub(crate) payer: String,
    /// Who calls other services for it.
    pub(crate) hirer: Arc<dyn Hirer>,
    /// Host memory that it leaves to a call that it waits for, in bytes.
    pub(crate) lends: u64,
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
    pub(crate) tensor_bytes_peak: u64,
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
    pub(crate) session_bytes_peak: u64,
    pub(crate) tokens_read: u64,
    pub(crate) tokens_written: u64,
    handles_peak: u64,
    /// The run of the state's store in which the call first read or wrote there.
    pub(crate) state_run: Option<u64>,
    /// Bytes of keys and values of changes to what is kept.
    pub(crate) state_bytes: u64,
    /// Bytes of values that the guest holds to swap.
    pub(crate) noted_bytes: u64,
    /// This call's part of the device's time.
    pub(crate) device_time: Duration,
    /// Where it is said how far the call is, if somebody wants to know while it runs.
    report: Option<Report>,
}

/// How far a call is, for whoever does not hold its store.
#[derive(Debug, Clone, Default)]
pub(crate) struct Report(Arc<Mutex<Noted>>);

#[derive(Debug, Default)]
struct Noted {
    usage: Usage,
    state_run: Option<u64>,
}

impl Report {
    /// As [`CallState::usage`], when the guest last called the host.
    pub(crate) fn usage(&self) -> Usage {
        self.noted().usage.clone()
    }

    /// The run of the state's store in which the call first read or wrote there, if it did by then.
    pub(crate) fn state_run(&self) -> Option<u64> {
        self.noted().state_run
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        // What is written under this lock is written at once.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CallState {
    /// A state of no call yet, whose time on `clock` is nobody's.
    pub(crate) fn new(shared: Arc<Shared>, clock: CpuClock) -> Self {
        let limits = &shared.limits;
        let mut table = ResourceTable::new();
        table.set_max_capacity(usize::try_from(limits.handles_max).unwrap_or(usize::MAX));
        Self {
            call_id: String::new(),
            seed: None,
            chance: Chance::new(None),
            payer: String::new(),
            hirer: Arc::new(NoHirer),
            lends: 0,
            deadline: Instant::now() + limits.wall_max,
            clock,
            limiter: Limiter::new(limits, Arc::clone(&shared.meters)),
            table,
            wasi: None,
            http: None,
            lines: Lines::new(limits.log_lines_max, Arc::clone(&shared.redactor)),
            host_calls: 0,
            host_bytes: 0,
            tensor_bytes: 0,
            tensor_bytes_peak: 0,
            tensor_runs: 0,
            recorder: None,
            computer: 0,
            multiply_adds: 0,
            moved_bytes: 0,
            sessions: 0,
            session_bytes: 0,
            session_bytes_peak: 0,
            tokens_read: 0,
            tokens_written: 0,
            handles_peak: 0,
            state_run: None,
            state_bytes: 0,
            noted_bytes: 0,
            device_time: Duration::ZERO,
            report: None,
            meters: None,
            shared,
        }
    }

    /// The call begins. Whatever its store did before, it asked the host for nothing: what varies from call to
    /// call, and what limits it, is known from here on.
    pub(crate) fn begin(&mut self, call: Call) {
        let Call {
            meters,
            call_id,
            payer,
            hirer,
            lends,
            seed,
            deadline,
            clock,
        } = call;
        self.meters = Some(meters);
        self.call_id = call_id;
        self.payer = payer;
        self.hirer = hirer;
        self.lends = lends;
        self.seed = seed;
        self.chance = Chance::new(seed);
        self.deadline = deadline;
        self.clock = clock;
    }

    /// What was used so far; of the door, the arguments and the answer nothing is known here.
    pub(crate) fn usage(&self) -> Usage {
        let http = self.http.as_ref();
        let http = http.map(|http| http.used(&self.shared.limits));
        let (outbound_requests, outbound_bytes) = http.unwrap_or((0, 0));
        let spent = self.hirer.spent();
        Usage {
            waited: Duration::ZERO,
            wall_time: Duration::ZERO,
            guest_time: self.clock.used(),
            host_time: self.device_time,
            memory_peak: self.limiter.memory_peak(),
            table_peak: self.limiter.table_peak(),
            host_calls: self.host_calls,
            host_bytes: self.host_bytes,
            input_bytes: 0,
            output_bytes: 0,
            tensor_runs: self.tensor_runs,
            device_time: self.device_time,
            multiply_adds: self.multiply_adds,
            moved_bytes: self.moved_bytes,
            tokens_read: self.tokens_read,
            tokens_written: self.tokens_written,
            handles_peak: self.handles_peak,
            tensor_bytes_peak: self.tensor_bytes_peak,
            session_bytes_peak: self.session_bytes_peak,
            outbound_requests,
            outbound_bytes,
            state_bytes: self.state_bytes,
            log_lines: self.lines.count(),
            hires: spent.calls,
            spent: spent.amount,
        }
    }

    /// Counts the handles that it held; until then they count as none.
    pub(crate) fn count_handles(&mut self) {
        self.handles_peak = handles::peak(&mut self.table);
    }

    /// Where the call says how far it is, from now on.
    pub(crate) fn report(&mut self) -> Report {
        self.report.get_or_insert_default().clone()
    }

    /// Says how far the call is: at each call to WASI, since those are the calls that write.
    pub(crate) fn tell(&self) {
        if let Some(report) = &self.report {
            let mut noted = report.noted();
            noted.usage = self.usage();
            noted.state_run = self.state_run;
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
    /// other tasks run. One that has just begun goes on: most are over in a moment, and to let hundreds of other
    /// requests go first would keep its place at the door for as long.
    pub(crate) fn on_tick(context: StoreContextMut<'_, Self>) -> wasmtime::Result<UpdateDeadline> {
        let state = context.data();
        // First, so that a call that may use all of its time is always late and never too busy.
        if Instant::now() >= state.deadline {
            return Err(Breach::Wall.into());
        }
        let used = state.clock.used();
        if used >= state.shared.limits.cpu_max {
            return Err(Breach::Cpu.into());
        }
        // WASI calls are counted where their context is handed out, which cannot fail: they end here.
        state.check_host_calls()?;
        if used < JUST_BEGUN {
            return Ok(UpdateDeadline::Continue(1));
        }
        state.clock.yields();
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

/// A call that has used less does not yield yet: a fifth of a tick.
const JUST_BEGUN: Duration = Duration::from_millis(1);

impl Drop for CallState {
    /// Hands the lines over, and counts what was used, however the call ended.
    fn drop(&mut self) {
        let Some(meters) = &self.meters else {
            return;
        };
        let shared = &self.shared;
        let dropped = self
            .lines
            .emit(&*shared.lines, &shared.service, &self.call_id);
        if dropped > 0 {
            shared.meters.breach(Limit::LogLines);
        }
        meters.guest.observe(self.clock.used());
        meters.ended(self.clock.is_long());
        if !self.device_time.is_zero() {
            meters.device.observe(self.device_time);
        }
    }
}
