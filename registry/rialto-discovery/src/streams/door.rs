//! Places for streams: so many in all, so many a peer.
//!
//! Not here: what waits in front of the door.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use libp2p::PeerId;
use tokio::sync::Notify;

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
}

/// A taken place, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Pass {
    door: Arc<Door>,
    peer: PeerId,
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
    pub(crate) fn try_enter(self: &Arc<Self>, peer: PeerId) -> Option<Pass> {
        let mut inside = self.lock();
        let own = inside.peers.get(&peer).copied().unwrap_or(0);
        if inside.count >= self.places || own >= self.places_per_peer {
            return None;
        }
        inside.count += 1;
        inside.peers.insert(peer, own + 1);
        Some(Pass {
            door: Arc::clone(self),
            peer,
        })
    }

    /// Takes a place, waiting for one at most so long.
    pub(crate) async fn enter(self: &Arc<Self>, peer: PeerId, wait: Duration) -> Option<Pass> {
        let entering = async {
            loop {
                let left = self.left.notified();
                tokio::pin!(left);
                // Registered before looking, so that no one leaves unseen in between.
                left.as_mut().enable();
                if let Some(pass) = self.try_enter(peer) {
                    return pass;
                }
                left.await;
            }
        };
        tokio::time::timeout(wait, entering).await.ok()
    }

    fn leave(&self, peer: &PeerId) {
        let mut inside = self.lock();
        inside.count = inside.count.saturating_sub(1);
        if let Some(own) = inside.peers.get_mut(peer) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                inside.peers.remove(peer);
            }
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
        self.door.leave(&self.peer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn places_are_counted_by_peer_and_in_all() {
        let door = Door::new(3, 2);
        let (a, b) = (PeerId::random(), PeerId::random());
        let first = door.try_enter(a).unwrap();
        let second = door.try_enter(a).unwrap();
        assert!(door.try_enter(a).is_none(), "two a peer");
        let _third = door.try_enter(b).unwrap();
        assert!(door.try_enter(b).is_none(), "three in all");
        assert!(door.enter(a, Duration::from_millis(5)).await.is_none());
        let waiting = tokio::spawn({
            let door = Arc::clone(&door);
            async move { door.enter(b, Duration::from_secs(60)).await }
        });
        tokio::task::yield_now().await;
        drop(first);
        assert!(waiting.await.unwrap().is_some());
        drop(second);
        assert_eq!(door.taken(), 1);
        assert_eq!(door.lock().peers.len(), 1, "who is outside is forgotten");
    }
}
