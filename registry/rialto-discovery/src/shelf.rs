//! What this node publishes, and when each of it is due again.
//!
//! Not here: publishing.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use crate::Key;
use crate::judge::{Judged, Subject, UnixSeconds};

/// This node's own records and pointers.
#[derive(Debug)]
pub(crate) struct Shelf {
    records_max: usize,
    pointers_max: usize,
    records: BTreeMap<Subject, Shelved>,
    /// By key, and so by region of the keyspace: neighbours go out together.
    pointers: BTreeMap<Key, u64>,
}

/// One published record.
#[derive(Debug, Clone)]
pub(crate) struct Shelved {
    pub(crate) bytes: Bytes,
    pub(crate) judged: Judged,
    due_s: u64,
}

/// Why a record is not shelved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotShelved {
    /// The shelf is full.
    Full,
    /// A newer record of the subject is there, or another with the same number.
    Stale,
}

impl Shelf {
    pub(crate) fn new(records_max: usize, pointers_max: usize) -> Self {
        Self {
            records_max,
            pointers_max,
            records: BTreeMap::new(),
            pointers: BTreeMap::new(),
        }
    }

    /// Keeps a record, in place of the subject's last one, due after `after`, and pointers under all keys
    /// that it stands under, due after `pointers_after`. Either all of it or nothing.
    pub(crate) fn put(
        &mut self,
        bytes: Bytes,
        judged: Judged,
        now: UnixSeconds,
        after: Duration,
        pointers_after: Duration,
    ) -> Result<(), NotShelved> {
        match self.records.get(&judged.subject) {
            Some(old) if judged.seq < old.judged.seq => return Err(NotShelved::Stale),
            Some(old) if judged.seq == old.judged.seq && bytes != old.bytes => {
                return Err(NotShelved::Stale);
            }
            None if self.records.len() >= self.records_max => return Err(NotShelved::Full),
            Some(_) | None => {}
        }
        let keys = judged.all_keys();
        let more = keys.iter().filter(|key| !self.pointers.contains_key(key));
        if self.pointers.len() + more.count() > self.pointers_max {
            return Err(NotShelved::Full);
        }
        let due_s = now.0.saturating_add(pointers_after.as_secs());
        self.pointers
            .extend(keys.into_iter().map(|key| (key, due_s)));
        let due_s = now.0.saturating_add(after.as_secs());
        let subject = judged.subject;
        self.records.insert(
            subject,
            Shelved {
                bytes,
                judged,
                due_s,
            },
        );
        Ok(())
    }

    /// Returns whether a record of this number still is what stands under a key: a newer one takes its
    /// place, and who withdraws a key wants nothing there.
    pub(crate) fn holds(&self, subject: &Subject, seq: u64, key: &Key) -> bool {
        self.record(subject, seq)
            .is_some_and(|shelved| shelved.judged.belongs_to(key))
    }

    /// A subject's record, if it still has this number.
    pub(crate) fn record(&self, subject: &Subject, seq: u64) -> Option<&Shelved> {
        self.records
            .get(subject)
            .filter(|shelved| shelved.judged.seq == seq)
    }

    /// Returns whether any record stands under a key.
    pub(crate) fn is_used(&self, key: &Key) -> bool {
        self.records
            .values()
            .any(|shelved| shelved.judged.belongs_to(key))
    }

    /// Keeps a pointer; it is due after `after`.
    pub(crate) fn point(
        &mut self,
        key: Key,
        now: UnixSeconds,
        after: Duration,
    ) -> Result<(), NotShelved> {
        if self.pointers.len() >= self.pointers_max && !self.pointers.contains_key(&key) {
            return Err(NotShelved::Full);
        }
        self.pointers
            .insert(key, now.0.saturating_add(after.as_secs()));
        Ok(())
    }

    /// Takes out a key's pointer, and the records that have no other key.
    pub(crate) fn withdraw(&mut self, key: &Key) {
        self.pointers.remove(key);
        for shelved in self.records.values_mut() {
            shelved.judged.keys.retain(|own| own != key);
        }
        self.records
            .retain(|_, shelved| !shelved.judged.keys.is_empty());
    }

    /// The records that are due, which are due again after `after`. Ended ones leave.
    pub(crate) fn due(&mut self, now: UnixSeconds, after: Duration) -> Vec<Shelved> {
        self.records
            .retain(|_, shelved| shelved.judged.expires > now);
        let mut due = Vec::new();
        for shelved in self.records.values_mut() {
            if shelved.due_s <= now.0 && due.len() < RECORDS_AT_ONCE {
                shelved.due_s = now.0.saturating_add(after.as_secs());
                due.push(shelved.clone());
            }
        }
        due
    }

    /// Up to a batch of the pointers that are due, nearest neighbours together.
    pub(crate) fn pointers_due(&mut self, now: UnixSeconds, after: Duration) -> Vec<Key> {
        let mut due = Vec::new();
        for (key, due_s) in &mut self.pointers {
            if *due_s <= now.0 && due.len() < POINTERS_AT_ONCE {
                *due_s = now.0.saturating_add(after.as_secs());
                due.push(*key);
            }
        }
        due
    }

    /// How many records and pointers there are.
    pub(crate) fn len(&self) -> (usize, usize) {
        (self.records.len(), self.pointers.len())
    }
}

/// How many records are registered again in one go.
const RECORDS_AT_ONCE: usize = 4;
/// How many pointers are left again in one go.
const POINTERS_AT_ONCE: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Identity;

    const MINUTE: Duration = Duration::from_secs(60);

    fn judged(subject: u8, keys: &[Key]) -> Judged {
        Judged {
            keys: keys.to_vec(),
            publisher: Identity::from_seed([1; 32]).peer(),
            subject: Subject([subject; 32]),
            seq: 1,
            expires: UnixSeconds(10_000),
            addresses: Vec::new(),
        }
    }

    #[test]
    fn records_come_round_in_batches_until_they_end() {
        let mut shelf = Shelf::new(10, 10);
        for subject in 0..6 {
            let judged = judged(subject, &[Key::service("a")]);
            shelf
                .put(Bytes::new(), judged, UnixSeconds(0), MINUTE, MINUTE)
                .unwrap();
        }
        assert_eq!(shelf.due(UnixSeconds(59), MINUTE).len(), 0);
        assert_eq!(shelf.due(UnixSeconds(60), MINUTE).len(), 4);
        assert_eq!(shelf.due(UnixSeconds(60), MINUTE).len(), 2);
        assert_eq!(shelf.due(UnixSeconds(61), MINUTE).len(), 0);
        assert_eq!(shelf.due(UnixSeconds(10_000), MINUTE).len(), 0);
        assert_eq!(shelf.len().0, 0);
    }

    #[test]
    fn a_withdrawn_key_takes_along_what_has_no_other() {
        let mut shelf = Shelf::new(10, 10);
        let (a, b) = (Key::service("a"), Key::service("b"));
        shelf
            .put(
                Bytes::new(),
                judged(1, &[a]),
                UnixSeconds(0),
                MINUTE,
                MINUTE,
            )
            .unwrap();
        shelf
            .put(
                Bytes::new(),
                judged(2, &[a, b]),
                UnixSeconds(0),
                MINUTE,
                MINUTE,
            )
            .unwrap();
        shelf.point(a, UnixSeconds(0), MINUTE).unwrap();
        shelf.withdraw(&a);
        assert_eq!(
            shelf.len(),
            (1, 2),
            "the other key's pointer and the peer's stay"
        );
    }

    #[test]
    fn the_shelf_is_bounded() {
        let mut shelf = Shelf::new(2, 4);
        let put = |shelf: &mut Shelf, subject, keys: &[Key]| {
            let judged = judged(subject, keys);
            shelf.put(Bytes::new(), judged, UnixSeconds(0), MINUTE, MINUTE)
        };
        let keys = ["a", "b", "c", "d"].map(Key::service);
        assert_eq!(put(&mut shelf, 1, &keys[..1]), Ok(()));
        assert_eq!(put(&mut shelf, 2, &keys), Err(NotShelved::Full));
        assert_eq!(shelf.len(), (1, 2), "all of it or nothing");
        assert_eq!(put(&mut shelf, 2, &keys[..1]), Ok(()));
        assert_eq!(put(&mut shelf, 3, &[]), Err(NotShelved::Full));
        assert_eq!(put(&mut shelf, 2, &keys[..1]), Ok(()));
        for (name, fits) in [("b", true), ("c", true), ("d", false), ("b", true)] {
            let put = shelf.point(Key::service(name), UnixSeconds(0), MINUTE);
            assert_eq!(put.is_ok(), fits, "{name}");
        }
        assert_eq!(shelf.pointers_due(UnixSeconds(60), MINUTE).len(), 4);
        assert_eq!(shelf.pointers_due(UnixSeconds(61), MINUTE).len(), 0);
    }

    #[test]
    fn an_old_record_comes_not_back_and_is_no_longer_placed() {
        let mut shelf = Shelf::new(10, 10);
        let (a, b) = (Key::service("a"), Key::service("b"));
        let put = |shelf: &mut Shelf, seq, bytes: &'static [u8]| {
            let judged = Judged {
                seq,
                ..judged(1, &[a, b])
            };
            let bytes = Bytes::from_static(bytes);
            shelf.put(bytes, judged, UnixSeconds(0), MINUTE, MINUTE)
        };
        let subject = Subject([1; 32]);
        assert_eq!(put(&mut shelf, 5, b"five"), Ok(()));
        assert!(shelf.holds(&subject, 5, &a));
        assert!(!shelf.holds(&subject, 5, &Key::service("c")));
        assert_eq!(put(&mut shelf, 6, b"six"), Ok(()));
        assert!(!shelf.holds(&subject, 5, &a), "a newer one is there");
        assert_eq!(put(&mut shelf, 5, b"five"), Err(NotShelved::Stale));
        assert_eq!(put(&mut shelf, 6, b"other"), Err(NotShelved::Stale));
        assert_eq!(put(&mut shelf, 6, b"six"), Ok(()));
        let own = Key::peer(Identity::from_seed([1; 32]).peer());
        assert!(shelf.holds(&subject, 6, &own));
        shelf.withdraw(&a);
        assert!(!shelf.holds(&subject, 6, &a) && !shelf.is_used(&a));
        assert!(shelf.holds(&subject, 6, &b) && shelf.is_used(&b));
    }
}
