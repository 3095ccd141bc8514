//! The write-ahead file: what is acknowledged is here first, in segments that are made full
//! length in advance, so that a group costs one write and one data sync.
//!
//! A segment whose entries are all in the tables is removed. Another is made ready while the
//! last one fills.
//!
//! Non-goals: what the entries mean.

mod frame;
#[cfg(any(test, feature = "fuzzing"))]
mod fuzzing;
mod replay;

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

pub(super) use frame::{FRAME_HEAD_BYTES, FrameHead};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use fuzzing::fuzz_log;
pub(super) use replay::{Frame, Replay};

use super::storage::{Segment, Storage};
use crate::{codec::Malformed, error::StorageError};
use frame::{HEAD_BYTES, Key};

/// The writing end.
#[derive(Debug)]
pub(super) struct Log {
    pool: Arc<Pool>,
    open: Option<Ready>,
}

impl Log {
    pub(super) fn new(pool: Arc<Pool>) -> Self {
        Self { pool, open: None }
    }

    /// Writes a group and syncs it; returns how long the sync took. `bytes` start with room for
    /// the frame's head.
    pub(super) fn append(
        &mut self,
        bytes: &mut [u8],
        head: &FrameHead,
    ) -> Result<Duration, LogError> {
        let len = u64_of(frame::padded(bytes.len()));
        let fits = |open: &Ready| open.at + len <= open.len;
        let mut open = match self.open.take() {
            Some(open) if fits(&open) => open,
            full => self.pool.next(full, len)?,
        };
        frame::seal(bytes, head, &open.key)?;
        open.segment
            .write(open.at, bytes)
            .map_err(StorageError::io("write the ledger's log"))?;
        let start = Instant::now();
        open.segment
            .sync()
            .map_err(StorageError::io("sync the ledger's log"))?;
        let sync = start.elapsed();
        open.at += len;
        open.last = head.last();
        if open.at > open.len / 2 {
            self.pool.lock().spare_wanted = true;
        }
        self.open = Some(open);
        Ok(sync)
    }

    /// Gives up the segment being written; the pool removes it with the others.
    pub(super) fn close(self) {
        if let Some(open) = self.open {
            self.pool.lock().full.push((open.number, open.last));
        }
    }
}

/// Why a group is not in the log.
#[derive(Debug, thiserror::Error)]
pub(super) enum LogError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("{}", .0.0)]
    Malformed(Malformed),
}

impl From<Malformed> for LogError {
    fn from(error: Malformed) -> Self {
        Self::Malformed(error)
    }
}

/// A segment that can be written.
#[derive(Debug)]
struct Ready {
    number: u64,
    key: Key,
    segment: Box<dyn Segment>,
    len: u64,
    at: u64,
    /// The last entry in it, or 0.
    last: u64,
}

/// The segments that are not being written: full ones, and one in reserve.
#[derive(Debug)]
pub(super) struct Pool {
    storage: Arc<dyn Storage>,
    bytes_max: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    next_number: u64,
    next_len: u64,
    full: Vec<(u64, u64)>,
    spare: Option<Ready>,
    spare_wanted: bool,
}

impl Pool {
    /// A pool that makes segments of up to `bytes_max`; the first ones are smaller, so that a
    /// quiet ledger stays small.
    pub(super) fn new(storage: Arc<dyn Storage>, next_number: u64, bytes_max: u64) -> Self {
        let state = State {
            next_number,
            next_len: SEGMENT_BYTES_MIN.min(bytes_max),
            full: Vec::new(),
            spare: None,
            spare_wanted: false,
        };
        Self {
            storage,
            bytes_max,
            state: Mutex::new(state),
        }
    }

    /// Makes a segment in reserve if one is wanted. A full disk is not an error yet: only when
    /// the segment is needed.
    pub(super) fn prepare(&self) {
        let wanted = {
            let mut state = self.lock();
            mem::take(&mut state.spare_wanted) && state.spare.is_none()
        };
        if !wanted {
            return;
        }
        match self.make(0) {
            Ok(ready) => self.lock().spare = Some(ready),
            Err(error) => tracing::warn!(%error, "no segment in reserve"),
        }
    }

    /// Whether a segment is wanted in reserve.
    pub(super) fn wants_spare(&self) -> bool {
        let state = self.lock();
        state.spare_wanted && state.spare.is_none()
    }

    /// Removes the segments whose entries are all in the tables.
    pub(super) fn retire(&self, applied: u64) {
        let done: Vec<_> = self
            .lock()
            .full
            .extract_if(.., |(_, last)| *last <= applied)
            .collect();
        for (number, last) in done {
            if let Err(error) = self.storage.remove_segment(number) {
                // It is removed at the next start: all that it holds is known to be applied.
                tracing::warn!(%error, segment = number, last, "a finished segment stays");
            }
        }
    }

    /// Removes the segment in reserve: the ledger is closed in order.
    pub(super) fn discard_spare(&self) {
        let spare = self.lock().spare.take();
        if let Some(spare) = spare
            && let Err(error) = self.storage.remove_segment(spare.number)
        {
            tracing::warn!(%error, "the segment in reserve stays");
        }
    }

    fn next(&self, full: Option<Ready>, frame_len: u64) -> Result<Ready, StorageError> {
        let spare = {
            let mut state = self.lock();
            state.full.extend(full.map(|full| (full.number, full.last)));
            state.spare.take()
        };
        match spare {
            Some(spare) if spare.at + frame_len <= spare.len => Ok(spare),
            other => {
                self.lock()
                    .full
                    .extend(other.map(|small| (small.number, 0)));
                self.make(frame_len)
            }
        }
    }

    fn make(&self, frame_len: u64) -> Result<Ready, StorageError> {
        let (number, len) = {
            let mut state = self.lock();
            let place = (state.next_number, state.next_len);
            state.next_number += 1;
            state.next_len = (state.next_len * 2).min(self.bytes_max);
            place
        };
        let len = len.max(u64_of(HEAD_BYTES) + frame_len);
        let key = rand::random::<Key>();
        let head = frame::segment_head(number, &key);
        let segment = self
            .storage
            .create_segment(number, &head, len)
            .map_err(StorageError::io("make a segment of the ledger's log"))?;
        Ok(Ready {
            number,
            key,
            segment,
            len,
            at: u64_of(HEAD_BYTES),
            last: 0,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn u64_of(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

const SEGMENT_BYTES_MIN: u64 = 1 << 20;
