//! Which of the waiting jobs go into one batch.
//!
//! The tenants take turns, in the order in which they would have come anyway: a tenant with many jobs
//! in the queue does not fill a batch before one with few.

use std::hash::Hash;
use std::time::Duration;

use super::{Scheduler, Waiting};
use crate::tenant::Tenant;

/// Takes the first job of `first`, and what can be done with it, out of the queues.
pub(super) fn take<K: Eq + Hash + Clone, T>(
    scheduler: &mut Scheduler<K, T>,
    now: Duration,
    first: &Tenant,
) -> Vec<(Tenant, Waiting<K, T>)> {
    let mut taken = Vec::new();
    let Some(job) = begin(scheduler, first, 0) else {
        return taken;
    };
    let (key, mut time) = (job.key.clone(), job.estimate);
    taken.push((first.clone(), job));
    let Some(key) = key else {
        return taken;
    };
    let mut order = turns(scheduler, now, first);
    while !order.is_empty() {
        let before = taken.len();
        order.retain(|tenant| {
            if taken.len() >= scheduler.config.batch_max {
                return false;
            }
            let Some((index, estimate)) = find(scheduler, tenant, &key) else {
                return false;
            };
            let longer = time.saturating_add(estimate);
            if longer > scheduler.config.batch_time_max {
                return false;
            }
            let Some(job) = begin(scheduler, tenant, index) else {
                return false;
            };
            time = longer;
            taken.push((tenant.clone(), job));
            true
        });
        if taken.len() == before {
            break;
        }
    }
    taken
}

/// The tenants whose work may begin, in their order; whoever leads the batch had a turn and is last.
fn turns<K: Eq + Hash + Clone, T>(
    scheduler: &Scheduler<K, T>,
    now: Duration,
    first: &Tenant,
) -> Vec<Tenant> {
    let mut tenants: Vec<_> = scheduler
        .accounts
        .iter()
        .filter(|(_, account)| !account.queue.is_empty() && account.is_open(now))
        .map(|(tenant, account)| (tenant == first, account.begins(scheduler.clock), tenant))
        .collect();
    tenants.sort_unstable();
    tenants
        .into_iter()
        .map(|(.., tenant)| tenant.clone())
        .collect()
}

/// The tenant's first job with this key.
fn find<K: Eq + Hash + Clone, T>(
    scheduler: &Scheduler<K, T>,
    tenant: &Tenant,
    key: &K,
) -> Option<(usize, Duration)> {
    let queue = &scheduler.accounts.get(tenant)?.queue;
    let index = queue
        .iter()
        .position(|waiting| waiting.key.as_ref() == Some(key))?;
    Some((index, queue.get(index)?.estimate))
}

/// Takes a job out of its tenant's queue and begins it.
fn begin<K: Eq + Hash + Clone, T>(
    scheduler: &mut Scheduler<K, T>,
    tenant: &Tenant,
    index: usize,
) -> Option<Waiting<K, T>> {
    let clock = scheduler.clock;
    let account = scheduler.accounts.get_mut(tenant)?;
    let job = account.queue.remove(index)?;
    account.begin(clock, job.estimate);
    Some(job)
}
