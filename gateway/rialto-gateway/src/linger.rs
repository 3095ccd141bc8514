//! What a client still sends when its answer is already decided: read on and thrown away, within
//! limits.
//!
//! An HTTP/1 server that closes while its client is writing makes the client's system throw away
//! the answer that has arrived (RFC 9112, section 9.6). So that a client that was refused early
//! reads why, the rest of its body is taken for a while.
//!
//! Not here: bodies that somebody wants (`body`).

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Version, header};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, timeout_at};

use crate::Config;

/// A request's body whose unread rest is thrown away instead of cutting the connection.
///
/// `seen` is told the size of each part that arrives.
#[derive(Debug)]
pub(crate) struct Lingering<F> {
    body: Option<Incoming>,
    rest: Option<Rest>,
    seen: F,
}

/// How much of an unwanted rest is taken.
#[derive(Debug, Clone, Copy)]
struct Rest {
    bytes_max: usize,
    total: Duration,
    pause_max: Duration,
}

impl<F: FnMut(usize)> Lingering<F> {
    /// Wraps a request's body.
    ///
    /// HTTP/2 ends one stream without ending the connection, and a client that waits for
    /// `100 Continue` has sent nothing yet: neither needs this.
    pub(crate) fn wrap(request: Request<Incoming>, config: &Config, seen: F) -> Request<Self> {
        let waits = request.headers().contains_key(header::EXPECT);
        let needed = request.version() <= Version::HTTP_11 && !waits;
        let rest = needed.then(|| Rest::new(config));
        request.map(|body| Self {
            body: Some(body),
            rest,
            seen,
        })
    }
}

impl Rest {
    fn new(config: &Config) -> Self {
        Self {
            bytes_max: config.body_bytes_max.saturating_mul(BODIES),
            total: TOTAL.min(config.body_timeout),
            pause_max: PAUSE.min(config.body_pause_max),
        }
    }

    async fn discard(self, mut body: Incoming) {
        let deadline = Instant::now() + self.total;
        let mut left = self.bytes_max;
        loop {
            let until = deadline.min(Instant::now() + self.pause_max);
            let Ok(Some(Ok(frame))) = timeout_at(until, body.frame()).await else {
                return;
            };
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            match left.checked_sub(bytes) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    }
}

impl<F: FnMut(usize) + Unpin> Body for Lingering<F> {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            (self.seen)(bytes);
        }
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.body = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            Some(body) => body.size_hint(),
            None => SizeHint::with_exact(0),
        }
    }
}

impl<F> Drop for Lingering<F> {
    fn drop(&mut self) {
        let (Some(body), Some(rest)) = (self.body.take(), self.rest) else {
            return;
        };
        if body.is_end_stream() {
            return;
        }
        // The connection outlives this by its own limits; at shutdown there is no runtime to ask.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(rest.discard(body));
        }
    }
}

/// The rest that is taken, in bodies of the largest size.
const BODIES: usize = 4;
const TOTAL: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_secs(2);
