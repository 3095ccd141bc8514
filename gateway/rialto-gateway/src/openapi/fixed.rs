//! The parts of the OpenAPI document that are the same for every node.

use serde_json::{Map, Value, json};

pub(super) const DESCRIPTION: &str = "Call a method by POST. A method that costs answers 402 with \
what it accepts (x402 version 2, and 1 for `exact`); pay one of the offers and send the payment in the \
PAYMENT-SIGNATURE header (version 1: X-PAYMENT). Only a successful call is charged. `GET` on a method's path shows its \
402 without calling it.";

/// An error answer.
pub(super) fn error(description: &str) -> Value {
    json!({
        "description": description,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    })
}

/// The headers of a paid answer.
pub(super) fn paid_headers() -> Value {
    let text =
        |description: &str| json!({"description": description, "schema": {"type": "string"}});
    json!({
        "PAYMENT-RESPONSE": text("Base64 of JSON: what was charged, and the channel afterwards."),
        "RIALTO-RECEIPT": text("Base64 of JSON: the host's signed receipt, as /receipts/{id} gives it."),
        "RIALTO-REPLAYED": text("`true` when this is the stored answer of the same payment."),
    })
}

pub(super) fn components() -> Value {
    json!({
        "parameters": {
            "Payment": {
                "name": "PAYMENT-SIGNATURE",
                "in": "header",
                "required": false,
                "description": "Base64 (standard alphabet) of an x402 version 2 payment payload; \
                    at most 16 KiB.",
                "schema": {"type": "string", "maxLength": 16384},
            },
        },
        "responses": {
            "PaymentRequired": {
                "description": "What this call costs and how to pay. The header is version 2 of the \
                    protocol; the body is version 1, and says the rest for people.",
                "headers": {
                    "PAYMENT-REQUIRED": {
                        "description": "Base64 of JSON: x402 version 2's PaymentRequired.",
                        "schema": {"type": "string"},
                    },
                },
                "content": {"application/json": {
                    "schema": {"$ref": "#/components/schemas/PaymentRequired"},
                }},
            },
        },
        "schemas": {
            "Error": {
                "type": "object",
                "required": ["error"],
                "properties": {"error": {
                    "type": "object",
                    "required": ["code", "message"],
                    "properties": {
                        "code": {"type": "string", "description": "Stable, for programs."},
                        "message": {"type": "string", "description": "For people."},
                        "hint": {"type": "string", "description": "The next thing to do."},
                        "details": {"description": "The service's own error, if it refused."},
                    },
                }},
            },
            "PaymentRequired": {
                "type": "object",
                "required": ["x402Version", "accepts"],
                "properties": {
                    "x402Version": {"enum": [1, 2]},
                    "error": {"type": "string"},
                    "resource": {"type": "object"},
                    "accepts": {"type": "array", "items": {
                        "type": "object",
                        "required": ["scheme", "network", "asset", "payTo", "maxTimeoutSeconds"],
                    }},
                    "extensions": {"type": "object"},
                    "version2": {"type": "object"},
                    "detail": {"type": "object"},
                },
            },
        },
    })
}

/// The paths that are not services.
pub(super) fn paths() -> Map<String, Value> {
    let name = json!([{"name": "service", "in": "path", "required": true,
        "schema": {"type": "string"}}]);
    let mut paths = Map::new();
    let mut add = |path: &str, item: Value| {
        paths.insert(path.to_owned(), item);
    };
    add(
        "/services",
        read(
            "services",
            "All services, with methods and prices, and how full this host is.",
            json!([]),
            &[],
        ),
    );
    let no_service = [("404", "There is no such service.")];
    add(
        "/services/{service}",
        read("service", "One service.", name, &no_service),
    );
    let no_receipt = [
        ("400", "Not an id."),
        ("404", "No such receipt."),
        ("503", "Try again."),
    ];
    let receipt = read(
        "receipt",
        "A signed receipt.",
        json!([id("receipt")]),
        &no_receipt,
    );
    add("/receipts/{id}", receipt);
    let below = read(
        "receipts_below",
        "The receipts of the calls that a call's service made for it.",
        json!([id("receipt")]),
        &no_receipt,
    );
    add("/receipts/{id}/below", below);
    let no_channel = [("400", "Not an id."), ("404", "No such channel.")];
    let channel = read(
        "channel",
        "A payment channel.",
        json!([id("channel")]),
        &no_channel,
    );
    add("/channels/{id}", channel);
    add(
        "/node",
        read("node", "Where this host's money lives.", json!([]), &[]),
    );
    add(
        "/health",
        read("health", "Whether this host answers.", json!([]), &[]),
    );
    let manifest = read("manifest", "What discovery services read.", json!([]), &[]);
    add("/.well-known/x402", manifest);
    paths
}

fn id(what: &str) -> Value {
    json!({"name": "id", "in": "path", "required": true,
        "description": format!("The {what}'s id: 0x and 64 hexadecimal digits."),
        "schema": {"type": "string", "pattern": "^0x[0-9a-fA-F]{64}$"}})
}

fn read(operation: &str, summary: &str, params: Value, fails: &[(&str, &str)]) -> Value {
    let mut responses = json!({"200": {
        "description": summary,
        "content": {"application/json": {"schema": {"type": "object"}}},
    }});
    for (status, description) in fails {
        responses[*status] = error(description);
    }
    json!({"get": {
        "operationId": operation, "tags": ["node"], "summary": summary,
        "parameters": params, "responses": responses,
    }})
}
