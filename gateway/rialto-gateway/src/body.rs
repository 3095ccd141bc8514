//! A request's body: read whole, within limits of size, time and total memory.
//!
//! The size that counts is what really arrives; a `content-length` only lets us refuse earlier.
//!
//! Not here: what the bytes mean (`arguments`).

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body_util::BodyExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::Config;
use crate::problem::{ErrorCode, Problem};

/// The memory that all request bodies of a gateway may hold together.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    kib: Arc<Semaphore>,
    body_bytes_max: usize,
    total: Duration,
    pause_max: Duration,
    bytes_per_second_min: u64,
}

/// A body and its share of the budget, which is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    /// The bytes as they arrived.
    pub(crate) bytes: Bytes,
    _share: Option<OwnedSemaphorePermit>,
}

impl Budget {
    pub(crate) fn new(config: &Config) -> Self {
        let kib = (config.bodies_bytes_max / KIB).clamp(1, Semaphore::MAX_PERMITS);
        Self {
            kib: Arc::new(Semaphore::new(kib)),
            body_bytes_max: config.body_bytes_max,
            total: config.body_timeout,
            pause_max: config.body_pause_max,
            bytes_per_second_min: config.bytes_per_second_min.max(1),
        }
    }

    /// Reads a body to its end.
    ///
    /// # Errors
    /// 413 above the size limit, 408 when it pauses, trickles or takes too long, 503 when all bodies
    /// together are too large, 400 when it breaks off.
    pub(crate) async fn read(&self, headers: &HeaderMap, mut body: Body) -> Result<Held, Problem> {
        if announced(headers).is_some_and(|bytes| bytes > self.body_bytes_max) {
            return Err(self.too_large());
        }
        let started = Instant::now();
        let deadline = started + self.total;
        let mut buffer = BytesMut::new();
        let mut share: Option<OwnedSemaphorePermit> = None;
        loop {
            let until = deadline
                .min(Instant::now() + self.pause_max)
                .min(started + self.pause_max + self.time_for(buffer.len()));
            let Some(frame) = timeout_at(until, body.frame()).await.map_err(|_| slow())? else {
                break;
            };
            let frame = frame.map_err(|_| broken())?;
            let Ok(data) = frame.into_data() else {
                continue; // trailers
            };
            if buffer.len().saturating_add(data.len()) > self.body_bytes_max {
                return Err(self.too_large());
            }
            self.grow(&mut share, buffer.len() + data.len())?;
            buffer.extend_from_slice(&data);
        }
        Ok(Held {
            bytes: buffer.freeze(),
            _share: share,
        })
    }

    /// How long so much may take at the least speed.
    fn time_for(&self, bytes: usize) -> Duration {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let ms = bytes.saturating_mul(1_000) / self.bytes_per_second_min;
        // Bodies end earlier; an endless duration could not be added to a moment.
        Duration::from_millis(ms).min(self.total)
    }

    /// Bytes that are there already.
    ///
    /// # Errors
    /// 503 when all bodies together are too large.
    pub(crate) fn hold(&self, bytes: Bytes) -> Result<Held, Problem> {
        let mut share = None;
        self.grow(&mut share, bytes.len())?;
        Ok(Held {
            bytes,
            _share: share,
        })
    }

    /// Makes the share cover `bytes`.
    fn grow(&self, share: &mut Option<OwnedSemaphorePermit>, bytes: usize) -> Result<(), Problem> {
        let held = share.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let missing = bytes.div_ceil(KIB).saturating_sub(held);
        let missing = u32::try_from(missing).map_err(|_| self.too_large())?;
        if missing == 0 {
            return Ok(());
        }
        let more = Arc::clone(&self.kib)
            .try_acquire_many_owned(missing)
            .map_err(|_| Problem::overloaded("this host holds too many request bodies", 1))?;
        match share {
            Some(share) => share.merge(more),
            None => *share = Some(more),
        }
        Ok(())
    }

    fn too_large(&self) -> Problem {
        Problem::new(
            ErrorCode::BodyTooLarge,
            format!("the body has more than {} bytes", self.body_bytes_max),
        )
        .hint("send less in one call, or send raw bytes instead of base64 in JSON")
    }
}

fn announced(headers: &HeaderMap) -> Option<usize> {
    headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

fn slow() -> Problem {
    Problem::new(ErrorCode::BodyTimeout, "the body did not arrive in time")
        .hint("send it again; nothing was charged")
}

fn broken() -> Problem {
    Problem::new(ErrorCode::BodyMalformed, "the body broke off").hint("send it again")
}

const KIB: usize = 1024;

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;

    use super::*;

    fn budget(body: usize, all: usize) -> Budget {
        Budget::new(&Config {
            body_bytes_max: body,
            bodies_bytes_max: all,
            body_timeout: Duration::from_millis(200),
            body_pause_max: Duration::from_millis(50),
            ..Config::default()
        })
    }

    async fn code(budget: &Budget, headers: &HeaderMap, body: Body) -> Option<ErrorCode> {
        budget.read(headers, body).await.err().map(|p| p.code())
    }

    #[tokio::test]
    async fn the_limit_counts_what_arrives() {
        let budget = budget(10, 1 << 20);
        let none = HeaderMap::new();
        assert_eq!(code(&budget, &none, Body::from("0123456789")).await, None);
        let long = code(&budget, &none, Body::from("0123456789a")).await;
        assert_eq!(long, Some(ErrorCode::BodyTooLarge));
        let chunks = stream::iter(["01234", "56789", "a"].map(Ok::<_, Infallible>));
        let chunked = code(&budget, &none, Body::from_stream(chunks)).await;
        assert_eq!(chunked, Some(ErrorCode::BodyTooLarge));
        let mut announced = HeaderMap::new();
        announced.insert(header::CONTENT_LENGTH, 11.into());
        let early = code(&budget, &announced, Body::empty()).await;
        assert_eq!(early, Some(ErrorCode::BodyTooLarge));
    }

    #[tokio::test]
    async fn all_bodies_together_are_bounded_and_given_back() {
        let budget = budget(4096, 4096);
        let none = HeaderMap::new();
        let held = budget.read(&none, Body::from(vec![0; 4096])).await.unwrap();
        assert_eq!(held.bytes.len(), 4096);
        let second = code(&budget, &none, Body::from("x")).await;
        assert_eq!(second, Some(ErrorCode::Overloaded));
        drop(held);
        assert_eq!(code(&budget, &none, Body::from("x")).await, None);
    }

    /// Never pausing for long is not enough.
    #[tokio::test]
    async fn a_body_that_trickles_for_ever_is_given_up() {
        let budget = Budget::new(&Config {
            body_timeout: Duration::from_secs(3_600),
            body_pause_max: Duration::from_millis(200),
            bytes_per_second_min: 1_000,
            ..Config::default()
        });
        let mut clock = tokio::time::interval(Duration::from_millis(10));
        let trickle = stream::poll_fn(move |context| {
            clock
                .poll_tick(context)
                .map(|_| Some(Ok::<_, Infallible>("x")))
        });
        let code = code(&budget, &HeaderMap::new(), Body::from_stream(trickle)).await;
        assert_eq!(code, Some(ErrorCode::BodyTimeout));
    }

    #[tokio::test]
    async fn a_stalled_body_is_given_up() {
        let stalled = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
        let code = code(&budget(10, 4096), &HeaderMap::new(), stalled).await;
        assert_eq!(code, Some(ErrorCode::BodyTimeout));
    }
}
