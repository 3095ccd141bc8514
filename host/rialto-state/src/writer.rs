//! The thread that writes, and the file that it may have to open again.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use redb::{Builder, Database, Durability};
use tokio::sync::oneshot;

use crate::error::{OpenError, StateError};
use crate::place::Place;
use crate::tables::{self, Bounds, Change, Changed, Tables};
use crate::{Bucket, Config};

/// What the writer is asked.
pub(crate) enum Job {
    Change {
        bucket: Bucket,
        change: Change,
        quota: u64,
        answer: oneshot::Sender<Result<Changed, StateError>>,
    },
    Sync {
        run: u64,
        answer: oneshot::Sender<Result<(), StateError>>,
    },
}

/// The database, while it can be used, and how much of it is durable.
pub(crate) struct File {
    place: Arc<dyn Place>,
    cache_bytes: usize,
    database: RwLock<Result<Database, String>>,
    /// How often the database was given up for an error.
    run: AtomicU64,
    /// Transactions that readers see, and those of them that are durable.
    seen: AtomicU64,
    durable: AtomicU64,
}

/// A database that stays open while this is held.
pub(crate) struct Open<'f>(RwLockReadGuard<'f, Result<Database, String>>);

impl Open<'_> {
    pub(crate) fn get(&self) -> Result<&Database, StateError> {
        let opened = self.0.as_ref();
        opened.map_err(|error| StateError::Storage(error.clone()))
    }
}

impl File {
    pub(crate) fn open(place: Arc<dyn Place>, config: &Config) -> Result<Self, OpenError> {
        let mut database = open(place.as_ref(), config.cache_bytes)?;
        if is_mostly_empty(place.as_ref(), &database, config.compact_bytes_min)? {
            // What is left of an attempt that failed is a file as good as before.
            match database.compact() {
                Ok(_) => tracing::info!("the file of services' state was made smaller"),
                Err(error) => {
                    tracing::warn!(%error, "the file of services' state stays as large as it is");
                    drop(database);
                    database = open(place.as_ref(), config.cache_bytes)?;
                }
            }
        }
        Ok(Self {
            place,
            cache_bytes: config.cache_bytes,
            database: RwLock::new(Ok(database)),
            run: AtomicU64::new(0),
            seen: AtomicU64::new(0),
            durable: AtomicU64::new(0),
        })
    }

    pub(crate) fn database(&self) -> Open<'_> {
        let guard = self.database.read();
        Open(guard.unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn run(&self) -> u64 {
        self.run.load(Ordering::Acquire)
    }

    /// Whether all that is seen now is durable, and nothing was lost since `run`.
    pub(crate) fn is_durable(&self, run: u64) -> bool {
        let seen = self.seen.load(Ordering::Acquire);
        self.durable.load(Ordering::Acquire) >= seen && self.run() == run
    }

    fn is_dirty(&self) -> bool {
        self.durable.load(Ordering::Acquire) < self.seen.load(Ordering::Acquire)
    }

    /// Opens the database as its file has it, without what was not durable.
    fn reopen(&self) {
        let mut database = self
            .database
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        // The old one is closed before: one process opens a file once.
        *database = Err("it is being opened again".to_owned());
        self.run.fetch_add(1, Ordering::AcqRel);
        let seen = self.seen.load(Ordering::Acquire);
        self.durable.store(seen, Ordering::Release);
        *database = open(self.place.as_ref(), self.cache_bytes).map_err(|error| {
            tracing::error!(%error, "services' state cannot be opened again");
            error.to_string()
        });
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

/// Whether the file has much more room than its keys and values need.
fn is_mostly_empty(
    place: &dyn Place,
    database: &Database,
    bytes_min: u64,
) -> Result<bool, OpenError> {
    let Some(file_bytes) = place.file_bytes()? else {
        return Ok(false);
    };
    if file_bytes < bytes_min {
        return Ok(false);
    }
    let kept = tables::bytes(database);
    let kept = kept.map_err(|error| OpenError::Database(error.to_string()))?;
    Ok(kept < file_bytes / 4)
}

fn open(place: &dyn Place, cache_bytes: usize) -> Result<Database, OpenError> {
    let mut builder = Builder::new();
    builder.set_cache_size(cache_bytes);
    let database = place.open(&mut builder)?;
    let fail = |error: redb::Error| OpenError::Database(error.to_string());
    let transaction = database.begin_write().map_err(|error| fail(error.into()))?;
    tables::prepare(&transaction)?;
    transaction.commit().map_err(|error| fail(error.into()))?;
    Ok(database)
}

/// Starts the writer, which ends when all is durable after the last sender is gone.
pub(crate) fn start(
    file: Arc<File>,
    queue: Receiver<Job>,
    config: &Config,
) -> io::Result<JoinHandle<()>> {
    let writer = Writer {
        file,
        queue,
        sync_after: config.sync_after,
        bounds: Bounds {
            bytes_max: config.bytes_max,
            payers_max: config.payers_max,
        },
    };
    let thread = thread::Builder::new().name("rialto-state".to_owned());
    thread.spawn(move || writer.run())
}

struct Writer {
    file: Arc<File>,
    queue: Receiver<Job>,
    sync_after: Duration,
    bounds: Bounds,
}

/// The most jobs of one transaction.
const BATCH_MAX: usize = 512;

type Answer = oneshot::Sender<Result<Changed, StateError>>;

impl Writer {
    fn run(self) {
        loop {
            let first = if self.file.is_dirty() {
                self.queue.recv_timeout(self.sync_after)
            } else {
                self.queue.recv().map_err(RecvTimeoutError::from)
            };
            match first {
                Ok(first) => {
                    let more = self.queue.try_iter().take(BATCH_MAX - 1);
                    let jobs = std::iter::once(first).chain(more).collect();
                    self.write(jobs);
                }
                Err(RecvTimeoutError::Timeout) => {
                    if let Err(error) = self.commit(Vec::new(), true) {
                        tracing::error!(%error, "services' state since the last sync is lost");
                    }
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        if self.file.is_dirty()
            && let Err(error) = self.commit(Vec::new(), true)
        {
            tracing::error!(%error, "services' state since the last sync is lost");
        }
    }

    /// Makes all changes in one transaction, in their order, durable if anybody waits for that.
    fn write(&self, jobs: Vec<Job>) {
        let (mut changes, mut syncs) = (Vec::new(), Vec::new());
        for job in jobs {
            match job {
                Job::Change {
                    bucket,
                    change,
                    quota,
                    answer,
                } => changes.push((bucket, change, quota, answer)),
                Job::Sync { run, answer } => syncs.push((run, answer)),
            }
        }
        let run = self.file.run();
        let committed = self.commit(changes, !syncs.is_empty());
        for (since, answer) in syncs {
            let outcome = match &committed {
                Err(error) => Err(StateError::Lost(error.to_string())),
                Ok(()) if since != run => Err(StateError::Lost("the disk failed".to_owned())),
                Ok(()) => Ok(()),
            };
            // Nobody waits any more: fine.
            let _ = answer.send(outcome);
        }
    }

    /// One transaction, and its answers. An error of the disk is everybody's, and opens the file again.
    fn commit(
        &self,
        changes: Vec<(Bucket, Change, u64, Answer)>,
        durable: bool,
    ) -> Result<(), StateError> {
        if self.file.database().get().is_err() {
            // The disk may have room again.
            self.file.reopen();
        }
        let (mut asked, mut waiting) = (Vec::new(), Vec::new());
        for (bucket, change, quota, answer) in changes {
            asked.push((bucket, change, quota));
            waiting.push(answer);
        }
        let outcome = self.transaction(asked, durable);
        if outcome.is_err() {
            self.file.reopen();
        }
        let failed = outcome.as_ref().err().cloned();
        let mut changed = outcome.into_iter().flatten();
        for answer in waiting {
            let outcome = match (&failed, changed.next()) {
                (None, Some(outcome)) => outcome,
                (Some(error), _) => Err(error.clone()),
                (None, None) => Err(StateError::Storage("no outcome".to_owned())),
            };
            // Whoever asked may have gone.
            let _ = answer.send(outcome);
        }
        failed.map_or(Ok(()), Err)
    }

    fn transaction(
        &self,
        changes: Vec<(Bucket, Change, u64)>,
        durable: bool,
    ) -> Result<Vec<Result<Changed, StateError>>, StateError> {
        let database = self.file.database();
        let mut transaction = database.get()?.begin_write().map_err(StateError::storage)?;
        if !durable {
            let set = transaction.set_durability(Durability::None);
            set.map_err(|error| StateError::Storage(error.to_string()))?;
        }
        let mut outcomes = Vec::with_capacity(changes.len());
        {
            let mut tables = Tables::open(&transaction, self.bounds)?;
            for (bucket, change, quota) in changes {
                match tables.apply(&bucket, change, quota) {
                    Err(error @ StateError::Storage(_)) => return Err(error),
                    outcome => outcomes.push(outcome),
                }
            }
        }
        transaction.commit().map_err(StateError::storage)?;
        let seen = self.file.seen.fetch_add(1, Ordering::AcqRel) + 1;
        if durable {
            self.file.durable.store(seen, Ordering::Release);
        }
        Ok(outcomes)
    }
}
