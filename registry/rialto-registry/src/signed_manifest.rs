//! A manifest as it is published: what `service.toml` says, which component it is of, how its methods
//! are called, and the publisher's signature below.
//!
//! The signed bytes are JSON, kept exactly as they were signed. With the signature they are one text, whose
//! SHA-256 names the manifest: that is what the chain says of a service, and it is fetched like any other
//! artifact. Whether the signer owns the name is not in it, since names change hands:
//! [`NameBook`](crate::NameBook) tells.
//!
//! Not here: what the component really exports, which the host compares when it loads it.

mod document;

use std::sync::Arc;

use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::{Eip712Domain, SolStruct};
use rialto_channels::{Signature, SigningKey, recover};
use semver::Version;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Digest, Manifest, ManifestErrors, Name, RawManifest, RegistryId};

pub use document::{Draft, MethodText};

/// The most bytes of a signed manifest.
pub const MANIFEST_BYTES_MAX: usize = 512 << 10;

/// A manifest whose signature was checked. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SignedManifest(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    payload: String,
    signature: Signature,
    digest: Digest,
    document: document::Document,
    checked: document::Checked,
}

/// What is asked of a wallet: the digest to sign, and where it is shown, what it is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToSign {
    /// The EIP-712 digest.
    pub digest: B256,
    /// The same as `eth_signTypedData_v4` takes it.
    pub typed_data: Value,
}

/// Why a text is no signed manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignedManifestError {
    /// More than [`MANIFEST_BYTES_MAX`].
    #[error("the signed manifest has {0} bytes, more than {MANIFEST_BYTES_MAX}")]
    TooLong(usize),
    /// No JSON, or of another shape.
    #[error("the signed manifest cannot be read: {0}")]
    Form(String),
    /// A field that is out of its bounds.
    #[error("the signed manifest's `{field}` {problem}")]
    Field {
        /// Its path.
        field: String,
        /// What is wrong.
        problem: String,
    },
    /// What `service.toml` says is wrong.
    #[error("the manifest is not valid: {0}")]
    Manifest(#[from] ManifestErrors),
    /// The signature is of another account than the publisher that it names.
    #[error("the signed manifest names {publisher} as its publisher, who has not signed it")]
    Signature {
        /// The publisher that it names.
        publisher: Address,
    },
}

impl SignedManifest {
    /// Reads and checks a signed manifest as it is stored and sent ([`to_text`](Self::to_text)).
    ///
    /// # Errors
    /// [`SignedManifestError`].
    pub fn parse(text: &[u8]) -> Result<Self, SignedManifestError> {
        if text.len() > MANIFEST_BYTES_MAX {
            return Err(SignedManifestError::TooLong(text.len()));
        }
        let wire: Wire = serde_json::from_slice(text).map_err(form)?;
        let signature = wire.signature.parse().map_err(form)?;
        Self::check(wire.payload, signature)
    }

    /// Signs with a key that is at hand.
    ///
    /// # Errors
    /// [`SignedManifestError`] if the draft is out of its bounds, or names another publisher than the key's.
    pub fn sign(draft: &Draft, key: &SigningKey) -> Result<Self, SignedManifestError> {
        let payload = draft.payload()?;
        let digest = Self::to_sign(&payload)?.digest;
        Self::check(payload, key.sign(digest))
    }

    /// What a wallet signs for a draft's payload.
    ///
    /// # Errors
    /// [`SignedManifestError`] if the payload is out of its bounds.
    pub fn to_sign(payload: &str) -> Result<ToSign, SignedManifestError> {
        let document: document::Document = serde_json::from_str(payload).map_err(form)?;
        Ok(to_sign(&document.check()?, payload))
    }

    /// Joins a payload with the signature that a wallet made of [`to_sign`](Self::to_sign).
    ///
    /// # Errors
    /// [`SignedManifestError`].
    pub fn check(payload: String, signature: Signature) -> Result<Self, SignedManifestError> {
        let document: document::Document = serde_json::from_str(&payload).map_err(form)?;
        let checked = document.check()?;
        let typed = to_sign(&checked, &payload);
        if recover(typed.digest, &signature) != Ok(checked.publisher) {
            return Err(SignedManifestError::Signature {
                publisher: checked.publisher,
            });
        }
        let wire = Wire {
            payload,
            signature: signature.to_hex(),
        };
        let text = wire.text();
        if text.len() > MANIFEST_BYTES_MAX {
            return Err(SignedManifestError::TooLong(text.len()));
        }
        let digest = Digest::of(text.as_bytes());
        Ok(Self(Arc::new(Inner {
            payload: wire.payload,
            signature,
            digest,
            document,
            checked,
        })))
    }

    /// The signature below it.
    #[must_use]
    pub fn signature(&self) -> Signature {
        self.0.signature
    }

    /// The whole, as it is stored and sent: JSON with `payload`, a text of JSON, and `signature`.
    #[must_use]
    pub fn to_text(&self) -> String {
        let wire = Wire {
            payload: self.0.payload.clone(),
            signature: self.0.signature.to_hex(),
        };
        wire.text()
    }

    /// The SHA-256 of [`to_text`](Self::to_text), which names this manifest.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.0.digest
    }

    /// What `service.toml` says.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.0.checked.manifest
    }

    /// What `service.toml` says, as JSON, for a host that stores it beside the component.
    #[must_use]
    pub fn settings(&self) -> &Value {
        &self.0.document.manifest
    }

    /// The service's name.
    #[must_use]
    pub fn name(&self) -> &Name {
        self.0.checked.manifest.name()
    }

    /// The service's version.
    #[must_use]
    pub fn version(&self) -> &Version {
        self.0.checked.manifest.version()
    }

    /// Who signed.
    #[must_use]
    pub fn publisher(&self) -> Address {
        self.0.checked.publisher
    }

    /// Where the name is registered.
    #[must_use]
    pub fn registry(&self) -> RegistryId {
        self.0.checked.registry
    }

    /// The component's SHA-256.
    #[must_use]
    pub fn component(&self) -> Digest {
        self.0.checked.component
    }

    /// The component's size in bytes.
    #[must_use]
    pub fn component_bytes(&self) -> u64 {
        self.0.document.component.bytes
    }

    /// Where the component can be fetched besides from peers: addresses as in a model's `url`.
    #[must_use]
    pub fn component_sources(&self) -> &[String] {
        &self.0.document.component.sources
    }

    /// The interfaces that the component exports, such as `rialto:embed/api@0.1.0`.
    #[must_use]
    pub fn interfaces(&self) -> &[String] {
        &self.0.document.interfaces
    }

    /// The methods: names, documentation, and JSON Schemas of what goes in and out.
    #[must_use]
    pub fn methods(&self) -> &[MethodText] {
        &self.0.document.methods
    }

    /// Words to be found by.
    #[must_use]
    pub fn tags(&self) -> &[String] {
        &self.0.document.tags
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    payload: String,
    signature: String,
}

impl Wire {
    fn text(&self) -> String {
        // Two texts are always JSON.
        serde_json::json!({ "payload": self.payload, "signature": self.signature }).to_string()
    }
}

fn form(error: impl std::fmt::Display) -> SignedManifestError {
    SignedManifestError::Form(error.to_string())
}

fn manifest(raw: &Value) -> Result<Manifest, SignedManifestError> {
    let raw = RawManifest::deserialize(raw).map_err(form)?;
    Ok(Manifest::try_from(raw)?)
}

fn to_sign(checked: &document::Checked, payload: &str) -> ToSign {
    let document::Checked {
        manifest, registry, ..
    } = checked;
    let digest = B256::from(Digest::of(payload.as_bytes()));
    let typed = typed::Manifest {
        name: manifest.name().as_str().to_owned(),
        version: manifest.version().to_string(),
        digest,
    };
    let domain = Eip712Domain::new(
        Some("Rialto Registry".into()),
        Some("1".into()),
        Some(U256::from(registry.chain_id)),
        Some(registry.address),
        None,
    );
    ToSign {
        digest: typed.eip712_signing_hash(&domain),
        typed_data: serde_json::json!({
            "types": {
                "EIP712Domain": [
                    { "name": "name", "type": "string" },
                    { "name": "version", "type": "string" },
                    { "name": "chainId", "type": "uint256" },
                    { "name": "verifyingContract", "type": "address" },
                ],
                "Manifest": [
                    { "name": "name", "type": "string" },
                    { "name": "version", "type": "string" },
                    { "name": "digest", "type": "bytes32" },
                ],
            },
            "primaryType": "Manifest",
            "domain": {
                "name": "Rialto Registry",
                "version": "1",
                "chainId": registry.chain_id,
                "verifyingContract": registry.address.to_string(),
            },
            "message": {
                "name": manifest.name().as_str(),
                "version": manifest.version().to_string(),
                "digest": digest.to_string(),
            },
        }),
    }
}

mod typed {
    alloy_sol_types::sol! {
        struct Manifest {
            string name;
            string version;
            bytes32 digest;
        }
    }
}

#[cfg(test)]
mod tests;
