//! Streams that share a connection, by `/yamux/1.0.0`.
//!
//! libp2p's own wrapper of the same library sets neither how long the pieces are that it sends, nor how much
//! a peer may have on its way: its 16 KiB cost a task switch each, on both ends, which is most of what
//! a chunk of an artifact takes to arrive.
//!
//! Not here: the protocol itself, and the limits of what peers ask for.

use std::collections::VecDeque;
use std::future::{Ready, ready};
use std::io;
use std::iter;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use futures_util::io::{AsyncRead, AsyncWrite};
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo};
use yamux::{Config, Connection, ConnectionError, Mode};

/// Makes a connection one that streams share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Yamux;

/// A connection that streams share.
#[derive(Debug)]
pub(crate) struct Muxer<C> {
    connection: Connection<C>,
    /// Streams that came while nobody asked for any: the connection advances only by being asked.
    early: VecDeque<yamux::Stream>,
    /// Who waits for a stream.
    waiting: Option<Waker>,
}

impl<C: AsyncRead + AsyncWrite + Unpin> Muxer<C> {
    fn new(io: C, mode: Mode) -> Self {
        Self {
            connection: Connection::new(io, config(), mode),
            early: VecDeque::new(),
            waiting: None,
        }
    }

    fn next(&mut self, cx: &mut Context<'_>) -> Poll<Result<yamux::Stream, ConnectionError>> {
        self.connection
            .poll_next_inbound(cx)
            .map(|stream| stream.unwrap_or(Err(ConnectionError::Closed)))
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> StreamMuxer for Muxer<C> {
    type Substream = yamux::Stream;
    type Error = ConnectionError;

    fn poll_inbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<yamux::Stream, ConnectionError>> {
        if let Some(stream) = self.early.pop_front() {
            return Poll::Ready(Ok(stream));
        }
        let next = self.next(cx);
        if next.is_pending() {
            self.waiting = Some(cx.waker().clone());
        }
        next
    }

    fn poll_outbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<yamux::Stream, ConnectionError>> {
        self.connection.poll_new_outbound(cx)
    }

    fn poll_close(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), ConnectionError>> {
        self.connection.poll_close(cx)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<StreamMuxerEvent, ConnectionError>> {
        let stream = ready!(self.next(cx))?;
        // A stream beyond those is reset by being dropped: the peer opens more than anybody takes up.
        if self.early.len() < EARLY_MAX {
            self.early.push_back(stream);
            if let Some(waiting) = self.waiting.take() {
                waiting.wake();
            }
        }
        // Others have their turn before the connection is asked again.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl UpgradeInfo for Yamux {
    type Info = &'static str;
    type InfoIter = iter::Once<&'static str>;

    fn protocol_info(&self) -> Self::InfoIter {
        iter::once("/yamux/1.0.0")
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> InboundConnectionUpgrade<C> for Yamux {
    type Output = Muxer<C>;
    type Error = io::Error;
    type Future = Ready<io::Result<Muxer<C>>>;

    fn upgrade_inbound(self, io: C, _: &'static str) -> Self::Future {
        ready(Ok(Muxer::new(io, Mode::Server)))
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> OutboundConnectionUpgrade<C> for Yamux {
    type Output = Muxer<C>;
    type Error = io::Error;
    type Future = Ready<io::Result<Muxer<C>>>;

    fn upgrade_outbound(self, io: C, _: &'static str) -> Self::Future {
        ready(Ok(Muxer::new(io, Mode::Client)))
    }
}

fn config() -> Config {
    let mut config = Config::default();
    config.set_max_num_streams(STREAMS_MAX);
    config.set_max_connection_receive_window(Some(WINDOW_BYTES_MAX));
    config.set_split_send_size(PIECE_BYTES);
    config
}

/// Streams of one connection: as many as a peer may have in both directions would be 512; the others wait.
const STREAMS_MAX: usize = 384;
/// Streams that were opened and that nobody has taken up yet.
const EARLY_MAX: usize = 256;
/// What a peer may send that nobody has read yet, on all streams: 256 KiB for each, which the library
/// insists on, and 32 MiB for those that are read fast.
const WINDOW_BYTES_MAX: usize = (STREAMS_MAX * (256 << 10)) + (32 << 20);
/// With its header of 12 bytes, as much as one message of the encryption holds.
const PIECE_BYTES: usize = 65_535 - 1_024 - 12;

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use futures_util::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use futures_util::{StreamExt as _, future};
    use libp2p::core::Transport as _;
    use libp2p::core::muxing::StreamMuxerExt as _;
    use libp2p::core::transport::{DialOpts, ListenerId, MemoryTransport, PortUse, TransportEvent};

    use super::*;

    type Pipe = <MemoryTransport as libp2p::core::Transport>::Output;

    async fn pipe() -> (Pipe, Pipe) {
        let (mut here, mut there) = (MemoryTransport::new().boxed(), MemoryTransport::new());
        let any = "/memory/0".parse().unwrap();
        here.listen_on(ListenerId::next(), any).unwrap();
        let Some(TransportEvent::NewAddress { listen_addr, .. }) = here.next().await else {
            panic!("no address")
        };
        let options = DialOpts {
            role: libp2p::core::Endpoint::Dialer,
            port_use: PortUse::New,
        };
        let dialed = there.dial(listen_addr, options).unwrap();
        let (dialed, came) = future::join(dialed, here.next()).await;
        let Some(TransportEvent::Incoming { upgrade, .. }) = came else {
            panic!("nobody came")
        };
        (dialed.unwrap(), upgrade.await.unwrap())
    }

    /// Lets the connection advance until it ends.
    async fn drive(mut muxer: Muxer<Pipe>) -> ConnectionError {
        poll_fn(|cx| muxer.poll_unpin(cx)).await.unwrap_err()
    }

    #[tokio::test]
    async fn streams_that_nobody_takes_up_are_kept_and_lose_nothing() {
        let (here, there) = pipe().await;
        let (mut here, mut there) = (
            Muxer::new(here, Mode::Client),
            Muxer::new(there, Mode::Server),
        );
        let body = |at: u8| vec![at; 3 * PIECE_BYTES + 1];
        let mut writing = Vec::new();
        for at in 0..9 {
            let mut stream = poll_fn(|cx| here.poll_outbound_unpin(cx)).await.unwrap();
            writing.push(tokio::spawn(async move {
                stream.write_all(&body(at)).await?;
                stream.close().await
            }));
        }
        let here = tokio::spawn(drive(here));
        // Only advances: nobody asks for a stream.
        let all_came = poll_fn(|cx| match there.poll_unpin(cx) {
            Poll::Ready(over) => Poll::Ready(over.map(|_| ())),
            Poll::Pending if there.early.len() == 9 => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
        });
        all_came.await.unwrap();
        let mut reading = Vec::new();
        for at in 0..9 {
            let mut stream = poll_fn(|cx| there.poll_inbound_unpin(cx)).await.unwrap();
            reading.push(async move {
                let mut read = Vec::new();
                stream.read_to_end(&mut read).await.unwrap();
                assert_eq!(read, body(at));
            });
        }
        let there = tokio::spawn(drive(there));
        future::join_all(reading).await;
        for written in writing {
            written.await.unwrap().unwrap();
        }
        here.abort();
        let over = there.await.unwrap();
        assert!(matches!(over, ConnectionError::Closed), "{over}");
    }
}
