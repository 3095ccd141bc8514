//! What carries connections: TCP with noise and yamux, QUIC, relays; or channels within the process.
//!
//! Bytes are counted below the encryption, on everything but QUIC, which counts in its own library.
//!
//! Not here: deciding whom to connect with.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::io::{AsyncRead, AsyncWrite};
use libp2p::core::Transport as _;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::timeout::TransportTimeout;
use libp2p::core::transport::{Boxed, MemoryTransport};
use libp2p::core::upgrade::Version;
use libp2p::{PeerId, dns, noise, quic, relay, tcp};

use crate::Identity;
use crate::config::Network;
use crate::counters::{Count, Counters};
use crate::dials::{Checked, Dials};
use crate::muxer::Yamux;

/// Connections, secured and shared by streams.
pub(crate) type Carrier = Boxed<(PeerId, StreamMuxerBox)>;

/// Makes the transport, with the relay client's in front, and the relay client.
pub(crate) fn build(
    identity: &Identity,
    network: Network,
    dials: Dials,
    counters: &Arc<Counters>,
) -> Result<(Carrier, relay::client::Behaviour), BuildError> {
    let direct = match network {
        Network::Memory => {
            let counters = Arc::clone(counters);
            let wire = MemoryTransport::new().map(move |io, _| Counted { io, counters });
            wire.upgrade(Version::V1Lazy)
                .authenticate(noise(identity)?)
                .multiplex(Yamux)
                .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
                .boxed()
        }
        Network::Sockets => sockets(identity, dials, counters)?,
    };
    let (circuits, client) = relay::client::new(identity.peer().id());
    let circuits = circuits
        .upgrade(Version::V1Lazy)
        .authenticate(noise(identity)?)
        .multiplex(Yamux)
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let all = circuits
        .or_transport(direct)
        .map(|either, _| either.into_inner());
    // Covers the handshakes too, which a stranger could draw out.
    Ok((TransportTimeout::new(all, CONNECT).boxed(), client))
}

fn sockets(
    identity: &Identity,
    dials: Dials,
    counters: &Arc<Counters>,
) -> Result<Carrier, BuildError> {
    let counted = Arc::clone(counters);
    let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
        .map(move |io, _| Counted {
            io,
            counters: counted,
        })
        .upgrade(Version::V1Lazy)
        .authenticate(noise(identity)?)
        .multiplex(Yamux)
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let mut settings = quic::Config::new(identity.keypair());
    settings.max_concurrent_stream_limit = QUIC_STREAMS_MAX;
    settings.max_stream_data = QUIC_STREAM_BYTES;
    settings.max_connection_data = QUIC_CONNECTION_BYTES;
    let quic = quic::tokio::Transport::new(settings)
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let both = quic
        .or_transport(tcp)
        .map(|either, _| either.into_inner())
        .boxed();
    Ok(dns::tokio::Transport::system(Checked::new(both, dials))
        .map_err(BuildError::Names)?
        .boxed())
}

fn noise(identity: &Identity) -> Result<noise::Config, BuildError> {
    noise::Config::new(identity.keypair()).map_err(|_| BuildError::Noise)
}

/// Why the transport cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The key cannot be used for encryption.
    #[error("the node's key cannot be used for encryption")]
    Noise,
    /// The system does not say how names are looked up.
    #[error("cannot read how this system looks up names (/etc/resolv.conf)")]
    Names(#[source] io::Error),
}

/// Streams of one connection that the peer opens.
const QUIC_STREAMS_MAX: u32 = 256;
/// How much a peer may send that nobody has read yet, on one stream and on one connection.
const QUIC_STREAM_BYTES: u32 = 2 << 20;
const QUIC_CONNECTION_BYTES: u32 = 8 << 20;
/// How long a connection may take to be made and secured.
const CONNECT: Duration = Duration::from_secs(10);

/// A connection whose bytes are counted.
#[derive(Debug)]
struct Counted<T> {
    io: T,
    counters: Arc<Counters>,
}

impl<T: AsyncRead + Unpin> AsyncRead for Counted<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let read = ready!(Pin::new(&mut self.io).poll_read(cx, buffer))?;
        self.counters.add(Count::BytesIn, read as u64);
        Poll::Ready(Ok(read))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Counted<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, bytes))?;
        self.counters.add(Count::BytesOut, written as u64);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_close(cx)
    }
}
