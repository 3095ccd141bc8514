//! How often others may ask: by peer, and by the network they come from.
//!
//! Not here: the buckets themselves, or what becomes of whoever asks too often.

use libp2p::PeerId;

use crate::config::Limits;
use crate::prefix::Prefix;
use crate::rates::Rates;

/// The buckets of everybody who asks.
#[derive(Debug)]
pub(crate) struct RequestLimits {
    register: Rates<PeerId>,
    lookup: Rates<PeerId>,
    artifacts: Rates<PeerId>,
    forwarded: Rates<PeerId>,
    networks: Rates<Prefix>,
    artifact_networks: Rates<Prefix>,
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    Register,
    Lookup,
    Artifact,
}

/// Who has to wait, and how many seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limited {
    /// The peer asked too often itself.
    Peer(u32),
    /// Others did: of its network, or too many at all.
    Others(u32),
}

impl Limited {
    /// In how many seconds to come again.
    pub(crate) const fn seconds(self) -> u32 {
        match self {
            Self::Peer(seconds) | Self::Others(seconds) => seconds,
        }
    }
}

impl RequestLimits {
    pub(crate) fn new(limits: &Limits) -> Self {
        let peers = limits.peers_remembered;
        Self {
            register: Rates::new(limits.register_per_peer, peers),
            lookup: Rates::new(limits.lookup_per_peer, peers),
            artifacts: Rates::new(limits.artifacts_per_peer, peers),
            forwarded: Rates::new(limits.gossip_per_peer, peers),
            networks: Rates::new(limits.requests_per_prefix, peers),
            artifact_networks: Rates::new(limits.artifacts_per_prefix, peers),
        }
    }

    /// Takes a token of the peer's and then one of its network's, so that a peer that has none left takes
    /// none from its neighbours.
    pub(crate) fn admit(
        &mut self,
        asked: Asked,
        peer: PeerId,
        network: Option<Prefix>,
        now_ms: u64,
    ) -> Result<(), Limited> {
        let (peers, networks) = match asked {
            Asked::Register => (&mut self.register, &mut self.networks),
            Asked::Lookup => (&mut self.lookup, &mut self.networks),
            Asked::Artifact => (&mut self.artifacts, &mut self.artifact_networks),
        };
        peers.take(peer, now_ms).map_err(|seconds| {
            if peers.knows(&peer) {
                Limited::Peer(seconds)
            } else {
                Limited::Others(seconds)
            }
        })?;
        network.map_or(Ok(()), |network| {
            networks.take(network, now_ms).map_err(Limited::Others)
        })
    }

    /// Returns whether a peer may pass on one more message.
    pub(crate) fn may_forward(&mut self, peer: PeerId, now_ms: u64) -> bool {
        self.forwarded.take(peer, now_ms).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rates::Rate;

    fn limits(peers_remembered: usize) -> RequestLimits {
        RequestLimits::new(&Limits {
            register_per_peer: Rate {
                burst: 3,
                per_minute: 60,
            },
            requests_per_prefix: Rate {
                burst: 5,
                per_minute: 60,
            },
            gossip_per_peer: Rate {
                burst: 2,
                per_minute: 60,
            },
            peers_remembered,
            ..Limits::default()
        })
    }

    #[test]
    fn nobody_is_at_fault_for_what_its_neighbours_ask() {
        let (mut limits, network) = (limits(8), Some(Prefix::Memory(1)));
        let (noisy, quiet) = (PeerId::random(), PeerId::random());
        for _ in 0..3 {
            assert_eq!(limits.admit(Asked::Register, noisy, network, 0), Ok(()));
        }
        for _ in 0..9 {
            let limited = limits.admit(Asked::Register, noisy, network, 0);
            assert_eq!(limited, Err(Limited::Peer(1)), "its own bucket is empty");
        }
        for _ in 0..2 {
            let left = limits.admit(Asked::Register, quiet, network, 0);
            assert_eq!(left, Ok(()), "the noisy one took no more than its own");
        }
        let limited = limits.admit(Asked::Register, quiet, network, 0);
        assert_eq!(limited, Err(Limited::Others(1)));
        let elsewhere = Some(Prefix::Memory(2));
        let other = PeerId::random();
        assert_eq!(limits.admit(Asked::Register, other, elsewhere, 0), Ok(()));
        assert_eq!(limits.admit(Asked::Artifact, other, network, 0), Ok(()));
    }

    #[test]
    fn a_newcomer_is_not_at_fault_for_a_crowd() {
        let mut limits = limits(2);
        for _ in 0..2 {
            let peer = PeerId::random();
            assert_eq!(limits.admit(Asked::Register, peer, None, 10), Ok(()));
        }
        let limited = limits.admit(Asked::Register, PeerId::random(), None, 10);
        assert_eq!(limited, Err(Limited::Others(1)));
    }

    #[test]
    fn who_passes_on_too_much_is_not_listened_to() {
        let mut limits = limits(8);
        let (noisy, quiet) = (PeerId::random(), PeerId::random());
        let passed = (0..9).filter(|_| limits.may_forward(noisy, 0)).count();
        assert_eq!(passed, 2);
        assert!(limits.may_forward(quiet, 0));
    }
}
