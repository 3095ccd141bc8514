//! Long calls go on in the background: on threads of their own, which the system runs when nobody else
//! wants the processor.
//!
//! Most calls take microseconds. A guest that computes on and on, by intent or not, would take its whole
//! share of every core from them, one clock tick after another. So a call stays where it began for its
//! first milliseconds of processor time and is then carried over, in mid-run. Calls of a party whose calls
//! [keep failing](crate::conduct) never begin where others do: they have threads of the lowest priority, and a
//! sixteenth of the processors' time.
//! Where threads have no priorities of their own (all systems but Linux) the threads are separate and equal.
//!
//! As many may compute here as the door says; one more is refused when its first milliseconds are over. A call
//! that waits for something else at that moment is no burden, and comes along.
//!
//! Not here: how long a call may take at all ([`crate::limits`]), or who comes in (the door).

mod leash;

use std::any::Any;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::timeout_at;
use tracing::Instrument as _;

use crate::clock::CpuClock;
use crate::error::CallError;

use leash::Leash;

/// How much the system prefers others to long calls: about a tenth of a core's time is left for these
/// when others want all.
const LONG_NICE: i32 = 10;
/// The same for calls of suspect parties: about a sixtieth.
const SUSPECT_NICE: i32 = 19;

/// Threads for calls that are long, and for those of suspect parties.
pub(crate) struct Background {
    /// Taken when this is dropped.
    long: Option<Runtime>,
    /// Taken when this is dropped.
    suspect: Option<Runtime>,
    after: Duration,
    /// Room for calls of suspect parties: they are slow while others want the processor, and must not hold
    /// every place meanwhile.
    held_back: Semaphore,
    leash: Arc<Leash>,
    /// Room for those that wait for it.
    waiting: Semaphore,
    counted: AtomicU64,
    refused: AtomicU64,
}

impl Background {
    /// Starts the threads. A call is long once it has used the processor for `after`; of `places` for calls
    /// an eighth may be those of suspect parties, for which `waiting_max` may wait.
    ///
    /// # Errors
    /// The threads cannot be started.
    pub(crate) fn new(after: Duration, places: u32, waiting_max: u32) -> io::Result<Self> {
        let processors = u32::try_from(available_parallelism()?.get()).unwrap_or(u32::MAX);
        let room = |places: u32| {
            let places = usize::try_from(places).unwrap_or(usize::MAX);
            Semaphore::new(places.clamp(1, Semaphore::MAX_PERMITS))
        };
        Ok(Self {
            long: Some(threads(LONG, LONG_NICE)?),
            suspect: Some(threads(SUSPECT, SUSPECT_NICE)?),
            after,
            held_back: room(places / 8),
            leash: Arc::new(Leash::new(processors)),
            waiting: room(waiting_max),
            counted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        })
    }

    /// Calls of suspect parties so far.
    pub(crate) fn held_back(&self) -> u64 {
        self.counted.load(Ordering::Relaxed)
    }

    /// Calls that were refused because too many compute here, ever.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// There was no room for one more.
    pub(crate) fn refuse(&self) -> CallError {
        self.refused.fetch_add(1, Ordering::Relaxed);
        CallError::LongCalls {
            retry_after_ms: RETRY_AFTER_MS,
        }
    }

    /// Runs a call whose processor time is counted by `clock`: here first, in the background once it is
    /// long. Dropping the future drops the call, at its next clock tick at the latest.
    ///
    /// # Errors
    /// The call's own, and [`CallError::LongCalls`] if it is long and there is no room for it.
    pub(crate) async fn carry<T, F>(
        &self,
        clock: CpuClock,
        call: Pin<Box<F>>,
    ) -> Result<T, CallError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, CallError>> + Send + 'static,
    {
        let mut call = Some(call);
        let finished = poll_fn(|context| {
            let Some(running) = call.as_mut() else {
                return Poll::Ready(None);
            };
            match running.as_mut().poll(context) {
                Poll::Ready(result) => Poll::Ready(Some(result)),
                Poll::Pending if clock.finished() >= self.after => {
                    let room = clock.go_to_background();
                    Poll::Ready((!room).then(|| Err(self.refuse())))
                }
                Poll::Pending => Poll::Pending,
            }
        })
        .await;
        match (finished, call) {
            (Some(result), _) => result,
            (None, Some(call)) => go_on(self.long.as_ref(), call).await,
            (None, None) => Err(CallError::Internal("a call was lost".to_owned())),
        }
    }

    /// Runs something that nobody waits for.
    pub(crate) fn start(&self, work: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = &self.long {
            runtime.spawn(work);
        }
    }

    /// Runs a call of a suspect party, from its beginning, once there is room, with rests. Dropping the future
    /// drops the call.
    ///
    /// # Errors
    /// [`CallError::Overloaded`] when enough such calls wait, or there is no room before `deadline`; else
    /// the call's own.
    pub(crate) async fn hold_back<T, F>(
        &self,
        deadline: Instant,
        clock: CpuClock,
        call: Pin<Box<F>>,
    ) -> Result<T, CallError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, CallError>> + Send + 'static,
    {
        let full = || CallError::Overloaded {
            retry_after_ms: FULL_FOR_MS,
        };
        let waiting = self.waiting.try_acquire().map_err(|_| full())?;
        let room = timeout_at(deadline.into(), self.held_back.acquire()).await;
        let _room = room.map_err(|_| full())?.map_err(|_| full())?;
        drop(waiting);
        self.counted.fetch_add(1, Ordering::Relaxed);
        let leash = Arc::clone(&self.leash);
        let call = Box::pin(async move { leash.hold(deadline, &clock, call).await });
        go_on(self.suspect.as_ref(), call).await
    }
}

async fn go_on<T, F>(runtime: Option<&Runtime>, call: Pin<Box<F>>) -> Result<T, CallError>
where
    T: Send + 'static,
    F: Future<Output = Result<T, CallError>> + Send + 'static,
{
    let Some(runtime) = runtime else {
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

fn threads(name: &str, nice: i32) -> io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(available_parallelism()?.get())
        .thread_name(name)
        .on_thread_start(move || yield_to_others(nice))
        .enable_all()
        .build()
}

impl Drop for Background {
    fn drop(&mut self) {
        // Waiting for the threads would block whoever drops the host, which may be one of them.
        let runtimes = [self.long.take(), self.suspect.take()];
        runtimes
            .into_iter()
            .flatten()
            .for_each(Runtime::shutdown_background);
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
fn yield_to_others(nice: i32) {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, nice) {
        tracing::warn!(%error, "calls in the background run with the priority of all others");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = nice;
}

/// When a suspect party may come again that found no room.
const FULL_FOR_MS: u64 = 1_000;

const LONG: &str = "rialto-long";
const SUSPECT: &str = "rialto-suspect";
/// Long calls end one by one.
const RETRY_AFTER_MS: u64 = 1_000;

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
        background.carry(clock, Box::pin(call)).await.unwrap()
    }

    #[tokio::test]
    async fn a_short_call_stays_and_a_long_one_is_carried_over() {
        let background = Background::new(Duration::from_millis(12), 16, 16).unwrap();
        let own = here();
        assert!(carried(&background, 1).await.iter().all(|it| *it == own));
        let threads = carried(&background, 6).await;
        assert_eq!(threads[0], own);
        assert_eq!(threads[5], LONG);
        // Once it is away it does not come back.
        let away = threads.iter().position(|it| it == LONG).unwrap();
        assert!(threads[away..].iter().all(|it| it == LONG));
    }

    #[tokio::test]
    async fn a_call_that_nobody_waits_for_ends() {
        struct Told(Option<oneshot::Sender<()>>);
        impl Drop for Told {
            fn drop(&mut self) {
                self.0.take().map(|ended| ended.send(()));
            }
        }
        let background = Background::new(Duration::ZERO, 16, 16).unwrap();
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
            tokio::spawn(
                async move { background.carry(CpuClock::default(), Box::pin(call)).await },
            );
        running.await.unwrap();
        waiting.abort();
        ended.await.unwrap();
    }

    #[tokio::test]
    #[should_panic(expected = "as it was")]
    async fn a_panic_in_the_background_reaches_the_caller() {
        let background = Background::new(Duration::ZERO, 16, 16).unwrap();
        let call = async {
            yield_now().await;
            panic!("as it was");
        };
        let _: Result<(), CallError> = background.carry(CpuClock::default(), Box::pin(call)).await;
    }
    #[tokio::test]
    async fn suspect_calls_have_their_own_threads_and_an_eighth_of_the_places() {
        let background = Background::new(Duration::ZERO, 16, 16).unwrap();
        let later = Instant::now() + Duration::from_secs(100);
        let call = || async {
            yield_now().await;
            Ok(here())
        };
        let ran = background
            .hold_back(later, CpuClock::default(), Box::pin(call()))
            .await
            .unwrap();
        assert_eq!(ran, SUSPECT);
        let stuck = || async { std::future::pending::<Result<String, CallError>>().await };
        let mut held: Vec<_> = (0..2 + 16)
            .map(|_| Box::pin(background.hold_back(later, CpuClock::default(), Box::pin(stuck()))))
            .collect();
        for call in &mut held {
            assert!(polled_once(call.as_mut()).await.is_pending());
        }
        assert_eq!(background.held_back(), 1 + 2, "the others wait");
        let error = background
            .hold_back(later, CpuClock::default(), Box::pin(call()))
            .await
            .unwrap_err();
        assert_eq!(error.wire_code(), "overloaded");
        // One that waited is gone: there is room to wait, but not before the deadline.
        held.pop();
        let error = background
            .hold_back(Instant::now(), CpuClock::default(), Box::pin(call()))
            .await;
        assert_eq!(error.unwrap_err().wire_code(), "overloaded");
        drop(held);
        background
            .hold_back(later, CpuClock::default(), Box::pin(call()))
            .await
            .unwrap();
    }

    /// Polls once.
    async fn polled_once<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
        poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await
    }
}
