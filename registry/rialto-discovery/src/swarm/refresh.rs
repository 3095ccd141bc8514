//! Keeping the routing table true: at each turn the own part of the network and one of the parts far away.
//!
//! Joining looks through all parts at once, which in a network of hundreds means to ask nearly everybody. Doing so
//! again and again would be most of what an idle node sends; parts that lookups pass through are kept by these.

use libp2p::PeerId;
use libp2p::kad::KBucketKey;

use super::Driver;

impl Driver {
    /// Looks around if it is time to.
    pub(super) fn refresh(&mut self) {
        let every = self.context.config.periods.bootstrap.as_secs().max(1);
        // Nodes that were started together should not look around together.
        let own = KBucketKey::from(self.context.local);
        let offset = own.hashed_bytes().first().copied().map_or(0, u64::from) * every / 256;
        if self.routed.is_empty() || !(self.ticks.wrapping_add(offset)).is_multiple_of(every) {
            return;
        }
        let part = u32::try_from(self.ticks / every % PARTS).unwrap_or_default();
        let local = self.context.local;
        let kad = &mut self.swarm.behaviour_mut().kad;
        kad.get_closest_peers(local);
        if let Some(far) = in_part(&local, part) {
            kad.get_closest_peers(far);
        }
    }
}

/// A drawn key that shares so many bits with the own one, and not one more.
fn in_part(local: &PeerId, bits: u32) -> Option<PeerId> {
    let own = KBucketKey::from(*local);
    let wanted = FARTHEST.checked_sub(bits)?;
    let drawn = std::iter::repeat_with(PeerId::random).take(DRAWS);
    drawn
        .map(|peer| (peer, own.distance(&KBucketKey::from(peer)).ilog2()))
        .find_map(|(peer, distance)| (distance == Some(wanted)).then_some(peer))
}

/// How many parts far away are looked at in turn: the halves of the network, of its half, and so on. Among a
/// million nodes the rest is 4,000 around the own key.
const PARTS: u64 = 8;
/// The logarithm of the distance between keys that share no bit.
const FARTHEST: u32 = 255;
/// Enough to hit the smallest part nearly always: one key of 256 lies in it.
const DRAWS: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_drawn_from_the_part_that_is_asked_for() {
        let local = PeerId::random();
        for bits in 0..6 {
            let drawn = in_part(&local, bits).expect("drawn");
            let distance = KBucketKey::from(local).distance(&KBucketKey::from(drawn));
            assert_eq!(distance.ilog2(), Some(FARTHEST - bits));
        }
        assert!(in_part(&local, 256).is_none());
    }
}
