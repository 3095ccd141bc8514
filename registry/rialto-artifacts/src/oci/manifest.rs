//! Manifests of artifacts (OCI image specification 1.1; CNCF's layout of Wasm artifacts).
//!
//! Not here: fetching them, and fields that nothing here uses.

use rialto_registry::{
    Digest,
    source::{OciReference, OciVersion},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::OciError;

/// A manifest whose layers can be named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Manifest {
    layers: Vec<Descriptor>,
}

/// One layer, or the config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Descriptor {
    pub(super) media_type: String,
    pub(super) digest: Digest,
    pub(super) size: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawManifest {
    schema_version: u32,
    layers: Vec<RawDescriptor>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct RawDescriptor {
    media_type: String,
    digest: String,
    size: u64,
}

impl Manifest {
    /// Reads a registry's answer. One that was asked for by digest must have it.
    pub(super) fn parse(reference: &OciReference, body: &[u8]) -> Result<Self, OciError> {
        let wrong = |problem: String| OciError::Answer {
            reference: reference.to_string(),
            what: "manifest",
            problem,
        };
        if let OciVersion::Digest(expected) = reference.version() {
            let found = Digest::of(body);
            if found != *expected {
                return Err(wrong(format!("has sha256 {found}")));
            }
        }
        let raw: RawManifest = serde_json::from_slice(body)
            .map_err(|error| wrong(format!("is none of an artifact: {error}")))?;
        if raw.schema_version != 2 || raw.layers.len() > LAYERS_MAX {
            return Err(wrong("is of another version or too long".to_owned()));
        }
        // Layers with other hashes are no artifacts of ours, but no mistake either.
        let layers = raw.layers.into_iter().filter_map(|raw| {
            let digest = raw.digest.strip_prefix("sha256:")?.parse().ok()?;
            Some(Descriptor {
                media_type: raw.media_type,
                digest,
                size: raw.size,
            })
        });
        Ok(Self {
            layers: layers.collect(),
        })
    }

    /// The one component.
    pub(super) fn component(&self, reference: &OciReference) -> Result<&Descriptor, OciError> {
        let is_wasm = |layer: &&Descriptor| layer.media_type == WASM_TYPE;
        let mut components = self.layers.iter().filter(is_wasm);
        match (components.next(), components.count()) {
            (Some(component), 0) => Ok(component),
            (first, more) => Err(OciError::NoComponent {
                reference: reference.to_string(),
                found: more + usize::from(first.is_some()),
            }),
        }
    }

    /// The layer with this digest.
    pub(super) fn layer(
        &self,
        reference: &OciReference,
        digest: &Digest,
    ) -> Result<Descriptor, OciError> {
        let layer = self.layers.iter().find(|layer| layer.digest == *digest);
        layer.cloned().ok_or_else(|| OciError::NoLayer {
            reference: reference.to_string(),
            digest: *digest,
        })
    }
}

/// Config and manifest for one artifact, as bytes to push. Equal artifacts get equal bytes: the time
/// that the layout asks for is the epoch.
pub(super) fn describe(digest: &Digest, size: u64, is_wasm: bool) -> (Vec<u8>, Vec<u8>) {
    let (config_type, layer_type, config) = if is_wasm {
        let config = json!({
            "created": "1970-01-01T00:00:00Z",
            "architecture": "wasm",
            "os": "wasip2",
            "layerDigests": [format!("sha256:{digest}")],
        });
        (WASM_CONFIG_TYPE, WASM_TYPE, config)
    } else {
        (EMPTY_TYPE, BYTES_TYPE, json!({}))
    };
    let config = config.to_string().into_bytes();
    let mut manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": descriptor(config_type, &Digest::of(&config), bytes_of(&config)),
        "layers": [descriptor(layer_type, digest, size)],
    });
    if !is_wasm {
        // Required where the config says nothing.
        manifest["artifactType"] = json!(BYTES_TYPE);
    }
    (config, manifest.to_string().into_bytes())
}

fn descriptor(media_type: &str, digest: &Digest, size: u64) -> serde_json::Value {
    json!({ "mediaType": media_type, "digest": format!("sha256:{digest}"), "size": size })
}

fn bytes_of(text: &[u8]) -> u64 {
    u64::try_from(text.len()).unwrap_or(u64::MAX)
}

pub(super) const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const WASM_CONFIG_TYPE: &str = "application/vnd.wasm.config.v0+json";
const WASM_TYPE: &str = "application/wasm";
const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";
const BYTES_TYPE: &str = "application/octet-stream";
/// The longest manifest, in bytes; registries allow four times as much.
pub(super) const BYTES_MAX: usize = 1 << 20;
const LAYERS_MAX: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn reference() -> OciReference {
        "oci://r.example/a:1".parse().unwrap()
    }

    #[test]
    fn what_is_described_reads_back() {
        let digest = Digest::of(b"component");
        let (config, manifest) = describe(&digest, 9, true);
        assert_eq!(
            describe(&digest, 9, true),
            (config.clone(), manifest.clone())
        );
        let parsed = Manifest::parse(&reference(), &manifest).unwrap();
        let component = parsed.component(&reference()).unwrap();
        assert_eq!((component.digest, component.size), (digest, 9));
        let text = String::from_utf8(manifest).unwrap();
        assert!(text.contains(&Digest::of(&config).to_string()));
        let (config, manifest) = describe(&digest, 9, false);
        assert_eq!(config, b"{}");
        let parsed = Manifest::parse(&reference(), &manifest).unwrap();
        assert!(parsed.component(&reference()).is_err());
        assert_eq!(parsed.layer(&reference(), &digest).unwrap().size, 9);
        assert!(parsed.layer(&reference(), &Digest::of(b"x")).is_err());
    }

    #[test]
    fn odd_manifests_are_refused() {
        for bad in [
            "",
            "[]",
            r#"{"schemaVersion":1,"layers":[]}"#,
            r#"{"schemaVersion":2,"manifests":[]}"#,
            r#"{"schemaVersion":2,"layers":[{"mediaType":"application/wasm","size":1}]}"#,
            r#"{"schemaVersion":2,"layers":[{"mediaType":"a","digest":"sha256:00","size":-1}]}"#,
        ] {
            assert!(
                Manifest::parse(&reference(), bad.as_bytes()).is_err(),
                "{bad}"
            );
        }
        let (_, manifest) = describe(&Digest::of(b"m"), 1, true);
        let by_digest = |digest: Digest| -> OciReference {
            format!("r.example/a@sha256:{digest}").parse().unwrap()
        };
        assert!(Manifest::parse(&by_digest(Digest::of(&manifest)), &manifest).is_ok());
        assert!(Manifest::parse(&by_digest(Digest::of(b"other")), &manifest).is_err());
    }

    #[test]
    fn two_components_are_none() {
        let layer = format!(
            r#"{{"mediaType":"application/wasm","digest":"sha256:{}","size":1}}"#,
            Digest::of(b"a")
        );
        let text = format!(r#"{{"schemaVersion":2,"layers":[{layer},{layer}]}}"#);
        let parsed = Manifest::parse(&reference(), text.as_bytes()).unwrap();
        let error = parsed.component(&reference()).unwrap_err();
        assert!(
            matches!(error, OciError::NoComponent { found: 2, .. }),
            "{error:?}"
        );
    }
}
