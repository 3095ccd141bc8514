//! Peers that said to come again later: until then they are asked nothing of the kind.
//!
//! Not here: what was to be asked, which waits elsewhere or is asked of others.

use std::collections::HashMap;

use libp2p::PeerId;

/// Until when who is left alone, in bounded memory.
#[derive(Debug)]
pub(crate) struct Pauses {
    peers_max: usize,
    /// In milliseconds since the start.
    until: HashMap<(PeerId, Kind), u64>,
}

/// What a peer may be too busy for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// Keeping and forgetting records.
    Register,
    /// Looking up.
    Lookup,
}

impl Kind {
    /// The longest pause. The answer does not say whether it is meant of one key or of everything, and
    /// other keys may have room; lookups have to wait only for their own sake.
    const fn seconds_max(self) -> u32 {
        match self {
            Self::Register => 5,
            Self::Lookup => 60,
        }
    }
}

impl Pauses {
    pub(crate) fn new(peers_max: usize) -> Self {
        Self {
            peers_max,
            until: HashMap::new(),
        }
    }

    /// Notes that a peer asked to come again in so many seconds.
    pub(crate) fn note(&mut self, peer: PeerId, kind: Kind, seconds: u32, now_ms: u64) {
        if self.until.len() >= self.peers_max {
            self.until.retain(|_, until| *until > now_ms);
            if self.until.len() >= self.peers_max {
                return;
            }
        }
        let seconds = seconds.clamp(1, kind.seconds_max());
        let until = now_ms.saturating_add(u64::from(seconds) * 1000);
        self.until.insert((peer, kind), until);
    }

    /// In how many seconds a peer may be asked; nothing if it may be now.
    pub(crate) fn left_s(&mut self, peer: PeerId, kind: Kind, now_ms: u64) -> Option<u32> {
        let until = *self.until.get(&(peer, kind))?;
        if until <= now_ms {
            self.until.remove(&(peer, kind));
            return None;
        }
        let seconds = (until - now_ms).div_ceil(1000);
        Some(u32::try_from(seconds).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asked_for_a_pause_gets_it_and_no_more() {
        let mut pauses = Pauses::new(8);
        let (a, b) = (PeerId::random(), PeerId::random());
        pauses.note(a, Kind::Lookup, 3, 1000);
        assert_eq!(pauses.left_s(a, Kind::Lookup, 1001), Some(3));
        assert_eq!(pauses.left_s(a, Kind::Lookup, 3999), Some(1));
        assert_eq!(pauses.left_s(a, Kind::Register, 1001), None);
        assert_eq!(pauses.left_s(b, Kind::Lookup, 1001), None);
        assert_eq!(pauses.left_s(a, Kind::Lookup, 4000), None);
        assert!(pauses.until.is_empty());
    }

    #[test]
    fn pauses_and_memory_are_bounded() {
        let mut pauses = Pauses::new(2);
        let peer = PeerId::random();
        pauses.note(peer, Kind::Register, 300, 0);
        assert_eq!(pauses.left_s(peer, Kind::Register, 0), Some(5));
        for _ in 0..10 {
            pauses.note(PeerId::random(), Kind::Lookup, u32::MAX, 0);
        }
        assert_eq!(pauses.until.len(), 2);
        pauses.note(peer, Kind::Lookup, 1, 70_000);
        assert_eq!(pauses.until.len(), 1, "what is over is forgotten");
    }
}
