//! Who gets into the routing table: peers of this network, at addresses that are theirs, from many
//! networks.
//!
//! Not here: the table itself, which is the library's.

use std::collections::{BTreeSet, HashMap};

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId, identify, kad, mdns, relay};

use super::Driver;
use crate::counters::Count;
use crate::judge::ADDRESSES_MAX;
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
        if addresses.is_empty() {
            return;
        }
        let networks = self.networks_of(&peer, &addresses);
        let limit = self.context.config.limits.routing_per_prefix;
        if is_crowded(&self.routed, &peer, &networks, limit) {
            self.context.counters.one(Count::RoutingRefused);
            // One that moved to where there are many already.
            self.unroute(&peer);
            return;
        }
        if let Some(known) = self.routed.get_mut(&peer) {
            *known = networks;
        } else {
            if !self.may_challenge(peer) {
                return;
            }
            self.candidates.retain(|(other, _)| *other != peer);
            self.candidates.push_back((peer, networks));
            if self.candidates.len() > CANDIDATES_MAX {
                self.candidates.pop_front();
            }
        }
        for address in &addresses {
            let kad = &mut self.swarm.behaviour_mut().kad;
            kad.add_address(&peer, address.clone());
        }
        self.trim(&peer, &addresses);
    }

    /// The networks that a peer counts for: where it is connected from, and every one it claims to listen
    /// in, as a name or an address of the other family says nothing about where it is.
    fn networks_of(&self, peer: &PeerId, addresses: &[Multiaddr]) -> BTreeSet<Prefix> {
        let rule = self.context.config.rule();
        let claimed = addresses.iter().filter_map(|at| rule.limited_prefix(at));
        let connected = self.networks.get(peer).copied().flatten();
        // A dialler's memory port is drawn by chance.
        let connected = connected.filter(|network| !matches!(network, Prefix::Memory(_)));
        claimed.chain(connected).collect()
    }

    /// The same for a peer that has just got its place, and may have left meanwhile.
    pub(super) fn claimed_networks(
        &mut self,
        peer: &PeerId,
        addresses: &[Multiaddr],
    ) -> BTreeSet<Prefix> {
        let waited = self.candidates.iter().position(|(other, _)| other == peer);
        let known = waited.and_then(|place| self.candidates.remove(place));
        known.map_or_else(|| self.networks_of(peer, addresses), |(_, known)| known)
    }

    /// Takes a peer's oldest addresses out of the table where they are too many, those last that it claims
    /// now: the library keeps all there ever were.
    pub(super) fn trim(&mut self, peer: &PeerId, claimed: &[Multiaddr]) {
        let kad = &mut self.swarm.behaviour_mut().kad;
        let known: Vec<Multiaddr> = kad.kbucket(*peer).map_or_else(Vec::new, |bucket| {
            bucket
                .iter()
                .filter(|entry| entry.node.key.preimage() == peer)
                .flat_map(|entry| entry.node.value.iter().cloned())
                .collect()
        });
        for address in superfluous(peer, &known, claimed) {
            kad.remove_address(peer, &address);
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
        self.lost |= self.networks.is_empty();
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

    /// Joins again where this node has lost everybody.
    pub(super) fn rejoin(&mut self) {
        let told = self.context.config.bootstrap.len();
        if should_join(self.networks.len(), self.routed.len(), told, self.lost) {
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

/// Returns whether to join again: without any connection, where nobody is known but whom this node was told
/// of, or where somebody could not be reached since. To have no connection is no loss by itself: a quiet
/// network has none.
const fn should_join(connected: usize, routed: usize, told: usize, lost: bool) -> bool {
    connected == 0 && (lost || routed <= told)
}

/// Returns whether one of these networks has as many other peers in the table as it may.
fn is_crowded(
    routed: &HashMap<PeerId, BTreeSet<Prefix>>,
    peer: &PeerId,
    networks: &BTreeSet<Prefix>,
    limit: usize,
) -> bool {
    networks.iter().any(|network| {
        let others = routed.iter().filter(|(other, _)| *other != peer);
        others
            .filter(|(_, theirs)| theirs.contains(network))
            .count()
            >= limit
    })
}

/// Those of a peer's addresses that are too many: the oldest that it does not claim, then the oldest.
fn superfluous(peer: &PeerId, known: &[Multiaddr], claimed: &[Multiaddr]) -> Vec<Multiaddr> {
    let is_claimed = |address: &Multiaddr| {
        let mut claims = claimed.iter();
        claims.any(|claim| claim.clone().with_p2p(*peer).as_ref() == Ok(address))
    };
    let (claimed, others): (Vec<_>, Vec<_>) = known.iter().cloned().partition(is_claimed);
    let excess = known.len().saturating_sub(ADDRESSES_MAX);
    others.into_iter().chain(claimed).take(excess).collect()
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
/// How many peers that wait for a place in the table are remembered.
const CANDIDATES_MAX: usize = 64;
/// How many peers of the local network are dialled at a time.
const MDNS_MAX: usize = 16;
/// How many possible relays are remembered.
const RELAYS_REMEMBERED: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_network_of_a_peer_may_be_crowded() {
        let network = |number| Prefix::V4([93, 184, number]);
        let mut routed = HashMap::new();
        for _ in 0..2 {
            routed.insert(PeerId::random(), BTreeSet::from([network(1)]));
        }
        let peer = PeerId::random();
        let far = Prefix::V6([0x26, 6, 0x28, 0, 2, 0x20]);
        // It says that it listens far away, which does not hide where it is connected from.
        let both = BTreeSet::from([far, network(1)]);
        assert!(is_crowded(&routed, &peer, &both, 2));
        assert!(!is_crowded(&routed, &peer, &both, 3));
        assert!(!is_crowded(&routed, &peer, &BTreeSet::from([far]), 2));
        routed.insert(peer, both.clone());
        assert!(
            !is_crowded(&routed, &peer, &both, 3),
            "it does not crowd itself"
        );
    }

    #[test]
    fn a_peer_has_only_so_many_addresses_and_its_latest_stay() {
        let peer = PeerId::random();
        let address = |port: usize| -> Multiaddr {
            format!("/ip4/93.184.216.34/tcp/{port}").parse().unwrap()
        };
        let full = |port| address(port).with_p2p(peer).unwrap();
        let known: Vec<Multiaddr> = (1..=12).map(full).collect();
        let oldest = superfluous(&peer, &known, &[]);
        assert_eq!(oldest, (1..=4).map(full).collect::<Vec<_>>());
        let claimed: Vec<Multiaddr> = [1, 2, 12].map(address).to_vec();
        let others = superfluous(&peer, &known, &claimed);
        assert_eq!(others, (3..=6).map(full).collect::<Vec<_>>());
        assert!(superfluous(&peer, &known[..8], &[]).is_empty());
    }

    #[test]
    fn who_has_lost_everybody_joins_again_and_a_quiet_node_does_not() {
        for (connected, routed, lost, joins) in [
            (0, 0, false, true),
            (0, 3, false, true),
            (0, 20, false, false),
            (0, 20, true, true),
            (1, 0, false, false),
            (1, 20, true, false),
        ] {
            let what = format!("{connected} {routed} {lost}");
            assert_eq!(should_join(connected, routed, 3, lost), joins, "{what}");
        }
    }
}
