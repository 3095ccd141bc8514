//! The memory for weights that the models of an engine share.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Bytes that models may have together.
#[derive(Debug)]
pub(crate) struct Pool {
    used: Arc<AtomicU64>,
    max: u64,
}

impl Pool {
    pub(crate) fn new(bytes_max: u64) -> Self {
        Self {
            used: Arc::default(),
            max: bytes_max,
        }
    }

    /// Some of them, if there are so many left.
    pub(crate) fn reserve(&self, bytes: u64) -> Option<Share> {
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(bytes).filter(|sum| *sum <= self.max)
            })
            .ok()?;
        Some(Share {
            used: Arc::clone(&self.used),
            bytes,
        })
    }
}

/// A model's share of the engine's memory, given back with the model.
#[derive(Debug)]
pub(crate) struct Share {
    used: Arc<AtomicU64>,
    bytes: u64,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
