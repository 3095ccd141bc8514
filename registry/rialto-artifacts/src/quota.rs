//! How much room a store has left.
//!
//! Non-goals: counting what others put into the folder after the store was opened.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Bytes used in a store, counted as they arrive.
#[derive(Debug)]
pub(crate) struct Quota {
    used: AtomicU64,
    max: u64,
}

/// Room taken for one artifact; given back on drop unless [`Room::keep`] is called.
#[derive(Debug)]
pub(crate) struct Room {
    quota: Arc<Quota>,
    bytes: u64,
}

/// No room left.
#[derive(Debug)]
pub(crate) struct Full;

impl Quota {
    pub(crate) fn new(used: u64, max: u64) -> Arc<Self> {
        Arc::new(Self {
            used: AtomicU64::new(used),
            max,
        })
    }

    pub(crate) fn room(self: &Arc<Self>) -> Room {
        Room {
            quota: Arc::clone(self),
            bytes: 0,
        }
    }

    /// Gives back the room of an artifact that is gone.
    pub(crate) fn give_back(&self, bytes: u64) {
        // Saturating: the file may have been put there by another process and never counted.
        let _ = self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                Some(used.saturating_sub(bytes))
            });
    }

    #[cfg(test)]
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

impl Room {
    pub(crate) fn grow(&mut self, bytes: u64) -> Result<(), Full> {
        self.quota
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(bytes).filter(|sum| *sum <= self.quota.max)
            })
            .map_err(|_| Full)?;
        self.bytes += bytes;
        Ok(())
    }

    /// Leaves the room taken, because the artifact stays.
    pub(crate) fn keep(mut self) {
        self.bytes = 0;
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.quota.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_given_back_unless_kept() {
        let quota = Quota::new(10, 100);
        let mut room = quota.room();
        room.grow(60).unwrap();
        assert!(room.grow(31).is_err());
        room.grow(30).unwrap();
        assert_eq!(quota.used(), 100);
        drop(room);
        assert_eq!(quota.used(), 10);
        let mut room = quota.room();
        room.grow(5).unwrap();
        room.keep();
        assert_eq!(quota.used(), 15);
        assert!(quota.room().grow(u64::MAX).is_err());
        quota.give_back(1_000);
        assert_eq!(quota.used(), 0);
    }
}
