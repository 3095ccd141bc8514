//! Where peers are reached by their own signed word, in bounded memory.
//!
//! Not here: the routing table's addresses, which the library keeps.

use std::collections::{HashMap, VecDeque};

use libp2p::{Multiaddr, PeerId};

/// Addresses by peer. Who was noted first is forgotten first.
#[derive(Debug)]
pub(crate) struct Book {
    peers_max: usize,
    addresses: HashMap<PeerId, Vec<Multiaddr>>,
    order: VecDeque<PeerId>,
}

impl Book {
    pub(crate) fn new(peers_max: usize) -> Self {
        Self {
            peers_max,
            addresses: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    /// Notes a peer's addresses in place of earlier ones.
    pub(crate) fn note(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) {
        if addresses.is_empty() {
            return;
        }
        if self.addresses.insert(peer, addresses).is_some() {
            return;
        }
        self.order.push_back(peer);
        if self.order.len() > self.peers_max
            && let Some(first) = self.order.pop_front()
        {
            self.addresses.remove(&first);
        }
    }

    /// A peer's addresses.
    pub(crate) fn addresses(&self, peer: &PeerId) -> Vec<Multiaddr> {
        self.addresses.get(peer).cloned().unwrap_or_else(Vec::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded() {
        let mut book = Book::new(3);
        let address = |port: u64| vec![format!("/memory/{port}").parse::<Multiaddr>().unwrap()];
        let peers: Vec<PeerId> = (0..5).map(|_| PeerId::random()).collect();
        for peer in &peers {
            book.note(*peer, address(1));
            book.note(*peer, address(2));
        }
        assert_eq!(book.addresses.len(), 3);
        assert_eq!(book.order.len(), 3);
        assert!(book.addresses(&peers[0]).is_empty());
        assert_eq!(book.addresses(&peers[4]), address(2));
    }
}
