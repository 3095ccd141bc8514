//! The artifact store, for an operator who looks after it beside a running node or without one.
//!
//! Several processes may share a store, so nothing here asks the node. Not here: models of services,
//! and peers, whom only a running node knows.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rialto_artifacts::{Collected, Entry, PinOwner, PinOwnerError, ProgressFn, Store};
use rialto_registry::digest::ParseDigestError;
use rialto_registry::source::SourceError;
use rialto_registry::{Digest, Source};

use crate::progress::Progress;

/// An artifact store that is open. Its methods block, but for [`Artifacts::fetch`].
#[derive(Debug, Clone)]
pub struct Artifacts(Store);

impl Artifacts {
    /// Opens the store in `dir`, with what the environment says about sources.
    ///
    /// # Errors
    /// [`ArtifactsError::Open`] if the folder cannot be used.
    pub fn open(dir: &Path) -> Result<Self, ArtifactsError> {
        Ok(Self(Store::open(settings(dir))?))
    }

    /// What is in the store, the most recently used first.
    ///
    /// # Errors
    /// [`ArtifactsError::Collect`] if the folder cannot be read.
    pub fn list(&self) -> Result<Vec<Entry>, ArtifactsError> {
        Ok(self.0.list()?)
    }

    /// Pins an artifact, and says whether it is here.
    ///
    /// # Errors
    /// [`ArtifactsError`] if `digest` or `owner` is none, or nothing can be pinned.
    pub fn pin(&self, digest: &str, owner: &str) -> Result<bool, ArtifactsError> {
        Ok(self.0.pin(&digest_of(digest)?, &owner.parse()?)?)
    }

    /// Takes back a pin, and says whether there was one.
    ///
    /// # Errors
    /// [`ArtifactsError`] if `digest` or `owner` is none, or the pin cannot be removed.
    pub fn unpin(&self, digest: &str, owner: &str) -> Result<bool, ArtifactsError> {
        let owner: PinOwner = owner.parse()?;
        Ok(self.0.unpin(&digest_of(digest)?, &owner)?)
    }

    /// Evicts what is neither pinned nor in use until at most `bytes_max` bytes are used.
    ///
    /// # Errors
    /// [`ArtifactsError::Collect`] if the folder cannot be read or changed.
    pub fn gc(&self, bytes_max: u64) -> Result<Collected, ArtifactsError> {
        Ok(self.0.gc(bytes_max)?)
    }

    /// Fetches an artifact and says which it is and where. `what` is a source, or a digest that is
    /// here already. A source needs `digest`, except an OCI reference, whose manifest names one.
    ///
    /// # Errors
    /// [`ArtifactsError`] if `what` or `digest` cannot be read, or nothing right can be had.
    pub async fn fetch(
        &self,
        what: &str,
        digest: Option<&str>,
        progress: &Progress,
    ) -> Result<(Digest, PathBuf), ArtifactsError> {
        let (sources, digest) = self.wanted(what, digest, progress).await?;
        let report = reported(progress);
        let path = self.0.fetch_any(&sources, None, &digest, &report).await?;
        Ok((digest, path))
    }

    async fn wanted(
        &self,
        what: &str,
        digest: Option<&str>,
        progress: &Progress,
    ) -> Result<(Vec<Source>, Digest), ArtifactsError> {
        if let Ok(digest) = what.parse() {
            return Ok((Vec::new(), digest));
        }
        let source: Source = what.parse()?;
        let digest = match (digest, &source) {
            (Some(digest), _) => digest_of(digest)?,
            (None, Source::Oci(reference)) => {
                progress.say(&format!("asking what {reference} is"));
                self.0.resolve(reference).await?
            }
            (None, _) => return Err(ArtifactsError::NoDigest(what.to_owned())),
        };
        Ok((vec![source], digest))
    }
}

/// How this machine's stores behave: as usual, with what the environment says about sources.
pub(crate) fn settings(dir: &Path) -> rialto_artifacts::Config {
    rialto_artifacts::Config::new(dir).with_environment(std::env::vars_os())
}

/// A fetch's reports as steps.
pub(crate) fn reported(progress: &Progress) -> ProgressFn {
    let sink = progress.clone();
    Arc::new(move |step: rialto_artifacts::Progress| {
        sink.transfer(&step.message, step.bytes, step.bytes_total);
    })
}

fn digest_of(text: &str) -> Result<Digest, ArtifactsError> {
    let bare = text.strip_prefix("sha256:").unwrap_or(text);
    bare.parse().map_err(|source| ArtifactsError::Digest {
        text: text.to_owned(),
        source,
    })
}

/// Why something cannot be done with an artifact store.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactsError {
    /// The store cannot be opened.
    #[error(transparent)]
    Open(#[from] rialto_artifacts::OpenError),
    /// The text is no digest.
    #[error("{text:?} is no artifact; write the 64 hex digits that `sha256sum` prints")]
    Digest {
        /// The text.
        text: String,
        /// Why.
        #[source]
        source: ParseDigestError,
    },
    /// The text is neither a source nor a digest.
    #[error(
        "no digest and no source; write one such as `https://..`, `oci://host/repository:tag`, \
         `s3://bucket/key`, `hf://owner/name@revision/path` or `file:///path`"
    )]
    Source(#[from] SourceError),
    /// Nothing says which bytes are right.
    #[error("{0} does not say which bytes are right; pass --sha256")]
    NoDigest(String),
    /// The owner's name is none.
    #[error(transparent)]
    Owner(#[from] PinOwnerError),
    /// The pin cannot be set or taken back.
    #[error(transparent)]
    Pin(#[from] rialto_artifacts::PinError),
    /// The folder cannot be gone through.
    #[error(transparent)]
    Collect(#[from] rialto_artifacts::CollectError),
    /// The registry does not say what a reference is.
    #[error(transparent)]
    Resolve(#[from] rialto_artifacts::OciError),
    /// It cannot be had.
    #[error(transparent)]
    Fetch(#[from] rialto_artifacts::FetchError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_operator_looks_after_a_store() {
        let dir = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::open(&dir.path().join("store")).unwrap();
        let file = dir.path().join("model");
        std::fs::write(&file, b"weights").unwrap();
        let source = format!("file://{}", file.display());
        let progress = Progress::silent();
        let error = artifacts.fetch(&source, None, &progress).await.unwrap_err();
        assert!(matches!(error, ArtifactsError::NoDigest(_)), "{error:?}");
        let digest = Digest::of(b"weights").to_string();
        let named = Some(digest.as_str());
        let (found, path) = artifacts.fetch(&source, named, &progress).await.unwrap();
        assert_eq!(found.to_string(), digest);
        let again = artifacts.fetch(&digest, None, &progress).await.unwrap();
        assert_eq!(again, (found, path));
        let prefixed = format!("sha256:{digest}");
        assert!(artifacts.pin(&prefixed, "operator").unwrap());
        assert_eq!(artifacts.list().unwrap()[0].pins.len(), 1);
        let kept = artifacts.gc(0).unwrap();
        assert_eq!((kept.pinned, kept.bytes_used), (1, 7));
        assert!(artifacts.unpin(&digest, "operator").unwrap());
        for bad in ["", "sha256:12", "model"] {
            assert!(artifacts.pin(bad, "operator").is_err(), "{bad}");
            assert!(
                artifacts.fetch(bad, None, &progress).await.is_err(),
                "{bad}"
            );
        }
        assert!(artifacts.pin(&digest, "no such/owner").is_err());
    }
}
