//! The one thread that writes: takes what waits, decides on it in order, writes what is accepted
//! to the log, syncs once, and answers.

use std::{
    sync::{Arc, mpsc::Receiver},
    time::{Instant, SystemTime},
};

use tokio::sync::oneshot;

use super::{
    decide::{Decider, Draft, Known},
    log::{FRAME_HEAD_BYTES, FrameHead, Log, LogError},
    state::{Shared, StopOnPanic, Stopped},
};
use crate::{
    Entry,
    error::{CommitError, EnqueueError, StorageError},
};

/// An entry and who waits for it.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) entry: Entry,
    pub(super) done: oneshot::Sender<Result<(), CommitError>>,
}

impl Job {
    /// About how many bytes it takes in the log.
    fn size(&self) -> usize {
        match &self.entry {
            Entry::Charge { payment, .. } => {
                let answer = payment.answer.as_ref();
                ENTRY_BYTES + answer.map_or(0, |answer| answer.body.len())
            }
            Entry::Channel(_)
            | Entry::Nonce(_)
            | Entry::Claimed(_)
            | Entry::Settled(_)
            | Entry::Refunded(_)
            | Entry::Unpaid(_) => ENTRY_BYTES,
        }
    }
}

#[derive(Debug)]
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) queue: Receiver<Job>,
    pub(super) log: Log,
    pub(super) decider: Decider,
}

type Outcomes = Vec<Result<(), CommitError>>;

impl Writer {
    /// Runs until every sender is gone and the queue is empty.
    pub(super) fn run(mut self) {
        let _noticed = StopOnPanic(Arc::clone(&self.shared));
        while let Ok(first) = self.queue.recv() {
            let group = self.collect(first);
            match self.shared.wait_for_room() {
                Ok(()) => self.write(group),
                Err(Stopped) => refuse(group),
            }
        }
        self.log.close();
        self.shared.close();
    }

    fn collect(&self, first: Job) -> Vec<Job> {
        let mut bytes = first.size();
        let mut group = vec![first];
        while group.len() < self.shared.config.group_max
            && bytes < GROUP_BYTES
            && let Ok(job) = self.queue.try_recv()
        {
            bytes += job.size();
            group.push(job);
        }
        group
    }

    fn write(&mut self, group: Vec<Job>) {
        match self.commit(&group) {
            Ok(outcomes) => {
                for (job, outcome) in group.into_iter().zip(outcomes) {
                    // Whoever no longer waits does not need the answer.
                    let _ = job.done.send(outcome);
                }
            }
            Err(error) => {
                self.shared.poison(&error);
                let error = Arc::new(error);
                for job in group {
                    let _ = job.done.send(Err(CommitError::Storage(Arc::clone(&error))));
                }
            }
        }
    }

    /// Returns each entry's own outcome once all that was accepted is durable.
    fn commit(&mut self, group: &[Job]) -> Result<Outcomes, StorageError> {
        let start = Instant::now();
        let recorded_at = unix_secs();
        let frame =
            Vec::with_capacity(FRAME_HEAD_BYTES + group.iter().map(Job::size).sum::<usize>());
        let (draft, outcomes) = self.decide(group, frame, recorded_at)?;
        if draft.count == 0 {
            return Ok(outcomes);
        }
        let Draft {
            mut frame,
            mut generation,
            first,
            count,
            ..
        } = draft;
        let head = FrameHead {
            first,
            count,
            recorded_at,
        };
        let decided = Instant::now();
        let sync = match self.log.append(&mut frame, &head) {
            Err(LogError::Storage(error)) => return Err(error),
            Err(LogError::Malformed(error)) => return Err(redb::Error::from(error).into()),
            Ok(sync) => sync,
        };
        self.shared.time(|timing| {
            timing.entries += u64::from(count);
            timing.groups += 1;
            timing.decide += decided - start;
            timing.append += decided.elapsed().saturating_sub(sync);
            timing.sync += sync;
        });
        generation.bytes = u64::try_from(frame.len()).unwrap_or(u64::MAX);
        generation.frames = vec![Arc::new(frame)];
        self.shared.publish(generation);
        Ok(outcomes)
    }

    fn decide(
        &mut self,
        group: &[Job],
        mut frame: Vec<u8>,
        recorded_at: u64,
    ) -> Result<(Draft, Outcomes), redb::Error> {
        frame.resize(FRAME_HEAD_BYTES, 0);
        let mut draft = self.decider.draft(frame, recorded_at);
        let state = self.shared.read();
        let known = Known::new(&state, &self.shared.filter, &self.shared.db);
        let outcomes = group
            .iter()
            .map(|job| self.decider.decide(&known, &mut draft, &job.entry))
            .collect::<Result<_, _>>()?;
        Ok((draft, outcomes))
    }
}

fn refuse(group: Vec<Job>) {
    for job in group {
        let _ = job.done.send(Err(EnqueueError::Stopped.into()));
    }
}

/// For the day of what is recorded; nothing is decided by it.
fn unix_secs() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// A group is cut at about this size, so that a segment holds several.
const GROUP_BYTES: usize = 1 << 20;
/// What an entry without an answer takes, about.
const ENTRY_BYTES: usize = 1 << 10;
