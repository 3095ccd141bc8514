//! The ledger's handle: opening, queueing, waiting.

use std::{
    future::Future,
    path::Path,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{SyncSender, TrySendError, sync_channel},
    },
    task::{Context, Poll},
    thread::{self, JoinHandle},
};

use redb::{Builder, Database, StorageBackend};
use tokio::sync::oneshot;

use crate::{
    Config, Entry,
    error::{CommitError, EnqueueError, OpenError},
    file, tables,
    writer::{Job, Writer},
};

/// A handle to the ledger; clones share one writer.
///
/// Dropping the last handle writes what is queued, syncs it, and waits for the writer to end.
#[derive(Clone, Debug)]
pub struct Ledger {
    inner: Arc<Inner>,
}

impl Ledger {
    /// Opens the ledger in the folder `dir`, which is made if it is missing. After a crash redb
    /// first repairs the file, which takes time in proportion to its size.
    ///
    /// # Errors
    /// [`OpenError`]; the operator's to solve.
    pub fn open(dir: &Path, config: Config) -> Result<Self, OpenError> {
        let db = file::open(dir, &builder(&config))?;
        Self::start(db, config)
    }

    /// Opens a ledger on any storage: in memory, or one that fails on purpose.
    ///
    /// # Errors
    /// [`OpenError`] as for [`Ledger::open`].
    pub fn on_backend(backend: impl StorageBackend, config: Config) -> Result<Self, OpenError> {
        let db = builder(&config)
            .create_with_backend(backend)
            .map_err(file::open_error)?;
        tables::prepare(&db)?;
        Self::start(db, config)
    }

    fn start(db: Database, config: Config) -> Result<Self, OpenError> {
        let db = Arc::new(db);
        let poisoned = Arc::new(AtomicBool::new(false));
        let (jobs, queue) = sync_channel(config.queue_max);
        let writer = Writer::new(Arc::clone(&db), queue, Arc::clone(&poisoned), config)?;
        let thread = thread::Builder::new()
            .name("rialto-ledger".into())
            .spawn(|| writer.run())?;
        let inner = Inner {
            jobs: Some(jobs),
            thread: Some(thread),
            poisoned,
            db,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Queues an entry and fixes its place: of two entries, the one queued first is applied
    /// first. Never blocks, so it may be called under a channel's lock.
    ///
    /// # Errors
    /// [`EnqueueError`]; nothing is written.
    pub fn enqueue(&self, entry: Entry) -> Result<Pending, EnqueueError> {
        let jobs = self.inner.jobs.as_ref().ok_or(EnqueueError::Stopped)?;
        if self.is_poisoned() {
            return Err(EnqueueError::Stopped);
        }
        let (done, answer) = oneshot::channel();
        match jobs.try_send(Job { entry, done }) {
            Ok(()) => Ok(Pending { answer }),
            Err(TrySendError::Full(_)) => Err(EnqueueError::QueueFull),
            Err(TrySendError::Disconnected(_)) => Err(EnqueueError::Stopped),
        }
    }

    /// Queues an entry and waits until it is durable (M4).
    ///
    /// Dropping the future does not take the entry back.
    ///
    /// # Errors
    /// [`CommitError`].
    pub async fn commit(&self, entry: Entry) -> Result<(), CommitError> {
        self.enqueue(entry)?.await
    }

    /// Whether a write failed, so that the process should stop.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.inner.poisoned.load(Ordering::Acquire)
    }

    pub(crate) fn db(&self) -> &Database {
        &self.inner.db
    }
}

/// An entry on its way; resolves when it is durable. Dropping it does not take the entry back.
#[derive(Debug)]
#[must_use = "an entry is not durable before this resolves"]
pub struct Pending {
    answer: oneshot::Receiver<Result<(), CommitError>>,
}

impl Pending {
    /// Waits on a thread that may block.
    ///
    /// # Errors
    /// [`CommitError`].
    pub fn wait(self) -> Result<(), CommitError> {
        self.answer
            .blocking_recv()
            .unwrap_or(Err(CommitError::Lost))
    }
}

impl Future for Pending {
    type Output = Result<(), CommitError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.answer)
            .poll(context)
            .map(|answer| answer.unwrap_or(Err(CommitError::Lost)))
    }
}

#[derive(Debug)]
struct Inner {
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
    poisoned: Arc<AtomicBool>,
    db: Arc<Database>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Without senders the writer empties the queue and ends.
        self.jobs = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the ledger's writer panicked");
        }
    }
}

fn builder(config: &Config) -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(config.cache_bytes);
    builder
}
