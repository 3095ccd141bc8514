//! Places for streams: so many in all, so many a peer, and no network has more than are free.
//!
//! By the last rule one network gets half of all places at most, two a third each, and so on: whoever comes
//! from elsewhere finds some, and nothing has to be guessed about how many networks there are.
//!
//! Not here: what waits in front of the door.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use libp2p::PeerId;
use tokio::sync::Notify;

use crate::prefix::Prefix;

/// Counts who is inside.
#[derive(Debug)]
pub(crate) struct Door {
    places: usize,
    places_per_peer: usize,
    inside: Mutex<Inside>,
    left: Notify,
}

#[derive(Debug, Default)]
struct Inside {
    count: usize,
    peers: HashMap<PeerId, usize>,
    networks: HashMap<Prefix, usize>,
}

/// A taken place, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Pass {
    door: Arc<Door>,
    peer: PeerId,
    network: Option<Prefix>,
}

impl Door {
    pub(crate) fn new(places: usize, places_per_peer: usize) -> Arc<Self> {
        Arc::new(Self {
            places,
            places_per_peer,
            inside: Mutex::default(),
            left: Notify::new(),
        })
    }

    /// How many places there are in all.
    pub(crate) fn places(&self) -> usize {
        self.places
    }

    /// How many places are taken.
    pub(crate) fn taken(&self) -> usize {
        self.lock().count
    }

    /// Takes a place if there is one.
    pub(crate) fn try_enter(
        self: &Arc<Self>,
        peer: PeerId,
        network: Option<Prefix>,
    ) -> Option<Pass> {
        let mut inside = self.lock();
        let own = inside.peers.get(&peer).copied().unwrap_or(0);
        let free = self.places.saturating_sub(inside.count);
        let near = network.and_then(|network| inside.networks.get(&network).copied());
        let near = near.unwrap_or(0);
        if own >= self.places_per_peer || near >= free {
            return None;
        }
        inside.count += 1;
        inside.peers.insert(peer, own + 1);
        if let Some(network) = network {
            inside.networks.insert(network, near + 1);
        }
        Some(Pass {
            door: Arc::clone(self),
            peer,
            network,
        })
    }

    /// Takes a place, waiting for one at most so long.
    pub(crate) async fn enter(
        self: &Arc<Self>,
        peer: PeerId,
        network: Option<Prefix>,
        wait: Duration,
    ) -> Option<Pass> {
        let entering = async {
            loop {
                let left = self.left.notified();
                tokio::pin!(left);
                // Registered before looking, so that no one leaves unseen in between.
                left.as_mut().enable();
                if let Some(pass) = self.try_enter(peer, network) {
                    return pass;
                }
                left.await;
            }
        };
        tokio::time::timeout(wait, entering).await.ok()
    }

    fn leave(&self, peer: &PeerId, network: Option<&Prefix>) {
        let mut inside = self.lock();
        inside.count = inside.count.saturating_sub(1);
        decrease(&mut inside.peers, peer);
        if let Some(network) = network {
            decrease(&mut inside.networks, network);
        }
        drop(inside);
        self.left.notify_waiters();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inside> {
        // Nothing in here panics between two changes that belong together.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.door.leave(&self.peer, self.network.as_ref());
    }
}

fn decrease<K: Eq + Hash>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_network_has_more_places_than_are_free() {
        let door = Door::new(100, 10);
        let mut held = Vec::new();
        for (network, places) in [(1, 50), (2, 25), (3, 13), (4, 6)] {
            let network = Some(Prefix::Memory(network));
            let before = held.len();
            // One network with as many names as it likes.
            held.extend((0..200).filter_map(|_| door.try_enter(PeerId::random(), network)));
            assert_eq!(held.len() - before, places, "{network:?}");
        }
        drop(held);
        assert!(door.lock().networks.is_empty() && door.taken() == 0);
    }

    #[tokio::test]
    async fn places_are_counted_by_peer_and_in_all() {
        let door = Door::new(3, 2);
        let (a, b) = (PeerId::random(), PeerId::random());
        let first = door.try_enter(a, None).unwrap();
        let second = door.try_enter(a, None).unwrap();
        assert!(door.try_enter(a, None).is_none(), "two a peer");
        let _third = door.try_enter(b, None).unwrap();
        assert!(door.try_enter(b, None).is_none(), "three in all");
        assert!(
            door.enter(a, None, Duration::from_millis(5))
                .await
                .is_none()
        );
        let waiting = tokio::spawn({
            let door = Arc::clone(&door);
            async move { door.enter(b, None, Duration::from_secs(60)).await }
        });
        tokio::task::yield_now().await;
        drop(first);
        assert!(waiting.await.unwrap().is_some());
        drop(second);
        assert_eq!(door.taken(), 1);
        assert_eq!(door.lock().peers.len(), 1, "who is outside is forgotten");
    }
}
