//! Asking peers for an artifact's outline, and counting who says the same.
//!
//! Not here: believing any of them.

use std::collections::BTreeMap;

use futures_util::{StreamExt, stream::FuturesUnordered};
use rialto_registry::{Digest, Outline};
use tokio::time::{Duration, Instant, sleep, timeout, timeout_at};

use super::{PeerError, PeerFailure, PeerName, Peers, transfer::busy_pause};
use crate::Store;

/// The outlines that were given.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    given: BTreeMap<Outline, Vec<PeerName>>,
    /// Who did not answer in time, and may still give chunks.
    silent: Vec<PeerName>,
}

/// One outline, and who can be asked for its chunks.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) outline: Outline,
    pub(super) givers: Vec<PeerName>,
    pub(super) silent: Vec<PeerName>,
}

impl Candidates {
    /// Takes the outline that most peers gave.
    pub(super) fn take_best(&mut self) -> Option<Candidate> {
        let best = self.given.iter().max_by_key(|(_, givers)| givers.len())?;
        let outline = best.0.clone();
        let givers = self.given.remove(&outline)?;
        Some(Candidate {
            outline,
            givers,
            silent: self.silent.clone(),
        })
    }

    /// Among how many the time is to be divided: those that are left, and the one that was taken last.
    pub(super) fn shares(&self) -> u32 {
        u32::try_from(self.given.len())
            .unwrap_or(u32::MAX)
            .saturating_add(1)
    }

    /// Who gave the outlines that were not taken.
    pub(super) fn givers(self) -> impl Iterator<Item = PeerName> {
        self.given.into_values().flatten()
    }
}

impl Store {
    /// Asks all at once. Once one has answered, the others get a moment, so that one silent peer does
    /// not hold up the rest.
    pub(super) async fn outlines(
        &self,
        peers: &dyn Peers,
        digest: &Digest,
        providers: Vec<PeerName>,
        failures: &mut Vec<(PeerName, PeerFailure)>,
    ) -> Candidates {
        let time_max = self.chunk_time_max();
        let ask = |peer: PeerName| async move {
            let asked = timeout(time_max, self.ask_outline(peers, &peer, digest)).await;
            (peer, asked.map_err(|_| PeerFailure::Slow))
        };
        let mut waiting = providers.clone();
        let mut asked: FuturesUnordered<_> = providers.into_iter().map(ask).collect();
        let mut candidates = Candidates::default();
        let mut until = Instant::now() + time_max + MOMENT;
        while let Ok(Some((peer, answer))) = timeout_at(until, asked.next()).await {
            waiting.retain(|other| *other != peer);
            let bytes_max = self.inner.config.artifact_bytes_max;
            let failure = match answer {
                Ok(Ok(outline)) if outline.bytes() > bytes_max => {
                    PeerFailure::TooLarge(outline.bytes())
                }
                Ok(Ok(outline)) => {
                    until = until.min(Instant::now() + MOMENT.min(time_max));
                    candidates.given.entry(outline).or_default().push(peer);
                    continue;
                }
                Ok(Err(error)) => error.into(),
                Err(slow) => slow,
            };
            failures.push((peer, failure));
        }
        candidates.silent = waiting;
        candidates
    }

    /// Asks one peer, and again after a pause while it is busy.
    async fn ask_outline(
        &self,
        peers: &dyn Peers,
        peer: &PeerName,
        digest: &Digest,
    ) -> Result<Outline, PeerError> {
        let config = &self.inner.config;
        for times in 1..=config.retries_max {
            match peers.outline(peer, digest).await {
                Err(PeerError::Busy) => sleep(busy_pause(config, times)).await,
                answer => return answer,
            }
        }
        peers.outline(peer, digest).await
    }
}

/// How long the others are waited for once one has answered.
const MOMENT: Duration = Duration::from_secs(1);
