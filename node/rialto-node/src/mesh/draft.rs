//! What a publisher signs, made of a service's folder: its manifest without what only this machine has,
//! and the texts of its methods as the component has them.

use alloy_primitives::Address;
use rialto_host::{Interface, Method};
use rialto_registry::signed_manifest::{Draft, MethodText};
use rialto_registry::{Digest, RegistryId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::catalog::Inspected;

/// What the publisher adds to what the folder says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publishing {
    /// Words to be found by.
    pub tags: Vec<String>,
    /// Where the component can be fetched besides from peers.
    pub sources: Vec<String>,
    /// Who signs.
    pub publisher: Address,
}

/// The draft of what is signed.
///
/// # Errors
/// When `service.toml`, which was read as a manifest before, cannot be read as a table.
pub(super) fn draft(
    inspected: &Inspected,
    publishing: &Publishing,
    registry: RegistryId,
) -> Result<Draft, toml::de::Error> {
    let text = String::from_utf8_lossy(&inspected.text);
    let mut manifest: Value = toml::from_str(&text)?;
    leave_files_out(&mut manifest);
    let interface = &inspected.interface;
    Ok(Draft {
        manifest,
        component: Digest::of(&inspected.component),
        component_bytes: u64::try_from(inspected.component.len()).unwrap_or(u64::MAX),
        component_sources: publishing.sources.clone(),
        interfaces: interfaces(interface),
        methods: interface.methods.iter().map(method).collect(),
        tags: publishing.tags.clone(),
        publisher: publishing.publisher,
        registry,
    })
}

/// A file of this machine is no source to others: they ask peers.
fn leave_files_out(manifest: &mut Value) {
    let models = manifest.get_mut("models").and_then(Value::as_array_mut);
    for model in models.into_iter().flatten() {
        if let Some(model) = model.as_object_mut()
            && model
                .get("source")
                .is_some_and(|it| it.get("file").is_some())
        {
            model.remove("source");
        }
    }
}

/// Functions of a world's own belong to no interface that others could know.
fn interfaces(interface: &Interface) -> Vec<String> {
    let named = interface.name.contains(':');
    named.then(|| interface.name.clone()).into_iter().collect()
}

fn method(method: &Method) -> MethodText {
    let properties: Map<String, Value> = method
        .params
        .iter()
        .map(|param| (param.name.clone(), param.schema.clone()))
        .collect();
    let required: Vec<&str> = method
        .params
        .iter()
        .filter(|param| !param.optional)
        .map(|param| param.name.as_str())
        .collect();
    MethodText {
        name: method.name.clone(),
        docs: method.docs.clone().unwrap_or_default(),
        input: json!({
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": false,
        }),
        output: method.result_schema.clone(),
    }
}
