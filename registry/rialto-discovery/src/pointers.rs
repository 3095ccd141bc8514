//! Provider pointers for other Kademlia implementations, within limits: `key -> peer and addresses`.
//!
//! The library's own store counts everybody's keys together, so one peer can fill it and honest pointers
//! are then dropped without a word. This one counts by peer and by network, and takes pointers only;
//! values are refused. Where it is full the fullest network gives way.
//!
//! Not here: records with signatures, which are registered (see `table`).

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Values;
use std::iter::{Empty, Map, empty};
use std::time::Instant;

use libp2p::PeerId;
use libp2p::kad::store::{Error, RecordStore, Result};
use libp2p::kad::{ProviderRecord, Record, RecordKey};

use crate::Key;
use crate::config::PointerLimits;
use crate::crowds::{self, Crowd, Crowds};
use crate::prefix::{AddressRule, Prefix};

/// The pointers that others left here, and this node's own.
#[derive(Debug)]
pub(crate) struct Pointers {
    local: PeerId,
    limits: PointerLimits,
    rule: AddressRule,
    own: HashMap<RecordKey, ProviderRecord>,
    places: HashMap<RecordKey, Vec<Pointer>>,
    peers: HashMap<PeerId, usize>,
    crowds: Crowds<Slot>,
    count: usize,
}

/// Where a pointer is, after when it ends.
type Slot = (Option<Instant>, Key, PeerId);

#[derive(Debug)]
struct Pointer {
    record: ProviderRecord,
    prefix: Option<Prefix>,
}

impl Pointers {
    pub(crate) fn new(local: PeerId, limits: PointerLimits, rule: AddressRule) -> Self {
        Self {
            local,
            limits,
            rule,
            own: HashMap::new(),
            places: HashMap::new(),
            peers: HashMap::new(),
            crowds: Crowds::new(),
            count: 0,
        }
    }

    /// Takes a pointer that its provider sent from `prefix`. Returns whether there was room for it.
    pub(crate) fn admit(&mut self, mut record: ProviderRecord, prefix: Option<Prefix>) -> bool {
        let Some(key) = Key::from_bytes(record.key.as_ref()) else {
            return false;
        };
        record.addresses = self.rule.filter(record.addresses);
        let known = self.places.get_mut(&record.key).and_then(|place| {
            place
                .iter_mut()
                .find(|old| old.record.provider == record.provider)
        });
        if let Some(old) = known {
            let (crowd, before) = (old.crowd(), old.slot(key));
            old.record = record;
            let after = old.slot(key);
            self.crowds.remove(crowd, &before);
            self.crowds.add(crowd, after);
            return true;
        }
        let pointer = Pointer { record, prefix };
        if !self.make_room(key, &pointer) {
            return false;
        }
        self.count += 1;
        *self.peers.entry(pointer.record.provider).or_insert(0) += 1;
        self.crowds.add(pointer.crowd(), pointer.slot(key));
        let key = pointer.record.key.clone();
        self.places.entry(key).or_default().push(pointer);
        true
    }

    /// Returns whether there is room for a pointer, or was made.
    fn make_room(&mut self, key: Key, pointer: &Pointer) -> bool {
        let (limits, crowd) = (self.limits, pointer.crowd());
        let place = self.places.get(&pointer.record.key);
        let place = place.map_or(&[][..], Vec::as_slice);
        let provider = &pointer.record.provider;
        let of_peer = self.peers.get(provider).copied().unwrap_or(0);
        let is_counted = pointer.prefix.is_some();
        let near = place.iter().filter(|old| old.crowd() == crowd).count();
        if of_peer >= limits.pointers_per_peer
            || (is_counted && near >= limits.pointers_per_key_and_prefix)
            || (is_counted && self.crowds.count(&crowd) >= limits.pointers_per_prefix)
        {
            return false;
        }
        let victim = if place.len() >= limits.pointers_per_key {
            let list = place.iter().map(|old| (old.crowd(), old.record.expires));
            crowds::yields_to(list, &crowd).map(|victim| place[victim].slot(key))
        } else if self.count >= limits.pointers {
            self.crowds.yields_to(&crowd).copied()
        } else {
            return true;
        };
        let Some((_, key, provider)) = victim else {
            return false;
        };
        let key = RecordKey::new(key.as_bytes());
        self.drop_where(&key, |old| old.record.provider == provider);
        true
    }

    /// Forgets pointers that have ended.
    pub(crate) fn sweep(&mut self, now: Instant) {
        let keys: Vec<RecordKey> = self.places.keys().cloned().collect();
        for key in keys {
            self.drop_where(&key, |pointer| pointer.record.is_expired(now));
        }
    }

    /// How many pointers of others are here.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    fn drop_where(&mut self, key: &RecordKey, gone: impl Fn(&Pointer) -> bool) {
        let Some(place) = self.places.get_mut(key) else {
            return;
        };
        let mut dropped = Vec::new();
        place.retain(|pointer| {
            let gone = gone(pointer);
            if gone {
                dropped.push((
                    pointer.crowd(),
                    pointer.record.expires,
                    pointer.record.provider,
                ));
            }
            !gone
        });
        if place.is_empty() {
            self.places.remove(key);
        }
        for (crowd, expires, peer) in dropped {
            self.count = self.count.saturating_sub(1);
            decrease(&mut self.peers, &peer);
            // Others' keys were read when they came in.
            if let Some(key) = Key::from_bytes(key.as_ref()) {
                self.crowds.remove(crowd, &(expires, key, peer));
            }
        }
    }
}

impl Pointer {
    fn crowd(&self) -> Crowd {
        Crowd::of(self.prefix, self.record.provider)
    }

    const fn slot(&self, key: Key) -> Slot {
        (self.record.expires, key, self.record.provider)
    }
}

impl RecordStore for Pointers {
    type RecordsIter<'a> = Empty<Cow<'a, Record>>;
    type ProvidedIter<'a> = Map<
        Values<'a, RecordKey, ProviderRecord>,
        fn(&'a ProviderRecord) -> Cow<'a, ProviderRecord>,
    >;

    fn get(&self, _key: &RecordKey) -> Option<Cow<'_, Record>> {
        None
    }

    fn put(&mut self, _record: Record) -> Result<()> {
        Err(Error::ValueTooLarge)
    }

    fn remove(&mut self, _key: &RecordKey) {}

    fn records(&self) -> Self::RecordsIter<'_> {
        empty()
    }

    /// Called for this node's own pointers; others' come through [`Pointers::admit`].
    fn add_provider(&mut self, record: ProviderRecord) -> Result<()> {
        if record.provider != self.local {
            return Err(Error::MaxProvidedKeys);
        }
        if self.own.len() >= self.limits.own && !self.own.contains_key(&record.key) {
            return Err(Error::MaxProvidedKeys);
        }
        self.own.insert(record.key.clone(), record);
        Ok(())
    }

    fn providers(&self, key: &RecordKey) -> Vec<ProviderRecord> {
        let others = self.places.get(key).into_iter().flatten();
        self.own
            .get(key)
            .into_iter()
            .chain(others.map(|pointer| &pointer.record))
            .take(REPLY_MAX)
            .cloned()
            .collect()
    }

    fn provided(&self) -> Self::ProvidedIter<'_> {
        self.own.values().map(Cow::Borrowed)
    }

    fn remove_provider(&mut self, key: &RecordKey, provider: &PeerId) {
        if *provider == self.local {
            self.own.remove(key);
        } else {
            self.drop_where(key, |pointer| pointer.record.provider == *provider);
        }
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

/// How many pointers go into one reply: with eight addresses each they fit Kademlia's 16 KiB.
const REPLY_MAX: usize = 20;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn pointers() -> Pointers {
        let limits = PointerLimits {
            own: 2,
            pointers: 10,
            pointers_per_key: 4,
            pointers_per_key_and_prefix: 3,
            pointers_per_peer: 3,
            pointers_per_prefix: 5,
        };
        let rule = AddressRule {
            private: true,
            memory: true,
        };
        Pointers::new(PeerId::random(), limits, rule)
    }

    fn record(name: &str, provider: PeerId) -> ProviderRecord {
        let key = RecordKey::new(Key::service(name).as_bytes());
        let addresses = (1..30)
            .map(|port| format!("/memory/{port}").parse().unwrap())
            .collect();
        ProviderRecord::new(key, provider, addresses)
    }

    #[test]
    fn one_peer_or_network_cannot_fill_the_store() {
        let mut pointers = pointers();
        let flooder = PeerId::random();
        let network = Some(Prefix::Memory(1));
        let mut taken = 0;
        for name in 0..100 {
            taken += usize::from(pointers.admit(record(&name.to_string(), flooder), network));
        }
        assert_eq!(taken, 3);
        for name in 0..100 {
            let peer = PeerId::random();
            taken += usize::from(pointers.admit(record(&name.to_string(), peer), network));
        }
        assert_eq!(taken, 5);
        let honest = PeerId::random();
        assert!(pointers.admit(record("mine", honest), Some(Prefix::Memory(2))));
        assert_eq!(pointers.len(), 6);
        let key = record("mine", honest).key;
        assert_eq!(pointers.providers(&key)[0].addresses.len(), 8);
    }

    #[test]
    fn the_fullest_network_gives_way_under_a_key_and_in_all() {
        let mut pointers = pointers();
        let admit = |pointers: &mut Pointers, name: &str, network| {
            let record = record(name, PeerId::random());
            pointers.admit(record, Some(Prefix::Memory(network)))
        };
        let taken = (0..9).filter(|_| admit(&mut pointers, "a", 1)).count();
        assert_eq!(taken, 3, "three of one network under one key");
        assert!(admit(&mut pointers, "a", 2), "the key's last place");
        assert!(admit(&mut pointers, "a", 3), "instead of one of the first");
        assert_eq!(pointers.len(), 4);
        assert!(!admit(&mut pointers, "a", 3), "nobody has two more than it");
        for name in 0..6 {
            assert!(admit(&mut pointers, &name.to_string(), 2 + name / 3));
        }
        assert_eq!(pointers.len(), 10, "full");
        assert!(admit(&mut pointers, "b", 9));
        assert_eq!(pointers.len(), 10);
    }

    #[test]
    fn values_and_keys_of_others_are_refused() {
        let mut pointers = pointers();
        let value = Record::new(record("a", PeerId::random()).key, vec![1]);
        assert!(pointers.put(value).is_err());
        let strange = ProviderRecord::new(RecordKey::new(b"strange"), PeerId::random(), vec![]);
        assert!(!pointers.admit(strange, None));
        assert!(
            pointers
                .add_provider(record("a", PeerId::random()))
                .is_err()
        );
        let local = pointers.local;
        assert!(pointers.add_provider(record("a", local)).is_ok());
        assert!(pointers.add_provider(record("b", local)).is_ok());
        assert!(
            pointers.add_provider(record("c", local)).is_err(),
            "own ones are bounded too"
        );
        assert_eq!(pointers.provided().count(), 2);
        assert_eq!(pointers.len(), 0);
    }

    #[test]
    fn what_has_ended_leaves() {
        let mut pointers = pointers();
        let now = Instant::now();
        let mut ending = record("a", PeerId::random());
        ending.expires = Some(now);
        assert!(pointers.admit(ending, Some(Prefix::Memory(1))));
        assert!(pointers.admit(record("a", PeerId::random()), Some(Prefix::Memory(1))));
        pointers.sweep(now + Duration::from_secs(1));
        assert_eq!(pointers.len(), 1);
        let crowd = Crowd::Network(Prefix::Memory(1));
        assert_eq!(pointers.crowds.count(&crowd), 1);
    }
}
