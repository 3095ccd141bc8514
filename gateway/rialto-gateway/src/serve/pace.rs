//! A socket whose other end has to keep up: reading what it asked for, and asking for something.
//!
//! Who lets an answer wait in our buffers is cut after a while, and so is who takes a few bytes at a time
//! to look alive. Over HTTP/2 a peer can keep a server busy without a request (pings, settings, empty
//! frames): bytes that belong to none are counted against an allowance.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// A stream that fails when its peer is too slow.
#[derive(Debug)]
pub(super) struct Paced<S> {
    stream: S,
    pause_max: Duration,
    /// What must be taken within `pause_max` while more is waiting.
    bytes_min: u64,
    /// While the peer does not take everything.
    window: Option<Window>,
    received: u64,
    /// What may be received so far.
    allowance: Option<Arc<AtomicU64>>,
}

#[derive(Debug)]
struct Window {
    end: Pin<Box<Sleep>>,
    taken: u64,
}

impl<S> Paced<S> {
    pub(super) fn new(
        stream: S,
        pause_max: Duration,
        bytes_per_second_min: u64,
        allowance: Option<Arc<AtomicU64>>,
    ) -> Self {
        let ms = u64::try_from(pause_max.as_millis()).unwrap_or(u64::MAX);
        Self {
            stream,
            pause_max,
            bytes_min: (bytes_per_second_min.saturating_mul(ms) / 1_000).max(1),
            window: None,
            received: 0,
            allowance,
        }
    }

    /// What a write came to: bytes count, and waiting has an end.
    fn judge(
        &mut self,
        wrote: Poll<io::Result<usize>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(result) = wrote {
            if let (Ok(bytes), Some(window)) = (&result, &mut self.window) {
                let bytes = u64::try_from(*bytes).unwrap_or(u64::MAX);
                window.taken = window.taken.saturating_add(bytes);
            }
            return Poll::Ready(result);
        }
        let pause_max = self.pause_max;
        let window = self.window.get_or_insert_with(|| Window {
            end: Box::pin(sleep(pause_max)),
            taken: 0,
        });
        loop {
            ready!(window.end.as_mut().poll(context));
            if window.taken < self.bytes_min {
                return Poll::Ready(Err(slow("the client does not read its answer")));
            }
            window.taken = 0;
            window.end.as_mut().reset(Instant::now() + pause_max);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let bytes = buffer.filled().len().saturating_sub(before);
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.received = self.received.saturating_add(bytes);
        let allowed = self.allowance.as_ref();
        if allowed.is_some_and(|allowed| self.received > allowed.load(Ordering::Relaxed)) {
            return Poll::Ready(Err(slow("the client sends much that is no request")));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judge(wrote, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.judge(wrote, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Asked for when everything was written.
        self.window = None;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

fn slow(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}
