//! The document says what the listing says, and every reference in it leads somewhere.

use rialto_channels::{Amount, price::MethodPrice};

use super::*;
use crate::listing::{ParamRecord, PriceRecord};

fn method(name: &str, call: &str, raw: Option<&str>) -> MethodRecord {
    MethodRecord {
        name: name.to_owned(),
        path: format!("/services/filetype/{name}"),
        docs: Some("Identifies the content of a file.\n\nLooks at the bytes alone.".to_owned()),
        params: vec![ParamRecord {
            name: "content".to_owned(),
            docs: Some("The file.".to_owned()),
            schema: json!({"type": "string", "contentEncoding": "base64"}),
            required: true,
        }],
        result: json!({"type": "object"}),
        streams: false,
        error: Some(json!({"type": "string"})),
        raw_body: raw.map(str::to_owned),
        price: PriceRecord::new(&MethodPrice {
            call: call.parse().unwrap(),
            per_input_kib: Amount::new(1),
            ..MethodPrice::default()
        }),
        free: call == "0",
    }
}

fn listing() -> Vec<ServiceRecord> {
    vec![ServiceRecord {
        royalty: None,
        name: "filetype".to_owned(),
        version: "0.1.0".to_owned(),
        description: "What kind of file are these bytes?".to_owned(),
        license: "Apache-2.0".to_owned(),
        component: "0x00".to_owned(),
        models: Vec::new(),
        docs: None,
        state: "open",
        isolation: "in-process",
        calls_max: 128,
        queue_max: 512,
        loaded: true,
        limits: std::collections::BTreeMap::new(),
        methods: vec![
            method("identify", "100", Some("content")),
            method("version", "0", None),
        ],
    }]
}

fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            if let Some(Value::String(target)) = map.get("$ref") {
                found.push(target.clone());
            }
            map.values().for_each(|inner| references(inner, found));
        }
        Value::Array(items) => items.iter().for_each(|inner| references(inner, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn docs_types_and_prices_come_through() {
    let document = document(&listing(), Network(84532), "USDC");
    assert_eq!(document["openapi"], "3.1.0");
    let paid = &document["paths"]["/services/filetype/identify"]["post"];
    assert_eq!(paid["summary"], "Identifies the content of a file.");
    assert_eq!(paid["x-payment-info"]["price"]["call"], "100");
    assert_eq!(paid["x-payment-info"]["network"], "eip155:84532");
    assert!(paid["responses"]["402"].is_object());
    let probe = &document["paths"]["/services/filetype/identify"]["get"];
    assert!(probe["responses"]["402"].is_object());
    let content = &paid["requestBody"]["content"];
    let schema = &content["application/json"]["schema"];
    assert_eq!(schema["required"], json!(["content"]));
    assert_eq!(schema["properties"]["content"]["description"], "The file.");
    assert!(content["application/octet-stream"].is_object());
    assert!(content["multipart/form-data"].is_object());

    let free = &document["paths"]["/services/filetype/version"]["post"];
    assert!(free.get("x-payment-info").is_none());
    assert!(free["responses"].get("402").is_none());
    assert!(
        free["requestBody"]["content"]
            .get("application/octet-stream")
            .is_none()
    );
}

#[test]
fn every_reference_leads_somewhere() {
    let document = document(&listing(), Network(84532), "USDC");
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(!found.is_empty());
    for target in found {
        let pointer = target.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{target}");
    }
}
