//! What peers have done wrong, and who is shut out for it.
//!
//! Points are given for faults, fade with time, and a peer with too many is banned for a while.
//!
//! Not here: finding the faults, or closing connections.

use std::collections::HashMap;

use libp2p::PeerId;

/// A fault of a peer, with its weight in points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Sent or gave out a record that nobody honest would.
    BadRecord,
    /// Sent something that the protocol does not allow.
    BadMessage,
    /// Sent a record that has ended.
    OldRecord,
    /// Asks more often than it was told to.
    Flood,
}

impl Fault {
    const fn points(self) -> u32 {
        match self {
            Self::BadRecord | Self::BadMessage => 34,
            Self::OldRecord => 10,
            Self::Flood => 2,
        }
    }
}

/// The book of faults and bans.
#[derive(Debug)]
pub(crate) struct Scores {
    ban_ms: u64,
    peers_max: usize,
    points: HashMap<PeerId, Points>,
    /// When each ban ends.
    bans: HashMap<PeerId, u64>,
}

#[derive(Debug)]
struct Points {
    points: u32,
    at_ms: u64,
}

impl Scores {
    /// Makes a book for at most `peers_max` peers with points and as many with bans.
    pub(crate) fn new(ban_ms: u64, peers_max: usize) -> Self {
        Self {
            ban_ms,
            peers_max,
            points: HashMap::new(),
            bans: HashMap::new(),
        }
    }

    /// Notes a fault. Returns whether the peer is banned from now on.
    pub(crate) fn fault(&mut self, peer: PeerId, fault: Fault, now_ms: u64) -> bool {
        if self.is_banned(&peer, now_ms) {
            return false;
        }
        if !self.points.contains_key(&peer) && self.points.len() >= self.peers_max {
            self.forget_least(now_ms);
        }
        let entry = self.points.entry(peer).or_insert(Points {
            points: 0,
            at_ms: now_ms,
        });
        entry.fade(now_ms);
        entry.points = entry.points.saturating_add(fault.points());
        if entry.points < BAN_POINTS {
            return false;
        }
        self.points.remove(&peer);
        self.ban(peer, now_ms);
        true
    }

    /// Returns whether a peer is shut out now.
    pub(crate) fn is_banned(&self, peer: &PeerId, now_ms: u64) -> bool {
        self.bans.get(peer).is_some_and(|end| now_ms < *end)
    }

    /// Forgets bans that have ended.
    pub(crate) fn pardon(&mut self, now_ms: u64) {
        self.bans.retain(|_, end| now_ms < *end);
    }

    /// Everybody who is shut out.
    pub(crate) fn banned(&self) -> impl Iterator<Item = &PeerId> {
        self.bans.keys()
    }

    fn ban(&mut self, peer: PeerId, now_ms: u64) {
        if self.bans.len() >= self.peers_max {
            let first = self.bans.iter().min_by_key(|(_, end)| **end);
            if let Some(first) = first.map(|(peer, _)| *peer) {
                self.bans.remove(&first);
            }
        }
        self.bans.insert(peer, now_ms.saturating_add(self.ban_ms));
    }

    fn forget_least(&mut self, now_ms: u64) {
        for entry in self.points.values_mut() {
            entry.fade(now_ms);
        }
        self.points.retain(|_, entry| entry.points > 0);
        while self.points.len() >= self.peers_max {
            let least = self.points.iter().min_by_key(|(_, entry)| entry.points);
            let Some(least) = least.map(|(peer, _)| *peer) else {
                return;
            };
            self.points.remove(&least);
        }
    }
}

impl Points {
    fn fade(&mut self, now_ms: u64) {
        let faded = now_ms.saturating_sub(self.at_ms) / FADE_MS;
        if faded > 0 {
            let faded = u32::try_from(faded).unwrap_or(u32::MAX);
            self.points = self.points.saturating_sub(faded);
            self.at_ms = now_ms;
        }
    }
}

/// With how many points a peer is banned: three bad records.
const BAN_POINTS: u32 = 100;
/// In how many milliseconds a point fades.
const FADE_MS: u64 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_bad_records_ban_and_the_ban_ends() {
        let mut scores = Scores::new(1000, 8);
        let peer = PeerId::random();
        assert!(!scores.fault(peer, Fault::BadRecord, 0));
        assert!(!scores.fault(peer, Fault::BadRecord, 0));
        assert!(!scores.is_banned(&peer, 0));
        assert!(scores.fault(peer, Fault::BadRecord, 0));
        assert!(scores.is_banned(&peer, 999));
        assert!(!scores.is_banned(&peer, 1000));
        scores.pardon(999);
        assert_eq!(scores.banned().count(), 1);
        scores.pardon(1000);
        assert_eq!(scores.banned().count(), 0);
    }

    #[test]
    fn old_faults_fade() {
        let mut scores = Scores::new(1000, 8);
        let peer = PeerId::random();
        for hour in 0..100 {
            assert!(!scores.fault(peer, Fault::BadRecord, hour * 3_600_000));
        }
    }

    #[test]
    fn the_book_is_bounded_and_keeps_the_worst() {
        let mut scores = Scores::new(1_000_000, 4);
        let worst = PeerId::random();
        scores.fault(worst, Fault::BadRecord, 0);
        for _ in 0..100 {
            scores.fault(PeerId::random(), Fault::Flood, 0);
        }
        assert_eq!(scores.points.len(), 4);
        assert!(!scores.fault(worst, Fault::BadRecord, 0));
        assert!(
            scores.fault(worst, Fault::BadRecord, 0),
            "its first fault was kept"
        );
        for _ in 0..100 {
            let peer = PeerId::random();
            for _ in 0..3 {
                scores.fault(peer, Fault::BadRecord, 0);
            }
        }
        assert_eq!(scores.bans.len(), 4);
    }
}
