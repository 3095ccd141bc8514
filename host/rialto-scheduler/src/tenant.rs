//! A tenant: what it may have, what it waits for, what it had.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::quota::{Bucket, Quota};
use crate::scheduler::Waiting;

/// Whose work it is. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tenant(Arc<str>);

impl Tenant {
    /// The tenant of this name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    pub(crate) fn name(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a tenant may have of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Its part of the device relative to the others that want it: twice the weight, twice the time.
    /// 0 counts as 1.
    pub weight: u32,
    /// The device time that it may use even if nobody else wants it; none for no such limit.
    pub quota: Option<Quota>,
}

impl Default for Share {
    fn default() -> Self {
        Self {
            weight: 1,
            quota: None,
        }
    }
}

/// What a tenant has used since the scheduler began to know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Use {
    /// Device time.
    pub device_time: Duration,
    /// Jobs done.
    pub jobs: u64,
    /// Jobs refused.
    pub refused: u64,
}

/// A tenant with work, or with something to remember.
#[derive(Debug)]
pub(crate) struct Account<K, T> {
    pub(crate) share: Share,
    bucket: Option<Bucket>,
    pub(crate) queue: VecDeque<Waiting<K, T>>,
    /// Jobs that run.
    pub(crate) running: usize,
    /// Where its next work begins in virtual time: device nanoseconds over weight.
    finish: u128,
    pub(crate) used: Use,
}

/// Virtual nanoseconds a device nanosecond takes at weight 1; weights divide it.
const SCALE: u128 = 1 << 20;

impl<K, T> Account<K, T> {
    pub(crate) fn new(share: Share, now: Duration) -> Self {
        Self {
            share,
            bucket: share.quota.map(|quota| Bucket::full(quota, now)),
            queue: VecDeque::new(),
            running: 0,
            finish: 0,
            used: Use::default(),
        }
    }

    pub(crate) fn change(&mut self, share: Share, now: Duration) {
        self.bucket = match (self.bucket.take(), share.quota) {
            (_, None) => None,
            (None, Some(quota)) => Some(Bucket::full(quota, now)),
            (Some(mut bucket), Some(quota)) => {
                bucket.change(quota, now);
                Some(bucket)
            }
        };
        self.share = share;
    }

    /// Whether its quota lets work begin.
    pub(crate) fn is_open(&self, now: Duration) -> bool {
        self.bucket
            .as_ref()
            .is_none_or(|bucket| bucket.is_open(now))
    }

    /// From when on its quota lets work begin.
    pub(crate) fn opens_at(&self) -> Duration {
        self.bucket
            .as_ref()
            .map_or(Duration::ZERO, Bucket::opens_at)
    }

    /// Where its next work begins, if the device is at `clock` in virtual time: time that it did not
    /// ask for is not saved up.
    pub(crate) fn begins(&self, clock: u128) -> u128 {
        self.finish.max(clock)
    }

    /// Work of about this length begins.
    pub(crate) fn begin(&mut self, clock: u128, estimate: Duration) {
        self.finish = self
            .begins(clock)
            .saturating_add(self.virtual_time(estimate));
        self.running = self.running.saturating_add(1);
    }

    /// Work that was thought to take `estimate` took `took`.
    pub(crate) fn end(&mut self, now: Duration, estimate: Duration, took: Duration) {
        self.finish = self
            .finish
            .saturating_sub(self.virtual_time(estimate))
            .saturating_add(self.virtual_time(took));
        self.running = self.running.saturating_sub(1);
        if let Some(bucket) = &mut self.bucket {
            bucket.pay(now, took);
        }
        self.used.device_time = self.used.device_time.saturating_add(took);
        self.used.jobs = self.used.jobs.saturating_add(1);
    }

    /// Whether nothing would be lost by forgetting it.
    pub(crate) fn is_idle(&self, clock: u128, now: Duration) -> bool {
        self.queue.is_empty()
            && self.running == 0
            && self.finish <= clock
            && self
                .bucket
                .as_ref()
                .is_none_or(|bucket| bucket.is_full(now))
    }

    fn virtual_time(&self, time: Duration) -> u128 {
        time.as_nanos().saturating_mul(SCALE) / u128::from(self.share.weight.max(1))
    }
}
