//! How others reach this node: what it listens on, whether that is known to work, and relays if not.
//!
//! Only a node that others reach directly serves the table: a relayed one would make every lookup pay
//! for its relay.
//!
//! Not here: dialling back and punching holes, which the library does.

use libp2p::kad::Mode;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

use super::Driver;
use super::neighbours::split_peer;
use crate::config::Reach;
use crate::prefix::is_relayed;
use crate::{Address, Event};

impl Driver {
    /// Listens where the settings say, and joins.
    ///
    /// # Errors
    /// The address and why it cannot be listened on.
    pub(crate) fn begin(&mut self) -> Result<(), (String, String)> {
        for address in self.context.config.listen.clone() {
            let text = address.to_string();
            if let Err(error) = self.swarm.listen_on(address.into_multiaddr()) {
                return Err((text, error.to_string()));
            }
        }
        for address in self.context.config.external.clone() {
            self.swarm.add_external_address(address.into_multiaddr());
        }
        self.join();
        Ok(())
    }

    pub(super) fn on_listening(&mut self, address: Multiaddr) {
        let config = &self.context.config;
        if config.reach == Reach::Public
            && config.external.is_empty()
            && !is_relayed(&address)
            && config.rule().accepts(&address)
        {
            self.swarm.add_external_address(address.clone());
        }
        self.context.status.send_modify(|status| {
            if !status.listening.contains(&address) && status.listening.len() < ADDRESSES_TOLD {
                status.listening.push(address);
            }
        });
        self.on_external();
    }

    pub(super) fn on_external(&mut self) {
        let mut external: Vec<Multiaddr> = self.swarm.external_addresses().cloned().collect();
        external.sort();
        external.truncate(ADDRESSES_TOLD);
        if self.context.config.reach == Reach::Detect {
            let reached = external.iter().any(|address| !is_relayed(address));
            let mode = if reached { Mode::Server } else { Mode::Client };
            if self.swarm.behaviour().kad.mode() != mode {
                tracing::info!(?mode, "what others reach has changed");
                self.swarm.behaviour_mut().kad.set_mode(Some(mode));
            }
        }
        let changed = self.context.status.send_if_modified(|status| {
            let changed = status.external != external;
            if changed {
                status.external.clone_from(&external);
            }
            changed
        });
        if changed {
            let addresses = external.into_iter().map(Address::new).collect();
            self.context.tell(Event::Addresses(addresses));
        }
    }

    /// Takes places at relays while nobody reaches this node directly.
    pub(super) fn seek_relays(&mut self) {
        let config = &self.context.config;
        if config.reach == Reach::Public || self.is_reached() {
            return;
        }
        let named = config.relays.clone().into_iter();
        let named = named.filter_map(|address| split_peer(address.into_multiaddr()));
        let met = self.relays.iter().filter_map(|relay| {
            relay
                .addresses
                .first()
                .map(|address| (relay.peer, address.clone()))
        });
        let candidates: Vec<(PeerId, Multiaddr)> = named.chain(met).collect();
        for (peer, address) in candidates {
            if self.circuits.len() >= CIRCUITS {
                return;
            }
            if peer == self.context.local || self.circuits.values().any(|relay| *relay == peer) {
                continue;
            }
            let asked = self.relays_asked.get(&peer);
            if asked.is_some_and(|asked| self.ticks.saturating_sub(*asked) < RELAY_TICKS) {
                continue;
            }
            self.relays_asked.insert(peer, self.ticks);
            let circuit = address.with(Protocol::P2p(peer)).with(Protocol::P2pCircuit);
            match self.swarm.listen_on(circuit) {
                Ok(listener) => {
                    self.circuits.insert(listener, peer);
                }
                Err(error) => tracing::debug!(%peer, %error, "no place at this relay"),
            }
        }
    }

    fn is_reached(&self) -> bool {
        self.swarm
            .external_addresses()
            .any(|address| !is_relayed(address))
    }
}

/// After how many ticks a relay that had no place is asked again.
const RELAY_TICKS: u64 = 30;
/// Through how many relays a node is reached at a time.
const CIRCUITS: usize = 2;
/// How many own addresses are told to others.
const ADDRESSES_TOLD: usize = 16;
