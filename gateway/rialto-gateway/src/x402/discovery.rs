//! What discovery services read: the `bazaar` extension of a 402 and the manifest at
//! `/.well-known/x402`.
//!
//! Clients echo a 402's extensions in their payment header, so the block in a 402 stays small: the
//! whole schemas are in the OpenAPI document.

use serde_json::{Value, json};

use super::offer::{Requirements, Resource};

/// The extension's key.
pub const KEY: &str = "bazaar";

/// The block in a 402: how to call this route, without its schemas.
#[must_use]
pub fn declaration(takes_raw_bytes: bool) -> Value {
    let body_type = if takes_raw_bytes { "form-data" } else { "json" };
    json!({
        "info": {
            "input": {"type": "http", "method": "POST", "bodyType": body_type, "body": {}},
            "output": {"type": "json"},
        },
        "schema": {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {"input": {"type": "object"}},
            "required": ["input"],
        },
    })
}

/// One route in the manifest.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The route.
    pub resource: Resource,
    /// The service.
    pub service: String,
    /// The method.
    pub method: String,
    /// The ways to pay for an empty request.
    pub accepts: Vec<Requirements>,
    /// The JSON Schema of its parameters.
    pub parameters: Value,
}

/// The manifest: what can be bought here.
#[must_use]
pub fn manifest(routes: &[Listed]) -> Value {
    let resources: Vec<Value> = routes
        .iter()
        .map(|route| {
            json!({
                "url": route.resource.url,
                "type": "http",
                "method": "POST",
                "description": route.resource.description,
                "mimeType": route.resource.mime_type,
                "accepts": route.accepts,
            })
        })
        .collect();
    let endpoints: Vec<Value> = routes
        .iter()
        .map(|route| {
            json!({
                "agent": route.service,
                "tool": route.method,
                "endpoint": route.resource.url,
                "method": "POST",
                "input_schema": with_placeholders(route.parameters.clone()),
                "x402_version": super::VERSION,
                "description": route.resource.description,
            })
        })
        .collect();
    let accepts = routes.first().map(|r| &r.accepts);
    json!({
        "x402Version": super::VERSION,
        "name": "rialto",
        "accepts": accepts.map_or_else(|| json!([]), |a| json!(a)),
        "resources": resources,
        "routes": endpoints,
        "openapi": "/openapi.json",
    })
}

/// Auditors call a paid route with the simplest body that its schema allows, to see the 402: a letter
/// for a text, unless the schema has a default. A letter is no base64, and so bytes get one.
fn with_placeholders(mut schema: Value) -> Value {
    fill(&mut schema);
    schema
}

fn fill(schema: &mut Value) {
    if let Some(fields) = schema.as_object_mut() {
        if fields
            .get("contentEncoding")
            .is_some_and(|it| it == "base64")
        {
            fields.entry("default").or_insert_with(|| json!(""));
        }
        fields.values_mut().for_each(fill);
    } else if let Some(items) = schema.as_array_mut() {
        items.iter_mut().for_each(fill);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_a_placeholder_wherever_they_are() {
        let bytes = json!({"type": "string", "contentEncoding": "base64"});
        let schema = json!({
            "type": "object",
            "properties": {
                "text": {"type": "string"},
                "picture": bytes,
                "pictures": {"type": "array", "items": bytes},
            },
        });
        let filled = with_placeholders(schema);
        assert_eq!(filled["properties"]["picture"]["default"], "");
        assert_eq!(filled["properties"]["pictures"]["items"]["default"], "");
        assert!(filled["properties"]["text"].get("default").is_none());
    }
}
