//! A filter that answers most lookups of payments that were never made without touching the
//! tables. Every paid call asks for one.
//!
//! It errs on one side only: what it calls absent is absent. Its memory is fixed. At the default
//! 16 MiB it calls about one in a hundred absent ones present up to some 12 million payments;
//! with more it grows less sharp, and the tables, which are exact, are asked more often.
//!
//! Non-goals: deletion; payments are never forgotten.

use std::{
    hash::{BuildHasher, RandomState},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

/// A blocked Bloom filter: all bits of an item lie in one cache line.
#[derive(Debug)]
pub(super) struct Filter {
    blocks: Vec<[AtomicU64; WORDS]>,
    seed: RandomState,
    complete: AtomicBool,
}

impl Filter {
    /// An empty filter of about `bytes`. It says `true` for everything until it is
    /// [complete](Self::set_complete).
    pub(super) fn new(bytes: usize) -> Self {
        let mut blocks = Vec::new();
        blocks.resize_with((bytes / BLOCK_BYTES).max(1), Default::default);
        Self {
            blocks,
            seed: RandomState::new(),
            complete: AtomicBool::new(false),
        }
    }

    /// From now on everything that there is was added.
    pub(super) fn set_complete(&self) {
        self.complete.store(true, Ordering::Release);
    }

    pub(super) fn add(&self, item: u64) {
        let (block, bits) = self.place(item);
        for (word, bits) in block.iter().zip(bits) {
            if bits != 0 {
                word.fetch_or(bits, Ordering::Release);
            }
        }
    }

    /// `false` only if the item was never added.
    pub(super) fn may_hold(&self, item: u64) -> bool {
        if !self.complete.load(Ordering::Acquire) {
            return true;
        }
        let (block, bits) = self.place(item);
        block
            .iter()
            .zip(bits)
            .all(|(word, bits)| word.load(Ordering::Acquire) & bits == bits)
    }

    fn place(&self, item: u64) -> (&[AtomicU64; WORDS], [u64; WORDS]) {
        let hash = self.seed.hash_one(item);
        let count = self.blocks.len();
        let index = usize::try_from(hash >> 32).unwrap_or(0) % count.max(1);
        let mut bits = [0_u64; WORDS];
        // Six bits of 512: 9 hash bits each, of a second hash.
        let mut rest = self.seed.hash_one(hash);
        for _ in 0..PROBES {
            let bit = rest & 511;
            rest >>= 9;
            let word = usize::try_from(bit >> 6).unwrap_or(0);
            if let Some(bits) = bits.get_mut(word) {
                *bits |= 1 << (bit & 63);
            }
        }
        // The vector is never empty.
        let block = self.blocks.get(index).unwrap_or(&EMPTY);
        (block, bits)
    }
}

static EMPTY: [AtomicU64; WORDS] = [const { AtomicU64::new(u64::MAX) }; WORDS];

const WORDS: usize = 8;
const BLOCK_BYTES: usize = WORDS * 8;
const PROBES: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_added_is_missed_and_few_others_are_held() {
        let filter = Filter::new(64 << 10);
        assert!(filter.may_hold(1), "incomplete: nothing can be ruled out");
        let added = 40_000;
        for item in 0..added {
            filter.add(item);
        }
        filter.set_complete();
        assert!((0..added).all(|item| filter.may_hold(item)));
        let wrong = (added..2 * added)
            .filter(|item| filter.may_hold(*item))
            .count();
        assert!(
            wrong < 1_200,
            "{wrong} of {added} held wrongly at 13 bits each"
        );
        assert!(wrong > 0, "else it would be no filter");
    }

    #[test]
    fn the_smallest_filter_works() {
        let filter = Filter::new(0);
        filter.set_complete();
        assert!(!filter.may_hold(7));
        filter.add(7);
        assert!(filter.may_hold(7));
    }
}
