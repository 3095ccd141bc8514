//! Whether a connection's client gets on: takes its answers, asks for something, waits for what it asked.
//!
//! Over HTTP/2 a client may refuse an answer's bytes (a window of zero) while the socket looks well, ask and
//! take back what it asked for again and again, or ask for nothing for ever. Here is counted what tells that
//! from a client that is waiting for us; the connection's task cuts it.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Body as _, Frame, SizeHint};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::Config;

/// What one connection's client does. Clones are the same.
#[derive(Debug, Clone)]
pub(super) struct Progress {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    idle_max: Duration,
    pause_max: Duration,
    bytes_per_second_min: u64,
    allowance: Arc<AtomicU64>,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug)]
struct State {
    /// Requests whose answer is not over.
    open: usize,
    /// When the last of them was over.
    idle_since: Instant,
    /// Answers of which the client holds up the next part, and since when.
    held_up: Vec<(u64, Instant)>,
    last_id: u64,
    answered: u64,
    abandoned: u64,
}

/// Why a connection is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overdue {
    /// It has asked for nothing for long.
    Idle,
    /// It does not take an answer.
    Stalled,
    /// It takes back most of what it asks for.
    Abandons,
}

/// A request, until its answer is over.
#[derive(Debug)]
pub(super) struct Asked {
    progress: Progress,
    id: u64,
    is_answered: bool,
}

/// An answer's body in parts, so that a part that is asked for shows that the one before was taken.
#[derive(Debug)]
pub(super) struct Answer {
    asked: Asked,
    body: Body,
    rest: Bytes,
    /// When the last part, or the head, was handed over.
    handed: Option<Instant>,
    bytes: u64,
    /// How long the client held it up.
    waited: Duration,
}

impl Progress {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            inner: Arc::new(Inner {
                idle_max: config.head_timeout,
                pause_max: config.write_pause_max,
                bytes_per_second_min: config.bytes_per_second_min.max(1),
                allowance: Arc::new(AtomicU64::new(CHATTER_BYTES_MAX)),
                state: Mutex::new(State {
                    open: 0,
                    idle_since: Instant::now(),
                    held_up: Vec::new(),
                    last_id: 0,
                    answered: 0,
                    abandoned: 0,
                }),
                changed: Notify::new(),
            }),
        }
    }

    /// The bytes that the client may have sent so far.
    pub(super) fn allowance(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.inner.allowance)
    }

    /// A request's head came.
    pub(super) fn asked(&self) -> Asked {
        self.inner
            .allowance
            .fetch_add(REQUEST_BYTES, Ordering::Relaxed);
        let mut state = self.state();
        state.open = state.open.saturating_add(1);
        state.last_id = state.last_id.wrapping_add(1);
        Asked {
            progress: self.clone(),
            id: state.last_id,
            is_answered: false,
        }
    }

    /// A part of a request's body came.
    pub(super) fn sent(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let with_frames = bytes.saturating_mul(FRAMES);
        self.inner
            .allowance
            .fetch_add(with_frames, Ordering::Relaxed);
    }

    /// Resolves when the connection is not worth keeping.
    pub(super) async fn overdue(&self) -> Overdue {
        loop {
            match self.judge(Instant::now()) {
                Err(overdue) => return overdue,
                // What changes meanwhile moves the moment, or says so.
                Ok(until) => drop(timeout_at(until, self.inner.changed.notified()).await),
            }
        }
    }

    /// When to judge again.
    fn judge(&self, now: Instant) -> Result<Instant, Overdue> {
        let (idle_max, pause_max) = (self.inner.idle_max, self.inner.pause_max);
        let state = self.state();
        if state.abandoned >= ABANDONED_MAX && state.abandoned > state.answered {
            return Err(Overdue::Abandons);
        }
        let first = state.held_up.iter().map(|(_, since)| *since).min();
        let stalled = first.map(|since| since + pause_max);
        if stalled.is_some_and(|at| at <= now) {
            return Err(Overdue::Stalled);
        }
        let idle = (state.open == 0).then(|| state.idle_since + idle_max);
        if idle.is_some_and(|at| at <= now) {
            return Err(Overdue::Idle);
        }
        let soon = now + idle_max.min(pause_max);
        Ok([stalled, idle]
            .into_iter()
            .flatten()
            .fold(soon, Instant::min))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No step under this lock leaves something half-changed.
        let lock = self.inner.state.lock();
        lock.unwrap_or_else(PoisonError::into_inner)
    }
}

impl Asked {
    /// Its answer's body, from its head on.
    pub(super) fn answer(self, body: Body) -> Answer {
        let mut answer = Answer {
            asked: self,
            body,
            rest: Bytes::new(),
            handed: None,
            bytes: 0,
            waited: Duration::ZERO,
        };
        answer.hand(Instant::now());
        answer
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let mut state = self.progress.state();
        state.held_up.retain(|(id, _)| *id != self.id);
        state.open = state.open.saturating_sub(1);
        if state.open == 0 {
            state.idle_since = Instant::now();
        }
        if self.is_answered {
            state.answered = state.answered.saturating_add(1);
        } else {
            state.abandoned = state.abandoned.saturating_add(1);
            self.progress.inner.changed.notify_one();
        }
    }
}

impl Answer {
    /// The client has to take what was handed over: until then the server keeps this, the last part's too.
    fn hand(&mut self, now: Instant) {
        self.handed = Some(now);
        let id = self.asked.id;
        self.asked.progress.state().held_up.push((id, now));
    }

    /// The client made room. False if it took too long over all.
    fn taken(&mut self, now: Instant) -> bool {
        if let Some(since) = self.handed.take() {
            let waited = now.saturating_duration_since(since);
            self.waited = self.waited.saturating_add(waited);
            let id = self.asked.id;
            let mut state = self.asked.progress.state();
            state.held_up.retain(|(held, _)| *held != id);
        }
        let limits = &self.asked.progress.inner;
        let ms = self.bytes.saturating_mul(1_000) / limits.bytes_per_second_min;
        let by_size = Duration::from_millis(ms);
        self.waited <= limits.pause_max.saturating_add(by_size)
    }
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        if !this.taken(Instant::now()) {
            let slow = "the client takes its answer too slowly";
            return Poll::Ready(Some(Err(axum::Error::new(slow))));
        }
        while this.rest.is_empty() {
            match ready!(Pin::new(&mut this.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => this.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                end => {
                    this.asked.is_answered |= end.is_none();
                    return Poll::Ready(end);
                }
            }
        }
        let part = this.rest.split_to(this.rest.len().min(PART_BYTES));
        this.bytes = this.bytes.saturating_add(PART_BYTES as u64);
        this.hand(Instant::now());
        Poll::Ready(Some(Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        let of_body = self.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(of_body.lower().saturating_add(rest));
        if let Some(upper) = of_body.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // Servers do not ask for what follows the last part.
        self.asked.is_answered |= self.is_end_stream();
    }
}

/// What is handed over at a time: over HTTP/2 so much of each answer may wait behind a closed window.
const PART_BYTES: usize = 16 << 10;
/// Requests taken back on one connection before that is held against it.
const ABANDONED_MAX: u64 = 100;
/// What a client may send that belongs to no request.
const CHATTER_BYTES_MAX: u64 = 1 << 20;
/// The head of a request, and what is said about its answer's windows.
const REQUEST_BYTES: u64 = 128 << 10;
/// A body in very small frames takes so many times its bytes.
const FRAMES: u64 = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;

    fn progress() -> Progress {
        Progress::new(&Config {
            head_timeout: Duration::from_secs(10),
            write_pause_max: Duration::from_secs(4),
            bytes_per_second_min: PART_BYTES as u64,
            ..Config::default()
        })
    }

    fn after(seconds: u64) -> Instant {
        Instant::now() + Duration::from_secs(seconds)
    }

    #[tokio::test]
    async fn waiting_for_us_is_neither_idle_nor_stalled() {
        let progress = progress();
        let asked = progress.asked();
        assert!(progress.judge(after(3_600)).is_ok());
        drop(asked);
        assert!(progress.judge(after(9)).is_ok());
        assert_eq!(progress.judge(after(10)), Err(Overdue::Idle));
    }

    #[tokio::test]
    async fn an_answer_that_is_not_taken_stalls() {
        let progress = progress();
        let mut answer = progress.asked().answer(Body::from(vec![0; 3 * PART_BYTES]));
        let part = answer.frame().await.unwrap().unwrap();
        assert_eq!(part.into_data().unwrap().len(), PART_BYTES);
        assert_eq!(answer.size_hint().exact(), Some(2 * PART_BYTES as u64));
        assert!(progress.judge(after(3)).is_ok());
        assert_eq!(progress.judge(after(4)), Err(Overdue::Stalled));
        while let Some(part) = answer.frame().await {
            part.unwrap();
        }
        assert!(progress.judge(after(4)).is_ok(), "it was taken");
    }

    #[tokio::test]
    async fn a_head_that_is_never_followed_stalls_too() {
        let progress = progress();
        let _answer = progress.asked().answer(Body::from("never asked for"));
        assert_eq!(progress.judge(after(4)), Err(Overdue::Stalled));
    }

    #[tokio::test]
    async fn who_takes_a_little_at_a_time_is_too_slow_in_the_end() {
        let progress = progress();
        let mut answer = progress.asked().answer(Body::from(vec![0; 9 * PART_BYTES]));
        let mut now = Instant::now();
        // Two seconds for what should take one, with four to spare.
        let parts = std::iter::from_fn(|| {
            answer.hand(now);
            answer.bytes += PART_BYTES as u64;
            now += Duration::from_secs(2);
            answer.taken(now).then_some(())
        });
        assert_eq!(parts.count(), 4);
    }

    #[tokio::test]
    async fn who_takes_back_what_it_asks_for_is_found_out() {
        let progress = progress();
        for _ in 0..ABANDONED_MAX {
            let mut answer = progress.asked().answer(Body::from("x"));
            answer.frame().await.unwrap().unwrap();
        }
        for _ in 0..ABANDONED_MAX {
            drop(progress.asked());
        }
        assert!(progress.judge(after(0)).is_ok(), "as many were taken");
        drop(progress.asked());
        assert_eq!(progress.overdue().await, Overdue::Abandons);
    }
}
