//! Putting an artifact of the store where others can fetch it: an OCI registry, an object store, a file.
//!
//! Not here: what is announced to whom.

use std::{fs, io, path::Path};

use rialto_registry::{Digest, Source};
use tokio::task::spawn_blocking;

use crate::{OciError, ReadError, Store};

/// Why an artifact is not published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// It is not in the store.
    #[error("artifact {0} is not in the store; fetch or build it first")]
    Absent(Digest),
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Nothing can be written there.
    #[error(
        "cannot publish to {0}; give `oci://host/repository:tag`, `s3://bucket/key` or `file:///path`"
    )]
    ReadOnly(String),
    /// A registry names what it is given; only a tag can be chosen.
    #[error("{0} names a digest; give a tag to publish under")]
    NoTag(String),
    /// The registry does not take it.
    #[error(transparent)]
    Oci(#[from] OciError),
    /// The object store does not take it.
    #[error(
        "cannot put {address} into the object store; check AWS_ENDPOINT_URL and the credentials"
    )]
    Object {
        /// The object.
        address: String,
        /// Why.
        #[source]
        source: object_store::Error,
    },
    /// This machine failed.
    #[error("cannot publish the artifact")]
    Io(#[from] io::Error),
}

impl Store {
    /// Puts an artifact where `to` says. For an OCI registry, returns the manifest's digest, by which
    /// the artifact can be had whatever becomes of the tag.
    ///
    /// # Errors
    /// [`PublishError`]. What was sent before a failure may stay with the receiver, unnamed.
    pub async fn publish(
        &self,
        digest: &Digest,
        to: &Source,
    ) -> Result<Option<Digest>, PublishError> {
        let (store, wanted) = (self.clone(), *digest);
        let held = spawn_blocking(move || store.hold(&wanted))
            .await
            .map_err(io::Error::other)??
            .ok_or(PublishError::Absent(*digest))?;
        match to {
            Source::Oci(reference) => {
                let file = tokio::fs::File::open(held.path()).await?;
                self.push(digest, file, reference).await.map(Some)
            }
            Source::Object(object) => {
                let file = tokio::fs::File::open(held.path()).await?;
                self.put_object(file, object).await.map(|()| None)
            }
            Source::File(path) => {
                let path = path.clone();
                spawn_blocking(move || copy_out(held.path(), &path))
                    .await
                    .map_err(io::Error::other)??;
                Ok(None)
            }
            Source::Wheel(_) | Source::Url(_) | Source::Hub(_) => {
                Err(PublishError::ReadOnly(to.to_string()))
            }
        }
    }
}

/// Copies a file so that it appears whole or not at all.
fn copy_out(from: &Path, to: &Path) -> io::Result<()> {
    let dir = to.parent().ok_or(io::ErrorKind::InvalidInput)?;
    fs::create_dir_all(dir)?;
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    io::copy(&mut fs::File::open(from)?, &mut file)?;
    file.as_file().sync_all()?;
    file.persist(to).map_err(|error| error.error)?;
    Ok(())
}
