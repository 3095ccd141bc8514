//! The ledger's handle: queueing, waiting, closing.

use std::{
    future::Future,
    path::Path,
    pin::Pin,
    sync::{
        Arc,
        mpsc::{SyncSender, TrySendError},
    },
    task::{Context, Poll},
    thread::JoinHandle,
};

use tokio::sync::oneshot;

use super::{
    open,
    state::{Shared, Timing},
    storage::{Folder, Storage},
    writer::Job,
};
use crate::{
    Config, Entry,
    error::{CommitError, EnqueueError, OpenError},
};

/// A handle to the ledger; clones share one writer.
///
/// Dropping the last handle writes what is queued, syncs it, moves all of it into the tables, and
/// waits for that.
#[derive(Clone, Debug)]
pub struct Ledger {
    inner: Arc<Inner>,
}

impl Ledger {
    /// Opens the ledger in the folder `dir`, which is made if it is missing. What a crash left in
    /// the log is moved into the tables first, which takes time in proportion to the log, not to
    /// the tables. A file of format 1 is upgraded, which takes time in proportion to its size.
    ///
    /// # Errors
    /// [`OpenError`]; the operator's to solve.
    pub fn open(dir: &Path, config: Config) -> Result<Self, OpenError> {
        Self::on_storage(Folder::new(dir)?, config)
    }

    /// Opens a ledger on any storage: a model of a disk, or one that fails on purpose.
    ///
    /// # Errors
    /// [`OpenError`] as for [`Ledger::open`].
    pub fn on_storage(storage: impl Storage, config: Config) -> Result<Self, OpenError> {
        let inner = open::start(Arc::new(storage), config)?;
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
        self.inner.shared.is_poisoned()
    }

    /// Where the ledger's time went since it was opened.
    #[must_use]
    pub fn timing(&self) -> Timing {
        self.inner.shared.timing()
    }

    /// Bytes that are durable in the log and not in the tables yet.
    #[must_use]
    pub fn backlog_bytes(&self) -> u64 {
        self.inner.shared.backlog_bytes()
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.inner.shared
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
pub(super) struct Inner {
    pub(super) shared: Arc<Shared>,
    pub(super) jobs: Option<SyncSender<Job>>,
    /// In the order in which they end.
    pub(super) threads: Vec<JoinHandle<()>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Without senders the writer empties the queue and ends, and then the others do.
        self.jobs = None;
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the ledger panicked");
            }
        }
    }
}
