//! The queue in front of a device.
//!
//! Start-time fair queueing: a job's tag is where its tenant's work begins in virtual time, and the job
//! with the least tag goes next. Virtual time moves with the work that is begun, so a tenant that
//! comes back finds itself with the others, neither ahead for the time it was away nor behind.

mod gather;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use crate::tenant::{Account, Share, Tenant, Use};

/// How a device is shared.
#[derive(Debug, Clone)]
pub struct Config {
    /// Batches that are done at the same time, at least 1.
    pub places: usize,
    /// Jobs that wait, of all tenants together.
    pub waiting_max: usize,
    /// Jobs of one tenant that wait.
    pub tenant_waiting_max: usize,
    /// Jobs in a batch, at least 1.
    pub batch_max: usize,
    /// How long a batch of more than one job may take, by the jobs' estimates: the longest that
    /// another tenant waits for it.
    pub batch_time_max: Duration,
    /// How long a job that could have company waits for it when the device has a free place. 0 begins
    /// at once: batches then form of what waits anyway.
    pub linger: Duration,
    /// What tenants have for whom nothing else is [set](Scheduler::set_share).
    pub share: Share,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            places: 1,
            waiting_max: 1_024,
            tenant_waiting_max: 256,
            batch_max: 16,
            batch_time_max: Duration::from_millis(50),
            linger: Duration::ZERO,
            share: Share::default(),
        }
    }
}

/// A piece of work for the device. `K` says what it can be done together with, `T` is the work.
#[derive(Debug)]
pub struct Job<K, T> {
    /// Whose it is.
    pub tenant: Tenant,
    /// Jobs of equal keys can be one batch; none for a job that is always alone.
    pub key: Option<K>,
    /// How long it will take, as far as one can tell.
    pub estimate: Duration,
    /// The work.
    pub work: T,
}

/// Names a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct JobId(u64);

/// Names a batch that is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BatchId(u64);

/// Jobs to be done together, now.
#[derive(Debug)]
pub struct Batch<T> {
    /// To be given to [`Scheduler::finished`].
    pub id: BatchId,
    /// The jobs; at least one.
    pub jobs: Vec<(JobId, T)>,
}

/// A job that waits.
#[derive(Debug)]
pub struct Waiting<K, T> {
    id: JobId,
    since: Duration,
    key: Option<K>,
    estimate: Duration,
    work: T,
}

/// Why a job is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Too many jobs wait.
    #[error("{waiting} jobs wait for the device; come again in {} ms", after.as_millis())]
    Full {
        /// Jobs that wait.
        waiting: usize,
        /// When there may be room.
        after: Duration,
    },
    /// Too many of the tenant's jobs wait.
    #[error("{waiting} jobs of `{tenant}` wait for the device; come again in {} ms", after.as_millis())]
    TenantFull {
        /// The tenant.
        tenant: Tenant,
        /// Its jobs that wait.
        waiting: usize,
        /// When there may be room.
        after: Duration,
    },
}

/// Decides whose work a device does next. Times are measured from any fixed moment on.
#[derive(Debug)]
pub struct Scheduler<K, T> {
    config: Config,
    shares: HashMap<Tenant, Share>,
    accounts: HashMap<Tenant, Account<K, T>>,
    /// Accounts at which those with nothing to remember are dropped.
    sweep_at: usize,
    running: HashMap<BatchId, Vec<(Tenant, Duration)>>,
    waiting: usize,
    /// Sum of the waiting jobs' estimates.
    backlog: Duration,
    /// Virtual time.
    clock: u128,
    /// The farthest that any tenant's work reaches in virtual time.
    reach: u128,
    last_id: u64,
}

const SWEEP_MIN: usize = 64;

impl<K: Eq + Hash + Clone, T> Scheduler<K, T> {
    /// Nothing waits and nothing runs.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            config: Config {
                places: config.places.max(1),
                batch_max: config.batch_max.max(1),
                ..config
            },
            shares: HashMap::new(),
            accounts: HashMap::new(),
            sweep_at: SWEEP_MIN,
            running: HashMap::new(),
            waiting: 0,
            backlog: Duration::ZERO,
            clock: 0,
            reach: 0,
            last_id: 0,
        }
    }

    /// Says what a tenant has from now on.
    pub fn set_share(&mut self, now: Duration, tenant: &Tenant, share: Share) {
        if let Some(account) = self.accounts.get_mut(tenant) {
            account.change(share, now);
        }
        self.shares.insert(tenant.clone(), share);
    }

    /// Takes a job; [`Scheduler::next`] says when it is done.
    ///
    /// # Errors
    /// [`Refused`] if too many wait; the job is dropped.
    pub fn submit(&mut self, now: Duration, job: Job<K, T>) -> Result<JobId, Refused> {
        let waiting = self.waiting;
        let (waiting_max, own_max) = (self.config.waiting_max, self.config.tenant_waiting_max);
        let after = self.backlog_time();
        let id = JobId(self.next_id());
        let account = self.account(now, &job.tenant);
        let own = account.queue.len();
        if waiting >= waiting_max || own >= own_max {
            account.used.refused = account.used.refused.saturating_add(1);
            return Err(if own >= own_max {
                Refused::TenantFull {
                    tenant: job.tenant,
                    waiting: own,
                    after,
                }
            } else {
                Refused::Full { waiting, after }
            });
        }
        account.queue.push_back(Waiting {
            id,
            since: now,
            key: job.key,
            estimate: job.estimate,
            work: job.work,
        });
        self.waiting += 1;
        self.backlog = self.backlog.saturating_add(job.estimate);
        Ok(id)
    }

    /// Begins work of about this length at once, if the device has a place, nobody waits and the
    /// tenant's quota allows: the way around the queue for work that would only pass through it.
    pub fn try_begin(
        &mut self,
        now: Duration,
        tenant: &Tenant,
        estimate: Duration,
    ) -> Option<BatchId> {
        if self.waiting > 0 || self.running.len() >= self.config.places {
            return None;
        }
        let clock = self.clock;
        let account = self.account(now, tenant);
        if !account.is_open(now) {
            return None;
        }
        let begins = account.begins(clock);
        account.begin(clock, estimate);
        self.clock = begins;
        Some(self.run(vec![(tenant.clone(), estimate)]))
    }

    /// What to begin now; none if nothing waits that may, or every place is taken. To be asked again
    /// until it gives none, after every change and at [`Scheduler::wake_at`].
    pub fn next(&mut self, now: Duration) -> Option<Batch<T>> {
        if self.running.len() >= self.config.places {
            return None;
        }
        let first = self
            .accounts
            .iter()
            .filter(|(_, account)| self.is_ready(now, account))
            .min_by_key(|(_, account)| {
                let since = account.queue.front().map(|job| (job.since, job.id.0));
                (account.begins(self.clock), since)
            })
            .map(|(tenant, _)| tenant.clone())?;
        self.clock = self.accounts.get(&first)?.begins(self.clock);
        let taken = gather::take(self, now, &first);
        let mut members = Vec::with_capacity(taken.len());
        let mut jobs = Vec::with_capacity(taken.len());
        for (tenant, job) in taken {
            self.waiting = self.waiting.saturating_sub(1);
            self.backlog = self.backlog.saturating_sub(job.estimate);
            members.push((tenant, job.estimate));
            jobs.push((job.id, job.work));
        }
        let id = self.run(members);
        Some(Batch { id, jobs })
    }

    /// A batch is done and took so long. Its time is charged in equal parts.
    pub fn finished(&mut self, now: Duration, batch: BatchId, took: Duration) {
        let Some(members) = self.running.remove(&batch) else {
            return;
        };
        let count = u32::try_from(members.len()).unwrap_or(u32::MAX).max(1);
        for (tenant, estimate) in members {
            if let Some(account) = self.accounts.get_mut(&tenant) {
                account.end(now, estimate, took / count);
                self.reach = self.reach.max(account.begins(0));
            }
        }
        if self.running.is_empty() && self.waiting == 0 {
            // Nobody wants the device: whoever comes next, all are equal again.
            self.clock = self.clock.max(self.reach);
        }
    }

    /// Forgets a job that has not begun, and gives its work back.
    pub fn cancel(&mut self, tenant: &Tenant, job: JobId) -> Option<T> {
        let account = self.accounts.get_mut(tenant)?;
        let index = account.queue.iter().position(|waiting| waiting.id == job)?;
        let waiting = account.queue.remove(index)?;
        self.waiting = self.waiting.saturating_sub(1);
        self.backlog = self.backlog.saturating_sub(waiting.estimate);
        Some(waiting.work)
    }

    /// When [`Scheduler::next`] may give something although nothing else happens; none if only a new
    /// job or a finished batch can change that.
    #[must_use]
    pub fn wake_at(&self) -> Option<Duration> {
        if self.running.len() >= self.config.places {
            return None;
        }
        let wake = |account: &Account<K, T>| {
            let job = account.queue.front()?;
            Some(account.opens_at().max(self.ripe_at(job)))
        };
        self.accounts.values().filter_map(wake).min()
    }

    /// Jobs that wait.
    #[must_use]
    pub const fn waiting(&self) -> usize {
        self.waiting
    }

    /// Batches that run.
    #[must_use]
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// What each tenant that is not idle has used.
    pub fn uses(&self) -> impl Iterator<Item = (&Tenant, Use)> {
        self.accounts
            .iter()
            .map(|(tenant, account)| (tenant, account.used))
    }

    /// How long what waits will take.
    #[must_use]
    pub fn backlog_time(&self) -> Duration {
        let places = u32::try_from(self.config.places).unwrap_or(u32::MAX);
        self.backlog / places
    }

    fn is_ready(&self, now: Duration, account: &Account<K, T>) -> bool {
        let ripe = |job| self.ripe_at(job) <= now || self.has_company(job);
        account.queue.front().is_some_and(ripe) && account.is_open(now)
    }

    /// When a job begins even without company.
    fn ripe_at(&self, job: &Waiting<K, T>) -> Duration {
        match job.key {
            Some(_) => job.since.saturating_add(self.config.linger),
            None => job.since,
        }
    }

    /// Whether a full batch waits with this job.
    fn has_company(&self, job: &Waiting<K, T>) -> bool {
        let jobs = self.accounts.values().flat_map(|account| &account.queue);
        let same = jobs.filter(|other| other.key == job.key);
        same.take(self.config.batch_max).count() >= self.config.batch_max
    }

    fn account(&mut self, now: Duration, tenant: &Tenant) -> &mut Account<K, T> {
        if self.accounts.len() >= self.sweep_at {
            let clock = self.clock;
            self.accounts
                .retain(|_, account| !account.is_idle(clock, now));
            self.sweep_at = self.accounts.len().saturating_mul(2).max(SWEEP_MIN);
        }
        let share = self.shares.get(tenant).copied();
        let share = share.unwrap_or(self.config.share);
        self.accounts
            .entry(tenant.clone())
            .or_insert_with(|| Account::new(share, now))
    }

    fn run(&mut self, members: Vec<(Tenant, Duration)>) -> BatchId {
        let id = BatchId(self.next_id());
        self.running.insert(id, members);
        id
    }

    fn next_id(&mut self) -> u64 {
        self.last_id = self.last_id.wrapping_add(1);
        self.last_id
    }
}
