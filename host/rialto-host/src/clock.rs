//! Measures the processor time of one call, wherever its future is polled.
//!
//! Wall time would blame a guest for a busy machine, and would count the time it waits for a model. The
//! thread's processor clock, read around each poll, counts exactly what the guest and the host's
//! synchronous work for it used. Reading it inside the epoch callback gives the sum so far.
//!
//! It also tells the door whether the call wants the processor or waits for something else, and how long a
//! guest that let others go on had to wait until it could go on itself.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::door::Standing;

/// The processor time of one call so far. Clones share the counter.
#[derive(Debug, Clone, Default)]
pub(crate) struct CpuClock {
    shared: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    /// Nanoseconds of finished polls.
    finished: AtomicU64,
    /// The polling thread's clock at the start of the poll in progress; 0 between polls.
    poll_start: AtomicU64,
    /// The guest lets others go on, and would go on at once.
    yields: AtomicBool,
    /// It computed so long that it belongs in the background.
    long: AtomicBool,
    /// A part of the answer was delivered.
    delivered: AtomicBool,
    /// It let others go on, and would have gone on at once.
    goes_on: AtomicBool,
    /// Nanoseconds for which it rested although it would have gone on.
    rested: AtomicU64,
    /// It runs at the lowest priority.
    held_back: AtomicBool,
    /// The call's place at the door, once it has one.
    standing: OnceLock<Arc<Standing>>,
}

impl CpuClock {
    /// Processor time so far; inside a poll, must be called on the polling thread.
    pub(crate) fn used(&self) -> Duration {
        let finished = self.shared.finished.load(Ordering::Relaxed);
        let start = self.shared.poll_start.load(Ordering::Relaxed);
        let running = if start == 0 {
            0
        } else {
            thread_nanos().saturating_sub(start)
        };
        Duration::from_nanos(finished.saturating_add(running))
    }

    /// It is made to rest: it is no burden meanwhile.
    pub(crate) fn rests(&self) {
        if let Some(standing) = self.shared.standing.get() {
            standing.waits_elsewhere();
        }
    }

    /// It was made to rest for so long.
    pub(crate) fn rested(&self, time: Duration) {
        if !self.shared.goes_on.load(Ordering::Relaxed) {
            return;
        }
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.shared.rested.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// How long it computed, or would have if it had not been made to rest.
    pub(crate) fn wanted(&self) -> Duration {
        let rested = self.shared.rested.load(Ordering::Relaxed);
        self.used().saturating_add(Duration::from_nanos(rested))
    }

    /// Processor time of finished polls.
    pub(crate) fn finished(&self) -> Duration {
        Duration::from_nanos(self.shared.finished.load(Ordering::Relaxed))
    }

    /// Runs `future` on this clock.
    pub(crate) fn measure<'a, F: Future>(&self, future: Pin<&'a mut F>) -> Measured<'a, F> {
        Measured {
            clock: self.clone(),
            future,
            yielded: None,
        }
    }

    /// The call was let in: from now on the door is told what it does.
    pub(crate) fn let_in(&self, standing: &Arc<Standing>) {
        // A call is let in once.
        drop(self.shared.standing.set(Arc::clone(standing)));
        if self.shared.held_back.load(Ordering::Relaxed) {
            standing.go_to_background(true);
        }
    }

    /// The call runs at the lowest priority from now on: what it waits for says nothing of others.
    pub(crate) fn hold_back(&self) {
        self.shared.held_back.store(true, Ordering::Relaxed);
        if let Some(standing) = self.shared.standing.get() {
            standing.go_to_background(true);
        }
    }

    /// A part of the answer was delivered and will be charged: the call is not refused any more.
    pub(crate) fn delivered(&self) {
        self.shared.delivered.store(true, Ordering::Relaxed);
    }

    /// The call goes on in the background, if there is room for it.
    pub(crate) fn go_to_background(&self) -> bool {
        let Some(standing) = self.shared.standing.get() else {
            return true;
        };
        if standing.is_computing() {
            self.shared.long.store(true, Ordering::Relaxed);
        }
        standing.go_to_background(self.shared.delivered.load(Ordering::Relaxed))
    }

    /// Whether the call computed so long that it belongs in the background.
    pub(crate) fn is_long(&self) -> bool {
        self.shared.long.load(Ordering::Relaxed)
    }

    /// Said within a poll that ends although its guest would go on.
    pub(crate) fn yields(&self) {
        self.shared.yields.store(true, Ordering::Relaxed);
    }

    /// Runs `work` on the polling thread without counting it: the host's own work, within a poll.
    pub(crate) fn excluding<T>(&self, work: impl FnOnce() -> T) -> T {
        let before = thread_nanos();
        let result = work();
        let spent = thread_nanos().saturating_sub(before);
        self.shared.poll_start.fetch_add(spent, Ordering::Relaxed);
        result
    }

    fn begin(&self) {
        self.shared
            .poll_start
            .store(thread_nanos().max(1), Ordering::Relaxed);
    }

    /// What the poll took of the processor.
    fn end(&self) -> Duration {
        let start = self.shared.poll_start.swap(0, Ordering::Relaxed);
        let spent = thread_nanos().saturating_sub(start);
        self.shared.finished.fetch_add(spent, Ordering::Relaxed);
        Duration::from_nanos(spent)
    }
}

/// A future whose polls are measured.
#[derive(Debug)]
pub(crate) struct Measured<'a, F> {
    clock: CpuClock,
    future: Pin<&'a mut F>,
    /// Since when it would go on.
    yielded: Option<Instant>,
}

impl<F: Future> Future for Measured<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let shared = Arc::clone(&self.clock.shared);
        let standing = shared.standing.get();
        // The door is told of pieces that had to wait for the processor: short calls have none.
        let waited = self.yielded.take().map(|at| at.elapsed());
        if let Some(standing) = standing {
            standing.wants_processor();
        }
        self.clock.begin();
        let polled = self.future.as_mut().poll(cx);
        let computed = self.clock.end();
        let goes_on = shared.yields.swap(false, Ordering::Relaxed) && polled.is_pending();
        shared.goes_on.store(goes_on, Ordering::Relaxed);
        if let Some(standing) = standing {
            if let Some(waited) = waited {
                standing.computed(computed, waited);
            }
            if !goes_on {
                // Also at the end: a stream waits for who takes its next item.
                standing.waits_elsewhere();
            }
        }
        self.yielded = goes_on.then(Instant::now);
        polled
    }
}

/// The calling thread's processor time in nanoseconds.
fn thread_nanos() -> u64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(now.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_excluded_is_not_counted() {
        let clock = CpuClock::default();
        let work = || {
            let before = thread_nanos();
            while thread_nanos() - before < 20_000_000 {}
        };
        clock
            .measure(std::pin::pin!(async { clock.excluding(work) }))
            .await;
        let used = clock.used();
        assert!(used < Duration::from_millis(15), "{used:?}");
    }

    #[tokio::test]
    async fn waiting_is_not_counted_but_work_is() {
        let clock = CpuClock::default();
        clock
            .measure(std::pin::pin!(async {
                tokio::task::yield_now().await;
                let before = thread_nanos();
                while thread_nanos() - before < 2_000_000 {}
            }))
            .await;
        let used = clock.used();
        assert!(used >= Duration::from_millis(2), "{used:?}");
        assert_eq!(clock.used(), used, "nothing is counted between polls");
    }
}
