//! Who gets into the routing table: peers of this network, at addresses that are theirs, from many
//! networks.
//!
//! Not here: the table itself, which is the library's.

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId, identify, kad, mdns, relay};

use super::Driver;
use crate::counters::Count;
use crate::lookup::Contact;
use crate::mesh::{KAD, VERSION};
use crate::prefix::{Prefix, is_relayed};

impl Driver {
    pub(super) fn on_identify(&mut self, event: identify::Event) {
        let identify::Event::Received {
            peer_id: peer,
            info,
            ..
        } = event
        else {
            return;
        };
        if info.protocol_version != VERSION {
            return;
        }
        let addresses = self.believed(&peer, info.listen_addrs);
        if info.protocols.contains(&relay::HOP_PROTOCOL_NAME) {
            self.note_relay(peer, &addresses);
        }
        if !info.protocols.contains(&KAD) {
            // It became a client; others should not be sent to it.
            self.unroute(&peer);
            return;
        }
        self.route(peer, addresses);
    }

    pub(super) fn on_mdns(&mut self, event: mdns::Event) {
        let mdns::Event::Discovered(found) = event else {
            return;
        };
        for (peer, address) in found.into_iter().take(MDNS_MAX) {
            if peer != self.context.local {
                // What is found must still say by identify that it is of this network.
                self.dial(peer, vec![address]);
            }
        }
    }

    /// The addresses that a peer may be believed to listen on: of an IP peer only those in the network
    /// it is connected from, so that nobody sends others to a victim.
    fn believed(&self, peer: &PeerId, claimed: Vec<Multiaddr>) -> Vec<Multiaddr> {
        let rule = self.context.config.rule();
        let network = self.networks.get(peer).copied().flatten();
        let claims = claimed.len();
        let believed: Vec<Multiaddr> = rule
            .filter(claimed)
            .into_iter()
            .filter(|address| !is_relayed(address))
            .filter(|address| match (network, rule.limited_prefix(address)) {
                (Some(Prefix::Memory(_)) | None, _) | (_, None) => true,
                (Some(network), Some(claimed)) => {
                    network == claimed || other_family(network, claimed)
                }
            })
            .collect();
        let refused = claims.saturating_sub(believed.len());
        self.context
            .counters
            .add(Count::AddressesRefused, refused as u64);
        believed
    }

    fn route(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) {
        let rule = self.context.config.rule();
        let Some(first) = addresses.first() else {
            return;
        };
        if !self.routed.contains_key(&peer)
            && let Some(prefix) = rule.limited_prefix(first)
        {
            let same = self
                .routed
                .values()
                .filter(|other| **other == Some(prefix))
                .count();
            if same >= self.context.config.limits.routing_per_prefix {
                self.context.counters.one(Count::RoutingRefused);
                return;
            }
        }
        if !self.routed.contains_key(&peer) && !self.may_challenge(peer) {
            return;
        }
        for address in addresses {
            self.swarm.behaviour_mut().kad.add_address(&peer, address);
        }
    }

    /// Returns whether a new peer may be put into the table: always where there is room, and now and then
    /// where there is none.
    ///
    /// The library then dials the one that has been silent longest, who meets a new peer by that, for whom
    /// it may have no room either: in a large network without a limit this goes on for ever.
    fn may_challenge(&mut self, peer: PeerId) -> bool {
        let place = self.swarm.behaviour_mut().kad.kbucket(peer);
        if place.is_none_or(|place| place.num_entries() < kad::K_VALUE.get()) {
            return true;
        }
        let now = self.ticks;
        let rested = self
            .challenged
            .is_none_or(|last| now.saturating_sub(last) >= CHALLENGE_TICKS);
        if rested {
            self.challenged = Some(now);
        }
        rested
    }

    /// Takes a peer that cannot be reached out of the table, unless nobody can.
    pub(super) fn unreachable(&mut self, peer: &PeerId) {
        if !self.networks.is_empty() && !self.networks.contains_key(peer) {
            self.unroute(peer);
        }
    }

    fn unroute(&mut self, peer: &PeerId) {
        if self.routed.remove(peer).is_some() {
            self.swarm.behaviour_mut().kad.remove_peer(peer);
        }
    }

    fn note_relay(&mut self, peer: PeerId, addresses: &[Multiaddr]) {
        let Some(address) = addresses.first() else {
            return;
        };
        if self.relays.len() < RELAYS_REMEMBERED
            && self.relays.iter().all(|relay| relay.peer != peer)
        {
            self.relays.push(Contact {
                peer,
                addresses: vec![address.clone()],
            });
        }
    }

    /// Joins again where this node knows nobody but whom it was told of, and reaches none of them. To have
    /// no connection is no loss by itself: a quiet network has none.
    pub(super) fn rejoin(&mut self) {
        if self.networks.is_empty() && self.routed.len() <= self.context.config.bootstrap.len() {
            self.join();
        }
    }

    /// Meets the peers it was told of.
    pub(crate) fn join(&mut self) {
        for address in self.context.config.bootstrap.clone() {
            if let Some((peer, address)) = split_peer(address.into_multiaddr())
                && peer != self.context.local
            {
                self.swarm
                    .behaviour_mut()
                    .kad
                    .add_address(&peer, address.clone());
                self.dial(peer, vec![address]);
            }
        }
        // The first peers of an empty table make the library look around by itself.
        if !self.routed.is_empty()
            && let Err(error) = self.swarm.behaviour_mut().kad.bootstrap()
        {
            tracing::debug!(%error, "nobody to join by");
        }
    }
}

/// Splits `/../p2p/<peer>`.
pub(crate) fn split_peer(mut address: Multiaddr) -> Option<(PeerId, Multiaddr)> {
    match address.pop() {
        Some(Protocol::P2p(peer)) => Some((peer, address)),
        Some(_) | None => None,
    }
}

fn other_family(network: Prefix, claimed: Prefix) -> bool {
    // Of a peer with both kinds of IP only one is seen.
    matches!(
        (network, claimed),
        (Prefix::V4(_), Prefix::V6(_)) | (Prefix::V6(_), Prefix::V4(_))
    )
}

/// After how many ticks a peer without room in the table may displace another.
const CHALLENGE_TICKS: u64 = 10;
/// How many peers of the local network are dialled at a time.
const MDNS_MAX: usize = 16;
/// How many possible relays are remembered.
const RELAYS_REMEMBERED: usize = 32;
