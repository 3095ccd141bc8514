//! The one thread that writes: takes what waits, writes it in one transaction, syncs once, and
//! answers.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
    mpsc::Receiver,
};

use redb::{Database, Durability};
use tokio::sync::oneshot;

use crate::{
    Config, Entry,
    apply::{Answers, Group},
    error::{CommitError, OpenError},
};

/// An entry and who waits for it.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) entry: Entry,
    pub(crate) done: oneshot::Sender<Result<(), CommitError>>,
}

#[derive(Debug)]
pub(crate) struct Writer {
    db: Arc<Database>,
    queue: Receiver<Job>,
    poisoned: Arc<AtomicBool>,
    config: Config,
    answers: Answers,
}

impl Writer {
    pub(crate) fn new(
        db: Arc<Database>,
        queue: Receiver<Job>,
        poisoned: Arc<AtomicBool>,
        config: Config,
    ) -> Result<Self, OpenError> {
        let answers = Answers::load(&db).map_err(|error| OpenError::Storage(Box::new(error)))?;
        Ok(Self {
            db,
            queue,
            poisoned,
            config,
            answers,
        })
    }

    /// Runs until every sender is gone and the queue is empty.
    pub(crate) fn run(mut self) {
        let _noticed = PoisonOnPanic(Arc::clone(&self.poisoned));
        while let Ok(first) = self.queue.recv() {
            let group = self.collect(first);
            if self.poisoned.load(Ordering::Acquire) {
                refuse(group);
            } else {
                self.write(group);
            }
        }
    }

    fn collect(&self, first: Job) -> Vec<Job> {
        let mut group = vec![first];
        while group.len() < self.config.group_max
            && let Ok(job) = self.queue.try_recv()
        {
            group.push(job);
        }
        group
    }

    fn write(&mut self, group: Vec<Job>) {
        let (entries, waiters): (Vec<_>, Vec<_>) =
            group.into_iter().map(|job| (job.entry, job.done)).unzip();
        match self.commit(&entries) {
            Ok(outcomes) => {
                for (waiter, outcome) in waiters.into_iter().zip(outcomes) {
                    // Whoever no longer waits does not need the answer.
                    let _ = waiter.send(outcome);
                }
            }
            Err(error) => self.poison(waiters, error),
        }
    }

    /// Writes a group in one transaction; returns each entry's own outcome once all is durable.
    fn commit(&mut self, entries: &[Entry]) -> Result<Vec<Result<(), CommitError>>, redb::Error> {
        let mut transaction = self.db.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        let mut group = Group::open(&transaction, &self.config, &mut self.answers)?;
        let outcomes = entries
            .iter()
            .map(|entry| group.apply(entry))
            .collect::<Result<_, _>>()?;
        group.finish()?;
        transaction.commit()?;
        Ok(outcomes)
    }

    /// After a failed write or sync nobody knows what the disk holds: nothing is retried.
    fn poison(&self, waiters: Vec<oneshot::Sender<Result<(), CommitError>>>, error: redb::Error) {
        self.poisoned.store(true, Ordering::Release);
        tracing::error!(%error, "the ledger cannot be written and takes no more entries");
        let error = Arc::new(error);
        for waiter in waiters {
            let _ = waiter.send(Err(CommitError::Storage(Arc::clone(&error))));
        }
    }
}

/// A writer that panicked writes nothing more, like one that failed: whoever watches must know.
struct PoisonOnPanic(Arc<AtomicBool>);

impl Drop for PoisonOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(true, Ordering::Release);
        }
    }
}

fn refuse(group: Vec<Job>) {
    for job in group {
        let _ = job.done.send(Err(crate::EnqueueError::Stopped.into()));
    }
}
