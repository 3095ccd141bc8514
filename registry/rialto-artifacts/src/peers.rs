//! Artifacts from peers: in chunks, from several at once, each checked as it arrives.
//!
//! A peer can lie in two ways: about the outline, and about a chunk. An outline that several peers give
//! alike is tried first, and each chunk must fit it; but only the whole, hashed at the end, proves
//! anything. A proven outline shows who gave wrong chunks; a refuted one, who lied about it.
//!
//! Not here: connections. The node implements [`Peers`] over whatever it speaks with peers.

mod chunked;
mod hashing;
mod outlines;
mod transfer;

use std::{collections::BTreeSet, fmt, str::FromStr, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use rialto_registry::{Digest, Outline};
use tokio::time::Instant;

use crate::{Culprit, Fault, FetchError, ProgressFn, Store, fetch::blocking};
use outlines::Candidate;
use transfer::Transfer;

/// What fetching needs of the network. Futures may be dropped at any moment.
pub trait Peers: Send + Sync {
    /// Who says that they have an artifact, the most promising first. At most [`PROVIDERS_MAX`] are
    /// asked.
    fn providers<'a>(
        &'a self,
        digest: &'a Digest,
    ) -> BoxFuture<'a, Result<Vec<PeerName>, PeerError>>;

    /// Asks a peer for an artifact's outline.
    fn outline<'a>(
        &'a self,
        peer: &'a PeerName,
        digest: &'a Digest,
    ) -> BoxFuture<'a, Result<Outline, PeerError>>;

    /// Asks a peer for one chunk of an artifact.
    fn chunk<'a>(
        &'a self,
        peer: &'a PeerName,
        digest: &'a Digest,
        index: u32,
    ) -> BoxFuture<'a, Result<Bytes, PeerError>>;
}

/// A peer's identity as text, 1 to 128 visible ASCII characters. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerName(Arc<str>);

/// Why a text names no peer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a peer's name has 1 to 128 visible ASCII characters")]
pub struct PeerNameError;

impl PeerName {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PeerName {
    type Err = PeerNameError;

    fn from_str(text: &str) -> Result<Self, PeerNameError> {
        let fits = (1..=128).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_graphic());
        fits.then(|| Self(text.into())).ok_or(PeerNameError)
    }
}

impl fmt::Display for PeerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PeerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerName({})", self.0)
    }
}

/// Why a peer does not give what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// It does not have the artifact, whatever was said of it.
    #[error("does not have it")]
    Absent,
    /// It has too much to do.
    #[error("is busy")]
    Busy,
    /// It cannot be reached, or is gone.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// It answered something that is no answer.
    #[error("answered wrongly: {0}")]
    Garbled(String),
}

/// Why no peer gave an artifact.
#[derive(Debug, thiserror::Error)]
pub enum PeersError {
    /// Nobody can say who has it.
    #[error("cannot find out which peers have artifact {digest}: it {source}")]
    Search {
        /// The artifact.
        digest: Digest,
        /// Why.
        #[source]
        source: PeerError,
    },
    /// Nobody has it.
    #[error("no peer has artifact {digest}")]
    Nobody {
        /// The artifact.
        digest: Digest,
    },
    /// All who have it failed.
    #[error("no peer gave artifact {digest}:{}", Lines(failures))]
    Failed {
        /// The artifact.
        digest: Digest,
        /// Who failed, and how, in order.
        failures: Vec<(PeerName, PeerFailure)>,
    },
}

/// How a peer failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerFailure {
    /// It said so.
    #[error("{0}")]
    Error(#[from] PeerError),
    /// It took too long.
    #[error("took too long")]
    Slow,
    /// Its outline is of an artifact that is too large for this store.
    #[error("has {0} bytes, more than `artifact_bytes_max`")]
    TooLarge(u64),
    /// Its chunks do not fit the outline.
    #[error("gave a chunk that does not fit the outline")]
    WrongChunk,
    /// Its outline led to other bytes.
    #[error("gave a wrong outline")]
    WrongOutline,
}

struct Lines<'a>(&'a [(PeerName, PeerFailure)]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut failures = self.0.iter();
        failures.try_for_each(|(peer, failure)| write!(f, "\n  - {peer} {failure}"))
    }
}

impl Store {
    /// Tries each outline that peers give, the one that most give first.
    pub(crate) async fn download_from_peers(
        &self,
        peers: &dyn Peers,
        digest: &Digest,
        progress: &ProgressFn,
    ) -> Result<(), FetchError> {
        let until = Instant::now() + self.inner.config.fetch_time_max;
        let providers = self.providers(peers, digest).await?;
        let mut failures = Vec::new();
        let mut unproven = Vec::new();
        let mut candidates = self.outlines(peers, digest, providers, &mut failures).await;
        while let Some(candidate) = candidates.take_best() {
            let transfer = Transfer::begin(self, peers, digest, &candidate, progress).await?;
            // Each outline has its share of the time that is left, however many claim it: one that is
            // false must not take up the time of one that is right.
            let now = Instant::now();
            let share = until.saturating_duration_since(now) / candidates.shares();
            let done = transfer.run(now + share, &mut failures).await?;
            match done {
                transfer::Done::Right { wrong_chunks } => {
                    self.mark_all(wrong_chunks, Fault::WrongChunk);
                    self.mark_all(unproven, Fault::WrongOutline);
                    self.mark_all(candidates.givers(), Fault::WrongOutline);
                    return self.note_outline(digest, candidate.outline).await;
                }
                transfer::Done::Wrong => {
                    let liars = candidate.givers.iter();
                    failures.extend(liars.map(|it| (it.clone(), PeerFailure::WrongOutline)));
                    self.mark_all(candidate.givers, Fault::WrongOutline);
                }
                transfer::Done::Incomplete => unproven.extend(candidate.givers),
                transfer::Done::Late => {
                    let slow = candidate.givers.iter();
                    failures.extend(slow.map(|it| (it.clone(), PeerFailure::Slow)));
                    unproven.extend(candidate.givers);
                }
            }
        }
        Err(PeersError::Failed {
            digest: *digest,
            failures,
        }
        .into())
    }

    /// Who to ask: each once, and those who gave wrong bytes of late only if there is nobody else.
    async fn providers(
        &self,
        peers: &dyn Peers,
        digest: &Digest,
    ) -> Result<Vec<PeerName>, PeersError> {
        let digest = *digest;
        let found = peers.providers(&digest).await;
        let found = found.map_err(|source| PeersError::Search { digest, source })?;
        let mut seen = BTreeSet::new();
        let (marked, mut good): (Vec<_>, Vec<_>) = found
            .into_iter()
            .filter(|peer| seen.insert(peer.clone()))
            .partition(|peer| self.marks().is_marked(&Culprit::Peer(peer.clone())));
        if good.is_empty() {
            good = marked;
        }
        good.truncate(PROVIDERS_MAX);
        if good.is_empty() {
            return Err(PeersError::Nobody { digest });
        }
        Ok(good)
    }

    /// Keeps a proven outline off the runtime's threads.
    async fn note_outline(&self, digest: &Digest, outline: Outline) -> Result<(), FetchError> {
        let (store, digest) = (self.clone(), *digest);
        blocking("peers", move || {
            store.keep_outline(&digest, &outline);
            Ok(())
        })
        .await
    }

    fn mark_all(&self, peers: impl IntoIterator<Item = PeerName>, fault: Fault) {
        for peer in peers {
            self.marks().mark(Culprit::Peer(peer), fault);
        }
    }

    fn chunk_time_max(&self) -> Duration {
        self.inner.config.chunk_time_max
    }
}

/// The most peers that one fetch asks.
pub const PROVIDERS_MAX: usize = 32;

#[cfg(test)]
mod tests;
