//! What the ledger's threads and readers share: the entries that the tables lack, and how far
//! the tables are.

use std::{
    collections::HashMap,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use alloy_primitives::Address;
use redb::Database;

use super::{filter::Filter, generation::Generation, log::Pool, logged::AnswersMark};
use crate::{Config, Totals, error::StorageError};

/// Everything shared.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) db: Database,
    pub(super) filter: Filter,
    pub(super) pool: Arc<Pool>,
    state: RwLock<State>,
    progress: Mutex<Progress>,
    moved: Condvar,
    poisoned: AtomicBool,
    timing: Mutex<Timing>,
}

/// Where the ledger's time went since it was opened, in wall-clock time of its own threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// Entries accepted.
    pub entries: u64,
    /// Groups written.
    pub groups: u64,
    /// Deciding on entries and encoding them.
    pub decide: Duration,
    /// Checksums and handing the bytes to the system, and making segments.
    pub append: Duration,
    /// Waiting for the disk.
    pub sync: Duration,
    /// Moving entries into the tables; on no caller's way.
    pub apply: Duration,
}

/// What is acknowledged, as far as it is not in the tables.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Grows with each group.
    pub(super) current: Generation,
    /// On its way into the tables.
    pub(super) applying: Option<Arc<Generation>>,
    /// The sums of everything.
    pub(super) totals: HashMap<(Address, Address), Totals>,
    /// What all answers ever stored add up to.
    pub(super) answers: AnswersMark,
}

impl State {
    /// The generations that the tables lack, the newer one first.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &Generation> {
        std::iter::once(&self.current).chain(self.applying.as_deref())
    }
}

/// How far each is.
#[derive(Debug)]
struct Progress {
    /// Bytes of frames that the tables lack.
    backlog: u64,
    /// Bytes of them that are on their way.
    applying: u64,
    /// When the oldest entry that is not on its way was acknowledged.
    oldest: Option<Instant>,
    /// Number of the last entry acknowledged.
    acknowledged: u64,
    /// Number of the last entry in the tables.
    applied: u64,
    /// Someone waits for the tables to reach this number.
    wanted: u64,
    /// The writer has ended.
    closing: bool,
}

/// Why the checkpointer wakes up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wake {
    /// There are entries to move.
    Apply,
    /// A segment is wanted in reserve.
    Prepare,
    /// Nothing more will come.
    Close,
}

/// The ledger stopped after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stopped;

impl Shared {
    pub(super) fn new(
        config: Config,
        db: Database,
        pool: Arc<Pool>,
        state: State,
        applied: u64,
    ) -> Self {
        Self {
            filter: Filter::new(config.filter_bytes),
            config,
            db,
            pool,
            state: RwLock::new(state),
            progress: Mutex::new(Progress {
                backlog: 0,
                applying: 0,
                oldest: None,
                acknowledged: applied,
                applied,
                wanted: 0,
                closing: false,
            }),
            moved: Condvar::new(),
            poisoned: AtomicBool::new(false),
            timing: Mutex::default(),
        }
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows a durable group to readers and to the checkpointer.
    pub(super) fn publish(&self, group: Generation) {
        let (bytes, last) = (group.bytes, group.last);
        let mut state = self.write();
        for (key, totals) in &group.totals {
            state.totals.insert(*key, *totals);
        }
        state.answers = group.answers;
        state.current.append(group);
        // Under the state's lock, so that no group is taken before it is counted.
        let mut progress = self.progress();
        progress.backlog = progress.backlog.saturating_add(bytes);
        progress.acknowledged = last;
        let first = progress.oldest.is_none();
        progress.oldest.get_or_insert_with(Instant::now);
        let waiting = progress.backlog.saturating_sub(progress.applying);
        drop(progress);
        drop(state);
        // With the first one its time begins to run.
        if first || waiting >= self.config.checkpoint_bytes || self.pool.wants_spare() {
            self.moved.notify_all();
        }
    }

    /// Waits until the entries that the tables lack leave room for more.
    pub(super) fn wait_for_room(&self) -> Result<(), Stopped> {
        let full = |progress: &mut Progress| {
            progress.backlog >= self.config.backlog_bytes_max && !self.is_poisoned()
        };
        let progress = self
            .moved
            .wait_while(self.progress(), full)
            .unwrap_or_else(PoisonError::into_inner);
        drop(progress);
        self.running()
    }

    /// Waits until everything acknowledged so far is in the tables.
    pub(super) fn flush(&self) -> Result<(), Stopped> {
        let mut progress = self.progress();
        let target = progress.acknowledged;
        if progress.applied >= target {
            return Ok(());
        }
        progress.wanted = progress.wanted.max(target);
        self.moved.notify_all();
        let behind = |progress: &mut Progress| progress.applied < target && !self.is_poisoned();
        let progress = self
            .moved
            .wait_while(progress, behind)
            .unwrap_or_else(PoisonError::into_inner);
        if progress.applied >= target {
            return Ok(());
        }
        Err(Stopped)
    }

    /// Waits until the checkpointer has something to do.
    pub(super) fn wait_for_work(&self) -> Result<Wake, Stopped> {
        let mut progress = self.progress();
        loop {
            self.running()?;
            let waiting = progress.backlog.saturating_sub(progress.applying);
            let age = progress.oldest.map(|oldest| oldest.elapsed());
            let old = age.is_some_and(|age| age >= self.config.checkpoint_interval);
            let wanted = progress.wanted > progress.applied;
            if waiting > 0
                && (old || wanted || progress.closing || waiting >= self.config.checkpoint_bytes)
            {
                return Ok(Wake::Apply);
            }
            if progress.closing {
                return Ok(Wake::Close);
            }
            if self.pool.wants_spare() {
                return Ok(Wake::Prepare);
            }
            // Whatever comes first: enough entries, their age, or someone who waits for them.
            let rest = age.map_or(IDLE, |age| {
                self.config.checkpoint_interval.saturating_sub(age)
            });
            progress = self
                .moved
                .wait_timeout(progress, rest.min(IDLE))
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Takes everything acknowledged as the next run to move.
    pub(super) fn take_generation(&self) -> Arc<Generation> {
        let mut state = self.write();
        let generation = Arc::new(std::mem::take(&mut state.current));
        state.applying = Some(Arc::clone(&generation));
        let mut progress = self.progress();
        progress.applying = generation.bytes;
        progress.oldest = None;
        drop(progress);
        drop(state);
        generation
    }

    /// The run is in the tables: readers find it there.
    pub(super) fn finish_generation(&self, generation: &Generation) {
        let done = self.write().applying.take();
        let mut progress = self.progress();
        progress.backlog = progress.backlog.saturating_sub(generation.bytes);
        progress.applying = 0;
        progress.applied = generation.last;
        drop(progress);
        self.moved.notify_all();
        drop(done);
    }

    /// The writer has ended: the checkpointer moves the rest and ends too.
    pub(super) fn close(&self) {
        self.progress().closing = true;
        self.moved.notify_all();
    }

    /// Whether the writer has ended, or failed.
    pub(super) fn is_closing(&self) -> bool {
        self.is_poisoned() || self.progress().closing
    }

    pub(super) fn applied(&self) -> u64 {
        self.progress().applied
    }

    pub(super) fn time(&self, add: impl FnOnce(&mut Timing)) {
        add(&mut self.timing.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn backlog_bytes(&self) -> u64 {
        self.progress().backlog
    }

    pub(super) fn timing(&self) -> Timing {
        *self.timing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::Acquire)
    }

    pub(super) fn running(&self) -> Result<(), Stopped> {
        if self.is_poisoned() {
            return Err(Stopped);
        }
        Ok(())
    }

    /// After a failed write or sync nobody knows what the disk holds: nothing is retried.
    pub(super) fn poison(&self, error: &StorageError) {
        tracing::error!(%error, "the ledger cannot be written and takes no more entries");
        self.stop();
    }

    /// Nothing more is accepted; everyone who waits is told.
    pub(super) fn stop(&self) {
        self.poisoned.store(true, Ordering::Release);
        // Taken so that nobody is between his check and his waiting.
        drop(self.progress());
        self.moved.notify_all();
    }
}

/// A thread that panicked does nothing more, like one that failed: whoever watches must know.
pub(super) struct StopOnPanic(pub(super) Arc<Shared>);

impl Drop for StopOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.stop();
        }
    }
}

/// A wake-up is never far: a lost notice costs this much at most.
const IDLE: Duration = Duration::from_secs(60);
