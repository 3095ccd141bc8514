//! Reads `service.toml` and turns manifests into what the host needs.
//!
//! The rules of a manifest are `rialto-registry`'s; only its TOML is decoded here.

use std::path::{Path, PathBuf};
use std::time::Duration;

use alloy_primitives::B256;
use rialto_host::{Grants, Limits, ServiceSpec, WasiGroup};
use rialto_registry::{Manifest, ManifestErrors, RawManifest};

use crate::config::Sandbox;

/// Reads and checks the manifest at `file`.
///
/// # Errors
/// [`ManifestFileError`] when it cannot be read, is no manifest, or breaks rules (all are listed).
pub fn read_manifest(file: &Path) -> Result<Manifest, ManifestFileError> {
    let text = std::fs::read_to_string(file).map_err(|source| ManifestFileError::Read {
        file: file.to_owned(),
        source,
    })?;
    let raw: RawManifest = toml::from_str(&text).map_err(|source| ManifestFileError::Decode {
        file: file.to_owned(),
        source: Box::new(source),
    })?;
    Manifest::try_from(raw).map_err(|source| ManifestFileError::Invalid {
        file: file.to_owned(),
        source,
    })
}

/// Why a manifest file was refused. The service's author acts.
#[derive(Debug, thiserror::Error)]
pub enum ManifestFileError {
    /// The file cannot be read.
    #[error("cannot read {}", file.display())]
    Read {
        /// Which file.
        file: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is no manifest, or holds an unknown key.
    #[error("{} is not a manifest: {source}", file.display())]
    Decode {
        /// Which file.
        file: PathBuf,
        /// Where and why.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// It breaks rules.
    #[error("{} breaks the manifest's rules: {source}", file.display())]
    Invalid {
        /// Which file.
        file: PathBuf,
        /// Every problem.
        #[source]
        source: ManifestErrors,
    },
}

/// What the host must know of a manifest, with its limits lowered to the operator's.
pub(crate) fn service_spec(manifest: &Manifest, sandbox: &Sandbox) -> ServiceSpec {
    let asked = manifest.limits();
    let wall_max = Duration::from_millis(asked.time_ms_max.min(sandbox.time_ms_max));
    ServiceSpec {
        name: manifest.name().to_string(),
        version: manifest.version().to_string(),
        grants: grants(manifest.grants()),
        models: manifest
            .models()
            .iter()
            .map(|model| model.name.to_string())
            .collect(),
        model_digests: manifest
            .models()
            .iter()
            .map(|model| (model.name.to_string(), B256::from(model.digest).0))
            .collect(),
        limits: Limits {
            memory_bytes_max: asked.memory_bytes_max.min(sandbox.memory_bytes_max),
            cpu_max: wall_max,
            wall_max,
            input_bytes_max: asked.input_bytes_max,
            output_bytes_max: asked.output_bytes_max,
            host_calls_max: asked.host_calls_max,
            ..Limits::default()
        },
    }
}

fn grants(grants: &rialto_registry::Grants) -> Grants {
    Grants {
        tensor: grants.tensor,
        context: grants.context,
        log: grants.log,
        wasi: grants
            .wasi
            .iter()
            .filter_map(|group| WasiGroup::from_name(group.as_str()))
            .collect(),
    }
}
