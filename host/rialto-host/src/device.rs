//! Work for the host's device: who is next, with whom together, and on which thread.
//!
//! The [scheduler](rialto_scheduler) decides; here are its clock, its threads, and the tasks that wait.
//! Work runs off the guests' threads, so a call past its deadline ends at once: what has not begun is
//! taken back, what has begun finishes on its thread and holds its place until then. Work that is
//! known to be short is the exception: if nobody waits it stays on the guest's thread.
//!
//! Non-goals: what work is. Engines bound its memory and length.

mod batch;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rialto_compute::RunError;
use rialto_scheduler::{
    Batch, BatchId, Held, Job, JobId, Memory, MemoryError, Refused, Scheduler, Share, Tenant, Use,
};
use tokio::sync::oneshot;
use tracing::Instrument as _;

pub(crate) use batch::Run;
use batch::{Key, Member};

/// How the host's device is shared by its services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceConfig {
    /// Pieces of work at the same time.
    pub runs_max: NonZeroUsize,
    /// Pieces of work that wait, of all services together.
    pub waiting_max: usize,
    /// Pieces of work of one service that wait.
    pub service_waiting_max: usize,
    /// Runs of one model that are done together; 1 for each alone.
    pub batch_max: usize,
    /// How long a batch may take: the longest that another service waits for it.
    pub batch_time_max: Duration,
    /// How long a run waits for company on an idle device; 0 to begin at once.
    pub linger: Duration,
    /// Bytes of tensors that all calls together may hold.
    pub memory_bytes_max: u64,
    /// Bytes of tensors that one service's calls may hold.
    pub service_memory_bytes_max: u64,
    /// What services have by name; the others have weight 1 and no quota.
    pub shares: BTreeMap<String, Share>,
}

impl Default for DeviceConfig {
    fn default() -> Self {
        Self {
            runs_max: thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            waiting_max: 1_024,
            service_waiting_max: 256,
            batch_max: 16,
            batch_time_max: Duration::from_millis(10),
            linger: Duration::ZERO,
            memory_bytes_max: 4 << 30,
            service_memory_bytes_max: 2 << 30,
            shares: BTreeMap::new(),
        }
    }
}

/// The device of a host. Clones are the same device.
#[derive(Debug, Clone)]
pub(crate) struct Device {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    started: Instant,
    queue: Mutex<Queue>,
    memory: Mutex<Memory>,
}

#[derive(Debug)]
struct Queue {
    scheduler: Scheduler<Key, Work>,
    /// When a timer will look at the queue again.
    timer: Option<Duration>,
}

/// What waits in the queue.
enum Work {
    /// Something that is always alone. It is told how long its part of the device's time was.
    Alone(Box<dyn FnOnce() -> Answer + Send>),
    /// A model's run.
    Run(Member),
}

/// Hands a result to whoever waits for it.
type Answer = Box<dyn FnOnce(Duration) + Send>;

impl std::fmt::Debug for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Alone(_) => "Alone",
            Self::Run(_) => "Run",
        })
    }
}

/// What a device is doing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeviceLoad {
    /// Pieces of work that wait.
    pub waiting: usize,
    /// Pieces of work, or batches of them, that run.
    pub running: usize,
    /// Bytes of tensors that all calls hold.
    pub memory_bytes: u64,
    /// What each service with recent work has used since it began.
    pub services: Vec<(String, Use)>,
}

/// Work that was done, and the device time that is charged for it.
#[derive(Debug)]
pub(crate) struct Done<T> {
    pub(crate) result: T,
    pub(crate) took: Duration,
}

/// Why work was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DeviceError {
    /// The queue is full.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The engine panicked.
    #[error("the engine failed: {STOPPED}")]
    Stopped,
}

/// What is said of an engine that panicked.
pub(crate) const STOPPED: &str = "it stopped unexpectedly";

impl Device {
    pub(crate) fn new(config: &DeviceConfig) -> Self {
        let mut scheduler = Scheduler::new(rialto_scheduler::Config {
            places: config.runs_max.get(),
            waiting_max: config.waiting_max,
            tenant_waiting_max: config.service_waiting_max,
            batch_max: config.batch_max,
            batch_time_max: config.batch_time_max,
            linger: config.linger,
            share: Share::default(),
        });
        for (service, share) in &config.shares {
            scheduler.set_share(Duration::ZERO, &Tenant::new(service), *share);
        }
        let memory = Memory::new(config.memory_bytes_max, config.service_memory_bytes_max);
        let queue = Queue {
            scheduler,
            timer: None,
        };
        Self {
            inner: Arc::new(Inner {
                started: Instant::now(),
                queue: Mutex::new(queue),
                memory: Mutex::new(memory),
            }),
        }
    }

    /// Begins work on this thread, if nobody waits and there is a place.
    pub(crate) fn begin(&self, tenant: &Tenant, estimate: Duration) -> Option<Begun<'_>> {
        let now = self.now();
        let id = self.queue().scheduler.try_begin(now, tenant, estimate)?;
        Some(Begun {
            device: self,
            id,
            started: Instant::now(),
        })
    }

    /// Does work alone, on a thread of its own, when it is the tenant's turn. Cancel-safe: what has not
    /// begun is taken back.
    pub(crate) async fn alone<T: Send + 'static>(
        &self,
        tenant: &Tenant,
        estimate: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Done<T>, DeviceError> {
        let (sender, receiver) = oneshot::channel();
        let work = move || -> Answer {
            let result = work();
            Box::new(move |took| {
                // Nobody waits any more if the call has ended.
                let _ = sender.send(Done { result, took });
            })
        };
        let work = Work::Alone(Box::new(work));
        let span = tracing::info_span!("device.run", service = %tenant);
        let done = self.wait(tenant, None, estimate, work, receiver);
        done.instrument(span).await
    }

    /// Runs a model when it is the tenant's turn, together with equal runs that wait. Cancel-safe.
    pub(crate) async fn run(
        &self,
        tenant: &Tenant,
        estimate: Duration,
        run: Run,
    ) -> Result<Done<Result<Vec<rialto_compute::Tensor>, RunError>>, DeviceError> {
        let (sender, receiver) = oneshot::channel();
        let key = run.key();
        let work = Work::Run(Member { run, sender });
        let span = tracing::info_span!("device.run", service = %tenant);
        let done = self.wait(tenant, key, estimate, work, receiver);
        done.instrument(span).await
    }

    /// Takes device memory for a tenant, until the lease is dropped.
    pub(crate) fn hold(&self, tenant: &Tenant, bytes: u64) -> Result<Lease, MemoryError> {
        let held = lock(&self.inner.memory).take(tenant, bytes)?;
        Ok(Lease {
            device: self.clone(),
            held: Some(held),
        })
    }

    /// What is going on.
    pub(crate) fn load(&self) -> DeviceLoad {
        let memory_bytes = lock(&self.inner.memory).bytes();
        let queue = self.queue();
        let uses = queue.scheduler.uses();
        DeviceLoad {
            waiting: queue.scheduler.waiting(),
            running: queue.scheduler.running(),
            memory_bytes,
            services: uses
                .map(|(tenant, used)| (tenant.to_string(), used))
                .collect(),
        }
    }

    async fn wait<T>(
        &self,
        tenant: &Tenant,
        key: Option<Key>,
        estimate: Duration,
        work: Work,
        receiver: oneshot::Receiver<Done<T>>,
    ) -> Result<Done<T>, DeviceError> {
        let job = Job {
            tenant: tenant.clone(),
            key,
            estimate,
            work,
        };
        let now = self.now();
        let id = self.queue().scheduler.submit(now, job)?;
        let place = Place {
            device: self,
            tenant,
            id: Some(id),
        };
        self.pump();
        let result = receiver.await;
        place.leave();
        result.map_err(|_| DeviceError::Stopped)
    }

    /// Begins what may begin.
    fn pump(&self) {
        let mut queue = self.queue();
        let now = self.now();
        while let Some(batch) = queue.scheduler.next(now) {
            let device = self.clone();
            tokio::task::spawn_blocking(move || device.work(batch));
        }
        let wake = queue.scheduler.wake_at().filter(|at| *at > now);
        if let Some(at) = wake
            && queue.timer.is_none_or(|timer| at < timer)
        {
            queue.timer = Some(at);
            let device = self.clone();
            tokio::spawn(async move {
                tokio::time::sleep(at.saturating_sub(now)).await;
                {
                    let mut queue = device.queue();
                    if queue.timer == Some(at) {
                        queue.timer = None;
                    }
                }
                device.pump();
            });
        }
    }

    /// Does a batch, on a thread for blocking work.
    fn work(&self, batch: Batch<Work>) {
        let started = Instant::now();
        let count = u32::try_from(batch.jobs.len()).unwrap_or(u32::MAX).max(1);
        // A crashed engine drops the senders: those who wait learn it.
        let answers = catch_unwind(AssertUnwindSafe(|| batch::work(batch.jobs)));
        let took = started.elapsed();
        self.finished(batch.id, took);
        for answer in answers.into_iter().flatten() {
            answer(took / count);
        }
    }

    fn finished(&self, id: BatchId, took: Duration) {
        let now = self.now();
        let waiting = {
            let mut queue = self.queue();
            queue.scheduler.finished(now, id, took);
            queue.scheduler.waiting()
        };
        if waiting > 0 {
            self.pump();
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        lock(&self.inner.queue)
    }

    fn now(&self) -> Duration {
        self.inner.started.elapsed()
    }
}

/// A place on the device, until it is dropped.
pub(crate) struct Begun<'a> {
    device: &'a Device,
    id: BatchId,
    started: Instant,
}

impl Begun<'_> {
    /// Does the work.
    pub(crate) fn work<T>(self, work: impl FnOnce() -> T) -> Result<Done<T>, DeviceError> {
        let _span = tracing::info_span!("device.run").entered();
        // A crashed engine drops what it had, and no guest sees any of it.
        let result = catch_unwind(AssertUnwindSafe(work)).map_err(|_| DeviceError::Stopped)?;
        Ok(Done {
            result,
            took: self.started.elapsed(),
        })
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        self.device.finished(self.id, self.started.elapsed());
    }
}

/// A place in the queue; given up when the future that waits is dropped.
struct Place<'a> {
    device: &'a Device,
    tenant: &'a Tenant,
    id: Option<JobId>,
}

impl Place<'_> {
    fn leave(mut self) {
        self.id = None;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            // Its work, if it has not begun, is dropped outside of the lock.
            let work = self.device.queue().scheduler.cancel(self.tenant, id);
            drop(work);
        }
    }
}

/// Device memory, given back on drop.
#[derive(Debug)]
pub(crate) struct Lease {
    device: Device,
    held: Option<Held>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            lock(&self.device.inner.memory).release(held);
        }
    }
}

/// No step under these locks leaves something half-changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
