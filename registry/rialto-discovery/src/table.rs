//! What others registered here: records by key, within limits that no single peer or network can fill.
//!
//! When a key's place or the whole table is full, the network with the most records there gives way to
//! one with fewer; who may not displace anybody is told when to come again. This node's own records have
//! their own place, bounded by what it publishes.
//!
//! Not here: whether a record is good, which was judged before.

use std::collections::HashMap;

use bytes::Bytes;
use libp2p::PeerId;

use crate::crowds::{self, Crowd, Crowds};
use crate::judge::{Subject, UnixSeconds};
use crate::prefix::Prefix;
use crate::{Key, config::TableLimits};

/// The registered records.
#[derive(Debug)]
pub(crate) struct Table {
    limits: TableLimits,
    places: HashMap<Key, Vec<Entry>>,
    publishers: HashMap<PeerId, usize>,
    crowds: Crowds<Slot>,
    records: usize,
    /// This node's own.
    own: HashMap<Key, Vec<Entry>>,
}

/// Where a record is, after when it ends.
type Slot = (UnixSeconds, Key, PeerId, Subject);

/// One record under one key.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) subject: Subject,
    pub(crate) publisher: PeerId,
    /// Where it was registered from; none where networks are not counted.
    pub(crate) prefix: Option<Prefix>,
    pub(crate) seq: u64,
    pub(crate) expires: UnixSeconds,
    pub(crate) record: Bytes,
}

/// Why a record was not put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotPut {
    /// A newer record of the subject is here, or another with the same number.
    Stale,
    /// There is no room for it; seconds until there may be.
    Later(u32),
}

impl Table {
    pub(crate) fn new(limits: TableLimits) -> Self {
        Self {
            limits,
            places: HashMap::new(),
            publishers: HashMap::new(),
            crowds: Crowds::new(),
            records: 0,
            own: HashMap::new(),
        }
    }

    /// Puts a record under a key, in place of an older one of its subject.
    pub(crate) fn put(&mut self, key: Key, entry: Entry, now: UnixSeconds) -> Result<(), NotPut> {
        self.clear_expired(&key, now);
        if let Some(place) = self.places.get_mut(&key)
            && let Some(old) = place
                .iter_mut()
                .find(|old| old.subject == entry.subject && old.publisher == entry.publisher)
        {
            if entry.seq < old.seq || (entry.seq == old.seq && entry.record != old.record) {
                return Err(NotPut::Stale);
            }
            let (crowd, before) = (old.crowd(), old.slot(key));
            // The prefix stays the one that is counted.
            old.seq = entry.seq;
            old.expires = entry.expires;
            old.record = entry.record;
            let after = old.slot(key);
            self.crowds.remove(crowd, &before);
            self.crowds.add(crowd, after);
            return Ok(());
        }
        self.make_room(&key, &entry, now)?;
        self.count(key, &entry);
        self.places.entry(key).or_default().push(entry);
        Ok(())
    }

    /// Puts a record of this node under a key, in place of the subject's last one.
    pub(crate) fn put_own(&mut self, key: Key, entry: Entry) {
        let place = self.own.entry(key).or_default();
        place.retain(|old| old.subject != entry.subject);
        place.push(entry);
    }

    /// Records under a key that have not ended: at most `want`, in an order drawn from `seed`, with every
    /// neighbourhood heard once before any is heard twice.
    pub(crate) fn get(&self, key: &Key, want: usize, now: UnixSeconds, seed: u64) -> Vec<Bytes> {
        let own = self.own.get(key).into_iter().flatten();
        let all = own.chain(self.places.get(key).into_iter().flatten());
        let mut live: Vec<&Entry> = all.filter(|entry| entry.expires > now).collect();
        shuffle(&mut live, seed);
        let mut heard: HashMap<Option<Prefix>, usize> = HashMap::new();
        let mut turns: Vec<(usize, &Entry)> = live
            .into_iter()
            .map(|entry| {
                let turn = heard.entry(entry.prefix).or_insert(0);
                // Where networks are not counted all come in one turn.
                *turn += usize::from(entry.prefix.is_some());
                (*turn, entry)
            })
            .collect();
        turns.sort_by_key(|(turn, _)| *turn);
        let mut bytes = 0;
        turns
            .into_iter()
            .map(|(_, entry)| entry.record.clone())
            .take(want.min(self.limits.reply_records))
            .take_while(|record| {
                bytes += record.len();
                bytes <= self.limits.reply_bytes
            })
            .collect()
    }

    /// Takes out what a publisher has under a key and returns how many records that were.
    pub(crate) fn remove(&mut self, key: &Key, publisher: &PeerId) -> usize {
        self.drop_where(key, |entry| entry.publisher == *publisher)
    }

    /// Takes out what this node has under a key.
    pub(crate) fn remove_own(&mut self, key: &Key) {
        self.own.remove(key);
    }

    /// Takes out everything that has ended.
    pub(crate) fn sweep(&mut self, now: UnixSeconds) {
        self.own.retain(|_, place| {
            place.retain(|entry| entry.expires > now);
            !place.is_empty()
        });
        let keys: Vec<Key> = self.places.keys().copied().collect();
        for key in keys {
            self.clear_expired(&key, now);
        }
    }

    /// How many records of others there are, and under how many keys.
    pub(crate) fn len(&self) -> (usize, usize) {
        (self.records, self.places.len())
    }

    fn clear_expired(&mut self, key: &Key, now: UnixSeconds) {
        self.drop_where(key, |entry| entry.expires <= now);
    }

    fn drop_where(&mut self, key: &Key, gone: impl Fn(&Entry) -> bool) -> usize {
        let Some(place) = self.places.get_mut(key) else {
            return 0;
        };
        let mut dropped = Vec::new();
        place.retain(|entry| {
            let gone = gone(entry);
            if gone {
                dropped.push((entry.crowd(), entry.slot(*key)));
            }
            !gone
        });
        if place.is_empty() {
            self.places.remove(key);
        }
        for (crowd, slot) in &dropped {
            self.uncount(*crowd, slot);
        }
        dropped.len()
    }

    fn make_room(&mut self, key: &Key, entry: &Entry, now: UnixSeconds) -> Result<(), NotPut> {
        let limits = self.limits;
        let place = self.places.get(key).map_or(&[][..], Vec::as_slice);
        let soonest = place.iter().map(|old| old.expires.0).min();
        let later = NotPut::Later(wait_s(soonest, now));
        let of_publisher = self.publishers.get(&entry.publisher).copied().unwrap_or(0);
        let crowd = entry.crowd();
        let of_prefix = entry.prefix.map_or(0, |_| self.crowds.count(&crowd));
        let here = place
            .iter()
            .filter(|old| old.publisher == entry.publisher)
            .count();
        if of_publisher >= limits.records_per_publisher
            || of_prefix >= limits.records_per_prefix
            || here >= limits.records_per_publisher_and_key
        {
            return Err(later);
        }
        let (_, key, publisher, subject) = if place.len() >= limits.records_per_key {
            let list = place.iter().map(|old| (old.crowd(), old.expires));
            let victim = crowds::yields_to(list, &crowd).ok_or(later)?;
            place[victim].slot(*key)
        } else if self.records >= limits.records {
            *self.crowds.yields_to(&crowd).ok_or(later)?
        } else {
            return Ok(());
        };
        self.drop_where(&key, |old| {
            old.publisher == publisher && old.subject == subject
        });
        Ok(())
    }

    fn count(&mut self, key: Key, entry: &Entry) {
        self.records += 1;
        *self.publishers.entry(entry.publisher).or_insert(0) += 1;
        self.crowds.add(entry.crowd(), entry.slot(key));
    }

    fn uncount(&mut self, crowd: Crowd, slot: &Slot) {
        self.records = self.records.saturating_sub(1);
        let (_, _, publisher, _) = slot;
        decrease(&mut self.publishers, publisher);
        self.crowds.remove(crowd, slot);
    }
}

impl Entry {
    fn crowd(&self) -> Crowd {
        Crowd::of(self.prefix, self.publisher)
    }

    const fn slot(&self, key: Key) -> Slot {
        (self.expires, key, self.publisher, self.subject)
    }
}

fn decrease<K: Eq + std::hash::Hash>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(key);
        }
    }
}

/// Until when to wait for the next record to end, within reason.
fn wait_s(soonest: Option<u64>, now: UnixSeconds) -> u32 {
    let wait = soonest.map_or(WAIT_S_MAX, |end| end.saturating_sub(now.0));
    u32::try_from(wait.clamp(WAIT_S_MIN, WAIT_S_MAX)).unwrap_or(u32::MAX)
}

/// Shuffles by Fisher and Yates with the numbers of a small generator (xorshift).
fn shuffle<T>(items: &mut [T], seed: u64) {
    let mut state = seed | 1;
    for last in (1..items.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let bound = u64::try_from(last).unwrap_or(u64::MAX).saturating_add(1);
        let other = usize::try_from(state % bound).unwrap_or(0);
        items.swap(last, other);
    }
}

/// The shortest and the longest wait that is asked for, in seconds.
const WAIT_S_MIN: u64 = 5;
const WAIT_S_MAX: u64 = 300;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixSeconds = UnixSeconds(1000);

    fn limits() -> TableLimits {
        TableLimits {
            records: 20,
            records_per_key: 4,
            records_per_publisher: 6,
            records_per_publisher_and_key: 2,
            records_per_prefix: 8,
            reply_records: 3,
            reply_bytes: 1000,
        }
    }

    fn entry(subject: u8, publisher: PeerId, network: u64, seq: u64) -> Entry {
        Entry {
            subject: Subject([subject; 32]),
            publisher,
            prefix: Some(Prefix::Memory(network)),
            seq,
            expires: UnixSeconds(2000),
            record: Bytes::from(vec![subject; 100]),
        }
    }

    #[test]
    fn a_newer_record_replaces_an_older_one_and_never_the_reverse() {
        let (mut table, key, peer) = (Table::new(limits()), Key::service("a"), PeerId::random());
        assert_eq!(table.put(key, entry(1, peer, 1, 5), NOW), Ok(()));
        assert_eq!(
            table.put(key, entry(1, peer, 1, 5), NOW),
            Ok(()),
            "the same again"
        );
        assert_eq!(
            table.put(key, entry(1, peer, 1, 4), NOW),
            Err(NotPut::Stale)
        );
        let mut other = entry(1, peer, 1, 5);
        other.record = Bytes::from_static(b"other");
        assert_eq!(table.put(key, other, NOW), Err(NotPut::Stale));
        assert_eq!(table.put(key, entry(1, peer, 1, 6), NOW), Ok(()));
        assert_eq!(table.len(), (1, 1));
        // Another publisher cannot replace it by naming its subject.
        assert_eq!(
            table.put(key, entry(1, PeerId::random(), 2, 9), NOW),
            Ok(())
        );
        assert_eq!(table.len(), (2, 1));
    }

    #[test]
    fn what_has_ended_is_not_given_out_and_leaves() {
        let (mut table, key) = (Table::new(limits()), Key::service("a"));
        table
            .put(key, entry(1, PeerId::random(), 1, 1), NOW)
            .unwrap();
        assert_eq!(table.get(&key, 9, UnixSeconds(1999), 3).len(), 1);
        assert_eq!(table.get(&key, 9, UnixSeconds(2000), 3).len(), 0);
        table.sweep(UnixSeconds(2000));
        assert_eq!(table.len(), (0, 0));
        assert!(table.publishers.is_empty());
        let crowd = Crowd::Network(Prefix::Memory(1));
        assert_eq!(table.crowds.count(&crowd), 0);
    }

    #[test]
    fn one_network_cannot_fill_a_key() {
        let (mut table, key) = (Table::new(limits()), Key::service("a"));
        for subject in 0..4 {
            table
                .put(key, entry(subject, PeerId::random(), 1, 1), NOW)
                .unwrap();
        }
        let more = entry(9, PeerId::random(), 1, 1);
        assert_eq!(table.put(key, more, NOW), Err(NotPut::Later(300)));
        let honest = PeerId::random();
        assert_eq!(table.put(key, entry(10, honest, 2, 1), NOW), Ok(()));
        assert_eq!(table.len(), (4, 1));
        let records = table.get(&key, 2, NOW, 7);
        assert!(
            records.iter().any(|record| record[0] == 10),
            "both networks are heard"
        );
    }

    #[test]
    fn one_publisher_or_network_cannot_fill_the_table() {
        let (mut table, peer) = (Table::new(limits()), PeerId::random());
        let put = |table: &mut Table, name: u64, peer, network| {
            table.put(
                Key::service(&name.to_string()),
                entry(1, peer, network, 1),
                NOW,
            )
        };
        let stored = (0..50)
            .filter(|name| put(&mut table, *name, peer, 1).is_ok())
            .count();
        assert_eq!(stored, 6);
        let stored = (0..50).filter(|name| put(&mut table, *name, PeerId::random(), 1).is_ok());
        assert_eq!(stored.count(), 2, "eight a network");
        let stored =
            (0..12).filter(|name| put(&mut table, *name, PeerId::random(), name + 9).is_ok());
        assert_eq!(stored.count(), 12, "twenty in all");
        assert_eq!(table.remove(&Key::service("0"), &peer), 1);
        assert!(
            put(&mut table, 77, peer, 1).is_ok(),
            "what is taken out no longer counts"
        );
    }

    #[test]
    fn in_a_full_table_the_fullest_network_gives_way_and_own_records_always_have_room() {
        let mut table = Table::new(limits());
        let put = |table: &mut Table, name: &str, network, expires| {
            let entry = Entry {
                expires: UnixSeconds(expires),
                ..entry(1, PeerId::random(), network, 1)
            };
            table.put(Key::service(name), entry, NOW)
        };
        for number in 0..20_u64 {
            // Eight of the first network, six of the next two.
            let network = if number < 8 { 1 } else { 2 + number % 2 };
            let name = format!("n/{number}");
            assert_eq!(put(&mut table, &name, network, 3000 - number), Ok(()));
        }
        assert_eq!(table.len().0, 20);
        assert_eq!(put(&mut table, "new", 9, 2500), Ok(()));
        assert_eq!(table.len().0, 20);
        let gone = table.get(&Key::service("n/7"), 9, NOW, 1);
        assert!(gone.is_empty(), "the soonest to end of the fullest network");
        let full = put(&mut table, "more", 1, 2500);
        assert_eq!(full, Err(NotPut::Later(300)), "it is among the fullest");
        let (key, local) = (Key::service("own"), PeerId::random());
        table.put_own(key, entry(5, local, 0, 1));
        table.put_own(key, entry(5, local, 0, 2));
        assert_eq!(table.get(&key, 9, NOW, 1).len(), 1);
        assert_eq!(table.len().0, 20, "own ones take nobody's place");
        table.remove_own(&key);
        assert!(table.get(&key, 9, NOW, 1).is_empty());
    }

    #[test]
    fn a_reply_is_bounded() {
        let mut limits = limits();
        limits.records_per_key = 10;
        limits.reply_bytes = 250;
        let (mut table, key) = (Table::new(limits), Key::service("a"));
        for subject in 0..8 {
            table
                .put(
                    key,
                    entry(subject, PeerId::random(), subject.into(), 1),
                    NOW,
                )
                .unwrap();
        }
        assert_eq!(table.get(&key, 1, NOW, 1).len(), 1);
        assert_eq!(
            table.get(&key, 9, NOW, 1).len(),
            2,
            "as many as 250 bytes hold"
        );
        let orders: std::collections::HashSet<Vec<Bytes>> = (0..50)
            .map(|seed| table.get(&key, 2, NOW, seed * 7919 + 3))
            .collect();
        assert!(orders.len() > 5, "not always the same ones");
    }
}
