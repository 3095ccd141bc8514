//! The blocks behind us, so that a reorganisation is noticed, and what was believed because of them.
//!
//! The trail holds the hash of some of the newest blocks and, for each, the channels that something
//! was learnt of there. When a block of the trail is no longer on the chain, what was learnt there
//! and later is in doubt.
//! Non-goals: asking the chain (`follow` does) and deciding what a doubt means (the node does).

use std::collections::{BTreeMap, BTreeSet};

use alloy::primitives::B256;
use rialto_channels::ChannelId;

/// A block's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BlockRef {
    /// Its number.
    pub number: u64,
    /// Its hash.
    pub hash: B256,
}

/// The newest blocks, as far back as a reorganisation is expected to reach.
#[derive(Debug)]
pub struct Trail {
    /// The first block whose events are not read yet.
    pub(super) next: u64,
    blocks_max: u64,
    blocks: BTreeMap<u64, Mark>,
    notes: BTreeMap<BlockRef, BTreeSet<ChannelId>>,
    notes_count: usize,
    /// Notes were lost: every channel is in doubt.
    pub(super) overflowed: bool,
    /// Looks in a row at a chain that is shorter than the trail.
    pub(super) behind: u32,
}

#[derive(Debug)]
struct Mark {
    hash: B256,
    channels: BTreeSet<ChannelId>,
}

impl Trail {
    /// A trail whose events begin with block `next`, and which goes back `blocks_max` blocks.
    #[must_use]
    pub fn new(next: u64, blocks_max: u64) -> Self {
        Self {
            next,
            blocks_max,
            blocks: BTreeMap::new(),
            notes: BTreeMap::new(),
            notes_count: 0,
            overflowed: false,
            behind: 0,
        }
    }

    /// Something was learnt of a channel at a block; whether the block is still there is looked at
    /// with the next step.
    pub fn note(&mut self, block: BlockRef, channel: ChannelId) {
        if self.notes_count >= NOTES_MAX {
            self.overflowed = true;
            return;
        }
        if self.notes.entry(block).or_default().insert(channel) {
            self.notes_count += 1;
        }
    }

    /// Something was learnt and not noted: every channel is in doubt.
    pub fn lose_track(&mut self) {
        self.overflowed = true;
    }

    /// The newest block of the trail.
    pub(super) fn top(&self) -> Option<u64> {
        self.blocks.keys().next_back().copied()
    }

    /// The newest block of the trail below `number`.
    pub(super) fn below(&self, number: u64) -> Option<BlockRef> {
        let (number, mark) = self.blocks.range(..number).next_back()?;
        Some(BlockRef {
            number: *number,
            hash: mark.hash,
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// The blocks that something was learnt at and that were not looked at yet.
    pub(super) fn noted(&self) -> Vec<BlockRef> {
        self.notes.keys().copied().collect()
    }

    /// Forgets every block from `first` on; returns the channels that something was learnt of there.
    pub(super) fn cut(&mut self, first: u64) -> BTreeSet<ChannelId> {
        let gone = self.blocks.split_off(&first);
        self.next = self.next.min(first);
        gone.into_values().flat_map(|mark| mark.channels).collect()
    }

    /// Takes a note out of the waiting ones: into the trail if its block is there, else its
    /// channels are returned.
    pub(super) fn settle(&mut self, block: BlockRef, is_there: bool) -> BTreeSet<ChannelId> {
        let channels = self.notes.remove(&block).unwrap_or_default();
        self.notes_count = self.notes_count.saturating_sub(channels.len());
        if !is_there {
            return channels;
        }
        self.mark(block, channels);
        BTreeSet::new()
    }

    /// Adds a block of the chain, and what was learnt of there.
    pub(super) fn mark(&mut self, block: BlockRef, channels: impl IntoIterator<Item = ChannelId>) {
        let mark = self.blocks.entry(block.number).or_insert_with(|| Mark {
            hash: block.hash,
            channels: BTreeSet::new(),
        });
        mark.channels.extend(channels);
    }

    /// Forgets blocks that are too old for a reorganisation.
    pub(super) fn prune(&mut self, head: u64) {
        let oldest = head.saturating_sub(self.blocks_max);
        // The newest of the old ones stays: it tells a deeper reorganisation from none.
        if let Some(below) = self.below(oldest.saturating_add(1)) {
            self.blocks = self.blocks.split_off(&below.number);
        }
    }
}

/// Notes between two looks: more put every channel in doubt.
const NOTES_MAX: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    fn block(number: u64, branch: u8) -> BlockRef {
        let hash = B256::with_last_byte(branch);
        BlockRef { number, hash }
    }

    fn channel(id: u8) -> ChannelId {
        ChannelId(B256::repeat_byte(id))
    }

    #[test]
    fn a_cut_puts_what_was_learnt_since_in_doubt() {
        let mut trail = Trail::new(1, 10);
        trail.mark(block(1, 1), [channel(1)]);
        trail.mark(block(4, 1), [channel(2)]);
        trail.mark(block(6, 1), [channel(1), channel(3)]);
        trail.next = 7;
        assert_eq!((trail.top(), trail.below(6)), (Some(6), Some(block(4, 1))));
        let doubted = trail.cut(4);
        assert_eq!(doubted, [channel(1), channel(2), channel(3)].into());
        assert_eq!((trail.top(), trail.next), (Some(1), 4));
        assert!(trail.cut(4).is_empty());
    }

    #[test]
    fn notes_wait_for_a_look_at_their_block() {
        let mut trail = Trail::new(1, 10);
        trail.note(block(3, 1), channel(1));
        trail.note(block(3, 2), channel(2));
        trail.note(block(3, 2), channel(2));
        assert_eq!(trail.noted(), [block(3, 1), block(3, 2)]);
        assert!(trail.settle(block(3, 1), true).is_empty());
        assert_eq!(trail.settle(block(3, 2), false), [channel(2)].into());
        assert_eq!(trail.cut(1), [channel(1)].into());
        assert_eq!((trail.notes_count, trail.overflowed), (0, false));
    }

    #[test]
    fn too_many_notes_are_noticed() {
        let mut trail = Trail::new(1, 10);
        for number in 0..=NOTES_MAX {
            trail.note(block(number as u64, 1), channel(1));
        }
        assert!(trail.overflowed);
        assert_eq!(trail.notes_count, NOTES_MAX);
    }

    #[test]
    fn old_blocks_are_forgotten_but_one() {
        let mut trail = Trail::new(1, 10);
        for number in [1, 3, 8, 15, 20] {
            trail.mark(block(number, 1), [channel(1)]);
        }
        trail.prune(20);
        assert_eq!(
            trail.blocks.keys().copied().collect::<Vec<_>>(),
            [8, 15, 20]
        );
    }
}
