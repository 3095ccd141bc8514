//! A budget of host memory for prepared arguments, shared by all calls.
//!
//! Each service may hold a part of it, so that one whose callers send much leaves room for the others.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rialto_scheduler::{Held, Memory, Tenant};

/// The host memory of one dynamic value, in bytes.
pub(crate) const VALUE_BYTES: usize = size_of::<wasmtime::component::Val>();

/// A number of bytes that calls share.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    memory: Arc<Mutex<Memory>>,
    tenant_bytes_max: u64,
}

/// Bytes taken from a [`Budget`], given back on drop.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Budget,
    tenant: Tenant,
    held: Option<Held>,
}

impl Budget {
    pub(crate) fn new(bytes_max: u64, tenant_bytes_max: u64) -> Self {
        let tenant_bytes_max = tenant_bytes_max.min(bytes_max);
        Self {
            memory: Arc::new(Mutex::new(Memory::new(bytes_max, tenant_bytes_max))),
            tenant_bytes_max,
        }
    }

    /// Takes `bytes` now, or nothing. A share larger than a whole service's part is cut to it, so that
    /// one large call alone still runs.
    pub(crate) fn try_take(&self, tenant: &Tenant, bytes: u64) -> Option<Share> {
        let bytes = bytes.min(self.tenant_bytes_max);
        let held = self.memory().take(tenant, bytes).ok()?;
        Some(Share {
            budget: self.clone(),
            tenant: tenant.clone(),
            held: Some(held),
        })
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        // No step under this lock leaves something half-changed.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes that calls hold now.
    #[cfg(test)]
    pub(crate) fn held(&self) -> u64 {
        self.memory().bytes()
    }
}

impl Share {
    /// Gives back all but `bytes`.
    pub(crate) fn shrink_to(&mut self, bytes: u64) {
        let mut memory = self.budget.memory();
        if let Some(held) = self.held.take() {
            let keep = held.bytes().min(bytes);
            memory.release(held);
            // What was just given back is there.
            self.held = memory.take(&self.tenant, keep).ok();
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            self.budget.memory().release(held);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_come_back() {
        let (ann, bob) = (Tenant::new("ann"), Tenant::new("bob"));
        let budget = Budget::new(10, 7);
        let mut first = budget.try_take(&ann, 6).unwrap();
        assert!(budget.try_take(&ann, 2).is_none(), "its part is 7");
        let other = budget.try_take(&bob, 4).unwrap();
        assert!(budget.try_take(&bob, 1).is_none(), "all is taken");
        first.shrink_to(1);
        first.shrink_to(5);
        assert_eq!(budget.held(), 5, "shrinking never grows");
        drop((first, other));
        let whole = budget.try_take(&ann, u64::MAX).unwrap();
        assert_eq!(budget.held(), 7);
        drop(whole);
        assert_eq!(budget.held(), 0);
    }
}
