//! What is acknowledged and not in the tables yet, found by key: the log's entries in memory.
//!
//! Channels are kept once, in their newest state, and sums as what they come to: that is what
//! the tables get. Everything else is as it was written, in the bytes of the log's frames.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
    sync::Arc,
};

use alloy_primitives::Address;
use rialto_channels::{Amount, ChannelId};

use super::logged::{AnswersMark, MovementKey, NonceKey};
use crate::{
    Totals,
    journal::{Day, Flow},
};

/// Bytes of a frame.
pub(super) type FrameBytes = Arc<Vec<u8>>;

/// A part of one of a generation's frames.
#[derive(Clone, Debug)]
pub(super) struct Place {
    frame: usize,
    part: Range<usize>,
}

impl Place {
    /// A part of the only frame so far.
    pub(super) fn first(part: Range<usize>) -> Self {
        Self { frame: 0, part }
    }

    /// Its bytes, in the only frame so far.
    pub(super) fn bytes_in<'f>(&self, frame: &'f [u8]) -> &'f [u8] {
        frame.get(self.part.clone()).unwrap_or_default()
    }

    fn later_by(mut self, frames: usize) -> Self {
        self.frame += frames;
        self
    }
}

/// A payment.
#[derive(Clone, Debug)]
pub(super) struct Record {
    /// Its number in the order of acceptance.
    pub(super) number: u64,
    pub(super) key: [u8; 32],
    pub(super) receipt: [u8; 32],
    pub(super) row: Place,
    pub(super) answer: Option<Place>,
}

/// Something that moved, for the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moved {
    pub(super) day: Day,
    pub(super) channel: Option<ChannelId>,
    pub(super) receiver: Address,
    pub(super) token: Address,
    pub(super) flow: Flow,
    pub(super) amount: Amount,
}

/// A run of entries.
#[derive(Debug, Default)]
pub(super) struct Generation {
    pub(super) frames: Vec<FrameBytes>,
    /// Bytes of the frames.
    pub(super) bytes: u64,
    /// Number of the last entry; 0 if there is none.
    pub(super) last: u64,
    /// In the order of acceptance.
    pub(super) records: Vec<Record>,
    /// By payment key: index of the record.
    pub(super) payments: HashMap<[u8; 32], usize>,
    /// By receipt id: index of the record.
    pub(super) receipts: HashMap<[u8; 32], usize>,
    /// The newest state of each channel that changed.
    pub(super) channels: HashMap<ChannelId, Place>,
    pub(super) nonces: HashSet<NonceKey>,
    pub(super) movements: HashMap<MovementKey, u128>,
    /// What the sums that changed come to.
    pub(super) totals: HashMap<(Address, Address), Totals>,
    pub(super) moved: Vec<Moved>,
    /// What all answers up to here add up to.
    pub(super) answers: AnswersMark,
}

impl Generation {
    pub(super) fn is_empty(&self) -> bool {
        self.last == 0
    }

    /// The bytes at a place of this generation.
    pub(super) fn bytes_at(&self, place: &Place) -> &[u8] {
        self.frames
            .get(place.frame)
            .and_then(|frame| frame.get(place.part.clone()))
            .unwrap_or_default()
    }

    /// The record of a payment key.
    pub(super) fn payment(&self, key: &[u8; 32]) -> Option<&Record> {
        self.payments.get(key).and_then(|at| self.records.get(*at))
    }

    /// The record of a receipt's id.
    pub(super) fn receipt(&self, id: &[u8; 32]) -> Option<&Record> {
        self.receipts.get(id).and_then(|at| self.records.get(*at))
    }

    pub(super) fn add_record(&mut self, record: Record) {
        let index = self.records.len();
        self.payments.insert(record.key, index);
        self.receipts.insert(record.receipt, index);
        self.records.push(record);
    }

    /// Adds what came after.
    pub(super) fn append(&mut self, later: Self) {
        let frames = self.frames.len();
        self.frames.extend(later.frames);
        self.bytes = self.bytes.saturating_add(later.bytes);
        self.last = self.last.max(later.last);
        for record in later.records {
            self.add_record(Record {
                row: record.row.later_by(frames),
                answer: record.answer.map(|place| place.later_by(frames)),
                ..record
            });
        }
        let channels = later.channels.into_iter();
        self.channels
            .extend(channels.map(|(id, place)| (id, place.later_by(frames))));
        self.nonces.extend(later.nonces);
        self.movements.extend(later.movements);
        self.totals.extend(later.totals);
        self.moved.extend(later.moved);
        self.answers = later.answers;
    }
}
