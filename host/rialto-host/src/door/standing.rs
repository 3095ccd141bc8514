//! What a call that has a place does: it computes, where requests are served or in the background, or it waits
//! for something that is not the processor.
//!
//! Only those of the first kind count against the limit, and only their waits for the processor tell how many
//! may run: threads of low priority wait because others go first, not because there are too many calls.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rialto_scheduler::Tenant;

use super::Door;

/// What a call that has a place does. One task at a time changes it: the one that polls the call.
#[derive(Debug)]
pub(crate) struct Standing {
    door: Door,
    tenant: Tenant,
    wants_processor: AtomicBool,
    in_background: AtomicBool,
}

impl Standing {
    /// A call that was let in wants to compute.
    pub(super) fn begin(door: &Door, tenant: &Tenant) -> Self {
        door.inner.wanting.fetch_add(1, Ordering::Relaxed);
        Self {
            door: door.clone(),
            tenant: tenant.clone(),
            wants_processor: AtomicBool::new(true),
            in_background: AtomicBool::new(false),
        }
    }

    /// It computes, or would.
    pub(crate) fn wants_processor(&self) {
        if !self.wants_processor.swap(true, Ordering::Relaxed) {
            if self.in_background.load(Ordering::Relaxed) {
                self.door.inner.long.goes_on(&self.tenant);
            } else {
                self.door.inner.wanting.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// It waits for something that is not the processor: another may compute meanwhile.
    pub(crate) fn waits_elsewhere(&self) {
        if self.leave() && !self.in_background.load(Ordering::Relaxed) {
            self.door.made_room();
        }
    }

    /// A piece of its computing, and how long it had waited for the processor before.
    pub(crate) fn computed(&self, computed: Duration, waited: Duration) {
        if self.in_background.load(Ordering::Relaxed) {
            return;
        }
        let (now, inner) = (self.door.now(), &self.door.inner);
        let wanting = inner.wanting.load(Ordering::Relaxed);
        if let Some(limit) = &mut self.door.gate().limit {
            limit.observe(now, computed, waited, wanting);
        }
    }

    /// It goes on in the background from now on. False if it would compute there and there is no room; one
    /// that waits for something else, or that must go on, is taken in any case.
    pub(crate) fn go_to_background(&self, must: bool) -> bool {
        if self.in_background.load(Ordering::Relaxed) {
            return true;
        }
        let inner = &self.door.inner;
        if self.wants_processor.load(Ordering::Relaxed) {
            if must {
                inner.long.goes_on(&self.tenant);
            } else if !inner.long.begins(&self.tenant) {
                return false;
            }
            inner.wanting.fetch_sub(1, Ordering::Relaxed);
        }
        self.in_background.store(true, Ordering::Relaxed);
        self.door.made_room();
        true
    }

    /// Whether it would compute.
    pub(crate) fn is_computing(&self) -> bool {
        self.wants_processor.load(Ordering::Relaxed)
    }

    /// It computes no more; true if it did.
    pub(super) fn leave(&self) -> bool {
        let computed = self.wants_processor.swap(false, Ordering::Relaxed);
        if computed && self.in_background.load(Ordering::Relaxed) {
            self.door.inner.long.ends(&self.tenant);
        } else if computed {
            self.door.inner.wanting.fetch_sub(1, Ordering::Relaxed);
        }
        computed
    }
}

impl Door {
    /// Fewer calls want the processor: another may be next.
    fn made_room(&self) {
        if self.inner.awaited.load(Ordering::Relaxed) {
            self.pump();
        }
    }
}
