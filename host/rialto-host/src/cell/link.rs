//! A running cell, as its host sees it: its process, what is said both ways, and the calls in it.
//!
//! One task reads, one writes, one looks after the process. All that a cell says is checked; nonsense,
//! silence when a call should have ended, and work that nobody asked for end the process. Then its calls
//! end with [`CallError::CellEnded`], none is charged (money rule M3), and none is run again.

mod hearing;

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use rialto_confine::Quarantine;
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout_at};
use tracing::Span;

use super::calling::{Asked, Event, Running};
use super::meter::Clock;
use super::serving::Desk;
use super::starter::{Process, Starter};
use super::values::short;
use super::wire::{Call, Frame, ToCell, ToHost};
use crate::error::CallError;
use crate::meters::MethodMeters;
use crate::state::Shared;

/// A cell that takes calls, or did.
pub(super) struct Link {
    to: mpsc::Sender<Frame>,
    state: Mutex<State>,
    /// Calls at a time.
    places: Arc<Semaphore>,
    /// Wishes at a time; the cell is not read from meanwhile.
    wishes: Arc<Semaphore>,
    next: AtomicU64,
    pid: u32,
    clock: Clock,
    kin: Kin,
    runtime: Handle,
}

/// What a cell shares with its service and the host's other cells.
pub(super) struct Kin {
    pub(super) shared: Arc<Shared>,
    pub(super) operations: bool,
    pub(super) digest: [u8; 32],
    pub(super) quarantine: Arc<Mutex<Quarantine>>,
    pub(super) starter: Arc<Starter>,
    pub(super) idle_max: Duration,
    pub(super) calls_max: u32,
}

struct State {
    calls: HashMap<u64, Entry>,
    /// None once the cell takes no more calls.
    process: Option<Process>,
    /// Its place among the cells of the host, until the process has ended.
    place: Option<OwnedSemaphorePermit>,
    /// Since when nobody has called.
    idle_since: Instant,
}

/// A call in the cell.
struct Entry {
    /// None when nobody waits any more.
    answer: Option<mpsc::Sender<Event>>,
    /// What the cell is to say next of it.
    awaited: Awaited,
    /// Whether the cell was told of it.
    sent: bool,
    started: Instant,
    /// The method's counts.
    meters: Arc<MethodMeters>,
    /// The call's, for what is done for it.
    span: Span,
    call_id: String,
    desk: Arc<Desk>,
    /// What the host does for it; ends with it.
    tasks: JoinSet<()>,
    lines_left: u32,
    _place: OwnedSemaphorePermit,
}

/// What a cell may say of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaited {
    /// Its result.
    Result,
    /// That it has returned its stream.
    Stream,
    /// The stream's next item, or its end.
    Item,
    /// Nothing: nobody has asked for the next item.
    Nothing,
}

/// Why a cell takes no more calls.
#[derive(Debug)]
pub(super) enum Why {
    /// Nobody needs it.
    Idle,
    /// It did what a sound cell does not.
    Fault(String),
    /// Its process closed its socket.
    Over,
}

/// Why a cell did not run a call.
pub(super) enum NotRun {
    /// It was ending; another may.
    Gone(Box<Asked>),
    /// The call's own end.
    Call(CallError),
}

impl Link {
    /// A cell that is ready for calls.
    pub(super) fn new(
        process: Process,
        socket: UnixStream,
        place: OwnedSemaphorePermit,
        kin: Kin,
    ) -> Arc<Self> {
        let (to, frames) = mpsc::channel(FRAMES_MAX);
        let places = usize::try_from(kin.calls_max).unwrap_or(usize::MAX);
        let (read, write) = socket.into_split();
        let link = Arc::new(Self {
            to,
            places: Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS))),
            wishes: Arc::new(Semaphore::new(WISHES_MAX)),
            next: AtomicU64::new(0),
            pid: process.id(),
            clock: Clock::of(process.id()),
            state: Mutex::new(State {
                calls: HashMap::new(),
                process: Some(process),
                place: Some(place),
                idle_since: Instant::now(),
            }),
            kin,
            runtime: Handle::current(),
        });
        tokio::spawn(Self::write(Arc::downgrade(&link), write, frames));
        tokio::spawn(Self::listen(Arc::clone(&link), read));
        tokio::spawn(Self::look_after(Arc::downgrade(&link)));
        link
    }

    /// Whether it takes calls.
    pub(super) fn is_open(&self) -> bool {
        self.state().process.is_some()
    }

    /// Whether its process is ending, and its place not free yet.
    pub(super) fn is_ending(&self) -> bool {
        let state = self.state();
        state.process.is_none() && state.place.is_some()
    }

    /// Since when it has had nothing to do; none if it has, or is ending.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let state = self.state();
        (state.process.is_some() && state.calls.is_empty()).then_some(state.idle_since)
    }

    /// The number of its process.
    pub(super) fn process(&self) -> u32 {
        self.pid
    }

    /// The processor time of its process, where the system tells.
    pub(super) fn processor_time(&self) -> Option<Duration> {
        self.clock.used()
    }

    /// Whether it can do tensor operations.
    pub(super) fn does_operations(&self) -> bool {
        self.kin.operations
    }

    /// Begins a call. Cancel-safe: a call that nobody waits for any more is ended in the cell, or with it.
    pub(super) async fn begin(self: &Arc<Self>, asked: Asked) -> Result<Running, NotRun> {
        let (started, deadline) = (asked.asking.started, asked.asking.deadline);
        let late = || NotRun::Call(crate::service::late(started, deadline));
        let place = Arc::clone(&self.places).acquire_owned();
        let Ok(Ok(place)) = timeout_at(deadline.into(), place).await else {
            return Err(late());
        };
        let Some(running) = self.enter(&asked, place) else {
            return Err(NotRun::Gone(Box::new(asked)));
        };
        let number = running.call;
        let left = deadline.saturating_duration_since(Instant::now());
        let message = ToCell::Call(Call {
            call: number,
            call_id: asked.asking.call_id,
            payer: alias(&asked.asking.payer),
            method: asked.asking.method,
            form: asked.form,
            left_us: u64::try_from(left.as_micros()).unwrap_or(u64::MAX),
            streams: asked.streams,
            budget: asked.asking.hirer.left(),
        });
        let frame = Frame::new(&message, asked.payload)
            .map_err(|error| NotRun::Call(CallError::Internal(error.to_string())))?;
        // Without a writer the cell has ended, and the events say so.
        if let Ok(room) = timeout_at(deadline.into(), self.to.reserve())
            .await
            .map_err(|_| late())?
        {
            if let Some(entry) = self.state().calls.get_mut(&number) {
                entry.sent = true;
            }
            room.send(frame);
        }
        Ok(running)
    }

    /// Asks for the next item of a call that streams.
    pub(super) async fn pull(&self, call: u64, frame: Frame) {
        // Without a writer the cell has ended, and the events say so.
        if let Ok(room) = self.to.reserve().await {
            if let Some(entry) = self.state().calls.get_mut(&call) {
                entry.awaited = Awaited::Item;
            }
            room.send(frame);
        }
    }

    /// Makes a place for a call, unless the cell takes none any more.
    fn enter(self: &Arc<Self>, asked: &Asked, place: OwnedSemaphorePermit) -> Option<Running> {
        let asking = &asked.asking;
        let payer = asking.payer.clone();
        let desk = Arc::new(Desk::new(
            Arc::clone(&self.kin.shared),
            payer,
            asking.deadline,
            (Arc::clone(&asking.hirer), asking.lends),
        ));
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let entry = Entry {
            answer: Some(sender),
            awaited: if asked.streams {
                Awaited::Stream
            } else {
                Awaited::Result
            },
            sent: false,
            started: asking.started,
            meters: Arc::clone(&asking.meters),
            span: Span::current(),
            call_id: asking.call_id.clone(),
            desk: Arc::clone(&desk),
            tasks: JoinSet::new(),
            lines_left: self.kin.shared.limits.log_lines_max,
            _place: place,
        };
        let mut state = self.state();
        state.process.as_ref()?;
        state.calls.insert(number, entry);
        drop(state);
        Some(Running {
            link: Arc::clone(self),
            call: number,
            events,
            desk,
            started: asking.started,
            deadline: asking.deadline,
            input_bytes: asked.input_bytes,
            before: self.clock.used(),
        })
    }

    /// Takes no more calls, and ends the process; its calls end with why.
    pub(super) fn end(self: &Arc<Self>, why: Why) {
        let Some(mut process) = self.state().process.take() else {
            return;
        };
        let fault = match why {
            Why::Over => Some(None),
            Why::Idle => None,
            Why::Fault(reason) => Some(Some(reason)),
        };
        if fault != Some(None) {
            process.kill();
        }
        let (link, starter) = (Arc::clone(self), Arc::clone(&self.kin.starter));
        self.runtime.spawn(async move {
            let status = starter.finish(process).await;
            let how = match status {
                Ok(Ok(status)) => status.to_string(),
                Ok(Err(error)) => error.to_string(),
                Err(_) => "the host is stopping".to_owned(),
            };
            link.ended(fault, &how);
        });
    }

    /// After its process has ended: because of a fault, if there was one that has a name.
    fn ended(&self, fault: Option<Option<String>>, how: &str) {
        let service = &self.kin.shared.service;
        let reason = match fault {
            Some(fault) => {
                let reason = fault.unwrap_or_else(|| how.to_owned());
                tracing::warn!(service, reason, "a service's process ended");
                let mut quarantine = lock(&self.kin.quarantine);
                quarantine.crashed(self.kin.digest, reason.clone(), Instant::now());
                reason
            }
            None => {
                tracing::debug!(service, "an idle service's process was ended");
                STOPPED.to_owned()
            }
        };
        let calls = {
            let mut state = self.state();
            drop(state.place.take());
            std::mem::take(&mut state.calls)
        };
        for (_, entry) in calls {
            if let Some(answer) = entry.answer {
                // Nobody waits any more if the call was given up.
                let ended = Event::Ended(Err(CallError::CellEnded(reason.clone())));
                let _ = answer.try_send(ended);
            }
        }
    }

    async fn write(link: Weak<Self>, mut to: OwnedWriteHalf, mut frames: mpsc::Receiver<Frame>) {
        while let Some(frame) = frames.recv().await {
            if frame.send(&mut to).await.is_err() {
                break;
            }
        }
        if let Some(link) = link.upgrade() {
            link.end(Why::Over);
        }
    }

    /// Ends the cell when it has been idle for long, or works although nobody called.
    async fn look_after(link: Weak<Self>) {
        let mut idle: Option<(Instant, Option<Duration>)> = None;
        loop {
            sleep(LOOK).await;
            let Some(link) = link.upgrade() else { return };
            if !link.is_open() {
                return;
            }
            let (since, used) = (link.idle_since(), link.clock.used());
            if since.is_some_and(|since| since.elapsed() >= link.kin.idle_max) {
                link.end(Why::Idle);
                return;
            }
            if let (Some(since), Some((before, then))) = (since, idle)
                && since == before
                && used
                    .zip(then)
                    .is_some_and(|(now, then)| now.saturating_sub(then) > IDLE_WORK_MAX)
            {
                link.end(Why::Fault("it worked although nobody called".to_owned()));
                return;
            }
            idle = since.map(|since| (since, used));
        }
    }

    /// Nobody waits for a call any more.
    pub(super) fn give_up(self: &Arc<Self>, call: u64) {
        {
            let mut state = self.state();
            let Some(entry) = state.calls.get_mut(&call) else {
                return;
            };
            if !entry.sent {
                state.calls.remove(&call);
                return;
            }
            entry.answer = None;
            entry.tasks.abort_all();
        }
        let told = Frame::new(&ToCell::Cancel { call }, Vec::new());
        let told = told.ok().and_then(|frame| self.to.try_send(frame).ok());
        if told.is_none() {
            self.end(Why::Fault("it did not listen".to_owned()));
            return;
        }
        let link = Arc::downgrade(self);
        self.runtime.spawn(async move {
            sleep(GIVING_UP_MAX).await;
            let Some(link) = link.upgrade() else { return };
            if link.state().calls.contains_key(&call) {
                let reason = "a call that was given up did not end";
                link.end(Why::Fault(reason.to_owned()));
            }
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// What the cell says to the host before it takes calls.
pub(super) fn greeting(message: ToHost) -> Result<Vec<String>, String> {
    match message {
        ToHost::Ready { confined } => Ok(confined.iter().map(|line| short(line)).collect()),
        ToHost::Unable { reason } => Err(short(&reason)),
        ToHost::Done { .. }
        | ToHost::Failed { .. }
        | ToHost::Ended { .. }
        | ToHost::Opened { .. }
        | ToHost::Item { .. }
        | ToHost::Lines { .. }
        | ToHost::Want { .. } => Err("it spoke out of turn".to_owned()),
    }
}

/// No step under the locks here leaves something half-changed.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Of a process that nobody needs any more.
const STOPPED: &str = "it was stopped";
const READ_BYTES: usize = 64 << 10;
/// For what lies around a payload of the largest size.
const SLACK_BYTES: u64 = 64 << 10;
/// Frames that wait for the cell to read.
const FRAMES_MAX: usize = 256;
/// What a caller has not taken yet: the answer to what it asked, and the end.
const EVENTS_MAX: usize = 2;
const WISHES_MAX: usize = 256;
/// How long a call that was given up may go on: a few of the guests' clock ticks, on a busy machine.
const GIVING_UP_MAX: Duration = Duration::from_secs(2);
/// How often a cell is looked after.
const LOOK: Duration = Duration::from_secs(1);
/// The processor time that an idle cell may use between two looks.
const IDLE_WORK_MAX: Duration = Duration::from_millis(500);

/// What a cell knows of a payer: the same number for the same one, as long as this process lives.
fn alias(payer: &str) -> u64 {
    static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    if payer.is_empty() {
        0
    } else {
        KEYS.hash_one(payer).max(1)
    }
}
