//! One connection's side of the streams: accepts what the peer opens, opens what is asked for.
//!
//! Not here: choosing the connection.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use libp2p::core::upgrade::{InboundUpgrade, ReadyUpgrade, UpgradeInfo};
use libp2p::swarm::handler::{
    ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound,
};
use libp2p::swarm::{
    ConnectionHandler, ConnectionHandlerEvent, StreamUpgradeError, SubstreamProtocol,
};
use libp2p::{PeerId, StreamProtocol};

use super::behaviour::{Order, Post};
use super::{Arrival, OpenError, Protocol, Stream};
use crate::counters::Count;
use crate::prefix::Prefix;

/// The streams of one connection.
#[derive(Debug)]
pub(crate) struct Handler {
    peer: PeerId,
    network: Option<Prefix>,
    post: Arc<Post>,
    /// Streams of this connection that wait for a place.
    waiting: Arc<AtomicUsize>,
    orders: VecDeque<Order>,
}

impl Handler {
    pub(super) fn new(peer: PeerId, network: Option<Prefix>, post: Arc<Post>) -> Self {
        Self {
            peer,
            network,
            post,
            waiting: Arc::default(),
            orders: VecDeque::new(),
        }
    }

    fn arrived(&self, inner: libp2p::Stream, protocol: Protocol) {
        let post = Arc::clone(&self.post);
        let (peer, network) = (self.peer, self.network);
        if let Some(pass) = post.inbound.try_enter(peer, network) {
            let stream = Stream::new(inner, Arc::clone(&post.counters), pass);
            post.deliver(Arrival {
                peer,
                network,
                protocol,
                stream,
            });
            return;
        }
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= post.waiting_max {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            post.counters.one(Count::StreamsRefused);
            return;
        }
        let waiting = Arc::clone(&self.waiting);
        tokio::spawn(async move {
            let pass = post.inbound.enter(peer, network, PLACE_WAIT).await;
            waiting.fetch_sub(1, Ordering::Relaxed);
            if let Some(pass) = pass {
                let stream = Stream::new(inner, Arc::clone(&post.counters), pass);
                post.deliver(Arrival {
                    peer,
                    network,
                    protocol,
                    stream,
                });
            } else {
                post.counters.one(Count::StreamsRefused);
            }
        });
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Order;
    type ToBehaviour = Infallible;
    type InboundProtocol = Served;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Order;

    fn listen_protocol(&self) -> SubstreamProtocol<Served> {
        SubstreamProtocol::new(Served, ())
    }

    fn poll(
        &mut self,
        _cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<ReadyUpgrade<StreamProtocol>, Order, Infallible>> {
        while let Some(order) = self.orders.pop_front() {
            // Who asked may have given up.
            if !order.reply.is_closed() {
                let upgrade = ReadyUpgrade::new(order.protocol.name());
                let protocol = SubstreamProtocol::new(upgrade, order);
                return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
            }
        }
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, order: Order) {
        // As many as this node's own door lets through.
        self.orders.push_back(order);
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, Served, ReadyUpgrade<StreamProtocol>, (), Order>,
    ) {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "the library's events are non-exhaustive, and the others ask for nothing"
        )]
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol: (stream, protocol),
                ..
            }) => self.arrived(stream, protocol),
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol: stream,
                info: order,
            }) => order.fulfil(Ok(stream)),
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info: order, error }) => {
                order.fulfil(Err(match error {
                    StreamUpgradeError::NegotiationFailed => OpenError::Unsupported,
                    StreamUpgradeError::Timeout | StreamUpgradeError::Io(_) => OpenError::Broken,
                    StreamUpgradeError::Apply(never) => match never {},
                }));
            }
            _ => {}
        }
    }
}

/// Accepts all of this crate's protocols.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Served;

impl UpgradeInfo for Served {
    type Info = StreamProtocol;
    type InfoIter = std::array::IntoIter<StreamProtocol, 4>;

    fn protocol_info(&self) -> Self::InfoIter {
        Protocol::ALL.map(Protocol::name).into_iter()
    }
}

impl InboundUpgrade<libp2p::Stream> for Served {
    type Output = (libp2p::Stream, Protocol);
    type Error = UnknownProtocol;
    type Future = Ready<Result<Self::Output, UnknownProtocol>>;

    fn upgrade_inbound(self, stream: libp2p::Stream, name: StreamProtocol) -> Self::Future {
        ready(
            Protocol::of(&name)
                .map(|protocol| (stream, protocol))
                .ok_or(UnknownProtocol),
        )
    }
}

/// A protocol was agreed on that was not offered; the library does not let that happen.
#[derive(Debug, thiserror::Error)]
#[error("agreed on a protocol that was not offered")]
pub(crate) struct UnknownProtocol;

/// How long a stream waits for a place.
const PLACE_WAIT: Duration = Duration::from_secs(10);
