//! Why a service, or all of them, cannot run: each variant says who acts.

use std::path::PathBuf;

use rialto_host::LoadError;

use crate::manifest::ManifestFileError;
use crate::models::ModelLoadError;
use crate::settings::SettingsError;
use crate::shelf::PendingError;

/// Why not all artifacts could be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchAllError {
    /// The services folder.
    #[error(transparent)]
    Folder(#[from] CatalogError),
    /// A manifest.
    #[error(transparent)]
    Manifest(#[from] ManifestFileError),
    /// A model.
    #[error(transparent)]
    Model(#[from] ModelLoadError),
    /// The store.
    #[error("the artifact store cannot be opened")]
    Store(#[from] rialto_artifacts::OpenError),
}

/// An error with all its causes, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}

/// Why no service runs.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The folder cannot be read.
    #[error("cannot read the services folder {}: pass one with --services", folder.display())]
    Folder {
        /// Which folder.
        folder: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The folder holds no service.
    #[error("no service in {}: each needs a folder with service.toml and component.wasm", folder.display())]
    Empty {
        /// Which folder.
        folder: PathBuf,
    },
    /// What was deployed before cannot be read.
    #[error("what was deployed cannot be read")]
    Kept(#[from] PendingError),
    /// Not one service can run; this is the first one's reason.
    #[error("the service in {} cannot run", service.display())]
    Service {
        /// Which service.
        service: PathBuf,
        /// Why.
        #[source]
        error: Box<ServiceError>,
    },
}

/// Why one service cannot run. Its author acts.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// Its manifest is no good.
    #[error(transparent)]
    Manifest(#[from] ManifestFileError),
    /// Its component cannot be read.
    #[error("cannot read {}", file.display())]
    Component {
        /// Which file.
        file: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A model is missing or refused.
    #[error(transparent)]
    Model(#[from] Box<ModelLoadError>),
    /// Its settings or secrets are not as they should be.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The host refuses the component.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Its component was replaced while the node ran.
    #[error(
        "the component in {} is not the one that was checked at the start: put it back, or run `rialto deploy` with the new one", folder.display()
    )]
    Changed {
        /// Where it is.
        folder: PathBuf,
    },
    /// The node stops.
    #[error("the node is stopping")]
    Stopping,
    /// Compiling it crashed.
    #[error("compiling the component crashed")]
    Task(#[source] tokio::task::JoinError),
    /// A price names no method.
    #[error("[prices.{method}] names no method of the component; it has: {known}")]
    UnknownPrice {
        /// What the manifest prices.
        method: String,
        /// What there is.
        known: String,
    },
    /// Two services have one name.
    #[error("two services are named `{name}`")]
    Duplicate {
        /// The name.
        name: String,
    },
}
