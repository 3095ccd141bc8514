//! The page's HTML. Everything that comes from a service is escaped.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::listing::{MethodRecord, ServiceRecord};

/// The whole page.
pub(super) fn page(services: &[ServiceRecord], base: &str, network: &str, token: &str) -> String {
    let mut sections = String::new();
    for service in services {
        sections.push_str(&section(service, base, token));
    }
    if services.is_empty() {
        sections.push_str("<p>This host runs no services yet.</p>");
    }
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
<meta name=\"color-scheme\" content=\"light dark\">\
<title>Rialto</title><link rel=\"stylesheet\" href=\"/page.css\">\
<script src=\"/page.js\" defer></script></head>\n<body><header><h1>Rialto</h1>\
<p>AI services in WebAssembly, paid by the call on <code>{network}</code>. Only a successful call \
is charged.</p><nav><a href=\"/openapi.json\">OpenAPI</a> <a href=\"/services\">Services as \
JSON</a> <a href=\"/.well-known/x402\">x402 manifest</a> <a href=\"/node\">Node</a></nav>\
</header>\n<main>{sections}</main></body></html>\n",
        network = escape(network),
    )
}

fn section(service: &ServiceRecord, base: &str, token: &str) -> String {
    let mut methods = String::new();
    for method in &service.methods {
        methods.push_str(&article(service, method, base, token));
    }
    format!(
        "<section id=\"{name}\"><h2>{name} <small>{version}</small></h2><p>{description}</p>\
{methods}</section>\n",
        name = escape(&service.name),
        version = escape(&service.version),
        description = escape(&service.description),
    )
}

fn article(service: &ServiceRecord, method: &MethodRecord, base: &str, token: &str) -> String {
    let mut params = String::new();
    for param in &method.params {
        // Writing to a string cannot fail.
        let _ = write!(
            params,
            "<tr><td><code>{}</code></td><td>{}</td><td>{}</td></tr>",
            escape(&param.name),
            escape(&kind(&param.schema)),
            escape(param.docs.as_deref().unwrap_or_default()),
        );
    }
    let table = if params.is_empty() {
        String::new()
    } else {
        format!("<table><tbody>{params}</tbody></table>")
    };
    let example = example(method);
    let url = format!("{base}{}", method.path);
    format!(
        "<article><h3>{method_name} <span class=\"price\">{price}</span></h3>\
<p class=\"docs\">{docs}</p>{table}<pre class=\"line\">{line}</pre>\
<form data-path=\"{path}\"{raw}><textarea name=\"body\" rows=\"4\" spellcheck=\"false\" \
aria-label=\"Parameters as JSON\">{body}</textarea>{file}<button>Try it</button>\
<output></output></form></article>",
        method_name = escape(&method.name),
        price = escape(&price(method, token)),
        docs = escape(method.docs.as_deref().unwrap_or_default()),
        line = escape(&command_lines(service, method, &url, &example)),
        path = escape(&method.path),
        raw = method.raw_body.as_ref().map_or("", |_| " data-raw=\"yes\""),
        body = escape(&example.to_string()),
        file = method.raw_body.as_ref().map_or(
            "",
            |_| "<input type=\"file\" name=\"file\" aria-label=\"A file\">"
        ),
    )
}

fn command_lines(
    service: &ServiceRecord,
    method: &MethodRecord,
    url: &str,
    example: &Value,
) -> String {
    let call = format!("rialto call {} {}", service.name, method.name);
    match &method.raw_body {
        Some(field) => format!(
            "{call} --file {field}=FILE\n\
             curl -i -H 'content-type: application/octet-stream' --data-binary @FILE {url}"
        ),
        None => {
            let body = example.to_string().replace('\'', "'\\''");
            format!(
                "{call} '{body}'\n\
                 curl -i -H 'content-type: application/json' -d '{body}' {url}"
            )
        }
    }
}

fn price(method: &MethodRecord, token: &str) -> String {
    let summary = &method.price.summary;
    if method.free {
        summary.clone()
    } else {
        format!("{summary}, base units of {token}")
    }
}

/// A body of the right shape, with the smallest values of each type.
fn example(method: &MethodRecord) -> Value {
    let mut body = Map::new();
    for param in method.params.iter().filter(|param| param.required) {
        body.insert(param.name.clone(), sample(&param.schema, DEPTH_MAX));
    }
    Value::Object(body)
}

fn sample(schema: &Value, depth: u32) -> Value {
    if depth == 0 {
        return Value::Null;
    }
    if let Some(first) = schema["enum"].as_array().and_then(|values| values.first()) {
        return first.clone();
    }
    let kind = match &schema["type"] {
        Value::String(kind) => kind.as_str(),
        Value::Array(kinds) => kinds.first().and_then(Value::as_str).unwrap_or_default(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => "",
    };
    match kind {
        "string" if schema.get("contentEncoding").is_some() => json!("aGVsbG8="),
        "string" => json!("hello"),
        "integer" | "number" => json!(1),
        "boolean" => json!(false),
        "array" => json!([sample(&schema["items"], depth - 1)]),
        "object" => {
            let properties = schema["properties"].as_object();
            let fields = properties.into_iter().flatten();
            fields
                .map(|(name, schema)| (name.clone(), sample(schema, depth - 1)))
                .collect::<Map<_, _>>()
                .into()
        }
        _ => Value::Null,
    }
}

fn kind(schema: &Value) -> String {
    match (&schema["type"], schema.get("items")) {
        (Value::String(kind), Some(items)) if kind == "array" => {
            format!("list of {}", self::kind(items))
        }
        (Value::String(_), _) if schema.get("contentEncoding").is_some() => {
            "bytes (base64)".to_owned()
        }
        (Value::String(kind), _) => kind.clone(),
        _ => "any".to_owned(),
    }
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

const DEPTH_MAX: u32 = 4;

#[cfg(test)]
mod tests {
    use rialto_channels::{Amount, price::MethodPrice};

    use super::*;
    use crate::listing::{ParamRecord, PriceRecord};

    fn service(docs: &str) -> ServiceRecord {
        ServiceRecord {
            royalty: None,
            name: "embed".to_owned(),
            version: "0.1.0".to_owned(),
            description: docs.to_owned(),
            license: "Apache-2.0".to_owned(),
            component: String::new(),
            models: Vec::new(),
            docs: None,
            state: "open",
            isolation: "in-process",
            calls_max: 128,
            queue_max: 512,
            loaded: true,
            limits: std::collections::BTreeMap::new(),
            methods: vec![MethodRecord {
                name: "embed".to_owned(),
                path: "/services/embed/embed".to_owned(),
                docs: Some(docs.to_owned()),
                params: vec![ParamRecord {
                    name: "texts".to_owned(),
                    docs: None,
                    schema: json!({"type": "array", "items": {"type": "string"}}),
                    required: true,
                }],
                result: json!({}),
                streams: false,
                error: None,
                raw_body: None,
                price: PriceRecord::new(&MethodPrice {
                    call: Amount::new(100),
                    per_input_kib: Amount::new(2),
                    ..MethodPrice::default()
                }),
                free: false,
            }],
        }
    }

    #[test]
    fn a_method_is_shown_with_price_and_command() {
        let html = page(&[service("Vectors.")], "http://h:1", "eip155:84532", "USDC");
        assert!(html.contains("100 + 2 a KiB of input, base units of USDC"));
        assert!(html.contains("list of string"));
        assert!(html.contains("http://h:1/services/embed/embed"));
        assert!(html.contains("{&quot;texts&quot;:[&quot;hello&quot;]}"));
        assert!(!html.contains("http://") || !html.contains("src=\"http"));
    }

    #[test]
    fn nothing_of_a_service_is_markup() {
        let html = page(
            &[service("<script>alert('x')</script>")],
            "http://h",
            "n",
            "T",
        );
        assert!(!html.contains("<script>alert"));
        assert!(html.contains("&lt;script&gt;"));
    }
}
