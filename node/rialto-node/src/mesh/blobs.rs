//! Artifacts between peers: this node's store to others, and others' to this node's store.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use rialto_artifacts::{FetchError, PeerError, PeerName, Peers, PinError, PinOwner, Store};
use rialto_discovery::{Blobs, Discovery, PeerKey};
use rialto_registry::outline::Outline;
use rialto_registry::{Digest, Name, SignedManifest, Source};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use super::Mesh;
use crate::Node;
use crate::artifacts;
use crate::progress::Progress;
use crate::shelf::PendingError;

/// What peers may read of the store.
#[derive(Debug)]
pub(super) struct Shelves {
    pub(super) store: Store,
    pub(super) provided: Arc<Provided>,
}

/// The artifacts that this node provides, by service: peers may read them, and nothing else that lies in
/// the store, which other services' private models do.
#[derive(Debug, Default)]
pub(super) struct Provided(RwLock<BTreeMap<Of, Vec<Digest>>>);

/// What artifacts are provided for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Of {
    Service(Name),
    /// Own feedback, which rests on receipts.
    Feedback,
}

impl Provided {
    /// Provides these for a service from now on, and what it had before no more.
    fn put(&self, service: Name, digests: Vec<Digest>) {
        self.insert(Of::Service(service), digests);
    }

    /// Provides these receipts from now on, for those who read this node's user's feedback.
    pub(super) fn put_receipts(&self, digests: Vec<Digest>) {
        self.insert(Of::Feedback, digests);
    }

    fn insert(&self, of: Of, digests: Vec<Digest>) {
        // Each entry is put in and taken out whole, whatever a panicking thread did.
        let mut provided = self.0.write().unwrap_or_else(PoisonError::into_inner);
        provided.insert(of, digests);
    }

    /// Provides nothing for a service any more.
    pub(super) fn forget(&self, service: &str) {
        let mut provided = self.0.write().unwrap_or_else(PoisonError::into_inner);
        provided.retain(|of, _| !matches!(of, Of::Service(name) if name.as_str() == service));
    }

    fn has(&self, digest: &Digest) -> bool {
        let provided = self.0.read().unwrap_or_else(PoisonError::into_inner);
        provided.values().any(|digests| digests.contains(digest))
    }
}

impl Blobs for Shelves {
    fn outline(&self, digest: &Digest) -> Option<rialto_discovery::Outline> {
        if !self.provided.has(digest) {
            return None;
        }
        let read = self.store.outline(digest);
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
        if !self.provided.has(digest) {
            return None;
        }
        self.store.chunk(digest, index).unwrap_or_else(|error| {
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
    /// Provides a service by this manifest from now on, durably: keeps what it is made of, and tells peers.
    ///
    /// # Errors
    /// What cannot be pinned, or the record that cannot be kept.
    pub(super) async fn provide<E>(&self, signed: &SignedManifest) -> Result<(), E>
    where
        E: From<PinError> + From<PendingError>,
    {
        let pinned = {
            let _alone = self.pinning.lock().await;
            let pinned = self.pin(signed).await?;
            self.published.keep(signed)?;
            pinned
        };
        self.tell(&pinned).await;
        Ok(())
    }

    /// Provides what a manifest is made of once more, unless another took its place meanwhile.
    pub(super) async fn serve(&self, signed: &SignedManifest) -> Result<(), PinError> {
        let pinned = {
            let _alone = self.pinning.lock().await;
            if !self.published.has(signed) {
                return Ok(());
            }
            self.pin(signed).await?
        };
        self.tell(&pinned).await;
        Ok(())
    }

    /// Keeps what a manifest is made of in the store, the manifest itself included, and lets peers read it:
    /// whoever runs the service elsewhere fetches it from those who run it.
    async fn pin(&self, signed: &SignedManifest) -> Result<Vec<Digest>, PinError> {
        let owner = self.pin_owner()?;
        let (store, kept) = (self.store.clone(), signed.clone());
        let pinned = tokio::task::spawn_blocking(move || pin(&store, &owner, &kept)).await;
        let pinned = pinned.map_err(|error| PinError::Io(std::io::Error::other(error)))??;
        self.provided.put(signed.name().clone(), pinned.clone());
        Ok(pinned)
    }

    async fn tell(&self, pinned: &[Digest]) {
        for digest in pinned {
            if let Err(error) = self.discovery.provide_artifact(digest).await {
                tracing::debug!(%digest, %error, "peers are not told of an artifact");
            }
        }
    }

    /// Who owns the pins on what is provided: this node, as others may share the store.
    pub(super) fn pin_owner(&self) -> Result<PinOwner, PinError> {
        let owner = format!("mesh.{}", self.peer()).parse();
        owner.map_err(|error| PinError::Io(std::io::Error::other(error)))
    }
}

/// Pins manifest, component and models; those that are here.
fn pin(store: &Store, owner: &PinOwner, signed: &SignedManifest) -> Result<Vec<Digest>, PinError> {
    let put = store.put_bytes(signed.to_text().as_bytes());
    put.map_err(|error| PinError::Io(std::io::Error::other(error)))?;
    let mut here = Vec::new();
    for digest in parts(signed) {
        if store.pin(&digest, owner)? {
            here.push(digest);
        }
    }
    Ok(here)
}

/// What a service is made of for those who take it in: manifest, component and models.
pub(super) fn parts(signed: &SignedManifest) -> impl Iterator<Item = Digest> {
    let models = signed.manifest().models().iter();
    [signed.digest(), signed.component()]
        .into_iter()
        .chain(models.map(|model| model.digest))
}

impl Node {
    /// Where an artifact is, fetched from wherever it is found: its sources, as far as a stranger may name
    /// them, and then peers.
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
            // There are no strangers either, so no sources of theirs.
            let store = self.0.catalog.store();
            let fetched = store.fetch_any(&[], None, digest, &report).await;
            return fetched.map_err(Box::new);
        };
        let swarm = Swarm {
            discovery: &mesh.discovery,
            bytes_max,
        };
        // Peers are told of what is run, not of all that was looked at.
        let fetched = mesh
            .strangers
            .fetch_any(sources, Some(&swarm), digest, &report)
            .await;
        fetched.map_err(Box::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifacts;

    #[test]
    fn peers_read_what_is_provided_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(artifacts::settings(dir.path())).unwrap();
        let provided = Arc::new(Provided::default());
        let shelves = Shelves {
            store: store.clone(),
            provided: Arc::clone(&provided),
        };
        let [public, older, private] =
            [&b"public"[..], b"older", b"private"].map(|bytes| store.put_bytes(bytes).unwrap());
        let is_read = |digest: &Digest| {
            let (outline, chunk) = (shelves.outline(digest), shelves.chunk(digest, 0));
            assert_eq!(outline.is_some(), chunk.is_some());
            chunk.is_some()
        };
        let name: Name = "filetype".parse().unwrap();
        provided.put(name.clone(), vec![older]);
        assert!(is_read(&older) && !is_read(&public));
        provided.put(name, vec![public]);
        assert!(is_read(&public) && !is_read(&older) && !is_read(&private));
        provided.forget("filetype");
        assert!(!is_read(&public));
    }
}
