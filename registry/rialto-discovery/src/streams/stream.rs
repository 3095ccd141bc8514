//! One stream, as tokio's readers and writers know it, counted and holding its place.
//!
//! Not here: opening one.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::io::{AsyncRead as _, AsyncWrite as _};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Pass;
use crate::counters::{Count, Counters};

/// A stream to a peer. Dropping it closes it.
///
/// A request must be written whole before its reply is read: both sides writing more than a window
/// before either reads would wait for each other.
#[derive(Debug)]
pub struct Stream {
    inner: libp2p::Stream,
    counters: Arc<Counters>,
    _pass: Pass,
}

impl Stream {
    pub(crate) fn new(inner: libp2p::Stream, counters: Arc<Counters>, pass: Pass) -> Self {
        Self {
            inner,
            counters,
            _pass: pass,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let free = buffer.initialize_unfilled();
        let read = ready!(Pin::new(&mut self.inner).poll_read(cx, free))?;
        buffer.advance(read);
        self.counters.add(Count::StreamBytesIn, read as u64);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write(cx, bytes))?;
        self.counters.add(Count::StreamBytesOut, written as u64);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}
