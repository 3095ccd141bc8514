//! Every type there and back, schemas and docs.

use bytes::Bytes;
use rialto_host::{ArgumentError, Part};

use super::*;

fn everything() -> Value {
    json!({
        "yes": true, "tiny": -128, "byte": 255, "short": -32768, "word": 65535,
        "int": i32::MIN, "size": u32::MAX, "long": "-9223372036854775808", "huge": "18446744073709551615",
        "single": 0.1, "double": 1e300, "letter": "ß", "text": "a \"b\" \u{0} \u{1f600}",
        "data": "AP8=", "names": ["", "x"], "pair": [7, "seven"],
        "colour": "light_blue", "rights": ["read", "write_all"],
        "shape_of_it": { "path": [[1, -1], [0, 2]] },
        "maybe": null, "maybe_maybe": { "some": null },
        "outcome": { "err": "no" }, "empty": { "ok": null },
    })
}

#[tokio::test]
async fn every_type_comes_back_as_it_went() {
    let fixture = Fixture::new();
    let service = fixture.load(guests::TYPES, Grants::default(), patient());
    let mut it = everything();
    assert_eq!(answer(&service, "all", json!({ "it": it })).await, it);
    for (field, value) in [
        ("shape_of_it", json!("point")),
        ("shape_of_it", json!({ "circle": -0.5 })),
        ("maybe", json!(7)),
        ("maybe_maybe", json!(null)),
        ("maybe_maybe", json!({ "some": true })),
        ("outcome", json!({ "ok": 4_294_967_295_u32 })),
        ("empty", json!({ "err": null })),
        ("rights", json!([])),
        ("colour", json!("red")),
        ("huge", json!(9_007_199_254_740_991_u64)),
    ] {
        it[field] = value;
        assert_eq!(
            answer(&service, "all", json!({ "it": it })).await,
            it,
            "{field}"
        );
    }
    it.as_object_mut().unwrap().shift_remove("maybe");
    let full = answer(&service, "all", json!({ "it": it })).await;
    assert_eq!(full["maybe"], Value::Null, "a missing option is none");
}

#[tokio::test]
async fn functions_without_result_and_kebab_names_work() {
    let fixture = Fixture::new();
    let service = fixture.load(guests::TYPES, Grants::default(), patient());
    assert_eq!(answer(&service, "nothing", json!({})).await, Value::Null);
    let prepared = service
        .prepare("nothing", Arguments::Json(Bytes::new()))
        .unwrap();
    assert_eq!(
        &service.call(prepared, context()).await.unwrap().body[..],
        b"null"
    );
    let sum = answer(&service, "add", json!({ "left-one": 1, "right_one": 2 })).await;
    assert_eq!(sum, 3);
}

#[tokio::test]
async fn byte_lists_take_raw_bodies_and_form_parts() {
    let fixture = Fixture::new();
    let service = fixture.load(guests::TYPES, Grants::default(), patient());
    let content: Bytes = (0..100_000_u32).map(|at| at.to_le_bytes()[0]).collect();
    let raw = service
        .prepare("bytes", Arguments::Raw(content.clone()))
        .unwrap();
    assert_eq!(raw.input_bytes(), 100_000);
    let parts = vec![Part {
        name: "content".to_owned(),
        content: content.clone(),
    }];
    let form = service.prepare("bytes", Arguments::Parts(parts)).unwrap();
    let by_raw = service.call(raw, context()).await.unwrap();
    let by_form = service.call(form, context()).await.unwrap();
    assert_eq!(by_raw.body, by_form.body);
    let base64: Value = serde_json::from_slice(&by_raw.body).unwrap();
    assert_eq!(base64.as_str().unwrap().len(), 133_336);
    let echoed = answer(&service, "bytes", json!({ "content": base64 })).await;
    assert_eq!(echoed, base64);
    // A second use of the host's buffers sees nothing of the first.
    for length in [100_000, 3, 0] {
        let raw = Arguments::Raw(content.slice(..length));
        let prepared = service.prepare("length", raw).unwrap();
        let outcome = service.call(prepared, context()).await.unwrap();
        assert_eq!(outcome.body, length.to_string());
    }
    assert_eq!(by_raw.usage.output_bytes, 133_338);
    assert_eq!(by_raw.usage.input_bytes, 100_000);
}

#[test]
fn arguments_are_refused_before_anything_runs() {
    let fixture = Fixture::new();
    let limits = Limits {
        input_bytes_max: 1_000,
        ..patient()
    };
    let service = fixture.load(guests::TYPES, Grants::default(), limits);
    let check = |method: &str, arguments, expected: &str| {
        let error: ArgumentError = service.prepare(method, arguments).unwrap_err();
        assert_eq!(error.to_string(), expected);
    };
    let json = |text: &str| Arguments::Json(Bytes::from(text.to_owned()));
    check(
        "nope",
        json("{}"),
        "no method `nope`; this service has `all`, `bytes`, `text`, `nothing`, `add`, `length`",
    );
    check(
        "text",
        Arguments::Raw(Bytes::new()),
        "`text` does not take raw bytes: send a JSON object of its parameters",
    );
    check(
        "text",
        json(&" ".repeat(1_001)),
        "the arguments have 1001 bytes; this service takes at most 1000",
    );
    check(
        "text",
        json("{\"text\": 1}"),
        "`text`: expected a string, found a number",
    );
}

#[test]
fn the_interface_has_schemas_and_the_wit_docs() {
    let fixture = Fixture::new();
    let service = fixture.load(guests::TYPES, Grants::default(), patient());
    let interface = service.interface();
    assert_eq!(interface.name, "rialto:types/api@0.1.0");
    assert_eq!(interface.docs.as_deref(), Some("Returns what it is given."));
    let all = interface.method("all").unwrap();
    assert_eq!(all.docs.as_deref(), Some("Returns every kind of value."));
    assert_eq!(
        all.params[0].docs.as_deref(),
        Some("One field of every kind.")
    );
    let schema = &all.params[0].schema;
    assert_eq!(schema["title"], "everything");
    assert_eq!(schema["properties"]["text"]["description"], "Any text.");
    assert_eq!(
        schema["properties"]["colour"]["description"],
        "A colour of light."
    );
    assert_eq!(
        schema["properties"]["colour"]["oneOf"][1]["description"],
        "Like the sky."
    );
    assert_eq!(schema["properties"]["data"]["contentEncoding"], "base64");
    assert!(
        !schema["required"]
            .as_array()
            .unwrap()
            .contains(&json!("maybe"))
    );
    let bytes = interface.method("bytes").unwrap();
    assert_eq!(bytes.raw_bytes_param.as_deref(), Some("content"));
    assert_eq!(all.raw_bytes_param, None);
    assert_eq!(
        interface.method("add").unwrap().result_schema["format"],
        "uint32"
    );
    assert_eq!(
        interface.method("nothing").unwrap().result_schema,
        json!({ "type": "null" })
    );
}
