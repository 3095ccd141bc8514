//! Which signed manifests this node provides by, one small file each.

use std::path::Path;

use rialto_registry::SignedManifest;
use serde::{Deserialize, Serialize};

use crate::shelf::{PendingError, Shelf};

/// The signed manifests by which this node provides services, by the service's name.
#[derive(Debug)]
pub(super) struct Published(Shelf<Kept>);

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Kept {
    service: String,
    /// The signed manifest as it travels.
    text: String,
}

impl Published {
    /// Reads what an earlier process left.
    ///
    /// # Errors
    /// [`PendingError`]; the operator's to solve.
    pub(super) fn open(data_dir: &Path) -> Result<Self, PendingError> {
        Ok(Self(Shelf::open(data_dir.join("published"))?))
    }

    /// Provides by this manifest from now on, durably.
    ///
    /// # Errors
    /// [`PendingError`]; then it is as it was.
    pub(super) fn keep(&self, manifest: &SignedManifest) -> Result<(), PendingError> {
        let kept = Kept {
            service: manifest.name().to_string(),
            text: manifest.to_text(),
        };
        self.0.keep(kept.service.clone(), kept)
    }

    /// Provides a service no more by a signed manifest.
    pub(super) fn forget(&self, service: &str) {
        self.0.forget(service);
    }

    /// Whether this is the manifest that its service is provided by.
    pub(super) fn has(&self, manifest: &SignedManifest) -> bool {
        let kept = self.0.get(manifest.name().as_str());
        kept.is_some_and(|kept| kept.text == manifest.to_text())
    }

    /// All of them; none if there is one that this version cannot read.
    pub(super) fn whole(&self) -> Option<Vec<SignedManifest>> {
        let kept = self.0.all().into_iter();
        let read = kept.map(|kept| SignedManifest::parse(kept.text.as_bytes()).ok());
        read.collect()
    }

    /// All of them. One that this version cannot read is left out, and said once a look.
    pub(super) fn all(&self) -> Vec<SignedManifest> {
        let read = |kept: Kept| match SignedManifest::parse(kept.text.as_bytes()) {
            Ok(manifest) => Some(manifest),
            Err(error) => {
                tracing::warn!(service = kept.service, %error, "a published manifest cannot be read: publish it again");
                None
            }
        };
        self.0.all().into_iter().filter_map(read).collect()
    }
}
