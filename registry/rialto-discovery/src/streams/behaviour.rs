//! The streams of all connections: which connection a new one goes over, dialling where there is none.
//!
//! Not here: looking for a peer's addresses in the network.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{
    ConnectionClosed, ConnectionDenied, ConnectionId, DialError, DialFailure, FromSwarm,
    NetworkBehaviour, NotifyHandler, THandler, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};
use tokio::sync::{mpsc, oneshot};

use super::handler::Handler;
use super::{Arrival, Door, OpenError, Protocol};
use crate::counters::{Count, Counters};
use crate::prefix::AddressRule;

/// Opens and accepts streams.
#[derive(Debug)]
pub(crate) struct Behaviour {
    post: Arc<Post>,
    rule: AddressRule,
    connections: HashMap<PeerId, Vec<Line>>,
    dialling: HashMap<PeerId, Dialling>,
    actions: VecDeque<ToSwarm<Infallible, Order>>,
}

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Post {
    pub(super) inbound: Arc<Door>,
    pub(super) waiting_max: usize,
    pub(super) counters: Arc<Counters>,
    arrivals: mpsc::Sender<Arrival>,
}

/// A stream that somebody wants.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) protocol: Protocol,
    pub(crate) reply: oneshot::Sender<Result<libp2p::Stream, OpenError>>,
}

/// One connection with a peer.
#[derive(Debug)]
struct Line {
    id: ConnectionId,
    relayed: bool,
}

#[derive(Debug)]
struct Dialling {
    attempt: ConnectionId,
    orders: Vec<Order>,
}

impl Order {
    pub(super) fn fulfil(self, result: Result<libp2p::Stream, OpenError>) {
        // Whoever gave up waiting does not want to know.
        let _ = self.reply.send(result);
    }
}

impl Post {
    /// Puts a stream into the queue, which has a place for everybody that the door let in.
    pub(super) fn deliver(&self, arrival: Arrival) {
        let count = match self.arrivals.try_send(arrival) {
            Ok(()) => Count::StreamsIn,
            Err(_) => Count::StreamsRefused,
        };
        self.counters.one(count);
    }
}

impl Behaviour {
    /// Makes the behaviour, and the queue of what peers open.
    pub(crate) fn new(
        inbound: Arc<Door>,
        waiting_max: usize,
        rule: AddressRule,
        counters: Arc<Counters>,
    ) -> (Self, mpsc::Receiver<Arrival>) {
        let (arrivals, queue) = mpsc::channel(inbound.places());
        let behaviour = Self {
            post: Arc::new(Post {
                inbound,
                waiting_max,
                counters,
                arrivals,
            }),
            rule,
            connections: HashMap::new(),
            dialling: HashMap::new(),
            actions: VecDeque::new(),
        };
        (behaviour, queue)
    }

    /// Opens a stream, over a direct connection where there is one, dialling where there is none.
    ///
    /// How many orders there are at once is the business of the caller's door.
    pub(crate) fn open(&mut self, peer: PeerId, addresses: Vec<Multiaddr>, order: Order) {
        if let Some(connection) = self.best_line(&peer) {
            self.notify(peer, connection, order);
            return;
        }
        if let Some(dialling) = self.dialling.get_mut(&peer) {
            dialling.orders.push(order);
            return;
        }
        let opts = DialOpts::peer_id(peer)
            .condition(PeerCondition::Disconnected)
            .addresses(addresses)
            .extend_addresses_through_behaviour()
            .build();
        let dialling = Dialling {
            attempt: opts.connection_id(),
            orders: vec![order],
        };
        self.dialling.insert(peer, dialling);
        self.actions.push_back(ToSwarm::Dial { opts });
    }

    fn best_line(&self, peer: &PeerId) -> Option<ConnectionId> {
        let lines = self.connections.get(peer)?;
        let direct = lines.iter().find(|line| !line.relayed);
        direct.or_else(|| lines.first()).map(|line| line.id)
    }

    fn notify(&mut self, peer_id: PeerId, connection: ConnectionId, order: Order) {
        self.post.counters.one(Count::StreamsOut);
        self.actions.push_back(ToSwarm::NotifyHandler {
            peer_id,
            handler: NotifyHandler::One(connection),
            event: order,
        });
    }

    fn connected(&mut self, peer: PeerId, id: ConnectionId, relayed: bool) {
        self.connections
            .entry(peer)
            .or_default()
            .push(Line { id, relayed });
        if let Some(dialling) = self.dialling.remove(&peer) {
            for order in dialling.orders {
                self.notify(peer, id, order);
            }
        }
    }

    fn closed(&mut self, peer: PeerId, id: ConnectionId) {
        if let Some(lines) = self.connections.get_mut(&peer) {
            lines.retain(|line| line.id != id);
            if lines.is_empty() {
                self.connections.remove(&peer);
            }
        }
    }

    fn dial_failed(&mut self, peer: PeerId, attempt: ConnectionId, error: &DialError) {
        if self
            .dialling
            .get(&peer)
            .is_none_or(|dialling| dialling.attempt != attempt)
        {
            return;
        }
        let Some(dialling) = self.dialling.remove(&peer) else {
            return;
        };
        for order in dialling.orders {
            order.fulfil(Err(match error {
                DialError::NoAddresses => OpenError::NoAddress,
                DialError::LocalPeerId { .. }
                | DialError::DialPeerConditionFalse(_)
                | DialError::Aborted
                | DialError::WrongPeerId { .. }
                | DialError::Denied { .. }
                | DialError::Transport(_) => OpenError::Unreachable(error.to_string()),
            }));
        }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let network = self.rule.network(Some(local), remote);
        Ok(Handler::new(peer, network, Arc::clone(&self.post)))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        _role: Endpoint,
        _port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let network = self.rule.network(None, address);
        Ok(Handler::new(peer, network, Arc::clone(&self.post)))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "the library's events are non-exhaustive, and the others ask for nothing"
        )]
        match event {
            FromSwarm::ConnectionEstablished(connection) => {
                let relayed = connection.endpoint.is_relayed();
                self.connected(connection.peer_id, connection.connection_id, relayed);
            }
            FromSwarm::ConnectionClosed(ConnectionClosed {
                peer_id,
                connection_id,
                ..
            }) => {
                self.closed(peer_id, connection_id);
            }
            FromSwarm::DialFailure(DialFailure {
                peer_id: Some(peer),
                error,
                connection_id,
            }) => {
                self.dial_failed(peer, connection_id, error);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: Infallible) {
        match event {}
    }

    fn poll(&mut self, _cx: &mut Context<'_>) -> Poll<ToSwarm<Infallible, Order>> {
        self.actions.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}
