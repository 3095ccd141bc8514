//! Reading the log back: the entries that the tables lack, in order.

use std::sync::Arc;

use super::{
    super::storage::Storage,
    frame::{self, Found, FrameHead},
};
use crate::error::{Damaged, OpenError, StorageError};

/// What the segments hold that the tables lack.
#[derive(Debug)]
pub(in crate::embedded) struct Replay {
    storage: Arc<dyn Storage>,
    segments: Vec<Contents>,
    numbers: Vec<u64>,
    applied: u64,
}

#[derive(Debug)]
struct Contents {
    number: u64,
    frames: Vec<Found>,
}

/// A frame with entries that the tables lack.
#[derive(Debug)]
pub(in crate::embedded) struct Frame {
    /// What it says about itself.
    pub(in crate::embedded) head: FrameHead,
    /// Its bytes, head included.
    pub(in crate::embedded) bytes: Vec<u8>,
}

impl Replay {
    /// Looks through every segment, one at a time, and checks that nothing after `applied` is
    /// missing before something that is there.
    pub(in crate::embedded) fn open(
        storage: Arc<dyn Storage>,
        applied: u64,
    ) -> Result<Self, OpenError> {
        let mut numbers = storage.segments()?;
        numbers.sort_unstable();
        let mut segments = Vec::new();
        for number in &numbers {
            let bytes = read(storage.as_ref(), *number)?;
            let key = frame::segment_key(*number, &bytes).ok_or(Damaged {
                segment: *number,
                offset: 0,
                missing: applied.saturating_add(1),
            })?;
            let frames = frame::frames(&bytes, &key);
            segments.push(Contents {
                number: *number,

                frames,
            });
        }
        // Two may have been made at once, so numbers do not tell the order.
        segments.retain(|segment| !segment.frames.is_empty());
        segments.sort_by_key(|segment| segment.frames.first().map(|found| found.head.first));
        let replay = Self {
            storage,
            segments,
            numbers,
            applied,
        };
        replay.check()?;
        Ok(replay)
    }

    fn check(&self) -> Result<(), Damaged> {
        let mut next = self.applied.saturating_add(1);
        for segment in &self.segments {
            for found in &segment.frames {
                if found.head.first > next {
                    return Err(Damaged {
                        segment: segment.number,
                        offset: u64::try_from(found.gap_at).unwrap_or(u64::MAX),
                        missing: next,
                    });
                }
                next = next.max(found.head.last().saturating_add(1));
            }
        }
        Ok(())
    }

    /// Hands out every frame with entries after `applied`, in order.
    pub(in crate::embedded) fn each<E: From<StorageError>>(
        &self,
        mut visit: impl FnMut(Frame) -> Result<(), E>,
    ) -> Result<(), E> {
        for segment in &self.segments {
            if segment.last() <= self.applied {
                continue;
            }
            let bytes = read(self.storage.as_ref(), segment.number)?;
            for found in &segment.frames {
                if found.head.last() > self.applied
                    && let Some(frame) = bytes.get(found.at..found.at + found.len)
                {
                    visit(Frame {
                        head: found.head,
                        bytes: frame.to_vec(),
                    })?;
                }
            }
        }
        Ok(())
    }

    /// Removes every segment: all of it is in the tables. Returns the number for the next one.
    pub(in crate::embedded) fn finish(self) -> Result<u64, StorageError> {
        for number in &self.numbers {
            self.storage
                .remove_segment(*number)
                .map_err(StorageError::io("remove a finished segment"))?;
        }
        Ok(self.numbers.last().map_or(0, |last| last + 1))
    }
}

impl Contents {
    fn last(&self) -> u64 {
        self.frames.last().map_or(0, |found| found.head.last())
    }
}

fn read(storage: &dyn Storage, number: u64) -> Result<Vec<u8>, StorageError> {
    storage
        .read_segment(number)
        .map_err(StorageError::io("read a segment of the ledger's log"))
}
