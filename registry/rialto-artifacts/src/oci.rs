//! OCI registries (distribution specification v2): one layer of one manifest is an artifact.
//!
//! WebAssembly components lie there as the CNCF's Wasm artifact layout says; models as plain layers.
//! Not here: images of several platforms, compressed layers, signatures beside manifests. The digest
//! that was asked for decides what is accepted.

mod challenge;
mod login;
mod manifest;
mod push;
mod session;

use futures_util::future::BoxFuture;
use reqwest::Method;
use rialto_registry::{Digest, source::OciReference};

use crate::{
    FetchError, Store,
    http::{is_refused, opened, ranged},
    remote::{Opened, Remote},
};
use manifest::{Descriptor, Manifest};
use session::Session;

/// Why a registry does not give or take an artifact.
#[derive(Debug, thiserror::Error)]
pub enum OciError {
    /// The registry cannot be reached or broke off.
    #[error("cannot reach the registry for {reference}")]
    Http {
        /// What was asked for.
        reference: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The registry does not know the caller, or not well enough.
    #[error(
        "the registry lets nobody like us {action} {reference}; set RIALTO_OCI_REGISTRY, \
         RIALTO_OCI_USERNAME and RIALTO_OCI_PASSWORD, or log in with `docker login`"
    )]
    Denied {
        /// What was asked for.
        reference: String,
        /// `pull` or `push`.
        action: &'static str,
    },
    /// The registry answered with another status than success.
    #[error("the registry answered {what} of {reference} with status {status}")]
    Status {
        /// What was asked for.
        reference: String,
        /// Which part.
        what: &'static str,
        /// The HTTP status.
        status: u16,
    },
    /// What the registry says cannot be right: its fault.
    #[error("the registry's {what} of {reference} {problem}")]
    Answer {
        /// What was asked for.
        reference: String,
        /// Which answer.
        what: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The manifest has no such layer.
    #[error("{reference} has no layer with sha256 {digest}; correct the reference")]
    NoLayer {
        /// The manifest.
        reference: String,
        /// The artifact that was looked for.
        digest: Digest,
    },
    /// The manifest is not one WebAssembly component.
    #[error("{reference} is not one WebAssembly component, but has {found} such layers")]
    NoComponent {
        /// The manifest.
        reference: String,
        /// Its layers of that type.
        found: usize,
    },
    /// The logins' file cannot be read.
    #[error("cannot read the logins in {path}")]
    Logins {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl OciError {
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Http { source, .. } => {
                !source.is_redirect() && !source.is_builder() && !is_refused(source)
            }
            Self::Status { status, .. } => matches!(status, 408 | 425 | 429 | 500..),
            Self::Denied { .. }
            | Self::Answer { .. }
            | Self::NoLayer { .. }
            | Self::NoComponent { .. }
            | Self::Logins { .. } => false,
        }
    }
}

impl Store {
    /// Asks a registry which artifact a reference means: the one WebAssembly component of its manifest.
    ///
    /// A tag may point elsewhere tomorrow; the digest is what to write down.
    ///
    /// # Errors
    /// [`OciError`] if the registry does not say, or if it is no single component.
    pub async fn resolve(&self, reference: &OciReference) -> Result<Digest, OciError> {
        let session = self.oci_session(reference, "pull").await?;
        Ok(session.manifest().await?.component(reference)?.digest)
    }

    /// The layer `digest` of a reference.
    pub(crate) async fn oci_layer(
        &self,
        reference: &OciReference,
        digest: &Digest,
    ) -> Result<Layer, OciError> {
        let session = self.oci_session(reference, "pull").await?;
        let manifest = session.manifest().await?;
        let descriptor = manifest.layer(reference, digest)?;
        Ok(Layer {
            session,
            descriptor,
        })
    }

    async fn oci_session(
        &self,
        reference: &OciReference,
        action: &'static str,
    ) -> Result<Session, OciError> {
        let login = login::find(&self.inner.config, reference.host()).await?;
        Session::new(self.inner.web.clone(), reference.clone(), login, action)
    }
}

impl Session {
    async fn manifest(&self) -> Result<Manifest, OciError> {
        let version = self.reference().version().to_string();
        let response = self
            .send(
                Method::GET,
                &["manifests", &version],
                "manifest",
                |request| request.header(reqwest::header::ACCEPT, manifest::MANIFEST_TYPE),
            )
            .await?;
        let body = self.read(response, "manifest", manifest::BYTES_MAX).await?;
        Manifest::parse(self.reference(), &body)
    }
}

/// A layer's bytes.
#[derive(Debug)]
pub(crate) struct Layer {
    session: Session,
    descriptor: Descriptor,
}

impl Remote for Layer {
    fn open(&self, from: u64) -> BoxFuture<'_, Result<Opened, FetchError>> {
        Box::pin(async move {
            let name = format!("sha256:{}", self.descriptor.digest);
            let response = self
                .session
                .send_any(Method::GET, &["blobs", &name], |request| {
                    ranged(request, from)
                })
                .await?;
            let reference = self.session.reference().to_string();
            let mut opened = opened(response, from, &reference)?;
            let size = self.descriptor.size;
            if opened.bytes_total.is_some_and(|total| total != size) {
                return Err(OciError::Answer {
                    reference,
                    what: "layer",
                    problem: format!("has another size than the {size} bytes of its manifest"),
                }
                .into());
            }
            opened.bytes_total = Some(size);
            Ok(opened)
        })
    }
}
