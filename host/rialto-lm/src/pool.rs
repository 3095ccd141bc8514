//! A fixed set of threads that work through numbered tasks together with the caller.
//!
//! Threads spin a while between jobs, since the next follows within microseconds while a model runs,
//! and then sleep. Whoever is free takes the next task, and nobody waits for a thread that did not
//! wake up in time. Non-goals: nested jobs, several callers at a time.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
};

/// What a thread does with the number of a task.
pub(crate) type Work = Arc<dyn Fn(usize) + Send + Sync>;

/// The threads.
#[derive(Debug)]
pub(crate) struct Pool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// A task panicked, which is a bug of this crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Panicked;

#[derive(Debug, Default)]
struct Shared {
    /// Counts jobs, so that waiting threads see a new one without the lock.
    epoch: AtomicU64,
    closing: AtomicBool,
    slot: Mutex<Slot>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct Slot {
    job: Option<Arc<Job>>,
    asleep: usize,
}

struct Job {
    work: Work,
    tasks: usize,
    next: AtomicUsize,
    /// Threads that have taken the job and not yet dropped it.
    active: Arc<AtomicUsize>,
    panicked: AtomicBool,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job")
            .field("tasks", &self.tasks)
            .finish_non_exhaustive()
    }
}

impl Pool {
    /// A pool in which `threads` work, the caller counted.
    ///
    /// # Errors
    /// What the system says when it has no thread left.
    pub(crate) fn new(threads: usize) -> std::io::Result<Self> {
        let mut pool = Self {
            shared: Arc::default(),
            threads: Vec::new(),
        };
        for index in 1..threads {
            let shared = Arc::clone(&pool.shared);
            let builder = thread::Builder::new().name(format!("lm-{index}"));
            pool.threads.push(builder.spawn(move || shared.serve())?);
        }
        Ok(pool)
    }

    /// How many threads work, the caller counted.
    pub(crate) fn threads(&self) -> usize {
        self.threads.len() + 1
    }

    /// Does all tasks and returns when they are done and `work` is no longer used by the threads.
    pub(crate) fn run(&self, tasks: usize, work: Work) -> Result<(), Panicked> {
        let job = Arc::new(Job {
            work,
            tasks,
            next: AtomicUsize::new(0),
            active: Arc::default(),
            panicked: AtomicBool::new(false),
        });
        let shared = &self.shared;
        let asleep = {
            let mut slot = shared.lock();
            slot.job = Some(Arc::clone(&job));
            slot.asleep
        };
        // After the lock is free, so that threads that see this do not wait for it. One that falls
        // asleep just now misses the job, which is then done without it.
        shared.epoch.fetch_add(1, Ordering::Release);
        if asleep > 0 {
            shared.wake.notify_all();
        }
        job.work();
        shared.lock().job = None;
        // Nobody can join any more; those who did are on their last task.
        let mut spins = 0_u32;
        while job.active.load(Ordering::Acquire) > 0 {
            pause(&mut spins);
        }
        if job.panicked.load(Ordering::Relaxed) {
            return Err(Panicked);
        }
        Ok(())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::Release);
        {
            // Under the lock, so that no thread falls asleep between its check and this.
            let _slot = self.shared.lock();
            self.shared.epoch.fetch_add(1, Ordering::Release);
        }
        self.shared.wake.notify_all();
        for thread in self.threads.drain(..) {
            // A thread catches its tasks' panics, so there is none to pass on.
            drop(thread.join());
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Slot> {
        // Nothing panics while the lock is held.
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self) {
        let mut seen = 0;
        loop {
            self.wait(seen);
            if self.closing.load(Ordering::Acquire) {
                return;
            }
            let job = {
                let slot = self.lock();
                seen = self.epoch.load(Ordering::Acquire);
                slot.job.as_ref().map(|job| {
                    job.active.fetch_add(1, Ordering::Relaxed);
                    Arc::clone(job)
                })
            };
            if let Some(job) = job {
                job.work();
                let active = Arc::clone(&job.active);
                drop(job);
                active.fetch_sub(1, Ordering::Release);
            }
        }
    }

    fn wait(&self, seen: u64) {
        for _ in 0..SPINS {
            if self.epoch.load(Ordering::Acquire) != seen {
                return;
            }
            std::hint::spin_loop();
        }
        let mut slot = self.lock();
        slot.asleep += 1;
        while self.epoch.load(Ordering::Acquire) == seen {
            slot = self.wake.wait(slot).unwrap_or_else(PoisonError::into_inner);
        }
        slot.asleep -= 1;
    }
}

impl Job {
    fn work(&self) {
        let result = catch_unwind(AssertUnwindSafe(|| {
            loop {
                let task = self.next.fetch_add(1, Ordering::Relaxed);
                if task >= self.tasks {
                    return;
                }
                (self.work)(task);
            }
        }));
        if result.is_err() {
            self.panicked.store(true, Ordering::Relaxed);
        }
    }
}

fn pause(spins: &mut u32) {
    *spins = spins.saturating_add(1);
    if *spins > SPINS_BEFORE_YIELD {
        thread::yield_now();
    } else {
        std::hint::spin_loop();
    }
}

/// About 50 to 100 microseconds: longer than the pauses within a step.
const SPINS: u32 = 4_000;
const SPINS_BEFORE_YIELD: u32 = 2_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_is_done_once_whatever_the_number_of_threads() {
        for threads in [1, 2, 5] {
            let pool = Pool::new(threads).unwrap();
            for tasks in [0, 1, 3, 100] {
                let counts: Arc<Vec<AtomicUsize>> =
                    Arc::new((0..tasks).map(|_| AtomicUsize::new(0)).collect());
                let inner = Arc::clone(&counts);
                let work: Work = Arc::new(move |task| {
                    inner[task].fetch_add(1, Ordering::Relaxed);
                });
                pool.run(tasks, work).unwrap();
                assert!(
                    counts
                        .iter()
                        .all(|count| count.load(Ordering::Relaxed) == 1)
                );
            }
        }
    }

    #[test]
    fn a_panic_is_reported_and_the_pool_goes_on() {
        let pool = Pool::new(2).unwrap();
        assert_eq!(
            pool.run(4, Arc::new(|task| assert_ne!(task, 2))),
            Err(Panicked)
        );
        assert_eq!(pool.run(4, Arc::new(|_| ())), Ok(()));
    }
}
