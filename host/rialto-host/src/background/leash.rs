//! How much of the processors calls of suspect parties get together: a sixteenth of their time.
//!
//! Threads of the lowest priority yield to others, and still cost them: they fill every moment in which the
//! others wait for a disk or a socket, and whoever wants to go on then has to be fetched from another processor
//! or to push them aside first. So after each portion that such a call computes, all of them rest.
//!
//! Not here: who is suspect ([`crate::conduct`]).

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::ready;
use std::time::{Duration, Instant};

use tokio::time::{Sleep, sleep_until};

use crate::clock::CpuClock;

/// Of so many parts of the processors' time they get one.
const PARTS: u32 = 16;

/// When calls of suspect parties may go on.
#[derive(Debug)]
pub(super) struct Leash {
    begun: Instant,
    /// Nanoseconds after `begun`.
    free_at: AtomicU64,
    processors: u32,
}

impl Leash {
    pub(super) fn new(processors: u32) -> Self {
        Self {
            begun: Instant::now(),
            free_at: AtomicU64::new(0),
            processors: processors.max(1),
        }
    }

    fn free_at(&self) -> Instant {
        self.begun + Duration::from_nanos(self.free_at.load(Ordering::Relaxed))
    }

    /// One of them computed for so long.
    fn computed(&self, used: Duration) {
        let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let now = nanoseconds(self.begun.elapsed());
        let worth = nanoseconds(used.saturating_mul(PARTS) / self.processors);
        let next = |free_at: u64| Some(free_at.max(now).saturating_add(worth));
        // Never refused: `next` always gives a value.
        let _ = self
            .free_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
    }

    /// Runs a call with rests, which `told` counts; at its `deadline` it is asked without one, so that it can end.
    pub(super) async fn hold<F: Future>(
        &self,
        deadline: Instant,
        told: &CpuClock,
        mut call: Pin<Box<F>>,
    ) -> F::Output {
        let clock = CpuClock::default();
        let mut measured = pin!(clock.measure(call.as_mut()));
        let mut rest: Option<(Instant, Pin<Box<Sleep>>)> = None;
        poll_fn(|context| {
            loop {
                if let Some((since, sleep)) = rest.as_mut() {
                    ready!(sleep.as_mut().poll(context));
                    told.rested(since.elapsed());
                    rest = None;
                }
                let until = self.free_at().min(deadline);
                if until <= Instant::now() {
                    break;
                }
                rest = Some((Instant::now(), Box::pin(sleep_until(until.into()))));
            }
            let before = clock.finished();
            let polled = measured.as_mut().poll(context);
            self.computed(clock.finished().saturating_sub(before));
            polled
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::task::{JoinSet, yield_now};

    use super::*;

    /// Computes in portions of a millisecond, until `end`; for how long.
    async fn compute(end: Instant) -> Duration {
        let clock = CpuClock::default();
        while Instant::now() < end {
            let from = clock.used();
            let portion = async {
                while clock.used().saturating_sub(from) < Duration::from_millis(1) {
                    std::hint::spin_loop();
                }
            };
            clock.measure(pin!(portion)).await;
            yield_now().await;
        }
        clock.used()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn all_together_get_their_part() {
        let leash = Arc::new(Leash::new(2));
        let (begun, end) = (Instant::now(), Instant::now() + Duration::from_millis(800));
        let mut calls = JoinSet::new();
        for _ in 0..4 {
            let leash = Arc::clone(&leash);
            calls.spawn(async move {
                leash
                    .hold(end, &CpuClock::default(), Box::pin(compute(end)))
                    .await
            });
        }
        let used: Duration = calls.join_all().await.into_iter().sum();
        let all = begun.elapsed() * 2;
        // Each may be at its portion when the others have used it up.
        assert!(
            used <= all / PARTS + Duration::from_millis(8),
            "{used:?} of {all:?}"
        );
        assert!(
            used >= Duration::from_millis(4),
            "each had a portion: {used:?}"
        );
    }

    #[tokio::test]
    async fn at_its_deadline_a_call_is_asked_at_once() {
        let leash = Leash::new(1);
        leash.computed(Duration::from_secs(3_600));
        let deadline = Instant::now() + Duration::from_millis(20);
        let clock = CpuClock::default();
        leash.hold(deadline, &clock, Box::pin(async {})).await;
        assert!(Instant::now() >= deadline);
        let wanted = clock.wanted();
        assert!(
            wanted >= Duration::from_millis(10),
            "it would have gone on: {wanted:?}"
        );
    }
}
