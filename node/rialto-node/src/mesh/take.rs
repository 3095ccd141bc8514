//! Running what somebody else published: the manifest by the name's owner, the component and models by their
//! digests, from peers or wherever the manifest says.

use std::path::{Path, PathBuf};

use rialto_chain::client::RegistryError;
use rialto_registry::signed_manifest::{MANIFEST_BYTES_MAX, SignedManifestError};
use rialto_registry::{Digest, Name, SignedManifest, Source, Status};
use serde_json::Value;

use super::Mesh;
use crate::Node;
use crate::catalog::{ChangeError, Changed};
use crate::progress::Progress;
use crate::shelf::PendingError;

/// Why somebody's service does not run here.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// The node takes no part in the mesh.
    #[error(
        "this node takes no part in the mesh: start it with --mesh, or set mesh.enabled = true in the configuration"
    )]
    Alone,
    /// Nobody owns the name.
    #[error(
        "nobody has registered the name `{0}` on this chain: `rialto search` shows what there is"
    )]
    NoSuchName(Name),
    /// Its owner does not want it to run.
    #[error("the owner of `{name}` revoked it: {why}")]
    Revoked {
        /// The name.
        name: Name,
        /// The owner's reason.
        why: String,
    },
    /// Its owner published no manifest.
    #[error("the owner of `{0}` has published no manifest yet")]
    NothingPublished(Name),
    /// No peer has the manifest.
    #[error(
        "no peer that can be reached has the manifest {digest} of `{name}`: try again when one of its providers is there"
    )]
    NoManifest {
        /// The name.
        name: Name,
        /// The manifest's digest.
        digest: Digest,
        /// Why.
        #[source]
        source: Box<rialto_artifacts::FetchError>,
    },
    /// What a peer gave is no manifest.
    #[error("the manifest is not valid")]
    Manifest(#[from] SignedManifestError),
    /// Somebody else than the name's owner signed it.
    #[error("the manifest of `{0}` is not signed by the owner of the name")]
    NotTheOwner(Name),
    /// The component or a model cannot be had.
    #[error("what the service is made of cannot be fetched")]
    Fetch(#[from] Box<rialto_artifacts::FetchError>),
    /// A file of the store cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The files cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The manifest has values that service.toml cannot have.
    #[error("the manifest cannot be written as service.toml")]
    Encode(#[from] toml::ser::Error),
    /// It cannot run here.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// The chain cannot be read.
    #[error("the chain cannot be read")]
    Chain(#[from] RegistryError),
    /// What others need cannot be kept for them.
    #[error("what others need to run it cannot be kept")]
    Pin(#[from] rialto_artifacts::PinError),
    /// The record cannot be kept.
    #[error("what runs cannot be kept")]
    Keep(#[from] PendingError),
}

impl Node {
    /// Fetches the service that the owner of `name` published, runs it and offers it.
    ///
    /// # Errors
    /// [`TakeError`]; what ran before runs on.
    pub async fn take_in(
        &self,
        name: &Name,
        progress: &Progress,
    ) -> Result<(SignedManifest, Changed), TakeError> {
        let mesh = self.mesh().ok_or(TakeError::Alone)?;
        let known = self
            .name_on_chain(name)
            .await?
            .ok_or_else(|| TakeError::NoSuchName(name.clone()))?;
        if let Status::Revoked(why) = known.status {
            let name = name.clone();
            return Err(TakeError::Revoked { name, why });
        }
        let digest = known
            .manifest
            .ok_or_else(|| TakeError::NothingPublished(name.clone()))?;
        progress.say(&format!("fetching the manifest of {name}"));
        let signed = self.manifest(name, digest, progress).await?;
        if !known.has_signed(name, &signed) {
            return Err(TakeError::NotTheOwner(name.clone()));
        }
        progress.say(&format!("fetching {name} {}", signed.version()));
        for model in signed.manifest().models() {
            self.fetch(model.source.as_slice(), &model.digest, progress)
                .await?;
        }
        let sources = signed.component_sources().iter();
        let sources: Vec<Source> = sources.filter_map(|url| url.parse().ok()).collect();
        let component = self.fetch(&sources, &signed.component(), progress).await?;
        let changed = self.deploy_taken(mesh, &signed, &component).await?;
        mesh.provide::<TakeError>(&signed).await?;
        mesh.offer_soon();
        self.give_back().await;
        Ok((signed, changed))
    }

    /// A signed manifest by its digest: from this node's store, or from peers.
    ///
    /// # Errors
    /// [`TakeError::NoManifest`], [`TakeError::Manifest`].
    pub(super) async fn manifest(
        &self,
        name: &Name,
        digest: Digest,
        progress: &Progress,
    ) -> Result<SignedManifest, TakeError> {
        let most = u64::try_from(MANIFEST_BYTES_MAX).unwrap_or(u64::MAX);
        let fetched = self.fetch_within(&[], &digest, most, progress).await;
        let file = fetched.map_err(|source| TakeError::NoManifest {
            name: name.clone(),
            digest,
            source,
        })?;
        let read = read_within(&file, most).await;
        let text = read.map_err(|source| TakeError::Read { path: file, source })?;
        Ok(SignedManifest::parse(&text)?)
    }

    /// Deploys from a folder that lasts no longer than this: the catalog keeps versions of its own.
    async fn deploy_taken(
        &self,
        mesh: &Mesh,
        signed: &SignedManifest,
        component: &Path,
    ) -> Result<Changed, TakeError> {
        let _alone = mesh.taking.lock().await;
        let deployed = match self.unpack(signed, component) {
            Ok(folder) => self.deploy(&folder).await.map_err(TakeError::from),
            Err(error) => Err(error),
        };
        self.clear_taken();
        deployed
    }

    /// Puts component and `service.toml` into a folder of their own.
    fn unpack(&self, signed: &SignedManifest, component: &Path) -> Result<PathBuf, TakeError> {
        let folder = self.taken().join(signed.digest().to_string());
        let text = toml::to_string_pretty(&without_sources(signed.settings()))?;
        let write = |name: &str, from: Result<Vec<u8>, &Path>| {
            let path = folder.join(name);
            let written = match from {
                Ok(bytes) => std::fs::write(&path, bytes),
                Err(file) => std::fs::copy(file, &path).map(|_| ()),
            };
            written.map_err(|source| TakeError::Write { path, source })
        };
        std::fs::create_dir_all(&folder).map_err(|source| TakeError::Write {
            path: folder.clone(),
            source,
        })?;
        write("service.toml", Ok(text.into_bytes()))?;
        write("component.wasm", Err(component))?;
        Ok(folder)
    }
}

/// A manifest as it runs here. Its models are in the store by now; where a stranger says that they can be
/// had is asked for no later load, which would go there as for the operator's own services.
fn without_sources(settings: &Value) -> Value {
    let mut settings = settings.clone();
    let models = settings.get_mut("models").and_then(Value::as_array_mut);
    for model in models.into_iter().flatten() {
        if let Some(model) = model.as_object_mut() {
            model.remove("source");
        }
    }
    settings
}

/// Reads a file that has so many bytes at most.
pub(super) async fn read_within(file: &Path, bytes_max: u64) -> std::io::Result<Vec<u8>> {
    if tokio::fs::metadata(file).await?.len() > bytes_max {
        return Err(std::io::Error::from(std::io::ErrorKind::FileTooLarge));
    }
    tokio::fs::read(file).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_was_taken_names_no_sources() {
        let signed = json!({
            "name": "filetype",
            "models": [
                {"name": "a", "sha256": "00", "source": {"url": "http://10.0.0.1/m"}},
                {"name": "b", "sha256": "01"},
            ],
        });
        let models = json!([{"name": "a", "sha256": "00"}, {"name": "b", "sha256": "01"}]);
        let runs = json!({"name": "filetype", "models": models});
        assert_eq!(without_sources(&signed), runs);
        assert_eq!(without_sources(&json!({})), json!({}));
    }
}
