//! Cells: a service in a process of its own, for the day on which the compiler of guests' code has a hole.
//!
//! The same component, limits, errors and capabilities as in the host's process; in between is a socket.
//! The host compiles and checks the component, decides who comes in, keeps models and connections, and
//! measures. The cell has the compiled code, its guests' memory, clocks, randomness and (if the host's
//! operations run on the processor) tensor operations; it can open nothing, reach nobody, start nothing
//! and make nothing executable ([`rialto_confine`]). Whoever breaks out of WebAssembly finds himself there,
//! with the data of one service's calls.
//!
//! A cell starts with the first call, and ends when nobody called for a while or too many others are
//! needed. One that ends by itself fails its calls with [`CallError::CellEnded`]; the next call starts
//! another, after a rest if that happens again and again.
//!
//! Non-goals: a cell for each call; language models and graphics processors in a cell; anything against
//! faults of the kernel.

mod asking;
mod calling;
mod child;
mod hiring;
mod link;
mod meter;
mod serving;
mod starter;
#[cfg(test)]
mod tests;
mod values;
mod wire;

use std::fmt;
use std::io::BufReader;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
pub use rialto_confine::Program;
use rialto_confine::Quarantine;
use tokio::net::UnixStream;
use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};
use tokio::time::{timeout, timeout_at};

use calling::Running;
pub(crate) use calling::{Asked, Asking, Pulling};
pub use child::serve;
use link::{Kin, Link, NotRun, Why, greeting, lock};
use starter::{Started, Starter};
pub use wire::ComputerSetup;
use wire::{Frame, Setup, ToCell, ToHost};

use crate::error::{CallError, LoadError};
use crate::service::Usage;
use crate::spec::{Isolation, Limits, ServiceSpec};
use crate::state::Shared;

/// How services are run in processes of their own.
#[derive(Debug, Clone)]
pub struct CellConfig {
    /// The program that calls [`serve`] and does nothing else.
    pub program: Program,
    /// Cells at a time, of all services.
    pub cells_max: usize,
    /// Calls at a time in one cell.
    pub calls_max: u32,
    /// How long a cell stays when nobody calls.
    pub idle_max: Duration,
    /// How long starting one may take.
    pub start_max: Duration,
    /// What tensor operations may take in a cell.
    pub computer: ComputerSetup,
}

impl CellConfig {
    /// Sensible bounds for one machine.
    #[must_use]
    pub const fn new(program: Program) -> Self {
        Self {
            program,
            cells_max: 64,
            calls_max: 32,
            idle_max: Duration::from_secs(60),
            start_max: Duration::from_secs(20),
            computer: ComputerSetup {
                threads: 1,
                memory_bytes_max: 2 << 30,
            },
        }
    }
}

/// What all cells of a host share.
pub(crate) struct Cells {
    config: CellConfig,
    starter: Arc<Starter>,
    quarantine: Arc<Mutex<Quarantine>>,
    places: Arc<Semaphore>,
    running: Mutex<Vec<Arc<Link>>>,
    /// What a cell gives up on this system, found out once.
    confined: OnceLock<Result<Vec<String>, String>>,
}

impl fmt::Debug for Cells {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cells")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Cells {
    /// # Errors
    /// There can be no thread for them.
    pub(crate) fn new(config: CellConfig) -> std::io::Result<Self> {
        let places = config.cells_max.min(Semaphore::MAX_PERMITS);
        Ok(Self {
            starter: Arc::new(Starter::new(config.program.clone())?),
            quarantine: Arc::default(),
            places: Arc::new(Semaphore::new(places)),
            running: Mutex::default(),
            confined: OnceLock::new(),
            config,
        })
    }

    pub(crate) const fn computer(&self) -> ComputerSetup {
        self.config.computer
    }

    /// What a cell gives up on this system. The first time, a process is started to find out; blocks.
    pub(crate) fn confined(&self) -> Result<&[String], LoadError> {
        let found = self.confined.get_or_init(|| {
            let found = self.try_out();
            match &found {
                Ok(lines) => tracing::info!(
                    given_up = lines.join(", "),
                    "services in processes of their own"
                ),
                Err(reason) => tracing::error!(reason, "no service can have a process of its own"),
            }
            found
        });
        found
            .as_deref()
            .map_err(|reason| LoadError::Isolation(reason.clone()))
    }

    fn try_out(&self) -> Result<Vec<String>, String> {
        let failed = |error: &dyn fmt::Display| {
            let file = self.config.program.file.display();
            format!("no process can be started from {file}: {error}")
        };
        let started = self.starter.start();
        let started = wait_here(started).ok_or_else(|| failed(&"no thread"))?;
        let Started {
            process: _process,
            socket,
        } = started.map_err(|error| failed(&error))?;
        let setup = Setup {
            trial: true,
            ..setup(
                &self.config,
                &ServiceSpec::default(),
                &Limits::default(),
                Duration::from_millis(5),
            )
        };
        let frame = Frame::new(&ToCell::Setup(Box::new(setup)), Vec::new());
        let exchange = || {
            socket.set_read_timeout(Some(self.config.start_max))?;
            socket.set_write_timeout(Some(self.config.start_max))?;
            frame?.write(&mut &socket)?;
            wire::read::<ToHost>(&mut BufReader::new(&socket), 0)
        };
        let (message, _) = exchange().map_err(|error| failed(&error))?;
        greeting(message)
    }

    /// A place for one more cell: a free one, or that of the cell which has been idle for longest.
    async fn place(&self, deadline: Instant) -> Result<OwnedSemaphorePermit, CallError> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(place);
        }
        let full = CallError::Overloaded {
            retry_after_ms: RETRY_MS,
        };
        let (idle, is_ending) = {
            let running = lock(&self.running);
            let is_ending = running.iter().any(|link| link.is_ending());
            let idle = running
                .iter()
                .filter_map(|link| Some((link.idle_since()?, link)));
            let idle = idle.min_by_key(|(since, _)| *since);
            (idle.map(|(_, link)| Arc::clone(link)), is_ending)
        };
        // The place of one that is ending is free in a moment.
        match idle {
            _ if is_ending => {}
            Some(idle) => idle.end(Why::Idle),
            None => return Err(full),
        }
        let until = deadline.min(Instant::now() + PLACE_TIME_MAX);
        let place = Arc::clone(&self.places).acquire_owned();
        match timeout_at(until.into(), place).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) | Err(_) => Err(full),
        }
    }
}

fn setup(config: &CellConfig, spec: &ServiceSpec, limits: &Limits, tick: Duration) -> Setup {
    let calls = u64::from(config.calls_max);
    // What guests have, twice since the pool clears in place, and what goes in and out, with copies.
    let one = limits
        .memory_bytes_max
        .saturating_mul(2)
        .saturating_add(limits.input_bytes_max.saturating_mul(VALUES))
        .saturating_add(limits.output_bytes_max.saturating_mul(VALUES))
        .saturating_add(STACK_AND_TABLES_BYTES);
    let memory_bytes = calls
        .saturating_mul(one)
        .saturating_add(config.computer.memory_bytes_max)
        .saturating_add(OWN_BYTES);
    Setup {
        host: std::process::id(),
        spec: spec.clone(),
        component: [0; 32],
        limits_max: limits.clone(),
        calls_max: config.calls_max,
        tick_us: u64::try_from(tick.as_micros()).unwrap_or(u64::MAX),
        memory_bytes,
        trial: false,
        computer: config.computer,
    }
}

/// A service's cell: at most one process, started when it is needed.
pub(crate) struct Cell {
    seat: Arc<Seat>,
}

/// What starting a process needs, which goes on without the call that began it.
struct Seat {
    cells: Arc<Cells>,
    setup: Setup,
    image: Bytes,
    digest: [u8; 32],
    shared: Arc<Shared>,
    operations: bool,
    link: Mutex<Current>,
    starting: Arc<tokio::sync::Mutex<()>>,
}

/// The process that calls go to.
enum Current {
    None,
    Link(Arc<Link>),
    /// Nobody has the service any more.
    Closed,
}

/// What a service in a cell is made of.
pub(crate) struct Parts {
    pub(crate) spec: ServiceSpec,
    /// The compiled component.
    pub(crate) image: Bytes,
    /// The component's digest.
    pub(crate) digest: [u8; 32],
    pub(crate) shared: Arc<Shared>,
    /// Whether it can do tensor operations.
    pub(crate) operations: bool,
    pub(crate) tick: Duration,
}

impl Cell {
    /// A service that has no process yet.
    pub(crate) fn new(cells: &Arc<Cells>, parts: Parts) -> Self {
        let spec = ServiceSpec {
            // Capped already.
            limits: parts.shared.limits.clone(),
            // There its guests are in the same process as whoever calls them.
            isolation: Isolation::InProcess,
            ..parts.spec
        };
        // What a guest here would not have, none there has.
        let computer = ComputerSetup {
            threads: match parts.shared.computers.len() {
                0 => 0,
                _ => cells.config.computer.threads,
            },
            ..cells.config.computer
        };
        let seat = Seat {
            setup: Setup {
                component: parts.digest,
                computer,
                ..setup(&cells.config, &spec, &parts.shared.limits, parts.tick)
            },
            cells: Arc::clone(cells),
            image: parts.image,
            digest: parts.digest,
            shared: parts.shared,
            operations: parts.operations,
            link: Mutex::new(Current::None),
            starting: Arc::default(),
        };
        Self {
            seat: Arc::new(seat),
        }
    }

    /// Runs a call whose arguments were checked, in the service's process.
    pub(crate) async fn call(&self, asked: Asked) -> Result<(Bytes, Usage), CallError> {
        self.begin(asked).await?.finish().await
    }

    /// The same for one that streams, until it has returned its stream.
    pub(crate) async fn open(&self, asked: Asked) -> Result<Pulling, CallError> {
        let asked = Asked {
            streams: true,
            ..asked
        };
        self.begin(asked).await?.opened().await
    }

    async fn begin(&self, mut asked: Asked) -> Result<Running, CallError> {
        let (started, deadline) = (asked.asking.started, asked.asking.deadline);
        for _ in 0..TRIES_MAX {
            let link = self.link(started, deadline).await?;
            match link.begin(asked).await {
                Ok(running) => return Ok(running),
                Err(NotRun::Call(error)) => return Err(error),
                Err(NotRun::Gone(back)) => asked = *back,
            }
        }
        Err(CallError::CellEnded("it ended again and again".to_owned()))
    }

    /// The number of the service's process, while it has one.
    pub(crate) fn process(&self) -> Option<u32> {
        self.seat.open_link().map(|link| link.process())
    }

    async fn link(&self, started: Instant, deadline: Instant) -> Result<Arc<Link>, CallError> {
        let seat = &self.seat;
        if let Some(link) = seat.open_link() {
            return Ok(link);
        }
        let late = || crate::service::late(started, deadline);
        let starting = Arc::clone(&seat.starting).lock_owned();
        let starting = timeout_at(deadline.into(), starting).await;
        let starting = starting.map_err(|_| late())?;
        if let Some(link) = seat.open_link() {
            return Ok(link);
        }
        let rests = lock(&seat.cells.quarantine).rests(&seat.digest, Instant::now());
        if let Some((left, _)) = rests {
            let retry_after_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
            return Err(CallError::CellRests { retry_after_ms });
        }
        let place = seat.cells.place(deadline).await?;
        // Goes on without this call, whose time may be short: the next ones find it.
        let task = tokio::spawn(Arc::clone(seat).start_for_all(place, starting));
        let started = timeout_at(deadline.into(), task).await;
        let started = started.map_err(|_| late())?;
        started.map_err(|error| CallError::Internal(error.to_string()))?
    }
}

impl Seat {
    fn open_link(&self) -> Option<Arc<Link>> {
        match &*lock(&self.link) {
            Current::Link(link) if link.is_open() => Some(Arc::clone(link)),
            Current::Link(_) | Current::None | Current::Closed => None,
        }
    }

    async fn start_for_all(
        self: Arc<Self>,
        place: OwnedSemaphorePermit,
        _starting: OwnedMutexGuard<()>,
    ) -> Result<Arc<Link>, CallError> {
        let link = self.start(place).await.map_err(|reason| {
            let mut quarantine = lock(&self.cells.quarantine);
            quarantine.crashed(self.digest, reason.clone(), Instant::now());
            CallError::CellEnded(format!("it did not start: {reason}"))
        })?;
        {
            let mut current = lock(&self.link);
            if matches!(*current, Current::Closed) {
                link.end(Why::Idle);
                return Err(CallError::CellEnded("nobody has it any more".to_owned()));
            }
            *current = Current::Link(Arc::clone(&link));
        }
        let mut running = lock(&self.cells.running);
        running.retain(|link| link.is_open() || link.is_ending());
        running.push(Arc::clone(&link));
        Ok(link)
    }

    /// Starts the process and waits until it takes calls.
    async fn start(&self, place: OwnedSemaphorePermit) -> Result<Arc<Link>, String> {
        let text = |error: &dyn fmt::Display| error.to_string();
        let begun = Instant::now();
        let started = self.cells.starter.start().await;
        let Started { process, socket } = started
            .map_err(|_| "the host is stopping".to_owned())?
            .map_err(|error| text(&error))?;
        let greeted = async {
            socket.set_nonblocking(true)?;
            let mut socket = UnixStream::from_std(socket)?;
            let setup = ToCell::Setup(Box::new(self.setup.clone()));
            // Its header has the service's secrets.
            let frame = Frame::new(&setup, vec![self.image.clone()])?.wiped();
            frame.send(&mut socket).await?;
            let (message, _) = wire::receive::<ToHost>(&mut socket, 0).await?;
            Ok::<_, std::io::Error>((socket, message))
        };
        let start_max = self.cells.config.start_max;
        let greeted = timeout(start_max, greeted).await;
        let (socket, message) = greeted
            .map_err(|_| format!("it took longer than {} s", start_max.as_secs_f64()))?
            .map_err(|error| text(&error))?;
        let confined = greeting(message)?;
        tracing::debug!(
            service = self.shared.service,
            took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            given_up = confined.join(", "),
            "a service has a process of its own"
        );
        let kin = Kin {
            shared: Arc::clone(&self.shared),
            operations: self.operations,
            digest: self.digest,
            quarantine: Arc::clone(&self.cells.quarantine),
            starter: Arc::clone(&self.cells.starter),
            idle_max: self.cells.config.idle_max,
            calls_max: self.cells.config.calls_max,
        };
        Ok(Link::new(process, socket, place, kin))
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        let current = std::mem::replace(&mut *lock(&self.seat.link), Current::Closed);
        if let Current::Link(link) = current {
            link.end(Why::Idle);
        }
    }
}

/// Waits on this thread, which may be a runtime's: once for all, when the first service is loaded.
fn wait_here<T: Send>(receiver: tokio::sync::oneshot::Receiver<T>) -> Option<T> {
    std::thread::scope(|scope| scope.spawn(|| receiver.blocking_recv().ok()).join().ok()?)
}

/// Times that a call looks for another process because the one it had was just ending.
const TRIES_MAX: usize = 3;
/// When to come again if every cell is busy.
const RETRY_MS: u64 = 500;
/// How long an idle cell may take to make place.
const PLACE_TIME_MAX: Duration = Duration::from_secs(2);
/// Copies of what goes in and out: as it came, as values, as the guest has them.
const VALUES: u64 = 4;
/// A guest's stack, its host side included, and its tables.
const STACK_AND_TABLES_BYTES: u64 = 8 << 20;
/// For the process itself.
const OWN_BYTES: u64 = 256 << 20;
