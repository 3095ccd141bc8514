//! Disk that services of the mesh need no more is given back: folders that they were taken in from, and pins
//! on what old versions were made of.
//!
//! Nothing is noted of what is to go: whatever no record of this node names goes, so that a crash at any moment
//! leaves to the next start what it leaves undone. What is pinned no more stays in the store until its room is
//! needed.
//! Not here: versions of services, which the catalog keeps and forgets.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

use rialto_artifacts::{PinError, PinOwner, Store};
use rialto_registry::Digest;

use super::{Mesh, blobs};
use crate::Node;
use crate::manifest::ManifestFileError;

/// Why old versions keep their room for now.
#[derive(Debug, thiserror::Error)]
enum RoomError {
    #[error("a published manifest cannot be read")]
    Published,
    #[error("a version that is kept cannot be read")]
    Kept(#[from] ManifestFileError),
    #[error("pins cannot be taken back")]
    Pins(#[from] PinError),
    #[error("looking for old versions crashed")]
    Task(#[from] tokio::task::JoinError),
}

impl Node {
    /// Removes what an earlier process left.
    pub(crate) async fn sweep(&self) {
        self.clear_taken();
        self.give_back().await;
    }

    /// Where services are put together that are taken in.
    pub(super) fn taken(&self) -> PathBuf {
        self.config().data_dir.join("taken")
    }

    /// Removes what services were put together from. Failing to costs disk alone.
    pub(super) fn clear_taken(&self) {
        let folder = self.taken();
        if let Err(error) = std::fs::remove_dir_all(&folder)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(folder = %folder.display(), %error, "what was taken in cannot be removed");
        }
    }

    /// Takes back this node's pins on what neither a service that it provides is made of, nor a version
    /// needs that one can go back to. Failing to costs disk alone.
    pub(crate) async fn give_back(&self) {
        let Some(mesh) = self.mesh() else {
            return;
        };
        match self.unpin_old(mesh).await {
            Ok(0) => {}
            Ok(count) => tracing::debug!(count, "artifacts of old versions may go"),
            Err(error) => {
                tracing::warn!(error = %crate::catalog::chain(&error), "old versions keep their room");
            }
        }
    }

    async fn unpin_old(&self, mesh: &Mesh) -> Result<usize, RoomError> {
        let _alone = mesh.pinning.lock().await;
        let published = mesh.published.whole().ok_or(RoomError::Published)?;
        let needed = published.iter().flat_map(blobs::parts).collect();
        let (store, owner, node) = (mesh.store.clone(), mesh.pin_owner()?, self.clone());
        let unpin = move || unpin_but(&store, &owner, needed, || node.0.catalog.kept_models());
        tokio::task::spawn_blocking(unpin).await?
    }
}

/// Takes back all pins of `owner` but those on what is needed, and says how many. What is `kept` is needed as
/// well; it is looked at only if there is something to take back.
fn unpin_but(
    store: &Store,
    owner: &PinOwner,
    needed: BTreeSet<Digest>,
    kept: impl FnOnce() -> Result<BTreeSet<Digest>, ManifestFileError>,
) -> Result<usize, RoomError> {
    let pins = store.pins()?.into_iter();
    let own = pins.filter(|(digest, owners)| owners.contains(owner) && !needed.contains(digest));
    let mut old: Vec<Digest> = own.map(|(digest, _)| digest).collect();
    if !old.is_empty() {
        let kept = kept()?;
        old.retain(|digest| !kept.contains(digest));
    }
    for digest in &old {
        store.unpin(digest, owner)?;
    }
    Ok(old.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifacts;

    #[test]
    fn pins_on_what_is_needed_and_pins_of_others_stay() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(artifacts::settings(dir.path())).unwrap();
        let owner = |text: &str| text.parse::<PinOwner>().unwrap();
        let (own, neighbour, operator) = (owner("mesh.a"), owner("mesh.ab"), owner("operator"));
        let [current, before, old] =
            [&b"current"[..], b"before", b"old"].map(|bytes| store.put_bytes(bytes).unwrap());
        for digest in [current, before, old] {
            store.pin(&digest, &own).unwrap();
        }
        store.pin(&old, &neighbour).unwrap();
        store.pin(&old, &operator).unwrap();
        let needed = BTreeSet::from([current]);
        // Who cannot say what is kept loses nothing of it.
        let unreadable = || {
            Err(ManifestFileError::Read {
                file: PathBuf::new(),
                source: io::ErrorKind::PermissionDenied.into(),
            })
        };
        unpin_but(&store, &own, needed.clone(), unreadable).unwrap_err();
        assert_eq!(store.pins().unwrap()[&old].len(), 3);
        let kept = || Ok(BTreeSet::from([before]));
        assert_eq!(unpin_but(&store, &own, needed.clone(), kept).unwrap(), 1);
        let pins = store.pins().unwrap();
        for needed in [current, before] {
            assert_eq!(pins[&needed], std::slice::from_ref(&own));
        }
        assert_eq!(pins[&old], [neighbour, operator]);
        // Nothing left to do: what is kept need not be looked at.
        let all = BTreeSet::from([current, before]);
        assert_eq!(unpin_but(&store, &own, all, unreadable).unwrap(), 0);
    }
}
