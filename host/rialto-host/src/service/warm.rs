//! Makes instances of one service before their calls come.
//!
//! Whether that is worth it is measured: the least processor time that an instance took here. A filler runs in the
//! background after a call, one for each service, until enough are ready, and stops where calls wait at the door.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::{Code, Loaded, Service};
use crate::clock::CpuClock;
use crate::state::CallState;
use crate::warm::{Made, Part};

/// What is known of making a service's instances.
#[derive(Debug)]
pub(super) struct Warmth {
    part: Part,
    /// Nanoseconds; none was made yet at the largest number.
    cost: AtomicU64,
    /// It asks the host for something while it is instantiated, which must be in a call.
    asks: AtomicBool,
    /// Somebody makes instances.
    filling: AtomicBool,
}

impl Warmth {
    pub(super) fn new(part: Part) -> Self {
        Self {
            part,
            cost: AtomicU64::new(u64::MAX),
            asks: AtomicBool::new(false),
            filling: AtomicBool::new(false),
        }
    }

    /// An instance took so long.
    pub(super) fn measured(&self, cost: Duration) {
        let nanos = u64::try_from(cost.as_nanos()).unwrap_or(u64::MAX);
        self.cost.fetch_min(nanos, Ordering::Relaxed);
    }

    /// One that is ready.
    pub(super) fn take(&self) -> Option<Made> {
        self.part.take()
    }

    fn wants(&self) -> bool {
        let cost = self.cost.load(Ordering::Relaxed);
        cost != u64::MAX
            && self.part.is_for(Duration::from_nanos(cost))
            && !self.asks.load(Ordering::Relaxed)
    }
}

impl Service {
    /// Lets the background make instances, if this service's take long and some are missing.
    pub(super) fn warm_up(&self) {
        let warmth = &self.loaded.warmth;
        if !warmth.wants() || warmth.filling.swap(true, Ordering::AcqRel) {
            return;
        }
        let loaded = Arc::downgrade(&self.loaded);
        self.loaded.host.background.start(async move {
            // Held for one instance at a time: who gives the service up does not wait for the rest.
            while let Some(loaded) = loaded.upgrade() {
                let service = Self { loaded };
                if !service.make_one().await {
                    service
                        .loaded
                        .warmth
                        .filling
                        .store(false, Ordering::Release);
                    break;
                }
            }
        });
    }

    /// Makes one instance, if it is wanted. Whether another may be.
    async fn make_one(&self) -> bool {
        let Loaded {
            host,
            code,
            shared,
            warmth,
            ..
        } = &*self.loaded;
        if !warmth.wants() || host.door.is_crowded() {
            return false;
        }
        let (Code::Here(instance), Some(room)) = (code, warmth.part.room()) else {
            return false;
        };
        let clock = CpuClock::default();
        let mut store = self.store(CallState::new(Arc::clone(shared), clock.clone()));
        let making = instance.instantiate_async(&mut store);
        let Ok(instance) = clock.measure(std::pin::pin!(making)).await else {
            // The next call is told why.
            return false;
        };
        warmth.measured(clock.used());
        let state = store.data();
        if state.host_calls > 0 {
            warmth.asks.store(true, Ordering::Relaxed);
            return false;
        }
        let bytes = state.limiter.memory_bytes();
        room.fill(Made { store, instance }, bytes)
    }
}
