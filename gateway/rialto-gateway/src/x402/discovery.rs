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
    /// Its path on this host.
    pub path: String,
    /// The service.
    pub service: String,
    /// The method.
    pub method: String,
    /// The ways to pay for an empty request.
    pub accepts: Vec<Requirements>,
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
                "endpoint": route.path,
                "method": "POST",
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
