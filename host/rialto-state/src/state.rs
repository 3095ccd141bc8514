//! The handle: reads on the blocking pool, changes through the writer.

use std::fmt;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use redb::ReadableDatabase;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

use crate::error::{OpenError, StateError};
use crate::place::{Folder, Place};
use crate::tables::{Change, Changed, ENTRIES, Entry, entry, place};
use crate::writer::{self, File, Job};
use crate::{Bucket, Config};

/// All services' keys and values. Cloning is cheap; the last clone syncs what is left and closes the file.
#[derive(Clone)]
pub struct State(Arc<Inner>);

struct Inner {
    file: Arc<File>,
    /// Taken when the last handle goes.
    jobs: Option<SyncSender<Job>>,
    writer: Option<JoinHandle<()>>,
}

impl Drop for Inner {
    /// Waits for the writer: whoever opens the file next finds it closed and complete.
    fn drop(&mut self) {
        drop(self.jobs.take());
        let ended = self.writer.take().map(JoinHandle::join);
        if let Some(Err(_)) = ended {
            tracing::error!("the thread that writes state has panicked");
        }
    }
}

/// Where a listing begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// At the first key.
    First,
    /// Behind this key, whether or not it is still there.
    After(String),
    /// Behind so many keys.
    Past(u64),
}

impl State {
    /// Opens the state in the folder `dir`, or begins one. Blocks.
    ///
    /// # Errors
    /// [`OpenError`], the operator's to solve.
    pub fn open(dir: &std::path::Path, config: &Config) -> Result<Self, OpenError> {
        Self::open_at(Arc::new(Folder(dir.to_owned())), config)
    }

    /// Opens the state at a place. Blocks.
    ///
    /// # Errors
    /// [`OpenError`], the operator's to solve.
    pub fn open_at(place: Arc<dyn Place>, config: &Config) -> Result<Self, OpenError> {
        let file = Arc::new(File::open(place, config)?);
        let (jobs, queue) = sync_channel(config.queue_max);
        let writer = writer::start(Arc::clone(&file), queue, config).map_err(OpenError::Thread)?;
        Ok(Self(Arc::new(Inner {
            file,
            jobs: Some(jobs),
            writer: Some(writer),
        })))
    }

    /// Which run of the file this is: another one after an error took back what was not durable.
    #[must_use]
    pub fn run(&self) -> u64 {
        self.0.file.run()
    }

    /// The values of keys, in their order; none for those that are not there.
    ///
    /// # Errors
    /// [`StateError::TooLarge`] when they have more than `bytes_max` together, or [`StateError::Storage`].
    pub async fn get(
        &self,
        bucket: Bucket,
        keys: Vec<String>,
        bytes_max: u64,
    ) -> Result<Vec<Option<Entry>>, StateError> {
        self.read(move |file| {
            let database = file.database();
            let database = database.get()?;
            let transaction = database.begin_read().map_err(StateError::storage)?;
            let entries = transaction.open_table(ENTRIES);
            let entries = entries.map_err(StateError::storage)?;
            let mut left = bytes_max;
            let mut found = Vec::with_capacity(keys.len());
            for key in &keys {
                let stored = entries.get(place(&bucket, key));
                let Some(stored) = stored.map_err(StateError::storage)? else {
                    found.push(None);
                    continue;
                };
                let bytes = u64::try_from(stored.value().len()).unwrap_or(u64::MAX);
                let rest = left.checked_sub(bytes);
                left = rest.ok_or(StateError::TooLarge { bytes_max })?;
                found.push(Some(entry(stored.value())?));
            }
            Ok(found)
        })
        .await
    }

    /// At most `count` keys in their order.
    ///
    /// # Errors
    /// [`StateError::Storage`].
    pub async fn list(
        &self,
        bucket: Bucket,
        start: Start,
        count: usize,
    ) -> Result<Vec<String>, StateError> {
        self.read(move |file| {
            let database = file.database();
            let database = database.get()?;
            let transaction = database.begin_read().map_err(StateError::storage)?;
            let entries = transaction.open_table(ENTRIES);
            let entries = entries.map_err(StateError::storage)?;
            let (lowest, mut skip) = match &start {
                Start::First => (Bound::Included(place(&bucket, "")), 0),
                Start::After(key) => (Bound::Excluded(place(&bucket, key)), 0),
                Start::Past(keys) => (Bound::Included(place(&bucket, "")), *keys),
            };
            let range = entries.range::<(&str, &str, &str)>((lowest, Bound::Unbounded));
            let mut keys = Vec::new();
            for found in range.map_err(StateError::storage)? {
                let (found, _) = found.map_err(StateError::storage)?;
                let (service, payer, key) = found.value();
                if service != bucket.service || payer != bucket.payer || keys.len() == count {
                    break;
                }
                if skip > 0 {
                    skip -= 1;
                    continue;
                }
                keys.push(key.to_owned());
            }
            Ok(keys)
        })
        .await
    }

    /// Makes a change. When this returns, everybody sees it; it is durable after [`sync`](Self::sync).
    ///
    /// Cancel-safe: dropped, the change is made or not, and never by half.
    ///
    /// # Errors
    /// [`StateError`]; nothing of the change is kept.
    pub async fn change(
        &self,
        bucket: Bucket,
        change: Change,
        quota: u64,
    ) -> Result<Changed, StateError> {
        let (answer, answered) = oneshot::channel();
        self.send(Job::Change {
            bucket,
            change,
            quota,
            answer,
        })?;
        answered.await.map_err(|_| gone())?
    }

    /// Waits until everything that anybody can see now is durable.
    ///
    /// # Errors
    /// [`StateError::Lost`] if an error took back changes since [`run`](Self::run) was `run`.
    pub async fn sync(&self, run: u64) -> Result<(), StateError> {
        if self.0.file.is_durable(run) {
            return Ok(());
        }
        let (answer, answered) = oneshot::channel();
        self.send(Job::Sync { run, answer })?;
        answered.await.map_err(|_| gone())?
    }

    fn send(&self, job: Job) -> Result<(), StateError> {
        let jobs = self.0.jobs.as_ref().ok_or_else(gone)?;
        jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => StateError::Busy,
            TrySendError::Disconnected(_) => gone(),
        })
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&File) -> Result<T, StateError> + Send + 'static,
    ) -> Result<T, StateError> {
        let file = Arc::clone(&self.0.file);
        let read = spawn_blocking(move || read(&file)).await;
        read.map_err(|error| StateError::Storage(error.to_string()))?
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("run", &self.run())
            .finish_non_exhaustive()
    }
}

fn gone() -> StateError {
    StateError::Storage("the thread that writes has ended".to_owned())
}
