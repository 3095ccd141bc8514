//! What a peer had no time or room for: one key at one peer, to be asked again later.
//!
//! Only that is asked again, never before half a minute has passed, and a few at a time, the longest due
//! first. So a busy peer does not make this node ask all others once more.
//!
//! Not here: asking.

use std::collections::BTreeMap;

use crate::Key;
use crate::judge::Subject;
use crate::lookup::Contact;

/// What waits, in bounded memory.
#[derive(Debug)]
pub(crate) struct Retries {
    retries_max: usize,
    /// By when it is due, in seconds since the epoch, and in the order it came.
    waiting: BTreeMap<(u64, u64), Retry>,
    numbered: u64,
}

/// One thing to ask one peer again.
#[derive(Debug, Clone)]
pub(crate) struct Retry {
    pub(crate) key: Key,
    pub(crate) contact: Contact,
    pub(crate) what: What,
    /// How often it was asked in vain.
    pub(crate) tries: u8,
}

/// What to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// To keep the record of this number, if it still is the subject's newest.
    Register { subject: Subject, seq: u64 },
    /// To forget what this node registered.
    Withdraw,
}

impl Retries {
    pub(crate) fn new(retries_max: usize) -> Self {
        Self {
            retries_max,
            waiting: BTreeMap::new(),
            numbered: 0,
        }
    }

    /// Notes that a peer asked to come again in so many seconds. Who has asked too often gives up; where
    /// too much waits, what is due last does.
    pub(crate) fn push(&mut self, mut retry: Retry, now_s: u64, seconds: u32) {
        retry.tries = retry.tries.saturating_add(1);
        if retry.tries > TRIES_MAX {
            return;
        }
        let wait = seconds.clamp(WAIT_S_MIN, WAIT_S_MAX);
        self.numbered = self.numbered.wrapping_add(1);
        let turn = (now_s.saturating_add(wait.into()), self.numbered);
        self.waiting.insert(turn, retry);
        while self.waiting.len() > self.retries_max {
            self.waiting.pop_last();
        }
    }

    /// Takes out a few that are due, the longest due first.
    pub(crate) fn due(&mut self, now_s: u64) -> Vec<Retry> {
        let mut due = Vec::new();
        while due.len() < AT_ONCE
            && let Some(first) = self.waiting.first_entry()
            && first.key().0 <= now_s
        {
            due.push(first.remove());
        }
        due
    }

    /// Forgets a subject, whose record is registered everywhere anew.
    pub(crate) fn forget(&mut self, subject: &Subject) {
        self.waiting.retain(|_, retry| match &retry.what {
            What::Register { subject: own, .. } => own != subject,
            What::Withdraw => true,
        });
    }
}

/// The shortest and the longest time before a peer is asked again, in seconds.
const WAIT_S_MIN: u32 = 30;
const WAIT_S_MAX: u32 = 300;
/// How many are asked again in one go.
const AT_ONCE: usize = 8;
/// How often the same is asked again: by then the record's next round has come.
const TRIES_MAX: u8 = 5;

#[cfg(test)]
mod tests {
    use libp2p::PeerId;

    use super::*;

    fn retry(name: &str, what: What) -> Retry {
        Retry {
            key: Key::service(name),
            contact: Contact {
                peer: PeerId::random(),
                addresses: Vec::new(),
            },
            what,
            tries: 0,
        }
    }

    fn register(subject: u8) -> What {
        What::Register {
            subject: Subject([subject; 32]),
            seq: 1,
        }
    }

    #[test]
    fn nobody_is_asked_again_before_half_a_minute_and_only_a_few_at_once() {
        let mut retries = Retries::new(100);
        for number in 0..20 {
            retries.push(retry(&number.to_string(), register(1)), 1000, 1);
        }
        retries.push(retry("first", What::Withdraw), 990, 1);
        assert_eq!(retries.due(1019).len(), 0);
        let due = retries.due(1030);
        assert_eq!(due.len(), 8);
        assert_eq!(due[0].key, Key::service("first"), "the longest due first");
        assert_eq!(retries.due(1030).len(), 8);
        assert_eq!(retries.due(1030).len(), 5);
        assert_eq!(retries.due(2000).len(), 0, "each once");
    }

    #[test]
    fn a_long_wait_is_kept_and_an_endless_one_is_not() {
        let mut retries = Retries::new(100);
        retries.push(retry("a", register(1)), 1000, 200);
        retries.push(retry("b", register(2)), 1000, u32::MAX);
        assert_eq!(retries.due(1199).len(), 0);
        assert_eq!(retries.due(1200).len(), 1);
        assert_eq!(retries.due(1300).len(), 1);
    }

    #[test]
    fn who_is_always_busy_is_left_alone_at_last() {
        let mut retries = Retries::new(100);
        let (mut now, mut asked) = (0, 0);
        retries.push(retry("a", register(1)), now, 1);
        while now < 10_000 {
            now += 1;
            for retry in retries.due(now) {
                asked += 1;
                retries.push(retry, now, 1);
            }
        }
        assert_eq!(asked, 5);
    }

    #[test]
    fn memory_is_bounded_and_a_new_round_begins_anew() {
        let mut retries = Retries::new(3);
        for number in 0..10 {
            retries.push(retry("a", register(number)), 1000 + u64::from(number), 1);
        }
        assert_eq!(retries.waiting.len(), 3);
        retries.forget(&Subject([1; 32]));
        assert_eq!(retries.due(5000).len(), 2);
    }
}
