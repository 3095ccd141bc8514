//! Whose calls keep failing: they get what others leave of the processor.
//!
//! Nobody pays for a call that failed (money rule M3), so its work is worth the least to a host, and a guest
//! that fails within milliseconds is over before it counts as long. A party is a service as one payer uses
//! it: a payer who makes a good service fail slows down nobody else's calls of it. Each fault weighs two
//! good calls; who went too far begins every call at the lowest priority until good calls or time have
//! worked it off.
//!
//! Not here: taking a service out altogether (the node's quarantine), and what a fault is
//! ([`CallError::is_fault`]).

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::error::CallError;

/// What a fault adds.
const FAULT: u32 = 2;
/// What one adds that took the processor for as long as it could.
const LONG_FAULT: u32 = 4;
/// From here on a party is suspect: three faults, or two long ones, with no good call between them.
const SUSPECT: u32 = 6;
/// The most that is held against a party, so that it can be worked off.
const WORST: u32 = 12;
/// How long it takes until one of it is forgotten.
const FORGIVEN_AFTER: Duration = Duration::from_secs(5);
/// The most parties that are remembered; beyond it the least bad are forgotten.
const PARTIES_MAX: usize = 4_096;

/// What is held against whom. Parties of good conduct are not in it and cost a load of one atomic.
#[derive(Debug, Default)]
pub(crate) struct Conduct {
    known: AtomicUsize,
    parties: Mutex<HashMap<Party, Record>>,
}

/// A service, as one payer uses it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Party {
    service: String,
    /// Empty where nobody pays.
    payer: String,
}

impl Party {
    fn new(service: &str, payer: &str) -> Self {
        Self {
            service: service.to_owned(),
            payer: payer.to_owned(),
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Record {
    held: u32,
    since: Instant,
}

impl Record {
    /// What is still held against the party.
    fn now(self, now: Instant) -> u32 {
        let waited = now.saturating_duration_since(self.since).as_secs();
        let forgiven = waited / FORGIVEN_AFTER.as_secs();
        self.held
            .saturating_sub(u32::try_from(forgiven).unwrap_or(u32::MAX))
    }
}

impl Conduct {
    /// Whether its calls begin at the lowest priority.
    pub(crate) fn is_suspect(&self, service: &str, payer: &str, now: Instant) -> bool {
        if self.known.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let parties = self.lock();
        let record = parties.get(&Party::new(service, payer));
        record.is_some_and(|it| it.now(now) >= SUSPECT)
    }

    /// A call of this party ended.
    pub(crate) fn ended(
        &self,
        service: &str,
        payer: &str,
        error: Option<&CallError>,
        now: Instant,
    ) {
        match error {
            Some(error) if error.is_fault() => {
                self.fault(Party::new(service, payer), weight(error), now);
            }
            // It says nothing of the guest, or it is the guest's answer.
            Some(_) => {}
            None if self.known.load(Ordering::Relaxed) == 0 => {}
            None => self.good(&Party::new(service, payer), now),
        }
    }

    /// A call of this party ran out of its time, and would have computed for all of it had it not been held back.
    /// That is held against the payer here, and says too little of the service to count as its fault.
    pub(crate) fn computed_on(&self, service: &str, payer: &str, now: Instant) {
        self.fault(Party::new(service, payer), LONG_FAULT, now);
    }

    fn fault(&self, party: Party, weight: u32, now: Instant) {
        let mut parties = self.lock();
        if parties.len() >= PARTIES_MAX && !parties.contains_key(&party) {
            forget_the_better_half(&mut parties, now);
        }
        let record = parties.entry(party).or_insert(Record {
            held: 0,
            since: now,
        });
        *record = Record {
            held: record.now(now).saturating_add(weight).min(WORST),
            since: now,
        };
        self.known.store(parties.len(), Ordering::Relaxed);
    }

    fn good(&self, party: &Party, now: Instant) {
        let mut parties = self.lock();
        let Some(record) = parties.get_mut(party) else {
            return;
        };
        *record = Record {
            held: record.now(now).saturating_sub(1),
            since: now,
        };
        if record.held == 0 {
            parties.remove(party);
        }
        self.known.store(parties.len(), Ordering::Relaxed);
    }

    /// No step under the lock leaves something half-changed.
    fn lock(&self) -> MutexGuard<'_, HashMap<Party, Record>> {
        self.parties.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const fn weight(fault: &CallError) -> u32 {
    if matches!(
        fault,
        CallError::TimedOut { .. } | CallError::CpuExceeded { .. }
    ) {
        LONG_FAULT
    } else {
        FAULT
    }
}

/// Makes room. Who is forgotten has to fail again before anything follows.
fn forget_the_better_half(parties: &mut HashMap<Party, Record>, now: Instant) {
    let mut held: Vec<u32> = parties.values().map(|it| it.now(now)).collect();
    held.sort_unstable();
    let median = held.get(held.len() / 2).copied().unwrap_or(0);
    parties.retain(|_, it| it.now(now) > median);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault() -> CallError {
        CallError::StackExhausted
    }

    #[test]
    fn three_faults_make_a_party_suspect_and_good_calls_or_time_clear_it() {
        let conduct = Conduct::default();
        let now = Instant::now();
        for _ in 0..2 {
            conduct.ended("a", "x", Some(&fault()), now);
        }
        assert!(!conduct.is_suspect("a", "x", now));
        conduct.ended("a", "x", Some(&fault()), now);
        assert!(conduct.is_suspect("a", "x", now));
        assert!(!conduct.is_suspect("a", "y", now), "another payer's");
        conduct.ended("a", "x", None, now);
        assert!(!conduct.is_suspect("a", "x", now));
        conduct.ended("a", "x", Some(&fault()), now);
        assert!(conduct.is_suspect("a", "x", now));
        assert!(!conduct.is_suspect("a", "x", now + FORGIVEN_AFTER * 2));
    }

    #[test]
    fn two_calls_that_computed_until_the_end_of_their_time_are_enough() {
        let conduct = Conduct::default();
        let now = Instant::now();
        let late = CallError::TimedOut {
            limit_ms: 1,
            busy: true,
        };
        conduct.ended("a", "x", Some(&late), now);
        assert!(!conduct.is_suspect("a", "x", now));
        conduct.ended("a", "x", Some(&late), now);
        assert!(conduct.is_suspect("a", "x", now + FORGIVEN_AFTER * 2));
        assert!(!conduct.is_suspect("a", "x", now + FORGIVEN_AFTER * 3));
    }

    #[test]
    fn however_bad_it_was_it_can_be_worked_off() {
        let conduct = Conduct::default();
        let now = Instant::now();
        for _ in 0..1_000 {
            conduct.ended("a", "x", Some(&fault()), now);
        }
        for _ in 0..=WORST - SUSPECT {
            assert!(conduct.is_suspect("a", "x", now));
            conduct.ended("a", "x", None, now);
        }
        assert!(!conduct.is_suspect("a", "x", now));
    }

    #[test]
    fn what_is_no_fault_changes_nothing() {
        let conduct = Conduct::default();
        let now = Instant::now();
        let late = CallError::TimedOut {
            limit_ms: 1,
            busy: false,
        };
        for _ in 0..10 {
            conduct.ended("a", "x", Some(&late), now);
            conduct.ended(
                "a",
                "x",
                Some(&CallError::Overloaded { retry_after_ms: 0 }),
                now,
            );
        }
        assert!(!conduct.is_suspect("a", "x", now));
        assert_eq!(conduct.known.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn the_memory_for_parties_is_bounded_and_the_worst_stay() {
        let conduct = Conduct::default();
        let now = Instant::now();
        for _ in 0..3 {
            conduct.ended("a", "worst", Some(&fault()), now);
        }
        for other in 0..PARTIES_MAX * 3 {
            conduct.ended("a", &other.to_string(), Some(&fault()), now);
            assert!(conduct.lock().len() <= PARTIES_MAX);
        }
        assert!(conduct.is_suspect("a", "worst", now));
    }
}
