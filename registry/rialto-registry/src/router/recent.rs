//! A map that remembers what was used last and never grows beyond its limit.
//!
//! Non-goals: exact order of eviction. When full it forgets the eighth that is longest unused in one go,
//! so that the scan for it is paid once in so many insertions.

use std::collections::BTreeMap;

/// At most `max` entries by key.
#[derive(Clone, Debug)]
pub(super) struct Recent<K, V> {
    entries: BTreeMap<K, Entry<V>>,
    max: usize,
    uses: u64,
}

#[derive(Clone, Debug)]
struct Entry<V> {
    value: V,
    used: u64,
}

impl<K: Ord + Clone, V> Recent<K, V> {
    /// An empty map of at most `max` entries, and at least one.
    pub(super) fn new(max: usize) -> Self {
        Self {
            entries: BTreeMap::new(),
            max: max.max(1),
            uses: 0,
        }
    }

    /// The entry, without counting as a use.
    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|entry| &entry.value)
    }

    /// The entry to change, without counting as a use.
    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.entries.get_mut(key).map(|entry| &mut entry.value)
    }

    /// The entry, made by `new` if it is missing; makes room first if there is none.
    pub(super) fn used(&mut self, key: &K, new: impl FnOnce() -> V) -> &mut V {
        self.uses = self.uses.saturating_add(1);
        let used = self.uses;
        if self.entries.len() >= self.max && !self.entries.contains_key(key) {
            self.forget_some();
        }
        let entry = self
            .entries
            .entry(key.clone())
            .or_insert_with(|| Entry { value: new(), used });
        entry.used = used;
        &mut entry.value
    }

    /// Entries held.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    fn forget_some(&mut self) {
        let mut uses: Vec<u64> = self.entries.values().map(|entry| entry.used).collect();
        uses.sort_unstable();
        if let Some(oldest) = uses.get(self.max / 8).copied() {
            self.entries.retain(|_, entry| entry.used > oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgets_what_is_longest_unused_and_stays_within_its_limit() {
        let mut map = Recent::new(16);
        for key in 0..16 {
            *map.used(&key, || 0) = key;
        }
        // Used again, so 0 is young now; looking at 1 does not make it young.
        map.used(&0, || 99);
        assert_eq!(map.get(&1), Some(&1));
        map.used(&100, || 100);
        assert!(map.get(&0).is_some() && map.get(&100).is_some());
        assert_eq!(map.get(&1), None);
        for key in 0..10_000 {
            map.used(&key, || key);
            assert!(map.len() <= 16);
            assert_eq!(map.get_mut(&key), Some(&mut { key }));
        }
    }

    #[test]
    fn a_limit_of_nothing_is_one() {
        let mut map = Recent::new(0);
        for key in 0..10 {
            map.used(&key, || ());
            assert_eq!(map.len(), 1);
        }
    }
}
