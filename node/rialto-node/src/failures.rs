//! A budget of failures for each channel, and for each payer without one: a failed call is free (M3), the host's time is not.
//!
//! A payer with the smallest deposit could otherwise keep a host busy for nothing, with calls that
//! run into their limits; or one with a signed transfer that it never lets be made. A call that its
//! caller abandons counts as failed, since it is free too.
//! Refunds have such a budget, too: they are free for the payer, and the host pays their gas.
//! Not here: whether a call failed, and limits on calls that are paid for.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rialto_channels::{Address, ChannelId};

use crate::api::CallError;

/// The failures of all channels. Bounded: see [`CHANNELS_MAX`].
#[derive(Debug, Clone)]
pub(crate) struct Failures {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    max: u32,
    window: Duration,
    tallies: Mutex<HashMap<ChannelId, Tally>>,
}

/// A channel's failures since its window began.
#[derive(Debug, Clone, Copy)]
struct Tally {
    began: Instant,
    failed: u32,
}

/// The right to try a call.
#[derive(Debug)]
pub(crate) struct Attempt {
    failures: Failures,
    channel: ChannelId,
}

/// A call that runs: counts as failed if it is dropped before it is `over`.
pub(crate) struct Running {
    attempt: Attempt,
    over: bool,
}

impl Failures {
    pub(crate) fn new(max: u32, window: Duration) -> Self {
        Self {
            inner: Arc::new(Inner {
                max,
                window,
                tallies: Mutex::default(),
            }),
        }
    }

    /// Lets a payer that pays by transfer try a call: it has one budget for all of them.
    ///
    /// # Errors
    /// As [`begin`](Self::begin).
    pub(crate) fn begin_transfer(&self, payer: Address) -> Result<Attempt, CallError> {
        // No channel has such an id: it is a hash.
        self.begin(ChannelId(payer.into_word()))
    }

    /// Lets a channel try a call.
    ///
    /// # Errors
    /// [`CallError::TooManyFailures`] until its window is over.
    pub(crate) fn begin(&self, channel: ChannelId) -> Result<Attempt, CallError> {
        self.begin_at(channel, Instant::now())
    }

    fn begin_at(&self, channel: ChannelId, now: Instant) -> Result<Attempt, CallError> {
        if let Some(tally) = self.lock().get(&channel)
            && tally.failed >= self.inner.max
            && let Some(left) = self
                .inner
                .window
                .checked_sub(now.duration_since(tally.began))
        {
            return Err(CallError::TooManyFailures {
                failed: tally.failed,
                retry_after_seconds: left.as_secs().saturating_add(1),
            });
        }
        Ok(Attempt {
            failures: self.clone(),
            channel,
        })
    }

    fn note(&self, channel: ChannelId, now: Instant) {
        let window = self.inner.window;
        let mut tallies = self.lock();
        if tallies.len() >= CHANNELS_MAX && !tallies.contains_key(&channel) {
            tallies.retain(|_, tally| now.duration_since(tally.began) < window);
            if tallies.len() >= CHANNELS_MAX {
                // So many deposits at once are dearer than what they can still waste.
                return;
            }
        }
        let fresh = Tally {
            began: now,
            failed: 0,
        };
        let tally = tallies.entry(channel).or_insert(fresh);
        if now.duration_since(tally.began) >= window {
            *tally = fresh;
        }
        tally.failed = tally.failed.saturating_add(1);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ChannelId, Tally>> {
        self.inner
            .tallies
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempt {
    /// Counts, whatever becomes of it.
    pub(crate) fn spend(self) {
        self.failures.note(self.channel, Instant::now());
    }

    /// Runs the call. It counts as failed if it fails, or if its caller does not wait for the end;
    /// not if the host is full or something that it needs is away, which is no fault of the caller.
    pub(crate) async fn of<T>(
        self,
        call: impl Future<Output = Result<T, CallError>>,
    ) -> Result<T, CallError> {
        let mut running = self.run();
        let outcome = call.await;
        running.over = outcome
            .as_ref()
            .map_or_else(|error| !Running::counts(error), |_| true);
        outcome
    }

    /// Begins the call.
    pub(crate) fn run(self) -> Running {
        Running {
            attempt: self,
            over: false,
        }
    }
}

impl Running {
    /// The call ended well, or it was no fault of its caller.
    pub(crate) fn over(mut self) {
        self.over = true;
    }

    /// Whether a call that ended so counts as failed.
    pub(crate) fn counts(error: &CallError) -> bool {
        !matches!(
            error,
            CallError::Service(
                rialto_host::CallError::Overloaded { .. }
                    | rialto_host::CallError::OverShare { .. }
                    | rialto_host::CallError::LongCalls { .. }
                    | rialto_host::CallError::CellRests { .. }
                    | rialto_host::CallError::State(_)
            ) | CallError::Unavailable { .. }
        )
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.over {
            let Attempt { failures, channel } = &self.attempt;
            failures.note(*channel, Instant::now());
        }
    }
}

/// Channels whose failures are remembered.
const CHANNELS_MAX: usize = 65_536;

#[cfg(test)]
mod tests {
    use alloy_primitives::B256;

    use super::*;

    fn channel(id: u8) -> ChannelId {
        ChannelId(B256::repeat_byte(id))
    }

    fn retry_after(failures: &Failures, id: u8, now: Instant) -> Option<u64> {
        match failures.begin_at(channel(id), now) {
            Ok(_) => None,
            Err(CallError::TooManyFailures {
                retry_after_seconds,
                ..
            }) => Some(retry_after_seconds),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn a_channel_that_fails_too_often_waits_for_its_window() {
        let failures = Failures::new(3, Duration::from_secs(60));
        let start = Instant::now();
        let after = |secs| start + Duration::from_secs(secs);
        for _ in 0..3 {
            assert_eq!(retry_after(&failures, 1, start), None);
            failures.note(channel(1), start);
        }
        assert_eq!(retry_after(&failures, 1, start), Some(61));
        assert_eq!(retry_after(&failures, 2, start), None, "others do not wait");
        assert_eq!(retry_after(&failures, 1, after(40)), Some(21));
        assert_eq!(retry_after(&failures, 1, after(61)), None);
        failures.note(channel(1), after(61));
        assert_eq!(retry_after(&failures, 1, after(61)), None, "a new window");
    }

    #[tokio::test]
    async fn only_calls_that_ran_in_vain_count() {
        let failures = Failures::new(2, Duration::from_secs(60));
        for _ in 0..10 {
            drop(failures.begin(channel(1)).unwrap());
            let attempt = failures.begin(channel(1)).unwrap();
            attempt.of(async { Ok(()) }).await.unwrap();
            let attempt = failures.begin(channel(1)).unwrap();
            let full = CallError::Service(rialto_host::CallError::Overloaded { retry_after_ms: 1 });
            attempt.of(async { Err::<(), _>(full) }).await.unwrap_err();
        }
        assert!(failures.lock().is_empty());
        let attempt = failures.begin(channel(1)).unwrap();
        let crashed = CallError::Service(rialto_host::CallError::StackExhausted);
        attempt
            .of(async { Err::<(), _>(crashed) })
            .await
            .unwrap_err();
        // The caller goes away while the call runs.
        let attempt = failures.begin(channel(1)).unwrap();
        let mut call = Box::pin(attempt.of(std::future::pending::<Result<(), CallError>>()));
        let begun = std::future::poll_fn(|context| {
            std::task::Poll::Ready(call.as_mut().poll(context).is_pending())
        });
        assert!(begun.await);
        drop(call);
        assert!(retry_after(&failures, 1, Instant::now()).is_some());
    }

    #[test]
    fn memory_is_bounded() {
        let failures = Failures::new(1, Duration::from_secs(60));
        let start = Instant::now();
        for number in 0..=CHANNELS_MAX {
            let id = ChannelId(alloy_primitives::U256::from(number).into());
            failures.note(id, start);
        }
        assert_eq!(failures.lock().len(), CHANNELS_MAX);
        failures.note(channel(9), start + Duration::from_secs(61));
        assert_eq!(failures.lock().len(), 1);
    }
}
