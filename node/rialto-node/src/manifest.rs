//! Reads `service.toml` and turns manifests into what the host needs.
//!
//! The rules of a manifest are `rialto-registry`'s; only its TOML is decoded here.

use std::path::{Path, PathBuf};
use std::time::Duration;

use alloy_primitives::B256;
use rialto_host::{Callees, Grants, Limits, Origin, ServiceSpec, Settings, WasiGroup};
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
pub(crate) fn service_spec(
    manifest: &Manifest,
    sandbox: &Sandbox,
    settings: Settings,
    deterministic: bool,
) -> ServiceSpec {
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
        settings,
        deterministic,
        limits: host_limits(&sandbox.limits_of(manifest)),
        isolation: sandbox.isolation_of(manifest.name().as_str()),
    }
}

/// Limits in the host's terms.
pub(crate) fn host_limits(limits: &rialto_registry::Limits) -> Limits {
    let count = |limit: u64| u32::try_from(limit).unwrap_or(u32::MAX);
    Limits {
        memory_bytes_max: limits.memory_bytes_max,
        table_elements_max: limits.table_elements_max,
        cpu_max: Duration::from_millis(limits.cpu_ms_max.min(limits.time_ms_max)),
        wall_max: limits.time_max(),
        input_bytes_max: limits.input_bytes_max,
        output_bytes_max: limits.output_bytes_max,
        handles_max: count(limits.handles_max),
        host_calls_max: limits.host_calls_max,
        host_bytes_max: limits.host_bytes_max,
        transfer_bytes_max: limits.transfer_bytes_max,
        tensor_bytes_max: limits.tensor_bytes_max,
        multiply_adds_max: limits.multiply_adds_max,
        session_bytes_max: limits.session_bytes_max,
        outbound_requests_max: count(limits.outbound_requests_max),
        key_value_bytes_max: limits.key_value_bytes_max,
        log_lines_max: count(limits.log_lines_max),
    }
}

fn origin(origin: &rialto_registry::Origin) -> Origin {
    Origin {
        https: origin.https,
        host: origin.host.clone(),
        below: origin.below,
        port: origin.port,
    }
}

fn grants(grants: &rialto_registry::Grants) -> Grants {
    Grants {
        http: grants
            .http
            .as_ref()
            .map(|origins| origins.iter().map(origin).collect()),
        tensor: grants.tensor,
        context: grants.context,
        log: grants.log,
        key_value: grants.key_value,
        config: grants.config,
        calls: grants.calls.as_ref().map(|callees| match callees {
            rialto_registry::Callees::All => Callees::All,
            rialto_registry::Callees::Named(names) => {
                Callees::Named(names.iter().map(ToString::to_string).collect())
            }
        }),
        wasi: grants
            .wasi
            .iter()
            .filter_map(|group| WasiGroup::from_name(group.as_str()))
            .collect(),
    }
}
