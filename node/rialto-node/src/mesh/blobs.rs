//! Artifacts between peers: this node's store to others, and others' to this node's store.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use rialto_artifacts::{FetchError, PeerError, PeerName, Peers, PinError, PinOwner, Store};
use rialto_discovery::{Blobs, Discovery, PeerKey};
use rialto_registry::outline::Outline;
use rialto_registry::{Digest, SignedManifest, Source};
use std::path::PathBuf;

use super::Mesh;
use crate::Node;
use crate::artifacts;
use crate::progress::Progress;

/// What peers may read of the store.
#[derive(Debug)]
pub(super) struct Shelves(pub(super) Store);

impl Blobs for Shelves {
    fn outline(&self, digest: &Digest) -> Option<rialto_discovery::Outline> {
        let read = self.0.outline(digest);
        let outline = read.unwrap_or_else(|error| {
            tracing::warn!(%digest, %error, "an artifact cannot be read");
            None
        })?;
        Some(rialto_discovery::Outline {
            size: outline.bytes(),
            chunks: outline.chunks().to_vec(),
        })
    }

    fn chunk(&self, digest: &Digest, index: u32) -> Option<Bytes> {
        self.0.chunk(digest, index).unwrap_or_else(|error| {
            tracing::warn!(%digest, %error, "an artifact cannot be read");
            None
        })
    }
}

/// Peers as the store asks them.
struct Swarm<'a> {
    discovery: &'a Discovery,
    /// What is longer is refused before it is fetched.
    bytes_max: u64,
}

impl Peers for Swarm<'_> {
    fn providers<'a>(
        &'a self,
        digest: &'a Digest,
    ) -> BoxFuture<'a, Result<Vec<PeerName>, PeerError>> {
        Box::pin(async move {
            let found = self.discovery.artifact_providers(digest).await;
            let names = found.iter().map(|peer| peer.to_string().parse());
            Ok(names.filter_map(Result::ok).collect())
        })
    }

    fn outline<'a>(
        &'a self,
        peer: &'a PeerName,
        digest: &'a Digest,
    ) -> BoxFuture<'a, Result<Outline, PeerError>> {
        Box::pin(async move {
            let said = self.discovery.artifact_outline(key(peer)?, digest).await;
            let said = said.map_err(refused)?;
            if said.size > self.bytes_max {
                let most = self.bytes_max;
                return Err(PeerError::Garbled(format!("more than {most} bytes")));
            }
            let outline = Outline::new(said.size, said.chunks);
            outline.map_err(|error| PeerError::Garbled(error.to_string()))
        })
    }

    fn chunk<'a>(
        &'a self,
        peer: &'a PeerName,
        digest: &'a Digest,
        index: u32,
    ) -> BoxFuture<'a, Result<Bytes, PeerError>> {
        Box::pin(async move {
            // The outline that a chunk is held against is not proven yet: the store judges.
            let chunk = self
                .discovery
                .artifact_chunk(key(peer)?, digest, index, None)
                .await;
            chunk.map_err(refused)
        })
    }
}

fn key(peer: &PeerName) -> Result<PeerKey, PeerError> {
    let parsed = peer.as_str().parse::<PeerKey>();
    parsed.map_err(|error| PeerError::Unreachable(error.to_string()))
}

fn refused(error: rialto_discovery::FetchError) -> PeerError {
    use rialto_discovery::FetchError as Error;
    match error {
        Error::NotThere => PeerError::Absent,
        Error::ComeAgain { .. } => PeerError::Busy,
        Error::Wrong => PeerError::Garbled(error.to_string()),
        Error::Open(_) | Error::Broken(_) | Error::Late => {
            PeerError::Unreachable(error.to_string())
        }
    }
}

impl Mesh {
    /// Keeps what a manifest is made of in the store, the manifest itself included, and tells peers that it
    /// is here: whoever runs the service elsewhere fetches it from those who run it.
    pub(super) async fn serve(&self, signed: &SignedManifest) -> Result<(), PinError> {
        let (store, signed) = (self.store.clone(), signed.clone());
        let pinned = tokio::task::spawn_blocking(move || pin(&store, &signed)).await;
        for digest in pinned.map_err(|error| PinError::Io(std::io::Error::other(error)))?? {
            if let Err(error) = self.discovery.provide_artifact(&digest).await {
                tracing::debug!(%digest, %error, "peers are not told of an artifact");
            }
        }
        Ok(())
    }
}

/// Pins manifest, component and models; those that are here.
fn pin(store: &Store, signed: &SignedManifest) -> Result<Vec<Digest>, PinError> {
    let put = store.put_bytes(signed.to_text().as_bytes());
    let manifest = put.map_err(|error| PinError::Io(std::io::Error::other(error)))?;
    let short: String = signed.digest().to_string().chars().take(16).collect();
    let owner = format!("manifest-{short}");
    let owner: PinOwner = owner
        .parse()
        .map_err(|error| PinError::Io(std::io::Error::other(error)))?;
    let models = signed.manifest().models().iter();
    let all = [manifest, signed.component()]
        .into_iter()
        .chain(models.map(|model| model.digest));
    let mut here = Vec::new();
    for digest in all {
        if store.pin(&digest, &owner)? {
            here.push(digest);
        }
    }
    Ok(here)
}

impl Node {
    /// Where an artifact is, fetched from wherever it is found: its sources, and then peers.
    ///
    /// # Errors
    /// [`FetchError`]; nothing is left behind.
    pub(super) async fn fetch(
        &self,
        sources: &[Source],
        digest: &Digest,
        progress: &Progress,
    ) -> Result<PathBuf, Box<FetchError>> {
        self.fetch_within(sources, digest, u64::MAX, progress).await
    }

    /// The same for what has so many bytes at most, if it comes from peers.
    ///
    /// # Errors
    /// [`FetchError`]; nothing is left behind.
    pub(super) async fn fetch_within(
        &self,
        sources: &[Source],
        digest: &Digest,
        bytes_max: u64,
        progress: &Progress,
    ) -> Result<PathBuf, Box<FetchError>> {
        let report = artifacts::reported(progress);
        let Some(mesh) = self.mesh() else {
            let store = self.0.catalog.store();
            let fetched = store.fetch_any(sources, None, digest, &report).await;
            return fetched.map_err(Box::new);
        };
        let swarm = Swarm {
            discovery: &mesh.discovery,
            bytes_max,
        };
        // Peers are told of what is run, not of all that was looked at.
        let fetched = mesh
            .store
            .fetch_any(sources, Some(&swarm), digest, &report)
            .await;
        fetched.map_err(Box::new)
    }
}
