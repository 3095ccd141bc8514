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
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use tokio::time::{Sleep, sleep_until};

use crate::clock::CpuClock;
use crate::error::CallError;

/// Of so many parts of the processors' time they get one.
const PARTS: u32 = 16;

/// The longest rest: one that held a processor for long without a pause keeps the others out for so long.
const REST_MAX: Duration = Duration::from_secs(5);

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
        let latest = now.saturating_add(nanoseconds(REST_MAX));
        let next = |free_at: u64| Some(free_at.max(now).saturating_add(worth).min(latest));
        // Never refused: `next` always gives a value.
        let _ = self
            .free_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
    }

    /// Runs a call with rests, which `told` counts as far as the guest would have gone on. At its `deadline` a call
    /// that has begun goes on without one, so that it can end.
    ///
    /// # Errors
    /// [`CallError::Overloaded`] if the call could not begin before `deadline`; else its own.
    pub(super) async fn hold<T>(
        &self,
        deadline: Instant,
        told: &CpuClock,
        mut call: Pin<Box<impl Future<Output = Result<T, CallError>>>>,
    ) -> Result<T, CallError> {
        let clock = CpuClock::default();
        let mut measured = pin!(clock.measure(call.as_mut()));
        let mut rest: Option<(Instant, Pin<Box<Sleep>>)> = None;
        let mut has_begun = false;
        poll_fn(|context| {
            loop {
                if let Some((since, sleep)) = rest.as_mut() {
                    ready!(sleep.as_mut().poll(context));
                    told.rested(since.elapsed());
                    rest = None;
                }
                let (free_at, now) = (self.free_at(), Instant::now());
                if free_at <= now {
                    break;
                }
                if deadline <= now && has_begun {
                    break;
                }
                if deadline <= now {
                    return Poll::Ready(Err(CallError::Overloaded {
                        retry_after_ms: super::FULL_FOR_MS,
                    }));
                }
                told.rests();
                let until = free_at.min(deadline);
                rest = Some((now, Box::pin(sleep_until(until.into()))));
            }
            has_begun = true;
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
                let call = Box::pin(async move { Ok(compute(end).await) });
                leash.hold(end, &CpuClock::default(), call).await.unwrap()
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
    async fn who_could_not_begin_in_time_is_refused_and_no_fault_of_its_own() {
        let leash = Leash::new(1);
        leash.computed(Duration::from_secs(3_600));
        let deadline = Instant::now() + Duration::from_millis(20);
        let clock = CpuClock::default();
        let refused = leash.hold(deadline, &clock, Box::pin(async { Ok(()) }));
        assert_eq!(refused.await.unwrap_err().wire_code(), "overloaded");
        assert!(Instant::now() >= deadline);
        assert_eq!(clock.wanted(), Duration::ZERO);
    }

    #[tokio::test]
    async fn who_would_have_gone_on_goes_on_at_its_deadline() {
        let leash = Arc::new(Leash::new(1));
        let deadline = Instant::now() + Duration::from_secs(1);
        let clock = CpuClock::default();
        let (told, other) = (clock.clone(), Arc::clone(&leash));
        let call = Box::pin(async move {
            let guest = async {
                other.computed(Duration::from_secs(3_600));
                told.yields();
                yield_now().await;
                Ok(())
            };
            told.measure(pin!(guest)).await
        });
        leash.hold(deadline, &clock, call).await.unwrap();
        assert!(Instant::now() >= deadline);
        let wanted = clock.wanted();
        assert!(wanted >= Duration::from_millis(100), "{wanted:?}");
    }
}
