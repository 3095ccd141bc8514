//! Streams between peers that carry HTTP, for hosts that nobody reaches otherwise.
//!
//! Not here: HTTP. The gateway serves what comes and sends what goes.

use std::fmt;

use rialto_discovery::{Incoming, OpenError, Protocol};
use rialto_registry::PeerId;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use super::judge::peer_key;
use crate::Node;

/// A stream to or from a peer.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// What HTTP is spoken on a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TunnelProtocol {
    /// `/http/1.1`.
    Http1,
    /// `/rialto/h2/1`.
    Http2,
}

/// A stream that a peer opened.
pub struct Tunnel {
    /// Who is at the other end, as libp2p has proven.
    pub peer: PeerId,
    /// What is spoken.
    pub protocol: TunnelProtocol,
    /// The stream.
    pub stream: Box<dyn Duplex>,
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tunnel")
            .field("peer", &self.peer)
            .field("protocol", &self.protocol)
            .finish_non_exhaustive()
    }
}

/// The streams that peers open, as they come.
#[derive(Debug)]
pub struct Tunnels(mpsc::Receiver<Incoming>);

/// Why there is no stream to a peer.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The node takes no part in the mesh.
    #[error("this node takes no part in the mesh: start it with --mesh")]
    Alone,
    /// The peer cannot be reached.
    #[error(transparent)]
    Open(#[from] OpenError),
}

impl Tunnels {
    /// The next stream; none when the node has left the mesh. Those with other keys than Ed25519 are no
    /// peers of ours.
    pub async fn next(&mut self) -> Option<Tunnel> {
        loop {
            let Incoming {
                peer,
                protocol,
                stream,
            } = self.0.recv().await?;
            let protocol = match protocol {
                Protocol::Http1 => TunnelProtocol::Http1,
                Protocol::Http2 => TunnelProtocol::Http2,
                // Served where they come in.
                Protocol::Registration | Protocol::Artifact => continue,
            };
            if let Ok(peer) = PeerId::from_bytes(&peer.to_bytes()) {
                return Some(Tunnel {
                    peer,
                    protocol,
                    stream: Box::new(stream),
                });
            }
        }
    }
}

impl Node {
    /// The streams that peers open; none where the node takes no part in the mesh, and the second time.
    pub fn tunnels(&self) -> Option<Tunnels> {
        let mesh = self.mesh()?;
        mesh.take_incoming().map(Tunnels)
    }

    /// Opens a stream to a peer on which HTTP/2 is spoken.
    ///
    /// # Errors
    /// [`DialError`].
    pub async fn dial(&self, peer: PeerId) -> Result<Box<dyn Duplex>, DialError> {
        let mesh = self.mesh().ok_or(DialError::Alone)?;
        let key = peer_key(peer).ok_or(DialError::Alone)?;
        let stream = mesh.discovery.open(key, Protocol::Http2).await?;
        Ok(Box::new(stream))
    }
}
