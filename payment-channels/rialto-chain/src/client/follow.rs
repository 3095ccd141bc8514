//! Follows the chain step by step, and notices when it took blocks back.
//!
//! A step looks at the newest block, checks that the trail is still on the chain, reads the events
//! of the blocks in between, and checks at the end that nothing moved meanwhile. Events are of the
//! newest blocks, without confirmations: a withdrawal has to be answered early, and what a
//! reorganisation takes away is reported by a later step.
//! Non-goals: waiting between steps, and deciding what follows from an event.

use std::collections::{BTreeMap, BTreeSet};

use alloy::eips::BlockNumberOrTag;
use alloy::primitives::B256;
use rialto_channels::{ChainTime, ChannelId};

use super::read::Head;
use super::{BlockRef, ChainClient, ChainError, Event, Trail};

/// What one step found.
#[derive(Clone, Debug)]
pub struct Followed {
    /// The newest block, and its time.
    pub head: BlockRef,
    /// Its time.
    pub now: ChainTime,
    /// What happened since the last step, oldest first.
    pub events: Vec<Event>,
    /// Channels of which something was learnt in blocks that are gone: read them again.
    pub doubted: BTreeSet<ChannelId>,
    /// More may be in doubt than is known: read every channel again.
    pub all_doubted: bool,
    /// How many blocks were taken back at most, if any.
    pub taken_back: Option<u64>,
    /// Whether there are blocks left to read: take the next step at once.
    pub more: bool,
}

/// Where the trail and the chain part.
struct Fork {
    /// The first block that may be gone.
    first_gone: u64,
    /// None of the trail is left.
    bottomless: bool,
}

impl ChainClient {
    /// Takes a step. On an error the trail stays as it was, and the step can be taken again.
    ///
    /// # Errors
    /// [`ChainError::Changed`] if the chain moved meanwhile; see [`ChainError`] for the rest.
    pub async fn follow(&self, trail: &mut Trail) -> Result<Followed, ChainError> {
        let head = self.head().await?;
        let mut hashes = Hashes::of(head.block);
        let fork = self.fork(trail, head, &mut hashes).await?;
        let from = fork.as_ref().map_or(trail.next, |fork| fork.first_gone);
        let from = from.min(trail.next);
        let last = head
            .block
            .number
            .min(from.saturating_add(STEP_BLOCKS_MAX - 1));
        let events = if last >= from {
            self.events_within(from, last).await?
        } else {
            Vec::new()
        };
        let noted = self.look_at_notes(trail, head, &mut hashes).await?;
        let end = self.hash_of(last, &mut hashes).await?;
        self.unmoved(head, &events, last, end).await?;
        if fork.is_some() {
            self.inner.nonces.forget().await;
        }

        // Nothing can fail from here on: the trail takes it all.
        let mut doubted = BTreeSet::new();
        let mut all_doubted = std::mem::take(&mut trail.overflowed);
        if let Some(fork) = &fork {
            all_doubted |= fork.bottomless;
            doubted.extend(trail.cut(fork.first_gone));
        }
        for (block, is_there) in noted {
            doubted.extend(trail.settle(block, is_there));
        }
        if let Some(hash) = end.filter(|_| last >= from) {
            let seen = events.iter().filter_map(|event| event.event.channel());
            let block = BlockRef { number: last, hash };
            // The whole range at its end: cut there, all of it is read again.
            trail.mark(block, seen);
            trail.next = last.saturating_add(1);
        }
        trail.prune(head.block.number);
        let taken_back = fork.map(|fork| {
            let blocks = from.max(head.block.number).saturating_sub(fork.first_gone);
            blocks.saturating_add(1)
        });
        Ok(Followed {
            head: head.block,
            now: head.time,
            events,
            doubted,
            all_doubted,
            taken_back,
            more: last < head.block.number,
        })
    }

    /// Finds the newest block of the trail that is still on the chain.
    async fn fork(
        &self,
        trail: &mut Trail,
        head: Head,
        hashes: &mut Hashes,
    ) -> Result<Option<Fork>, ChainError> {
        let Some(top) = trail.top() else {
            return Ok(None);
        };
        let mut first_gone = None;
        let mut bound = head.block.number.saturating_add(1);
        while let Some(mark) = trail.below(bound) {
            if self.hash_of(mark.number, hashes).await? == Some(mark.hash) {
                break;
            }
            first_gone = Some(mark.number);
            bound = mark.number;
        }
        let bottomless = first_gone.is_some() && trail.below(bound).is_none();
        let Some(mut first_gone) = first_gone else {
            if top <= head.block.number {
                trail.behind = 0;
                return Ok(None);
            }
            // A shorter chain: an endpoint that lags, most of the time.
            trail.behind = trail.behind.saturating_add(1);
            return Ok((trail.behind > BEHIND_MAX).then_some(Fork {
                first_gone: head.block.number.saturating_add(1),
                bottomless: trail.is_empty(),
            }));
        };
        trail.behind = 0;
        // The blocks between this one and the one before it on the trail may be gone as well.
        if let Some(kept) = trail.below(first_gone) {
            first_gone = kept.number.saturating_add(1);
        }
        Ok(Some(Fork {
            first_gone,
            bottomless,
        }))
    }

    /// For each block that something was learnt at: whether it is on the chain. Those that the
    /// endpoint has not got yet wait.
    async fn look_at_notes(
        &self,
        trail: &Trail,
        head: Head,
        hashes: &mut Hashes,
    ) -> Result<Vec<(BlockRef, bool)>, ChainError> {
        let mut looked_at = Vec::new();
        for block in trail.noted() {
            if block.number <= head.block.number || trail.behind > BEHIND_MAX {
                let hash = self.hash_of(block.number, hashes).await?;
                looked_at.push((block, hash == Some(block.hash)));
            }
        }
        Ok(looked_at)
    }

    async fn hash_of(&self, number: u64, known: &mut Hashes) -> Result<Option<B256>, ChainError> {
        if let Some(hash) = known.0.get(&number) {
            return Ok(*hash);
        }
        let hash = self.block_hash(number).await?;
        known.0.insert(number, hash);
        Ok(hash)
    }

    /// The newest block must still be what it was, and the last block's events be its own.
    async fn unmoved(
        &self,
        head: Head,
        events: &[Event],
        last: u64,
        end: Option<B256>,
    ) -> Result<(), ChainError> {
        let number = BlockNumberOrTag::Number(head.block.number);
        let again = self.block(number).await?.map(|again| again.block);
        let own = events
            .iter()
            .filter(|event| event.block == last)
            .all(|event| Some(event.block_hash) == end);
        if again == Some(head.block) && own {
            Ok(())
        } else {
            Err(ChainError::Changed)
        }
    }
}

/// The chain's hashes by block number, as far as they were asked for in this step.
struct Hashes(BTreeMap<u64, Option<B256>>);

impl Hashes {
    fn of(head: BlockRef) -> Self {
        Self([(head.number, Some(head.hash))].into())
    }
}

/// Blocks in one request for events; public endpoints refuse more.
pub(super) const STEP_BLOCKS_MAX: u64 = 2_000;
/// So many steps in a row may meet a chain that is shorter than the trail before its end is doubted.
const BEHIND_MAX: u32 = 5;
