//! Measures the processor time of one call, wherever its future is polled.
//!
//! Wall time would blame a guest for a busy machine, and would count the time it waits for a model. The
//! thread's processor clock, read around each poll, counts exactly what the guest and the host's
//! synchronous work for it used. Reading it inside the epoch callback gives the sum so far.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

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

    /// Processor time of finished polls.
    pub(crate) fn finished(&self) -> Duration {
        Duration::from_nanos(self.shared.finished.load(Ordering::Relaxed))
    }

    /// Runs `future` on this clock.
    pub(crate) fn measure<'a, F: Future>(&self, future: Pin<&'a mut F>) -> Measured<'a, F> {
        Measured {
            clock: self.clone(),
            future,
        }
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

    fn end(&self) {
        let start = self.shared.poll_start.swap(0, Ordering::Relaxed);
        let spent = thread_nanos().saturating_sub(start);
        self.shared.finished.fetch_add(spent, Ordering::Relaxed);
    }
}

/// A future whose polls are measured.
#[derive(Debug)]
pub(crate) struct Measured<'a, F> {
    clock: CpuClock,
    future: Pin<&'a mut F>,
}

impl<F: Future> Future for Measured<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.clock.begin();
        let polled = self.future.as_mut().poll(cx);
        self.clock.end();
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
