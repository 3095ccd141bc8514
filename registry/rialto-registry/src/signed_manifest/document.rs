//! The signed document: its fields and their bounds.
//!
//! Not here: signatures.

use alloy_primitives::Address;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{SignedManifestError, manifest};
use crate::{Digest, Manifest, RegistryId, Source};

/// What a publisher signs, before it is signed.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// `service.toml` as JSON. Files of the publisher's own machine are no sources for others and must be
    /// left out; what remains without a source is fetched from peers.
    pub manifest: Value,
    /// The component's SHA-256.
    pub component: Digest,
    /// Its size in bytes.
    pub component_bytes: u64,
    /// Where it can be fetched besides from peers: addresses as in a model's `url`.
    pub component_sources: Vec<String>,
    /// The interfaces that it exports.
    pub interfaces: Vec<String>,
    /// Its methods.
    pub methods: Vec<MethodText>,
    /// Words to be found by.
    pub tags: Vec<String>,
    /// Who signs.
    pub publisher: Address,
    /// Where the name is registered.
    pub registry: RegistryId,
}

/// One method, for readers and for tools that call it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MethodText {
    /// Its name, as HTTP paths write it.
    pub name: String,
    /// Its documentation; may be empty.
    pub docs: String,
    /// The JSON Schema of its parameters.
    pub input: Value,
    /// The JSON Schema of its result.
    pub output: Value,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    r#type: String,
    pub(super) manifest: Value,
    pub(super) component: Component,
    pub(super) interfaces: Vec<String>,
    pub(super) methods: Vec<MethodText>,
    pub(super) tags: Vec<String>,
    pub(super) publisher: Address,
    registry: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Component {
    sha256: String,
    pub(super) bytes: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) sources: Vec<String>,
}

/// What a document says, once each field has passed.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) component: Digest,
    pub(super) manifest: Manifest,
    pub(super) publisher: Address,
    pub(super) registry: RegistryId,
}

impl Draft {
    /// The text that is signed.
    ///
    /// # Errors
    /// [`SignedManifestError`] if a field is out of its bounds.
    pub fn payload(&self) -> Result<String, SignedManifestError> {
        let document = Document {
            r#type: TYPE.to_owned(),
            manifest: self.manifest.clone(),
            component: Component {
                sha256: self.component.to_string(),
                bytes: self.component_bytes,
                sources: self.component_sources.clone(),
            },
            interfaces: self.interfaces.clone(),
            methods: self.methods.clone(),
            tags: self.tags.clone(),
            publisher: self.publisher,
            registry: self.registry.to_string(),
        };
        document.check()?;
        serde_json::to_string(&document).map_err(super::form)
    }
}

impl Document {
    /// Checks every field.
    pub(super) fn check(&self) -> Result<Checked, SignedManifestError> {
        if self.r#type != TYPE {
            return Err(field("type", format!("is not {TYPE}")));
        }
        let manifest = manifest(&self.manifest)?;
        let component = self
            .component
            .sha256
            .parse()
            .map_err(|error| field("component.sha256", error))?;
        if self.component.bytes == 0 || self.component.bytes > COMPONENT_BYTES_MAX {
            let problem = format!("is not between 1 and {COMPONENT_BYTES_MAX}");
            return Err(field("component.bytes", problem));
        }
        bounded("component.sources", &self.component.sources, SOURCES_MAX)?;
        for url in &self.component.sources {
            let source = url.parse::<Source>();
            let source = source.map_err(|error| field("component.sources", error))?;
            if matches!(source, Source::File(_)) {
                return Err(field("component.sources", "names a file of one machine"));
            }
        }
        bounded("interfaces", &self.interfaces, INTERFACES_MAX)?;
        bounded("tags", &self.tags, TAGS_MAX)?;
        for tag in &self.tags {
            tag.parse::<crate::Name>()
                .map_err(|error| field("tags", error))?;
        }
        self.check_methods(&manifest)?;
        check_models(&manifest)?;
        if self.publisher.is_zero() {
            return Err(field("publisher", "is nobody"));
        }
        let registry = self
            .registry
            .parse()
            .map_err(|error| field("registry", error))?;
        Ok(Checked {
            component,
            manifest,
            publisher: self.publisher,
            registry,
        })
    }

    fn check_methods(&self, manifest: &Manifest) -> Result<(), SignedManifestError> {
        if self.methods.is_empty() || self.methods.len() > METHODS_MAX {
            let problem = format!("has {} entries, not 1 to {METHODS_MAX}", self.methods.len());
            return Err(field("methods", problem));
        }
        let mut names = Vec::new();
        for method in &self.methods {
            let name: crate::MethodName = method
                .name
                .parse()
                .map_err(|error| field("methods", format!("= {:?} {error}", method.name)))?;
            if names.contains(&name) {
                return Err(field("methods", format!("lists `{name}` twice")));
            }
            if method.docs.len() > DOCS_BYTES_MAX || method.docs.contains(is_control) {
                let problem = format!("has docs of `{name}` that are too long or not text");
                return Err(field("methods", problem));
            }
            names.push(name);
        }
        match manifest.prices().keys().find(|name| !names.contains(name)) {
            Some(name) => Err(field(
                "methods",
                format!("lacks `{name}`, which has a price"),
            )),
            None => Ok(()),
        }
    }
}

/// A file of the publisher's machine says nothing to anybody else.
fn check_models(manifest: &Manifest) -> Result<(), SignedManifestError> {
    for model in manifest.models() {
        if matches!(model.source, Some(Source::File(_))) {
            let problem = format!("names a file as the source of `{}`", model.name);
            return Err(field("manifest.models", problem));
        }
    }
    Ok(())
}

fn bounded(name: &str, list: &[String], max: usize) -> Result<(), SignedManifestError> {
    if list.len() > max {
        return Err(field(
            name,
            format!("has {} entries, more than {max}", list.len()),
        ));
    }
    let odd = |text: &&String| {
        text.is_empty() || text.len() > TEXT_BYTES_MAX || text.contains(is_control)
    };
    match list.iter().find(odd) {
        Some(_) => Err(field(
            name,
            "has an entry that is empty, too long or not text",
        )),
        None => Ok(()),
    }
}

fn is_control(c: char) -> bool {
    c.is_control() && c != '\n' && c != '\t'
}

fn field(field: &str, problem: impl std::fmt::Display) -> SignedManifestError {
    SignedManifestError::Field {
        field: field.to_owned(),
        problem: problem.to_string(),
    }
}

const TYPE: &str = "rialto-manifest-1";
const COMPONENT_BYTES_MAX: u64 = 1 << 30;
const SOURCES_MAX: usize = 8;
const INTERFACES_MAX: usize = 32;
const METHODS_MAX: usize = 256;
const TAGS_MAX: usize = 16;
const TEXT_BYTES_MAX: usize = 512;
const DOCS_BYTES_MAX: usize = 8 << 10;
