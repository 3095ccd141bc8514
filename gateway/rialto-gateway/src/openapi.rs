//! The OpenAPI 3.1 document, made from the services' own types and doc comments.
//!
//! Not here: serving it.

use serde_json::{Map, Value, json};

use crate::listing::{MethodRecord, ServiceRecord};
use crate::x402::Network;

mod fixed;

/// The document of a node that runs `services` and is paid on `network` in `token`.
#[must_use]
pub fn document(services: &[ServiceRecord], network: Network, token: &str) -> Value {
    let mut paths = fixed::paths();
    let mut tags = Vec::new();
    for service in services {
        tags.push(json!({"name": service.name, "description": service.description}));
        for method in &service.methods {
            let item = method_item(service, method, network, token);
            paths.insert(method.path.clone(), item);
        }
    }
    tags.push(json!({"name": "node", "description": "This host, its receipts and channels."}));
    json!({
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "info": {
            "title": "Rialto",
            "summary": "AI services in WebAssembly, paid by the call.",
            "description": fixed::DESCRIPTION,
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": tags,
        "paths": paths,
        "components": fixed::components(),
    })
}

fn method_item(
    service: &ServiceRecord,
    method: &MethodRecord,
    network: Network,
    token: &str,
) -> Value {
    let docs = method.docs.as_deref().unwrap_or_default();
    let summary = docs.lines().next().unwrap_or_default();
    let mut post = json!({
        "operationId": format!("{}.{}", service.name, method.name),
        "tags": [service.name],
        "summary": if summary.is_empty() { method.name.as_str() } else { summary },
        "description": docs,
        "requestBody": request_body(method),
        "responses": responses(method),
    });
    if !method.free {
        post["parameters"] = json!([{"$ref": "#/components/parameters/Payment"}]);
        post["x-payment-info"] = payment_info(method, network, token);
    }
    json!({"get": probe(service, method), "post": post})
}

/// `GET` on a method's path: its 402, without a call.
fn probe(service: &ServiceRecord, method: &MethodRecord) -> Value {
    let mut responses = json!({
        "400": fixed::error("The payment or `bytes` cannot be read."),
        "404": fixed::error("There is no such service or method."),
        "405": fixed::error("The method is free, or the payment is for a call: use POST."),
    });
    if !method.free {
        responses["402"] = json!({"$ref": "#/components/responses/PaymentRequired"});
    }
    json!({
        "operationId": format!("{}.{}.price", service.name, method.name),
        "tags": [service.name],
        "summary": "What a call costs.",
        "parameters": [{"name": "bytes", "in": "query", "required": false,
            "description": "The size of the body that the price is asked for.",
            "schema": {"type": "integer", "minimum": 0}}],
        "responses": responses,
    })
}

/// The JSON Schema of a method's parameters together.
pub(crate) fn parameters(method: &MethodRecord) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for param in &method.params {
        let mut schema = param.schema.clone();
        if let (Some(docs), Some(fields)) = (&param.docs, schema.as_object_mut()) {
            fields
                .entry("description")
                .or_insert_with(|| Value::from(docs.as_str()));
        }
        properties.insert(param.name.clone(), schema);
        if param.required {
            required.push(param.name.clone());
        }
    }
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn request_body(method: &MethodRecord) -> Value {
    let mut content = json!({"application/json": {"schema": parameters(method)}});
    if let Some(field) = &method.raw_body {
        let mut form = Map::new();
        form.insert(
            field.clone(),
            json!({"type": "string", "contentMediaType": "application/octet-stream"}),
        );
        content["application/octet-stream"] = json!({"schema": {
            "description": format!("The bytes of `{field}`. Any other binary type will do too."),
        }});
        content["multipart/form-data"] = json!({"schema": {
            "type": "object", "properties": form, "required": [field],
        }});
    }
    json!({"required": method.params.iter().any(|param| param.required), "content": content})
}

fn responses(method: &MethodRecord) -> Value {
    let refused = match &method.error {
        Some(schema) => json!({"description": "The service refused; nothing was charged.",
        "content": {"application/json": {"schema": {"allOf": [
            {"$ref": "#/components/schemas/Error"},
            {"type": "object", "properties": {"error": {
                "type": "object", "properties": {"details": schema}}}},
        ]}}}}),
        None => fixed::error("The service refused; nothing was charged."),
    };
    let mut ok = json!({
        "description": "The result.",
        "content": {"application/json": {"schema": method.result}},
    });
    if method.streams {
        ok["content"]["text/event-stream"] = json!({"schema": {
            "type": "string",
            "description": EVENTS,
            "contentMediaType": "application/json",
            "contentSchema": method.result.get("items"),
        }});
    }
    let mut responses = json!({
        "400": fixed::error("The parameters or the payment cannot be read."),
        "404": fixed::error("There is no such service or method."),
        "408": fixed::error("The body did not arrive in time."),
        "413": fixed::error("The body is too large."),
        "415": fixed::error("The method does not take a body of this type."),
        "422": refused,
        "500": fixed::error("The host failed; nothing was charged."),
        "502": fixed::error("The service crashed or exceeded a limit; nothing was charged."),
        "503": fixed::error("The host is busy or its chain is away; see Retry-After."),
        "504": fixed::error("The service took too long; nothing was charged."),
    });
    if !method.free {
        ok["headers"] = fixed::paid_headers();
        responses["402"] = json!({"$ref": "#/components/responses/PaymentRequired"});
        responses["409"] = fixed::error("The payment was used for another request.");
    }
    responses["200"] = ok;
    responses
}

/// What discovery services read beside a paid operation.
fn payment_info(method: &MethodRecord, network: Network, token: &str) -> Value {
    let price = &method.price;
    let parts = [
        &price.per_input_kib,
        &price.per_output_kib,
        &price.per_guest_ms,
        &price.per_host_ms,
        &price.per_tensor_run,
        &price.per_device_ms,
        &price.per_giga_multiply_adds,
        &price.per_moved_mib,
        &price.per_token_read,
        &price.per_token_written,
        &price.spend_max,
    ];
    let dynamic = parts.iter().any(|part| *part != "0");
    json!({
        "protocols": ["x402"],
        "schemes": ["batch-settlement", "exact"],
        "network": network.to_string(),
        "currency": token,
        "price": {
            "mode": if dynamic { "dynamic" } else { "fixed" },
            "unit": "token base units",
            "call": price.call,
            "per_input_kib": price.per_input_kib,
            "per_output_kib": price.per_output_kib,
            "per_guest_ms": price.per_guest_ms,
            "per_host_ms": price.per_host_ms,
            "per_tensor_run": price.per_tensor_run,
            "per_device_ms": price.per_device_ms,
            "per_giga_multiply_adds": price.per_giga_multiply_adds,
            "per_moved_mib": price.per_moved_mib,
            "per_token_read": price.per_token_read,
            "per_token_written": price.per_token_written,
            "spend_max": price.spend_max,
            "max": price.max,
            "summary": price.summary,
        },
    })
}

/// What server-sent events are made of.
const EVENTS: &str = "Server-sent events: `item`, each with one item of the result; at last `end`, or `error` with \
     the error's `status`, both with the number of `items`, what was `charged`, and for a paid call `settlement` and \
     `receipt`, as the headers of other answers have them.";

#[cfg(test)]
mod tests;
