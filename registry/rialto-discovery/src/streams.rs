//! Streams of this crate's own protocols, without losing any.
//!
//! A stream that a peer opens takes a place behind a [`Door`] and lies in a queue that is as
//! long as there are places: nothing is dropped because somebody was slow to look. Where there is no
//! place it waits, for a while and in a bounded number; then it is refused.
//!
//! Not here: what is said on a stream.

mod behaviour;
mod door;
mod handler;
mod stream;

pub(crate) use behaviour::{Behaviour, Order};
pub(crate) use door::{Door, Pass};
pub use stream::Stream;

use libp2p::{PeerId, StreamProtocol};

use crate::prefix::Prefix;

/// A protocol of this crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/2, many requests on one long-lived stream.
    Http2,
    /// HTTP/1.1, a stream a request: what other implementations speak.
    Http1,
    /// Registering and looking up; served by this crate.
    Registration,
    /// Parts of artifacts; served by this crate.
    Artifact,
}

impl Protocol {
    pub(crate) const ALL: [Self; 4] =
        [Self::Http2, Self::Http1, Self::Registration, Self::Artifact];

    pub(crate) const fn name(self) -> StreamProtocol {
        StreamProtocol::new(match self {
            Self::Http2 => "/rialto/h2/1",
            Self::Http1 => "/http/1.1",
            Self::Registration => "/rialto/reg/1",
            Self::Artifact => "/rialto/artifact/1",
        })
    }

    fn of(name: &StreamProtocol) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|protocol| protocol.name() == *name)
    }
}

/// A stream that a peer opened.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) peer: PeerId,
    /// The network whose limits the peer counts against.
    pub(crate) network: Option<Prefix>,
    pub(crate) protocol: Protocol,
    pub(crate) stream: Stream,
}

/// Why a stream could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Nobody says where the peer is.
    #[error("no address of the peer is known; it may be gone")]
    NoAddress,
    /// The peer does not answer at any known address.
    #[error("the peer is not reachable: {0}")]
    Unreachable(String),
    /// The peer does not speak the protocol.
    #[error("the peer does not speak this protocol")]
    Unsupported,
    /// The peer was connected but did not answer in time, or the connection broke.
    #[error("the connection to the peer broke")]
    Broken,
    /// This node has as many streams as it may.
    #[error("too many open streams; close some or raise the limit")]
    Full,
    /// This node is stopping.
    #[error("the node is stopping")]
    Stopped,
}
