//! Long calls go on in the background: on threads of their own, which the system runs when nobody else
//! wants the processor.
//!
//! Most calls take microseconds. A guest that computes on and on, by intent or not, would take its whole
//! share of every core from them, one clock tick after another. So a call stays where it began for its
//! first milliseconds of processor time and is then carried over, in mid-run. Where threads have no
//! priorities of their own (all systems but Linux) the threads are separate and equal.
//!
//! Not here: how long a call may take at all ([`crate::limits`]), or who comes in (the door).

use std::any::Any;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::task::Poll;
use std::thread::available_parallelism;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::task::{JoinError, JoinHandle};
use tracing::Instrument as _;

use crate::clock::CpuClock;
use crate::error::CallError;

/// How much the system prefers others: about a tenth of a core's time is left when they want all.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

/// Threads for calls that are long.
pub(crate) struct Background {
    /// Taken when this is dropped.
    runtime: Option<Runtime>,
    after: Duration,
}

impl Background {
    /// Starts the threads. A call is long once it has used the processor for `after`.
    ///
    /// # Errors
    /// The threads cannot be started.
    pub(crate) fn new(after: Duration) -> io::Result<Self> {
        let threads = available_parallelism()?.get();
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name(THREADS)
            .on_thread_start(yield_to_others)
            .enable_all()
            .build()?;
        Ok(Self {
            runtime: Some(runtime),
            after,
        })
    }

    /// Runs a call whose processor time is counted by `clock`: here first, in the background once it is
    /// long. Dropping the future drops the call, at its next clock tick at the latest.
    pub(crate) async fn carry<T, F>(&self, clock: CpuClock, call: F) -> Result<T, CallError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, CallError>> + Send + 'static,
    {
        let mut call = Some(Box::pin(call));
        let finished = poll_fn(|context| {
            let Some(running) = call.as_mut() else {
                return Poll::Ready(None);
            };
            match running.as_mut().poll(context) {
                Poll::Ready(result) => Poll::Ready(Some(result)),
                Poll::Pending if clock.finished() >= self.after => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        })
        .await;
        match (finished, call) {
            (Some(result), _) => result,
            (None, Some(call)) => self.go_on(call).await,
            (None, None) => Err(CallError::Internal("a call was lost".to_owned())),
        }
    }

    /// Runs something that nobody waits for.
    pub(crate) fn start(&self, work: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = &self.runtime {
            runtime.spawn(work);
        }
    }

    async fn go_on<T, F>(&self, call: Pin<Box<F>>) -> Result<T, CallError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, CallError>> + Send + 'static,
    {
        let Some(runtime) = &self.runtime else {
            return call.await;
        };
        let mut carried = Carried(runtime.spawn(call.in_current_span()));
        match (&mut carried.0).await {
            Ok(result) => result,
            Err(error) => match panic_of(error) {
                Some(panic) => resume_unwind(panic),
                None => Err(CallError::Internal("the host is stopping".to_owned())),
            },
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // Waiting for the threads would block whoever drops the host, which may be one of them.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for Background {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Background")
            .field("after", &self.after)
            .finish_non_exhaustive()
    }
}

/// A call in the background, which ends when nobody waits for it any more.
struct Carried<T>(JoinHandle<T>);

impl<T> Drop for Carried<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn panic_of(error: JoinError) -> Option<Box<dyn Any + Send>> {
    error.try_into_panic().ok()
}

/// Lowers the calling thread's priority.
fn yield_to_others() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::warn!(%error, "long calls run with the priority of all others");
    }
}

const THREADS: &str = "rialto-long";

#[cfg(test)]
mod tests {
    use std::thread;

    use tokio::sync::oneshot;
    use tokio::task::yield_now;

    use super::*;

    fn here() -> String {
        thread::current().name().unwrap().to_owned()
    }

    /// Works in portions of 5 ms, for `portions`, and says which threads did.
    async fn work(portions: u32) -> Result<Vec<String>, CallError> {
        let mut threads = Vec::new();
        for _ in 0..portions {
            let clock = CpuClock::default();
            let portion = async {
                while clock.used() < Duration::from_millis(5) {
                    std::hint::spin_loop();
                }
            };
            clock.measure(std::pin::pin!(portion)).await;
            threads.push(here());
            yield_now().await;
        }
        Ok(threads)
    }

    async fn carried(background: &Background, portions: u32) -> Vec<String> {
        let clock = CpuClock::default();
        let measured = clock.clone();
        let call = async move { measured.measure(std::pin::pin!(work(portions))).await };
        background.carry(clock, call).await.unwrap()
    }

    #[tokio::test]
    async fn a_short_call_stays_and_a_long_one_is_carried_over() {
        let background = Background::new(Duration::from_millis(12)).unwrap();
        let own = here();
        assert!(carried(&background, 1).await.iter().all(|it| *it == own));
        let threads = carried(&background, 6).await;
        assert_eq!(threads[0], own);
        assert_eq!(threads[5], THREADS);
        // Once it is away it does not come back.
        let away = threads.iter().position(|it| it == THREADS).unwrap();
        assert!(threads[away..].iter().all(|it| it == THREADS));
    }

    #[tokio::test]
    async fn a_call_that_nobody_waits_for_ends() {
        struct Told(Option<oneshot::Sender<()>>);
        impl Drop for Told {
            fn drop(&mut self) {
                self.0.take().map(|ended| ended.send(()));
            }
        }
        let background = Background::new(Duration::ZERO).unwrap();
        let (send, ended) = oneshot::channel();
        let (begun, running) = oneshot::channel();
        let told = Told(Some(send));
        let call = async move {
            let _told = told;
            yield_now().await;
            begun.send(()).ok();
            std::future::pending::<Result<(), CallError>>().await
        };
        let waiting =
            tokio::spawn(async move { background.carry(CpuClock::default(), call).await });
        running.await.unwrap();
        waiting.abort();
        ended.await.unwrap();
    }

    #[tokio::test]
    #[should_panic(expected = "as it was")]
    async fn a_panic_in_the_background_reaches_the_caller() {
        let background = Background::new(Duration::ZERO).unwrap();
        let call = async {
            yield_now().await;
            panic!("as it was");
        };
        let _: Result<(), CallError> = background.carry(CpuClock::default(), call).await;
    }
}
