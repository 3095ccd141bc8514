//! Memory that runs on a device may use, taken before it is allocated.
//!
//! Non-goals: fairness between runs; whoever asks first is served.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use rialto_compute::ops::EvalError;

/// The memory of a device, shared by all its runs.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: u64,
    used: AtomicU64,
    peak: AtomicU64,
}

/// Some of the memory, given back when dropped.
#[derive(Debug)]
pub(crate) struct Hold {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Budget {
    pub(crate) fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self {
            limit,
            used: AtomicU64::new(0),
            peak: AtomicU64::new(0),
        })
    }

    pub(crate) const fn limit(&self) -> u64 {
        self.limit
    }

    /// The most bytes in use at a time so far.
    pub(crate) fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }

    /// Bytes in use.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    pub(crate) fn take(self: &Arc<Self>, needed: u64) -> Result<Hold, EvalError> {
        let taken = self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(needed).filter(|sum| *sum <= self.limit)
            });
        match taken {
            Ok(used) => {
                self.peak
                    .fetch_max(used.saturating_add(needed), Ordering::Relaxed);
                Ok(Hold {
                    budget: Arc::clone(self),
                    bytes: needed,
                })
            }
            Err(used) => Err(EvalError::Memory {
                needed,
                used,
                limit: self.limit,
            }),
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
