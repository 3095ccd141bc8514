//! One lookup as a state machine: whom to ask next, and when it is enough.
//!
//! The lookup walks towards a key on disjoint paths, as S/Kademlia does: no peer is asked on two paths,
//! so one hostile peer leads at most one of them astray. Each path asks one peer at a time. It ends when
//! several peers in a row had records and none of them a new one, when the closest it knows have all
//! been asked, or with the whole lookup.
//!
//! Not here: asking, judging records, time.

use std::collections::{BTreeMap, HashSet};

use libp2p::kad::{KBucketDistance, KBucketKey};
use libp2p::{Multiaddr, PeerId};

use crate::Key;

/// A peer and where it listens.
#[derive(Debug, Clone)]
pub(crate) struct Contact {
    pub(crate) peer: PeerId,
    pub(crate) addresses: Vec<Multiaddr>,
}

/// The state of one lookup.
#[derive(Debug)]
pub(crate) struct Lookup {
    local: PeerId,
    target: KBucketKey<Vec<u8>>,
    paths: Vec<Path>,
    /// Everybody heard of: each belongs to the path that heard first.
    seen: HashSet<PeerId>,
    requests: usize,
    requests_max: usize,
    /// The deepest peer that was asked: how many steps from a peer that was known before.
    depth: u32,
}

/// A question to ask.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) path: usize,
    pub(crate) contact: Contact,
    pub(crate) depth: u32,
}

#[derive(Debug, Default)]
struct Path {
    /// By distance from the key, nearest first.
    candidates: BTreeMap<KBucketDistance, Candidate>,
    asking: bool,
    quiet: usize,
    done: bool,
}

#[derive(Debug)]
struct Candidate {
    contact: Contact,
    depth: u32,
    asked: bool,
}

impl Lookup {
    /// Begins a lookup of `key` at the peers that are known to be nearest.
    pub(crate) fn new(local: PeerId, key: &Key, seeds: Vec<Contact>, requests_max: usize) -> Self {
        let mut lookup = Self {
            local,
            target: KBucketKey::new(key.as_bytes().to_vec()),
            paths: (0..PATHS).map(|_| Path::default()).collect(),
            seen: HashSet::new(),
            requests: 0,
            requests_max,
            depth: 0,
        };
        for (index, seed) in seeds.into_iter().enumerate() {
            lookup.hear(index % PATHS, seed, 1);
        }
        lookup
    }

    /// The next question, if there is one now.
    pub(crate) fn next(&mut self) -> Option<Question> {
        if self.requests >= self.requests_max {
            return None;
        }
        for (index, path) in self.paths.iter_mut().enumerate() {
            if path.done || path.asking {
                continue;
            }
            let closest = path.candidates.values_mut().take(PATH_CLOSEST);
            let Some(candidate) = closest.into_iter().find(|candidate| !candidate.asked) else {
                // Another path may still bring nobody here: contacts stay with who heard of them.
                path.done = true;
                continue;
            };
            candidate.asked = true;
            path.asking = true;
            self.requests += 1;
            self.depth = self.depth.max(candidate.depth);
            return Some(Question {
                path: index,
                contact: candidate.contact.clone(),
                depth: candidate.depth,
            });
        }
        None
    }

    /// Notes an answer: how many records it had, how many of them were new, and who is closer.
    pub(crate) fn answered(
        &mut self,
        question: &Question,
        records: usize,
        new: usize,
        closer: Vec<Contact>,
    ) {
        for contact in closer.into_iter().take(CLOSER_MAX) {
            self.hear(question.path, contact, question.depth.saturating_add(1));
        }
        let path = &mut self.paths[question.path];
        path.asking = false;
        if new > 0 {
            path.quiet = 0;
        } else if records > 0 {
            path.quiet += 1;
            path.done |= path.quiet >= QUIET;
        }
    }

    /// Notes that a peer did not answer, or answered badly: nothing it said counts.
    pub(crate) fn failed(&mut self, question: &Question) {
        let distance = self.distance(&question.contact.peer);
        let path = &mut self.paths[question.path];
        path.asking = false;
        path.candidates.remove(&distance);
    }

    /// How many peers were asked.
    pub(crate) fn requests(&self) -> usize {
        self.requests
    }

    /// How many steps the deepest question was away.
    pub(crate) fn depth(&self) -> u32 {
        self.depth
    }

    fn hear(&mut self, path: usize, contact: Contact, depth: u32) {
        if contact.peer == self.local
            || self.seen.len() >= SEEN_MAX
            || !self.seen.insert(contact.peer)
        {
            return;
        }
        let distance = self.distance(&contact.peer);
        let candidates = &mut self.paths[path].candidates;
        let candidate = Candidate {
            contact,
            depth,
            asked: false,
        };
        candidates.insert(distance, candidate);
        if candidates.len() > CANDIDATES_MAX {
            candidates.pop_last();
        }
    }

    fn distance(&self, peer: &PeerId) -> KBucketDistance {
        self.target.distance(&KBucketKey::from(*peer))
    }
}

/// How many disjoint paths.
const PATHS: usize = 3;
/// After so many answers in a row with records but no new one a path ends: the peers around a key hold
/// the same records.
const QUIET: usize = 3;
/// A path ends when so many nearest have been asked.
const PATH_CLOSEST: usize = 8;
/// How many peers of one answer count.
const CLOSER_MAX: usize = 20;
/// How many peers a path remembers.
const CANDIDATES_MAX: usize = 64;
/// How many peers a lookup hears of.
const SEEN_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn contacts(count: usize) -> Vec<Contact> {
        (0..count)
            .map(|_| Contact {
                peer: PeerId::random(),
                addresses: Vec::new(),
            })
            .collect()
    }

    fn lookup(seeds: Vec<Contact>) -> Lookup {
        Lookup::new(PeerId::random(), &Key::service("a"), seeds, 60)
    }

    #[test]
    fn paths_ask_one_peer_each_and_nobody_twice() {
        let mut lookup = lookup(contacts(9));
        let questions: Vec<Question> = std::iter::from_fn(|| lookup.next()).collect();
        assert_eq!(questions.len(), PATHS);
        let common = contacts(1);
        for question in &questions {
            lookup.answered(question, 0, 0, common.clone());
        }
        let mut asked = HashSet::new();
        let mut rounds = 0;
        loop {
            let questions: Vec<Question> = std::iter::from_fn(|| lookup.next()).collect();
            if questions.is_empty() {
                break;
            }
            for question in questions {
                assert!(asked.insert(question.contact.peer), "asked once");
                lookup.answered(&question, 0, 0, Vec::new());
            }
            rounds += 1;
        }
        assert_eq!(
            asked.len(),
            7,
            "the six others and the one all three heard of"
        );
        assert!(rounds <= 4);
        assert_eq!(lookup.requests(), 10);
        assert_eq!(lookup.depth(), 2);
    }

    #[test]
    fn a_path_ends_after_several_answers_without_news() {
        let mut lookup = lookup(contacts(30));
        while let Some(question) = lookup.next() {
            lookup.answered(&question, 2, 0, contacts(5));
        }
        assert_eq!(lookup.requests(), PATHS * QUIET);
    }

    #[test]
    fn news_keep_a_path_going_until_the_nearest_have_been_asked() {
        let mut lookup = lookup(contacts(60));
        while let Some(question) = lookup.next() {
            lookup.answered(&question, 2, 1, Vec::new());
        }
        assert_eq!(lookup.requests(), PATHS * PATH_CLOSEST);
    }

    #[test]
    fn a_liar_with_endless_closer_peers_is_bounded() {
        let mut lookup = lookup(contacts(3));
        let mut questions = 0;
        while let Some(question) = lookup.next() {
            questions += 1;
            lookup.answered(&question, 0, 0, contacts(500));
        }
        assert!(questions <= 60);
        assert!(lookup.seen.len() <= SEEN_MAX);
        assert!(
            lookup
                .paths
                .iter()
                .all(|path| path.candidates.len() <= CANDIDATES_MAX)
        );
    }

    #[test]
    fn who_fails_makes_room_for_the_next() {
        let mut lookup = lookup(contacts(60));
        while let Some(question) = lookup.next() {
            lookup.failed(&question);
        }
        assert_eq!(
            lookup.requests(),
            60,
            "each of the sixty, and then the limit"
        );
        assert!(self_is_never_asked());
    }

    fn self_is_never_asked() -> bool {
        let local = PeerId::random();
        let seeds = vec![Contact {
            peer: local,
            addresses: Vec::new(),
        }];
        Lookup::new(local, &Key::service("a"), seeds, 9)
            .next()
            .is_none()
    }
}
