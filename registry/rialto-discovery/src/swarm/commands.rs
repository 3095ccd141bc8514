//! What the swarm's task does when it is asked.
//!
//! Not here: who asks.

use std::collections::HashSet;

use libp2p::gossipsub::IdentTopic;
use libp2p::kad::{KBucketKey, RecordKey};
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Multiaddr, PeerId};

use super::{Driver, Query};
use crate::context::Command;
use crate::counters::Count;
use crate::gossip::topic_score;
use crate::lookup::Contact;
use crate::{Key, Topic};

impl Driver {
    pub(super) fn on_command(&mut self, command: Command) {
        match command {
            Command::Open {
                peer,
                addresses,
                order,
            } => {
                self.swarm
                    .behaviour_mut()
                    .streams
                    .open(peer, addresses, order);
            }
            Command::Closest { target, reply } => {
                if self.queries.len() < QUERIES_MAX {
                    let id = self.swarm.behaviour_mut().kad.get_closest_peers(target);
                    self.queries.insert(id, Query::Closest(reply));
                }
            }
            Command::Nearest { key, except, reply } => {
                // Whoever gave up waiting does not want to know.
                let _ = reply.send(self.nearest(&key, except));
            }
            Command::Provide { key } => {
                // The store refuses beyond its limit, which is the shelf's too.
                let provided = self
                    .swarm
                    .behaviour_mut()
                    .kad
                    .start_providing(record_key(&key));
                if let Err(error) = provided {
                    tracing::warn!(%error, "no pointer left");
                }
            }
            Command::Unprovide { key } => {
                self.swarm
                    .behaviour_mut()
                    .kad
                    .stop_providing(&record_key(&key));
            }
            Command::Providers { key, reply } => {
                if self.queries.len() < QUERIES_MAX {
                    let id = self
                        .swarm
                        .behaviour_mut()
                        .kad
                        .get_providers(record_key(&key));
                    self.queries.insert(
                        id,
                        Query::Providers {
                            found: HashSet::new(),
                            reply,
                        },
                    );
                }
            }
            Command::Ban { peer } => self.ban(peer),
            Command::Subscribe { topic, reply } => {
                let _ = reply.send(self.subscribe(topic));
            }
            Command::Unsubscribe { topic } => self.unsubscribe(&topic),
            Command::Announce {
                topic,
                record,
                reply,
            } => {
                let _ = reply.send(self.announce(&topic, record));
            }
            Command::Verdict { message, verdict } => self.verdict(&message, verdict),
        }
    }

    fn nearest(&mut self, key: &Key, except: PeerId) -> Vec<Contact> {
        let rule = self.context.config.rule();
        let target = KBucketKey::new(key.as_bytes().to_vec());
        self.swarm
            .behaviour_mut()
            .kad
            .find_closest_local_peers(&target, &except)
            .map(|found| Contact {
                peer: found.node_id,
                addresses: rule.filter(found.multiaddrs),
            })
            .collect()
    }

    fn subscribe(&mut self, topic: Topic) -> bool {
        if self.topics.len() >= self.context.config.limits.topics && !self.topics.contains(&topic) {
            return false;
        }
        let Some(gossip) = self.swarm.behaviour_mut().gossip.as_mut() else {
            return false;
        };
        let name = IdentTopic::new(topic.name());
        if gossip.subscribe(&name).is_err() {
            return false;
        }
        // Scoring is on, so the only error is a parameter out of bounds, which a test excludes.
        if let Err(error) = gossip.set_topic_params(name, topic_score()) {
            tracing::warn!(%error, "the topic is not scored");
        }
        self.topics.insert(topic);
        true
    }

    fn unsubscribe(&mut self, topic: &Topic) {
        self.topics.remove(topic);
        if let Some(gossip) = self.swarm.behaviour_mut().gossip.as_mut() {
            gossip.unsubscribe(&IdentTopic::new(topic.name()));
        }
    }

    fn announce(&mut self, topic: &Topic, record: Vec<u8>) -> Result<(), String> {
        let gossip = self.swarm.behaviour_mut().gossip.as_mut();
        let gossip = gossip.ok_or("gossip is switched off")?;
        gossip
            .publish(topic.hash(), record)
            .map_err(|error| error.to_string())?;
        self.context.counters.one(Count::GossipSent);
        Ok(())
    }

    pub(super) fn dial(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) {
        let opts = DialOpts::peer_id(peer)
            .condition(PeerCondition::DisconnectedAndNotDialing)
            .addresses(addresses)
            .extend_addresses_through_behaviour()
            .build();
        // Fails at once where there already is a connection or a dial, or no address.
        if let Err(error) = self.swarm.dial(opts) {
            tracing::trace!(%peer, %error, "not dialled");
        }
    }

    fn ban(&mut self, peer: PeerId) {
        let mesh = self.swarm.behaviour_mut();
        // Closes the peer's connections too.
        mesh.blocked.block_peer(peer);
        mesh.kad.remove_peer(&peer);
        if let Some(gossip) = mesh.gossip.as_mut() {
            gossip.blacklist_peer(&peer);
        }
        self.routed.remove(&peer);
    }

    /// Lets those back in whose ban has ended, and shuts out those whose ban did not get through.
    pub(super) fn reconcile_bans(&mut self) {
        let now_ms = self.context.now_ms();
        let (pardoned, missing) = {
            let mut scores = self.context.scores.lock();
            scores.pardon(now_ms);
            let blocked = self.swarm.behaviour().blocked.blocked_peers();
            changes(blocked, &scores.banned().copied().collect())
        };
        for peer in pardoned {
            let mesh = self.swarm.behaviour_mut();
            mesh.blocked.unblock_peer(peer);
            if let Some(gossip) = mesh.gossip.as_mut() {
                gossip.remove_blacklisted_peer(&peer);
            }
        }
        for peer in missing {
            self.ban(peer);
        }
    }
}

/// Who is to be let in and who to be shut out, so that those are blocked who are banned. The book of bans is
/// bounded, so a ban may also leave it before its time.
fn changes(blocked: &HashSet<PeerId>, banned: &HashSet<PeerId>) -> (Vec<PeerId>, Vec<PeerId>) {
    let pardoned = blocked.difference(banned).copied().collect();
    let missing = banned.difference(blocked).copied().collect();
    (pardoned, missing)
}

fn record_key(key: &Key) -> RecordKey {
    RecordKey::new(key.as_bytes())
}

/// How many queries run at once; one beyond is answered by nothing found.
const QUERIES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scores::{Fault, Scores};

    #[test]
    fn a_ban_that_the_book_lost_is_lifted() {
        let mut scores = Scores::new(1_000_000, 1);
        let peers = [PeerId::random(), PeerId::random()];
        let mut blocked = HashSet::new();
        for peer in peers {
            while !scores.fault(peer, Fault::BadRecord, 0) {}
            blocked.insert(peer);
        }
        scores.pardon(1);
        let banned: HashSet<PeerId> = scores.banned().copied().collect();
        assert_eq!(banned.len(), 1, "there is room for one ban");
        let (pardoned, missing) = changes(&blocked, &banned);
        assert_eq!((pardoned, missing), (vec![peers[0]], vec![]));
        let (pardoned, missing) = changes(&HashSet::new(), &banned);
        assert_eq!((pardoned, missing), (vec![], vec![peers[1]]));
    }
}
