//! A budget of host memory for values in flight, shared by all calls.
//!
//! A dynamic value costs far more host memory than its bytes in the guest (a `list<u8>` of n bytes
//! takes n times [`VALUE_BYTES`]), so the sum over concurrent calls is bounded here. Two budgets exist,
//! one for prepared arguments and one for running calls: a call waits for the second while it holds the
//! first, never the other way round, so they cannot deadlock.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The host memory of one dynamic value, in bytes.
pub(crate) const VALUE_BYTES: usize = size_of::<wasmtime::component::Val>();

/// Bytes a permit stands for.
const UNIT: u64 = 1024;

/// A number of bytes that calls share.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    units: Arc<Semaphore>,
    units_max: u32,
}

/// Bytes taken from a [`Budget`], given back on drop.
#[derive(Debug)]
pub(crate) struct Share {
    permit: OwnedSemaphorePermit,
}

impl Budget {
    pub(crate) fn new(bytes_max: u64) -> Self {
        let units_max = u32::try_from(bytes_max / UNIT).unwrap_or(u32::MAX).max(1);
        Self {
            units: Arc::new(Semaphore::new(units_max as usize)),
            units_max,
        }
    }

    /// Takes `bytes` now, or nothing. A share larger than the whole budget is cut to it, so that one
    /// large call alone still runs.
    pub(crate) fn try_take(&self, bytes: u64) -> Option<Share> {
        let permit = Arc::clone(&self.units)
            .try_acquire_many_owned(self.units_for(bytes))
            .ok()?;
        Some(Share { permit })
    }

    /// Waits, in order of arrival, until `bytes` are free. Cancel-safe.
    pub(crate) async fn take(&self, bytes: u64) -> Option<Share> {
        let permit = Arc::clone(&self.units)
            .acquire_many_owned(self.units_for(bytes))
            .await
            .ok()?;
        Some(Share { permit })
    }

    /// Bytes that nobody holds now.
    #[cfg(test)]
    pub(crate) fn free(&self) -> u64 {
        self.units.available_permits() as u64 * UNIT
    }

    fn units_for(&self, bytes: u64) -> u32 {
        u32::try_from(bytes.div_ceil(UNIT))
            .unwrap_or(u32::MAX)
            .min(self.units_max)
    }
}

impl Share {
    /// Gives back all but `bytes`.
    pub(crate) fn shrink_to(&mut self, bytes: u64) {
        let keep = usize::try_from(bytes.div_ceil(UNIT)).unwrap_or(usize::MAX);
        let surplus = self.permit.num_permits().saturating_sub(keep);
        drop(self.permit.split(surplus));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_come_back() {
        let budget = Budget::new(10 * UNIT);
        let mut first = budget.try_take(6 * UNIT).unwrap();
        assert!(budget.try_take(5 * UNIT).is_none());
        first.shrink_to(UNIT);
        assert_eq!(budget.free(), 9 * UNIT);
        drop(first);
        let whole = budget.try_take(u64::MAX).unwrap();
        assert_eq!(budget.free(), 0);
        drop(whole);
        assert_eq!(budget.free(), 10 * UNIT);
    }
}
