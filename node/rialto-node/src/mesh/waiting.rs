//! Feedback that waits for what it rests on: a receipt that nobody had yet, or a deposit that was not deep enough.
//!
//! It stays here while it is looked at: whoever looks may be cut off at any moment, and nothing is lost then.
//! Not here: looking.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use alloy_primitives::Address;
use rialto_registry::reputation::Claim;
use rialto_registry::{AgentId, Digest, Name};

/// Feedback that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Waiting {
    /// What it is about.
    pub(super) service: Name,
    /// What it says.
    pub(super) claim: Claim,
    /// Its number among the rater's on this agent.
    pub(super) index: u64,
    /// What it rests on.
    pub(super) receipt: Digest,
}

/// Which feedback: agent, rater and number.
pub(super) type Key = (AgentId, Address, u64);

impl Waiting {
    pub(super) const fn key(&self) -> Key {
        (self.claim.agent, self.claim.rater, self.index)
    }
}

/// All that waits, what came first first.
#[derive(Debug, Default)]
pub(super) struct Queue(VecDeque<Place>);

#[derive(Debug)]
struct Place {
    waiting: Waiting,
    /// How often it was looked at in vain.
    tries: u32,
    not_before: Option<Instant>,
}

impl Queue {
    /// Lets feedback wait. A flood of it on one service leaves the others' alone.
    pub(super) fn push(&mut self, waiting: Waiting) {
        let of_service = |it: &&Place| it.waiting.service == waiting.service;
        if self.0.iter().filter(of_service).count() >= OF_SERVICE_MAX {
            return;
        }
        if self.0.len() >= WAITING_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Place {
            waiting,
            tries: 0,
            not_before: None,
        });
    }

    /// What is to be looked at now about a service, so much as is looked at in one go.
    pub(super) fn due(&self, service: &Name, now: Instant) -> Vec<Waiting> {
        let of_service = self.0.iter().filter(|it| it.waiting.service == *service);
        let due = of_service.filter(|it| it.not_before.is_none_or(|at| at <= now));
        due.take(LOOKS_MAX).map(|it| it.waiting.clone()).collect()
    }

    /// Nothing more is to be found out about it.
    pub(super) fn settle(&mut self, key: Key) {
        self.0.retain(|it| it.waiting.key() != key);
    }

    /// It was looked at in vain: it waits twice as long as the last time, and goes after too many.
    pub(super) fn again(&mut self, key: Key, now: Instant) {
        self.put_off(key, now, 1);
    }

    /// It could not be looked at, for no fault of its own.
    pub(super) fn later(&mut self, key: Key, now: Instant) {
        self.put_off(key, now, 0);
    }

    fn put_off(&mut self, key: Key, now: Instant, tries: u32) {
        let Some(at) = self.0.iter().position(|it| it.waiting.key() == key) else {
            return; // taken back meanwhile
        };
        let place = &mut self.0[at];
        place.tries += tries;
        let pause = PAUSE.saturating_mul(1 << place.tries.min(TRIES_MAX));
        place.not_before = Some(now + pause.min(PAUSE_MAX));
        if place.tries >= TRIES_MAX {
            self.0.remove(at);
        }
    }
}

/// How many one look takes.
const LOOKS_MAX: usize = 16;
/// How often what it rests on is asked for in vain: for some 50 minutes.
const TRIES_MAX: u32 = 12;
/// The shortest pause.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest.
const PAUSE_MAX: Duration = Duration::from_mins(10);
/// Feedback on one service that waits.
const OF_SERVICE_MAX: usize = 64;
/// Feedback that waits; the oldest goes.
const WAITING_MAX: usize = 4_096;

#[cfg(test)]
mod tests {
    use alloy_primitives::{B256, U256};
    use rialto_registry::erc8004::Registries;

    use super::*;

    fn waiting(service: &str, index: u64) -> Waiting {
        let registries = Registries::canonical(84_532).unwrap();
        Waiting {
            service: service.parse().unwrap(),
            claim: Claim {
                agent: registries.agent(U256::from(1)),
                rater: Address::repeat_byte(1),
                value: 1,
                decimals: 0,
                hash: B256::ZERO,
            },
            index,
            receipt: Digest::new([1; 32]),
        }
    }

    fn indices(queue: &Queue, service: &str, now: Instant) -> Vec<u64> {
        let due = queue.due(&service.parse().unwrap(), now);
        due.iter().map(|it| it.index).collect()
    }

    #[test]
    fn what_is_looked_at_stays_until_it_is_settled() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for index in 0..20 {
            queue.push(waiting("embed", index));
        }
        queue.push(waiting("chat", 50));
        assert_eq!(indices(&queue, "embed", now), (0..16).collect::<Vec<u64>>());
        assert_eq!(indices(&queue, "embed", now).len(), LOOKS_MAX);
        queue.settle(waiting("embed", 3).key());
        queue.again(waiting("embed", 0).key(), now);
        assert_eq!(indices(&queue, "embed", now)[..3], [1, 2, 4]);
        assert_eq!(indices(&queue, "chat", now), [50]);
        // What was taken back while somebody looked does not come back.
        queue.again(waiting("embed", 3).key(), now);
        assert!(!indices(&queue, "embed", now + PAUSE_MAX).contains(&3));
        assert!(indices(&queue, "embed", now + PAUSE_MAX).contains(&0));
    }

    #[test]
    fn pauses_grow_and_tries_end() {
        let (mut queue, mut now) = (Queue::default(), Instant::now());
        let key = waiting("embed", 1).key();
        queue.push(waiting("embed", 1));
        // An endpoint that is away for long uses up no tries.
        for _ in 0..100 {
            queue.later(key, now);
            assert!(indices(&queue, "embed", now).is_empty());
            now += PAUSE;
            assert_eq!(indices(&queue, "embed", now), [1]);
        }
        let begun = now;
        for tried in 1..TRIES_MAX {
            queue.again(key, now);
            let pause = PAUSE.saturating_mul(1 << tried).min(PAUSE_MAX);
            assert!(indices(&queue, "embed", now + pause - PAUSE).is_empty());
            now += pause;
            assert_eq!(indices(&queue, "embed", now), [1], "{tried}");
        }
        assert!((now - begun).as_secs() / 60 > 30);
        queue.again(key, now);
        assert!(indices(&queue, "embed", now + PAUSE_MAX * 2).is_empty());
    }

    #[test]
    fn a_flood_leaves_others_alone() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for index in 0..1_000 {
            queue.push(waiting("flood", index));
        }
        queue.push(waiting("embed", 1));
        assert_eq!(queue.0.len(), OF_SERVICE_MAX + 1);
        assert_eq!(indices(&queue, "embed", now), [1]);
    }
}
