//! The plans that a model keeps: a bounded number, the longest unused goes first.
//!
//! Non-goals: bounding bytes; the engine bounds the weights that plans are made of.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::RunError;

/// Values by key, made on demand, at most one maker for each key at a time.
#[derive(Debug)]
pub(crate) struct Cache<K, V> {
    /// Most recently used last.
    entries: Mutex<Vec<(K, Arc<Slot<V>>)>>,
    max: usize,
}

/// A value that one thread makes while the others who want it wait.
type Slot<V> = OnceLock<Result<Arc<V>, RunError>>;

impl<K: PartialEq + Clone, V> Cache<K, V> {
    /// An empty cache of up to `max` values, at least one.
    pub(crate) fn new(max: usize) -> Self {
        Self {
            entries: Mutex::default(),
            max: max.max(1),
        }
    }

    /// The value of `key`, from `make` if it is not here. An error is returned to all who wait for
    /// it, and not kept.
    pub(crate) fn get(
        &self,
        key: &K,
        make: impl FnOnce() -> Result<V, RunError>,
    ) -> Result<Arc<V>, RunError> {
        let slot = self.slot(key);
        let result = slot.get_or_init(|| make().map(Arc::new)).clone();
        if result.is_err() {
            self.entries().retain(|(_, kept)| !Arc::ptr_eq(kept, &slot));
        }
        result
    }

    /// Forgets all values; who has one keeps it.
    pub(crate) fn clear(&self) {
        self.entries().clear();
    }

    fn slot(&self, key: &K) -> Arc<Slot<V>> {
        let mut entries = self.entries();
        let entry = match entries.iter().position(|(kept, _)| kept == key) {
            Some(index) => entries.remove(index),
            None => (key.clone(), Arc::default()),
        };
        let slot = Arc::clone(&entry.1);
        entries.push(entry);
        let excess = entries.len().saturating_sub(self.max);
        entries.drain(..excess);
        slot
    }

    fn entries(&self) -> std::sync::MutexGuard<'_, Vec<(K, Arc<Slot<V>>)>> {
        // No step under this lock leaves the list half-changed.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn the_longest_unused_goes_first() {
        let cache = Cache::new(2);
        let made = AtomicUsize::new(0);
        let get = |key: &u32| {
            let make = || Ok(made.fetch_add(1, Ordering::Relaxed));
            *cache.get(key, make).unwrap()
        };
        assert_eq!((get(&1), get(&2), get(&1), get(&3)), (0, 1, 0, 2));
        assert_eq!((get(&1), get(&3), get(&2)), (0, 2, 3));
    }

    #[test]
    fn one_thread_makes_and_errors_are_not_kept() {
        let cache: Cache<u32, u32> = Cache::new(2);
        let made = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let make = || {
                        made.fetch_add(1, Ordering::Relaxed);
                        Ok(7)
                    };
                    assert_eq!(*cache.get(&1, make).unwrap(), 7);
                });
            }
        });
        assert_eq!(made.load(Ordering::Relaxed), 1);
        let error = RunError::Engine("no".into());
        assert_eq!(cache.get(&2, || Err(error.clone())).unwrap_err(), error);
        assert_eq!(*cache.get(&2, || Ok(5)).unwrap(), 5);
    }
}
