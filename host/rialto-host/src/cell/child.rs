//! The cell's side: one service, call after call, until its host is gone.
//!
//! The component's code comes compiled, from the host's own cache. It is made executable first; then the
//! process gives up what it does not need, the means to make anything else executable among it; only then
//! there are threads, and a guest. What a guest may ask for that a cell does not have goes back to the
//! host ([`super::asking`]).
//!
//! Non-goals: limits that hold against code which has taken the process over. Those are the host's, and
//! the kernel's.

use std::collections::HashMap;
use std::io::{self, BufReader};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rialto_compute::ops;
use rialto_confine::{CellLimits, confine_cell, end_with_parent};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tracing::Level;

use super::asking::{CellKeyValue, CellModels, CellOutbound, Wants};
use super::hiring::CellHirer;
use super::values::Failure;
use super::wire::{self, Call, ComputerSetup, Form, Frame, Setup, Spent, ToCell, ToHost};
use crate::cache;
use crate::capabilities::log::Sink;
use crate::clock::CpuClock;
use crate::device::DeviceConfig;
use crate::door::Concurrency;
use crate::engine::{Config, Host, Inner, new_engine};
use crate::error::{ArgumentError, CallError};
use crate::meters::ServiceMeters;
use crate::model::NoModels;
use crate::service::{
    Arguments, CallContext, Compiled, GuestStream, Means, Outcome, Part, Prepared, Service,
};
use crate::state::Shared;
use crate::warm::WarmConfig;

/// Serves the host at the other end of the standard input, as a cell for one service. `computers` makes
/// the processor a device for tensor operations. Ends the process when the host is gone.
///
/// Only a process that does nothing else, and has no other thread yet, may call this: it limits the whole
/// process, for good.
#[must_use]
pub fn serve(computers: impl FnOnce(ComputerSetup) -> Vec<Arc<dyn ops::Device>>) -> ExitCode {
    match serve_stdin(computers) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Where frames to the host are written, each as a whole.
#[derive(Debug)]
pub(super) struct Out {
    socket: Mutex<UnixStream>,
}

impl Out {
    /// Says something to the host; without a host the process is of no use.
    pub(super) fn say(&self, message: &ToHost, payload: Vec<Bytes>) {
        let said = Frame::new(message, payload).and_then(|frame| {
            let mut socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
            frame.write(&mut *socket)
        });
        if said.is_err() {
            std::process::abort();
        }
    }
}

/// A service in this process.
struct Cell {
    service: Service,
    out: Arc<Out>,
    wants: Arc<Wants>,
    calls: Mutex<HashMap<u64, Handle>>,
}

/// How a call that runs is reached.
struct Handle {
    task: AbortHandle,
    /// Asks for the next item.
    pulls: mpsc::Sender<()>,
}

fn serve_stdin(
    computers: impl FnOnce(ComputerSetup) -> Vec<Arc<dyn ops::Device>>,
) -> io::Result<()> {
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut from = BufReader::with_capacity(READ_BYTES, socket.try_clone()?);
    let out = Arc::new(Out {
        socket: Mutex::new(socket),
    });
    let (ToCell::Setup(setup), image) = wire::read(&mut from, PAYLOAD_MAX)? else {
        return Err(wire::nonsense("a call before a service"));
    };
    end_with_parent(setup.host)?;
    let trial = setup.trial;
    let (cell, runtime, confined) = match prepare(*setup, &image, &out, computers) {
        Ok(prepared) => prepared,
        Err(reason) => {
            out.say(&ToHost::Unable { reason }, Vec::new());
            return Ok(());
        }
    };
    out.say(&ToHost::Ready { confined }, Vec::new());
    if trial {
        return Ok(());
    }
    drop(image);
    let Some(cell) = cell else { return Ok(()) };
    while let Ok((message, payload)) = wire::read(&mut from, PAYLOAD_MAX) {
        cell.take(&runtime, message, payload);
    }
    // Not an orderly exit: nobody is left to tell, and guests may be running.
    std::process::abort();
}

type Ready = (Option<Arc<Cell>>, Runtime, Vec<String>);

/// Makes the code executable, gives up what is not needed, and then becomes the service.
fn prepare(
    setup: Setup,
    image: &[u8],
    out: &Arc<Out>,
    computers: impl FnOnce(ComputerSetup) -> Vec<Arc<dyn ops::Device>>,
) -> Result<Ready, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let computers = match setup.computer.threads {
        0 => Vec::new(),
        _ => computers(setup.computer),
    };
    let config = config(&setup, computers);
    let engine = new_engine(&config).map_err(|error| text(&error))?;
    let component = (!setup.trial)
        .then(|| cache::of_host(&engine, image))
        .transpose()
        .map_err(|error| format!("{error:#}"))?;
    let limits = CellLimits {
        memory_bytes: setup.memory_bytes,
        image_bytes: setup.spec.limits.memory_bytes_max.max(IMAGE_BYTES_MIN),
    };
    let confined = confine_cell(limits).map_err(|error| text(&error))?;
    let runtime = Builder::new_multi_thread()
        .worker_threads(cores)
        .enable_all()
        .build()
        .map_err(|error| format!("it cannot start threads: {error}"))?;
    let Some(component) = component else {
        return Ok((None, runtime, confined));
    };
    let compiled = Compiled {
        component,
        digest: setup.component,
        bytes: &[],
    };
    let inner = Inner::new(config, engine, None).map_err(|error| text(&error))?;
    let host = Host::of(inner);
    let service = host
        .assemble(&compiled, setup.spec, Arc::new(NoModels))
        .map_err(|error| text(&error))?;
    let cell = Arc::new(Cell {
        service,
        out: Arc::clone(out),
        wants: Arc::new(Wants::new(Arc::clone(out))),
        calls: Mutex::default(),
    });
    Ok((Some(cell), runtime, confined))
}

/// What the host allows, for a host of one service.
fn config(setup: &Setup, computers: Vec<Arc<dyn ops::Device>>) -> Config {
    let usual = DeviceConfig::default();
    let calls = usize::try_from(setup.calls_max).unwrap_or(usize::MAX);
    Config {
        calls_max: setup.calls_max,
        // The host has let them in.
        concurrency: Concurrency::Fixed(setup.calls_max),
        background_max: setup.calls_max,
        limits_max: setup.limits_max.clone(),
        tick: Duration::from_micros(setup.tick_us),
        // Who is next was decided by the host.
        device: DeviceConfig {
            runs_max: calls.try_into().unwrap_or(usual.runs_max),
            service_memory_bytes_max: usual.memory_bytes_max,
            ..usual
        },
        computers,
        // An instance belongs to its call there, with what the host does for it.
        warm: WarmConfig {
            instances_max: 0,
            ..WarmConfig::default()
        },
        // There is no folder that it could reach.
        ..Config::new("/")
    }
}

impl Cell {
    fn take(self: &Arc<Self>, runtime: &Runtime, message: ToCell, payload: Bytes) {
        match message {
            ToCell::Call(call) => {
                let end = End {
                    cell: Arc::clone(self),
                    call: call.call,
                    meters: Arc::default(),
                    clock: CpuClock::default(),
                    told: false,
                };
                let (pulls, pulled) = mpsc::channel(1);
                // Whoever ends takes its handle away under the same lock.
                let mut calls = self.calls();
                let number = call.call;
                let task = runtime
                    .spawn(answer(end, call, payload, pulled))
                    .abort_handle();
                calls.insert(number, Handle { task, pulls });
            }
            ToCell::Next { call } => {
                if let Some(running) = self.calls().get(&call) {
                    // The host asks for the next item when it has the one before.
                    let _ = running.pulls.try_send(());
                }
            }
            ToCell::Cancel { call } => {
                let running = self.calls().remove(&call);
                if let Some(running) = running {
                    running.task.abort();
                }
                self.wants.forget(call);
            }
            ToCell::Answer { request, answer } => self.wants.answered(request, answer, payload),
            ToCell::Setup(_) => std::process::abort(),
        }
    }

    /// What the service makes of a call's arguments.
    fn prepared(
        &self,
        call: &mut Call,
        payload: Bytes,
    ) -> Result<(Prepared, CallContext), CallError> {
        let now = Instant::now();
        let left = Duration::from_micros(call.left_us);
        let context = CallContext {
            call_id: std::mem::take(&mut call.call_id),
            deadline: now.checked_add(left).unwrap_or(now),
            // The host knows who, and whose turn it is.
            payer: match call.payer {
                0 => String::new(),
                alias => format!("{alias:x}"),
            },
            price: 0,
            hirer: Arc::new(CellHirer::new(&self.wants, call.call, call.budget)),
            awaited: None,
        };
        let form = std::mem::replace(&mut call.form, Form::Raw);
        let arguments = arguments(form, payload)
            .ok_or_else(|| CallError::Internal("a call's arguments were cut".to_owned()))?;
        // The host has checked them; only the memory for them may be short.
        let prepared = self.service.prepare(&call.method, arguments);
        let prepared = prepared.map_err(|error| match error {
            ArgumentError::Overloaded => CallError::Overloaded { retry_after_ms: 0 },
            other @ (ArgumentError::UnknownMethod { .. }
            | ArgumentError::Syntax(_)
            | ArgumentError::Type(_)
            | ArgumentError::NotRaw { .. }
            | ArgumentError::TooLarge { .. }) => CallError::Internal(other.to_string()),
        })?;
        Ok((prepared, context))
    }

    /// What a call has of the host, and what counts it.
    fn means(&self, end: &End) -> Means {
        let (call, shared) = (end.call, self.service.shared());
        let bytes_max = shared.limits.key_value_bytes_max;
        let bytes_max = bytes_max.max(shared.limits.transfer_bytes_max);
        let shared = Shared {
            models: Arc::new(CellModels::new(&self.wants, call)),
            outbound: Arc::new(CellOutbound::new(&self.wants, call)),
            key_value: Arc::new(CellKeyValue::new(&self.wants, call, bytes_max)),
            meters: Arc::clone(&end.meters),
            lines: Arc::new(Told {
                out: Arc::clone(&self.out),
                call,
            }),
            ..Shared::clone(shared)
        };
        Means {
            shared: Arc::new(shared),
            clock: end.clock.clone(),
        }
    }

    /// Gives a stream's items as they are asked for.
    async fn give(
        &self,
        call: u64,
        mut stream: GuestStream,
        mut pulled: mpsc::Receiver<()>,
    ) -> Result<Outcome, CallError> {
        let usage = stream.usage().clone();
        self.out.say(&ToHost::Opened { call, usage }, Vec::new());
        while pulled.recv().await.is_some() {
            let item = stream.next().await?;
            let usage = stream.usage().clone();
            let Some(item) = item else {
                let body = Bytes::from_static(b"null");
                return Ok(Outcome { body, usage });
            };
            self.out.say(&ToHost::Item { call, usage }, vec![item]);
        }
        Err(CallError::Internal("nobody asks any more".to_owned()))
    }

    fn calls(&self) -> MutexGuard<'_, HashMap<u64, Handle>> {
        // No step under this lock leaves something half-changed.
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs a call and tells the host what came of it.
async fn answer(mut end: End, mut call: Call, payload: Bytes, pulled: mpsc::Receiver<()>) {
    let result = run(&end, &mut call, payload, pulled).await;
    end.told = true;
    let (call, spent) = (call.call, end.spent());
    let (message, content) = match result {
        Ok(Outcome { body, usage }) => (ToHost::Done { call, usage, spent }, body),
        Err(error) => {
            let (failure, refusal) = Failure::of(error);
            let failed = ToHost::Failed {
                call,
                failure,
                spent,
            };
            (failed, refusal)
        }
    };
    end.cell.out.say(&message, vec![content]);
}

async fn run(
    end: &End,
    call: &mut Call,
    payload: Bytes,
    pulled: mpsc::Receiver<()>,
) -> Result<Outcome, CallError> {
    let cell = &end.cell;
    let (prepared, context) = cell.prepared(call, payload)?;
    let (service, means) = (&cell.service, cell.means(end));
    if call.streams {
        let stream = service.open_with(prepared, context, means).await?;
        return cell.give(call.call, stream, pulled).await;
    }
    service.call_with(prepared, context, means).await
}

/// The end of a call, however it comes, also before it has begun.
struct End {
    cell: Arc<Cell>,
    call: u64,
    /// Counts this call alone.
    meters: Arc<ServiceMeters>,
    clock: CpuClock,
    /// Whether its result is the host's already, or is about to be.
    told: bool,
}

impl End {
    fn spent(&self) -> Spent {
        Spent::of(&self.meters, self.clock.finished())
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.cell.calls().remove(&self.call);
        self.cell.wants.forget(self.call);
        if !self.told {
            let (call, spent) = (self.call, self.spent());
            let ended = ToHost::Ended { call, spent };
            self.cell.out.say(&ended, Vec::new());
        }
    }
}

/// Hands a call's lines to the host.
struct Told {
    out: Arc<Out>,
    call: u64,
}

impl Sink for Told {
    fn take(&self, _: &str, _: &str, lines: Vec<(Level, String)>, dropped: u64) {
        let number = |level| match level {
            Level::ERROR => 0,
            Level::WARN => 1,
            Level::INFO => 2,
            _ => 3,
        };
        let lines = lines.into_iter();
        let message = ToHost::Lines {
            call: self.call,
            lines: lines.map(|(level, line)| (number(level), line)).collect(),
            dropped,
        };
        self.out.say(&message, Vec::new());
    }
}

/// The arguments as they arrived; none if the parts do not fill the payload.
fn arguments(form: Form, mut payload: Bytes) -> Option<Arguments> {
    Some(match form {
        Form::Json => Arguments::Json(payload),
        Form::Raw => Arguments::Raw(payload),
        Form::Parts(parts) => {
            let mut found = Vec::with_capacity(parts.len());
            for (name, bytes) in parts {
                let bytes = usize::try_from(bytes).ok()?;
                let content = (bytes <= payload.len()).then(|| payload.split_to(bytes))?;
                found.push(Part { name, content });
            }
            Arguments::Parts(found)
        }
    })
}

/// What the host sends was checked by it.
const PAYLOAD_MAX: u64 = (4 << 30) - 1;
const READ_BYTES: usize = 64 << 10;
/// Images are whole pages.
const IMAGE_BYTES_MIN: u64 = 1 << 20;
