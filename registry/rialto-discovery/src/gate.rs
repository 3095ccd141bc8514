//! Who may knock: connections of one network are counted and slowed before anything is spent on them.
//!
//! Not here: limits by peer and in all, and bans, which the library's own behaviours keep.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use libp2p::core::transport::PortUse;
use libp2p::core::{ConnectedPoint, Endpoint};
use libp2p::swarm::dummy::ConnectionHandler;
use libp2p::swarm::{
    ConnectionClosed, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler,
    ToSwarm,
};
use libp2p::{Multiaddr, PeerId};

use crate::counters::{Count, Counters};
use crate::prefix::{AddressRule, Prefix};
use crate::rates::{Rate, Rates};

/// Refuses connections of a /24 or /48 that has many, or opens them too fast.
#[derive(Debug)]
pub(crate) struct Gate {
    rule: AddressRule,
    counters: Arc<Counters>,
    begun: Instant,
    knocks: Rates<Prefix>,
    open: HashMap<Prefix, usize>,
    /// How many connections others have opened, and may.
    incoming: usize,
    incoming_max: usize,
}

/// Why a connection is refused.
#[derive(Debug, thiserror::Error)]
#[error("too many connections from this network")]
pub(crate) struct Crowded;

impl Gate {
    pub(crate) fn new(
        rule: AddressRule,
        keys_max: usize,
        incoming_max: usize,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            rule,
            counters,
            begun: Instant::now(),
            knocks: Rates::new(KNOCKS, keys_max),
            open: HashMap::new(),
            incoming: 0,
            incoming_max,
        }
    }

    /// The network of who knocks; none in memory, where a dialler's port is drawn by chance.
    fn network(&self, local: &Multiaddr, remote: &Multiaddr) -> Option<Prefix> {
        let network = self.rule.network(Some(local), remote);
        network.filter(|_| !self.rule.memory)
    }

    fn network_of(&self, endpoint: &ConnectedPoint) -> Option<Prefix> {
        let network = self.rule.network_of(endpoint);
        network.filter(|_| !self.rule.memory)
    }

    fn knock(&mut self, local: &Multiaddr, remote: &Multiaddr) -> Result<(), Crowded> {
        let Some(prefix) = self.network(local, remote) else {
            return Ok(());
        };
        let now_ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let open = self.open.get(&prefix).copied().unwrap_or(0);
        // No network has more places than are free: the next one to come finds some, however many come.
        let free = self.incoming_max.saturating_sub(self.incoming);
        if open >= OPEN_MAX.min(free) || self.knocks.take(prefix, now_ms).is_err() {
            self.counters.one(Count::ConnectionsRefused);
            return Err(Crowded);
        }
        Ok(())
    }
}

impl NetworkBehaviour for Gate {
    type ConnectionHandler = ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        _connection: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.knock(local, remote).map_err(ConnectionDenied::new)
    }

    fn handle_established_inbound_connection(
        &mut self,
        _connection: ConnectionId,
        _peer: PeerId,
        _local: &Multiaddr,
        _remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _connection: ConnectionId,
        _peer: PeerId,
        _address: &Multiaddr,
        _role: Endpoint,
        _port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "the library's events are non-exhaustive, and the others ask for nothing"
        )]
        match event {
            FromSwarm::ConnectionEstablished(connection) if connection.endpoint.is_listener() => {
                self.incoming += 1;
                let prefix = self.network_of(connection.endpoint);
                if let Some(prefix) = prefix {
                    *self.open.entry(prefix).or_insert(0) += 1;
                }
            }
            FromSwarm::ConnectionClosed(ConnectionClosed { endpoint, .. })
                if endpoint.is_listener() =>
            {
                self.incoming = self.incoming.saturating_sub(1);
                let prefix = self.network_of(endpoint);
                if let Some(prefix) = prefix
                    && let Some(open) = self.open.get_mut(&prefix)
                {
                    *open = open.saturating_sub(1);
                    if *open == 0 {
                        self.open.remove(&prefix);
                    }
                }
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: Infallible) {
        match event {}
    }

    fn poll(&mut self, _cx: &mut Context<'_>) -> Poll<ToSwarm<Infallible, Infallible>> {
        Poll::Pending
    }
}

/// How many connections a network may have opened with this node.
const OPEN_MAX: usize = 128;
/// How often a network may open one.
const KNOCKS: Rate = Rate {
    burst: 64,
    per_minute: 300,
};

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(private: bool) -> Gate {
        let rule = AddressRule {
            private,
            memory: false,
        };
        Gate::new(rule, 8, 100, Arc::new(Counters::new()))
    }

    fn here() -> Multiaddr {
        "/ip4/93.184.216.254/tcp/1".parse().unwrap()
    }

    #[test]
    fn a_network_that_knocks_too_often_is_refused_and_others_are_not() {
        let mut gate = gate(false);
        let from = |last: u8| {
            format!("/ip4/93.184.216.{last}/tcp/1")
                .parse::<Multiaddr>()
                .unwrap()
        };
        let passed = (0..200_u8)
            .filter(|last| gate.knock(&here(), &from(*last)).is_ok())
            .count();
        assert!((64..70).contains(&passed), "{passed}");
        assert!(
            gate.knock(&here(), &"/ip4/93.184.217.1/tcp/1".parse().unwrap())
                .is_ok()
        );
        assert_eq!(
            gate.counters.get(Count::ConnectionsRefused),
            200 - passed as u64
        );
    }

    #[test]
    fn no_network_has_more_places_than_are_free() {
        let mut gate = gate(false);
        let from =
            |third: u8| -> Multiaddr { format!("/ip4/93.184.{third}.1/tcp/1").parse().unwrap() };
        let open = |gate: &mut Gate, third| {
            let known = gate.knock(&here(), &from(third)).is_ok();
            if known {
                gate.incoming += 1;
                let prefix = gate.network(&here(), &from(third)).unwrap();
                *gate.open.entry(prefix).or_insert(0) += 1;
            }
            known
        };
        for (third, places) in [(1, 50), (2, 25), (3, 13), (4, 6)] {
            let opened = (0..60).filter(|_| open(&mut gate, third)).count();
            assert_eq!(opened, places, "network {third}");
        }
    }

    #[test]
    fn who_comes_through_a_relay_is_counted() {
        let mut gate = gate(false);
        let relay = crate::Identity::from_seed([1; 32]).peer();
        let local = format!("/ip4/93.184.216.34/tcp/1/p2p/{relay}/p2p-circuit");
        let local = local.parse().unwrap();
        let peer = |seed| crate::Identity::from_seed([seed; 32]).peer();
        let passed = (0..200_u8).filter(|seed| {
            let remote = format!("/p2p/{}", peer(*seed)).parse().unwrap();
            gate.knock(&local, &remote).is_ok()
        });
        assert!((64..70).contains(&passed.count()));
    }

    #[test]
    fn on_a_local_mesh_neighbours_are_not_counted() {
        let mut gate = gate(true);
        let local: Multiaddr = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
        assert!((0..200).all(|_| gate.knock(&here(), &local).is_ok()));
    }
}
