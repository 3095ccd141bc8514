//! Takes the sessions of all callers forward together: one thread owns the model's [`Runner`] and puts
//! whatever is ready into one pass.
//!
//! Who is in a pass is decided by [`plan`]: tenants have equal shares, and long prompts go in pieces so
//! that others' tokens keep coming. The queue is bounded; work that nobody waits for any more is dropped
//! with its session before the next pass.
//!
//! Non-goals: several models in one pass, giving back the memory of sessions that nobody uses.

mod job;
mod plan;
mod seat;
mod text;

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Instant,
};

use rialto_compute::language::{GenerateError, Reply, Work};

use crate::{Budget, Cancel, Input, Model, RunError, Runner};

use job::Job;
use plan::Plan;

pub(crate) use seat::Seat;

/// A model with the thread that runs it. The thread ends after the last session and handle are gone.
pub struct Batcher {
    model: Arc<Model>,
    budget: Budget,
    shared: Arc<Shared>,
}

/// What the thread and those who give it work share.
struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    waiting_max: usize,
}

#[derive(Default)]
struct Queue {
    new: Vec<Job>,
    /// Work handed over and not yet answered, the new one counted.
    waiting: usize,
    closing: bool,
    /// The thread is gone: nothing given to it would ever be answered.
    stopped: bool,
}

impl Batcher {
    /// Starts the thread, with `threads` threads for the arithmetic, itself counted. Sessions take their
    /// memory from `budget`. At most `waiting_max` sessions may be at work or wait for it.
    ///
    /// # Errors
    /// What the system says when it has no thread left.
    pub fn new(
        model: Arc<Model>,
        threads: usize,
        budget: Budget,
        waiting_max: usize,
    ) -> std::io::Result<Arc<Self>> {
        let runner = Runner::new(Arc::clone(&model), threads)?;
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            wake: Condvar::new(),
            waiting_max,
        });
        let served = Arc::clone(&shared);
        thread::Builder::new()
            .name("lm-batch".to_owned())
            .spawn(move || Loop::new(runner, served).run())?;
        Ok(Arc::new(Self {
            model,
            budget,
            shared,
        }))
    }

    /// The model.
    #[must_use]
    pub const fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// The memory of its sessions.
    #[must_use]
    pub const fn budget(&self) -> &Budget {
        &self.budget
    }

    /// An empty session.
    pub(crate) fn seat(self: &Arc<Self>, tokens_max: usize) -> Seat {
        Seat::new(Arc::clone(self), tokens_max)
    }

    /// Hands work to the thread, or answers at once why not.
    fn submit(&self, seat: Box<Seat>, work: Work, reply: Box<dyn Reply>) {
        let job = match Job::new(seat, work, reply) {
            Ok(job) => job,
            Err((seat, reply, error)) => return reply.done(seat, Err(error)),
        };
        let mut queue = self.shared.lock();
        if queue.stopped {
            drop(queue);
            return job.fail(GenerateError::Engine("it stopped before"));
        }
        if queue.waiting >= self.shared.waiting_max {
            drop(queue);
            let waiting_max = self.shared.waiting_max;
            return job.fail(GenerateError::Busy { waiting_max });
        }
        queue.waiting += 1;
        queue.new.push(job);
        drop(queue);
        self.shared.wake.notify_one();
    }
}

impl Drop for Batcher {
    fn drop(&mut self) {
        // The thread is not waited for: this may be the thread itself, dropping the last session.
        self.shared.lock().closing = true;
        self.shared.wake.notify_one();
    }
}

impl fmt::Debug for Batcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batcher")
            .field("waiting", &self.shared.lock().waiting)
            .field("budget", &self.budget)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing panics while the lock is held.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread's own state.
struct Loop {
    runner: Runner,
    shared: Arc<Shared>,
    jobs: Vec<Job>,
    plan: Plan,
}

impl Loop {
    fn new(runner: Runner, shared: Arc<Shared>) -> Self {
        Self {
            runner,
            shared,
            jobs: Vec::new(),
            plan: Plan::default(),
        }
    }

    fn run(mut self) {
        while self.receive() {
            self.settle();
            let turns = self.plan.next(&mut self.jobs);
            if !turns.is_empty() {
                self.pass(&turns);
            }
        }
    }

    /// Takes new work in; waits for some if there is none. False when the batcher is gone.
    fn receive(&mut self) -> bool {
        let shared = Arc::clone(&self.shared);
        let mut queue = shared.lock();
        while self.jobs.is_empty() && queue.new.is_empty() && !queue.closing {
            queue = (shared.wake.wait(queue)).unwrap_or_else(PoisonError::into_inner);
        }
        self.jobs.append(&mut queue.new);
        !queue.closing
    }

    /// Chooses tokens where there are logits, and answers what is done or no longer wanted.
    fn settle(&mut self) {
        let before = self.jobs.len();
        let model = Arc::clone(self.runner.model());
        let mut going = Vec::with_capacity(before);
        let mut done = Vec::new();
        for mut job in self.jobs.drain(..) {
            if !job.wanted() {
                done.push((job, None));
                continue;
            }
            match job.settle(model.tokenizer()) {
                None => going.push(job),
                result @ Some(_) => done.push((job, result)),
            }
        }
        self.jobs = going;
        // Before the answers: whoever is answered may hand over new work at once.
        self.shared.lock().waiting -= before - self.jobs.len();
        for (job, result) in done {
            if let Some(result) = result {
                job.answer(result);
            }
        }
    }

    /// Takes some sessions forward by the numbers of tokens that `turns` gives them.
    fn pass(&mut self, turns: &[(usize, usize)]) {
        let mut failed = Vec::new();
        let mut chosen: Vec<(&mut Job, usize)> = Vec::with_capacity(turns.len());
        for (index, job) in self.jobs.iter_mut().enumerate() {
            let Some((_, rows)) = turns.iter().find(|(turn, _)| *turn == index) else {
                continue;
            };
            match job.reserve(*rows) {
                Ok(()) => chosen.push((job, *rows)),
                Err(error) => failed.push((index, error)),
            }
        }
        let rows: usize = chosen.iter().map(|(_, rows)| rows).sum();
        let started = Instant::now();
        let mut inputs: Vec<Input<'_>> = chosen
            .iter_mut()
            .map(|(job, rows)| job.input(*rows))
            .collect();
        let runner = &mut self.runner;
        let cancel = Cancel::default();
        let work = AssertUnwindSafe(|| runner.advance(&mut inputs, &cancel));
        let result = if rows == 0 {
            Ok(())
        } else {
            catch_unwind(work).unwrap_or(Err(RunError::Internal))
        };
        let took = started.elapsed();
        for (job, taken) in chosen {
            let share = u32::try_from(taken).unwrap_or(u32::MAX);
            let all = u32::try_from(rows.max(1)).unwrap_or(u32::MAX);
            match &result {
                Ok(()) => job.took(taken, took * share / all),
                Err(error) => job.broke(error),
            }
        }
        for (index, error) in failed {
            if let Some(job) = self.jobs.get_mut(index) {
                job.broke(&error);
            }
        }
    }
}

impl Drop for Loop {
    /// Also when this crate has a bug: those who wait learn it, and so do those who come later.
    fn drop(&mut self) {
        let unanswered = {
            let mut queue = self.shared.lock();
            queue.stopped = true;
            std::mem::take(&mut queue.new)
        };
        drop(unanswered);
    }
}
