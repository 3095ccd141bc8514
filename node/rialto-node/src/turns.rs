//! One at a time for each payment: the second arrival of the same payment waits for the first,
//! and then finds its stored answer (M5: one execution per payment id).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// The payments in progress. Bounded by the number of calls that the node admits at once.
#[derive(Debug, Default, Clone)]
pub(crate) struct Turns {
    waiting: Arc<Mutex<HashMap<[u8; 32], Waiting>>>,
}

#[derive(Debug, Default)]
struct Waiting {
    lock: Arc<AsyncMutex<()>>,
    arrivals: usize,
}

/// Held while a payment is worked on; the next arrival goes on when it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    _guard: OwnedMutexGuard<()>,
    _place: Place,
}

/// A place in the queue of one key, given up on drop: an arrival that is cancelled while it waits
/// leaves nothing behind.
#[derive(Debug)]
struct Place {
    turns: Turns,
    key: [u8; 32],
}

impl Turns {
    /// Waits until nobody else works on `key`. Cancel-safe.
    pub(crate) async fn take(&self, key: [u8; 32]) -> Turn {
        let lock = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let entry = waiting.entry(key).or_default();
            entry.arrivals = entry.arrivals.saturating_add(1);
            Arc::clone(&entry.lock)
        };
        let place = Place {
            turns: self.clone(),
            key,
        };
        Turn {
            _guard: lock.lock_owned().await,
            _place: place,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut waiting = self
            .turns
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = waiting.get_mut(&self.key) {
            entry.arrivals = entry.arrivals.saturating_sub(1);
            if entry.arrivals == 0 {
                waiting.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_second_waits_and_nothing_is_left_behind() {
        let turns = Turns::default();
        let first = turns.take([1; 32]).await;
        let _other_key = turns.take([2; 32]).await;
        let second = tokio::spawn({
            let turns = turns.clone();
            async move { turns.take([1; 32]).await }
        });
        tokio::task::yield_now().await;
        assert!(!second.is_finished());
        let cancelled = tokio::spawn({
            let turns = turns.clone();
            async move { turns.take([1; 32]).await }
        });
        tokio::task::yield_now().await;
        cancelled.abort();
        assert!(cancelled.await.is_err());
        drop(first);
        drop(second.await.unwrap());
        assert_eq!(
            turns.waiting.lock().unwrap().len(),
            1,
            "only the other key is held"
        );
    }
}
