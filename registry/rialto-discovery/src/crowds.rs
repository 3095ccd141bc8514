//! Who gives way when a store is full: the fullest network, by what of it ends soonest.
//!
//! A newcomer displaces only where its own network has at least two fewer, so two networks never take turns
//! in throwing each other out. Where networks are not counted each peer is one.
//!
//! Not here: the stores, and their limits by peer and by network.

use std::collections::{BTreeSet, HashMap};

use libp2p::PeerId;

use crate::prefix::Prefix;

/// Everything in a store, by network and by its end. A slot begins with when it ends.
#[derive(Debug)]
pub(crate) struct Crowds<S> {
    slots: HashMap<Crowd, BTreeSet<S>>,
    /// The same networks by how much they have.
    sizes: BTreeSet<(usize, Crowd)>,
}

/// A network, or a peer where networks are not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Crowd {
    Network(Prefix),
    Peer(PeerId),
}

impl Crowd {
    pub(crate) fn of(network: Option<Prefix>, peer: PeerId) -> Self {
        network.map_or(Self::Peer(peer), Self::Network)
    }
}

impl<S: Ord + Clone> Crowds<S> {
    pub(crate) fn new() -> Self {
        Self {
            slots: HashMap::new(),
            sizes: BTreeSet::new(),
        }
    }

    /// How much a network has.
    pub(crate) fn count(&self, crowd: &Crowd) -> usize {
        self.slots.get(crowd).map_or(0, BTreeSet::len)
    }

    pub(crate) fn add(&mut self, crowd: Crowd, slot: S) {
        let slots = self.slots.entry(crowd).or_default();
        let before = slots.len();
        slots.insert(slot);
        let after = slots.len();
        self.resize(crowd, before, after);
    }

    pub(crate) fn remove(&mut self, crowd: Crowd, slot: &S) {
        let Some(slots) = self.slots.get_mut(&crowd) else {
            return;
        };
        let before = slots.len();
        slots.remove(slot);
        let after = slots.len();
        self.resize(crowd, before, after);
    }

    /// What gives way to one more of a network, if anything does.
    pub(crate) fn yields_to(&self, newcomer: &Crowd) -> Option<&S> {
        let (size, fullest) = self.sizes.last()?;
        if *size < self.count(newcomer) + 2 {
            return None;
        }
        self.slots.get(fullest)?.first()
    }

    fn resize(&mut self, crowd: Crowd, before: usize, after: usize) {
        self.sizes.remove(&(before, crowd));
        if after > 0 {
            self.sizes.insert((after, crowd));
        } else {
            self.slots.remove(&crowd);
        }
    }
}

/// The place in a list of networks and ends that gives way to one more of a network, by the same rule.
pub(crate) fn yields_to<E: Ord>(
    list: impl Iterator<Item = (Crowd, E)> + Clone,
    newcomer: &Crowd,
) -> Option<usize> {
    let mut sizes: HashMap<Crowd, usize> = HashMap::new();
    for (crowd, _) in list.clone() {
        *sizes.entry(crowd).or_insert(0) += 1;
    }
    let own = sizes.get(newcomer).copied().unwrap_or(0);
    let (fullest, size) = sizes
        .into_iter()
        .max_by_key(|(crowd, size)| (*size, *crowd))?;
    if size < own + 2 {
        return None;
    }
    list.enumerate()
        .filter(|(_, (crowd, _))| *crowd == fullest)
        .min_by(|(_, (_, a)), (_, (_, b))| a.cmp(b))
        .map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(number: u64) -> Crowd {
        Crowd::Network(Prefix::Memory(number))
    }

    #[test]
    fn the_fullest_network_gives_way_by_what_ends_soonest() {
        let mut crowds = Crowds::new();
        let mut list = Vec::new();
        for (crowd, end) in [(1, 30), (1, 10), (1, 20), (2, 5)] {
            crowds.add(network(crowd), end);
            list.push((network(crowd), end));
        }
        for (newcomer, gives_way) in [(3, Some(10)), (2, Some(10)), (1, None)] {
            let newcomer = network(newcomer);
            assert_eq!(crowds.yields_to(&newcomer).copied(), gives_way);
            let place = yields_to(list.iter().copied(), &newcomer);
            assert_eq!(place.map(|place| list[place].1), gives_way);
        }
        crowds.remove(network(1), &10);
        assert_eq!(crowds.count(&network(1)), 2);
        assert_eq!(crowds.yields_to(&network(2)), None, "they are almost equal");
        assert_eq!(crowds.yields_to(&network(3)), Some(&20));
    }

    #[test]
    fn what_has_left_is_forgotten() {
        let mut crowds = Crowds::new();
        for end in [1, 2, 2] {
            crowds.add(network(1), end);
        }
        assert_eq!(crowds.count(&network(1)), 2, "a slot counts once");
        for end in [1, 2, 3] {
            crowds.remove(network(1), &end);
        }
        crowds.remove(network(7), &1);
        assert!(crowds.slots.is_empty() && crowds.sizes.is_empty());
    }
}
