//! Methods that stream: item by item, within every limit, and gone as soon as nobody wants them.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};

use rialto_host::{GuestStream, LoadError, WasiGroup};
use rialto_testkit::mesh::path_from_env;
use tokio::time::timeout;

use super::*;

/// Far longer than it takes, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(30);

fn load(fixture: &Fixture, limits: Limits) -> Service {
    let place = path_from_env("RIALTO_TEST_GUESTS").unwrap();
    let component = std::fs::read(place.join("stream/component.wasm")).unwrap();
    let grants = Grants {
        wasi: WasiGroup::ALL.into(),
        ..Grants::default()
    };
    let spec = spec(grants, limits);
    let loaded = fixture.host.load(&component, spec, Arc::new(NoModels));
    loaded.unwrap()
}

async fn open(service: &Service, method: &str, body: Value) -> Result<GuestStream, CallError> {
    let body = serde_json::to_vec(&body).unwrap();
    let prepared = service.prepare(method, Arguments::Json(body.into()));
    service.open(prepared.unwrap(), context()).await
}

/// All items until the end or the error.
async fn drain(stream: &mut GuestStream) -> (Vec<Value>, Option<CallError>) {
    let mut items = Vec::new();
    loop {
        match stream.next().await {
            Ok(Some(item)) => items.push(serde_json::from_slice(&item).unwrap()),
            Ok(None) => return (items, None),
            Err(error) => return (items, Some(error)),
        }
    }
}

#[tokio::test]
async fn the_interface_tells_of_streams() {
    let fixture = Fixture::new();
    let service = load(&fixture, patient());
    let count = service.interface().method("count").unwrap();
    assert!(count.streams);
    assert_eq!(
        count.docs.as_deref(),
        Some("Counts from 1.\n\n- `to`: How far.")
    );
    assert_eq!(count.result_schema["type"], "array");
    let step = &count.result_schema["items"];
    assert_eq!(step["title"], "step");
    assert_eq!(step["properties"]["number"]["description"], "Its place.");
    assert_eq!(count.error_schema, None);
    let words = service.interface().method("words").unwrap();
    assert!(words.streams);
    assert_eq!(words.error_schema, Some(json!({ "type": "string" })));
    let refuse = service.interface().method("refuse").unwrap();
    assert_eq!(refuse.error_schema, Some(json!({ "type": "string" })));
    assert_eq!(service.interface().methods.len(), 10, "`next` is no method");
}

#[tokio::test]
async fn items_come_one_by_one_with_what_they_took() {
    let fixture = Fixture::new();
    let service = load(&fixture, patient());
    let mut stream = open(&service, "count", json!({ "to": 3 })).await.unwrap();
    let mut text = String::from("[");
    let mut before = stream.usage().clone();
    for number in 1..=3 {
        let item = stream.next().await.unwrap().unwrap();
        let item = std::str::from_utf8(&item).unwrap();
        assert_eq!(
            item,
            format!(r#"{{"number":{number},"text":"step {number}"}}"#)
        );
        if number > 1 {
            text.push(',');
        }
        text.push_str(item);
        let usage = stream.usage().clone();
        assert!(usage.guest_time > before.guest_time);
        assert_eq!(usage.output_bytes, text.len() as u64);
        before = usage;
    }
    assert_eq!(stream.next().await.unwrap(), None);
    assert_eq!(stream.next().await.unwrap(), None, "an end is an end");
    assert_eq!(stream.usage().output_bytes, text.len() as u64 + 1);
}

#[tokio::test]
async fn a_call_takes_the_whole_stream() {
    let fixture = Fixture::new();
    let service = load(&fixture, patient());
    let outcome = call(&service, "words", json!({ "text": "a bc d" }))
        .await
        .unwrap();
    assert_eq!(&outcome.body[..], br#"["a ","bc ","d"]"#);
    assert_eq!(outcome.usage.output_bytes, outcome.body.len() as u64);
    assert_eq!(
        answer(&service, "holes", json!({ "items": 4 })).await,
        json!([null, [1], null, [3]])
    );
    assert_eq!(
        answer(&service, "count", json!({ "to": 0 })).await,
        json!([])
    );
    let refused = call(&service, "words", json!({ "text": "" })).await;
    assert!(
        matches!(refused, Err(CallError::Refused { error }) if error == r#""`text` is empty""#)
    );
    let crashed = call(&service, "crash", json!({ "after": 2 })).await;
    assert_eq!(crashed.unwrap_err().wire_code(), "trapped");
}

#[tokio::test]
async fn what_breaks_off_does_so_after_the_items_before() {
    let fixture = Fixture::new();
    let limits = Limits {
        cpu_max: Duration::from_millis(200),
        output_bytes_max: 10_000,
        ..patient()
    };
    let service = load(&fixture, limits);
    let cases = [
        ("crash", json!({ "after": 3 }), 3, "trapped"),
        ("refuse", json!({ "after": 2 }), 2, "refused"),
        ("spin", json!({}), 1, "cpu_exceeded"),
        // Two quotes each, and the commas and brackets around them.
        (
            "large",
            json!({ "items": 9, "bytes": 2_400 }),
            4,
            "output_too_large",
        ),
    ];
    for (method, body, items, code) in cases {
        let mut stream = open(&service, method, body).await.unwrap();
        let (got, error) = drain(&mut stream).await;
        assert_eq!(got.len(), items, "{method}");
        assert_eq!(error.unwrap().wire_code(), code, "{method}");
        let after = stream.usage().output_bytes;
        assert_eq!(stream.next().await.unwrap(), None, "{method} is over");
        assert_eq!(stream.usage().output_bytes, after);
    }
    let mut fits = open(&service, "large", json!({ "items": 4, "bytes": 2_496 }))
        .await
        .unwrap();
    // 4 * 2,498 and 3 commas and 2 brackets.
    assert_eq!(drain(&mut fits).await.1, None);
    assert_eq!(fits.usage().output_bytes, 9_997);
}

#[tokio::test]
async fn the_wall_limit_holds_over_the_whole_stream() {
    let fixture = Fixture::new();
    let limits = Limits {
        wall_max: Duration::from_millis(400),
        ..patient()
    };
    let service = load(&fixture, limits);
    let mut stream = open(&service, "endless", json!({ "pause_ms": 20 }))
        .await
        .unwrap();
    let (items, error) = drain(&mut stream).await;
    assert!(items.len() < 21, "{} items", items.len());
    let expected = CallError::TimedOut {
        limit_ms: 400,
        busy: false,
    };
    assert_eq!(error, Some(expected));
}

#[tokio::test]
async fn a_stream_that_nobody_wants_frees_its_place_at_once() {
    let fixture = Fixture::with(|config| config.calls_max = 1);
    let service = load(&fixture, patient());
    let next_in_line = || async {
        let counted = call(&service, "count", json!({ "to": 1 }));
        timeout(PATIENCE, counted).await.unwrap().unwrap();
    };
    // Between two items.
    let mut stream = open(&service, "endless", json!({ "pause_ms": 0 }))
        .await
        .unwrap();
    assert_eq!(stream.next().await.unwrap().unwrap(), "1");
    let mut waiting = Box::pin(next_in_line());
    let mut context = Context::from_waker(Waker::noop());
    assert!(waiting.as_mut().poll(&mut context).is_pending());
    drop(stream);
    waiting.await;
    // While an item is made, which would take an hour.
    let mut stream = open(&service, "endless", json!({ "pause_ms": 3_600_000 }))
        .await
        .unwrap();
    {
        let item = pin!(stream.next());
        assert!(item.poll(&mut context).is_pending());
    }
    next_in_line().await;
    assert_eq!(stream.next().await.unwrap(), None, "it was given up");
    // At its end.
    let mut stream = open(&service, "count", json!({ "to": 1 })).await.unwrap();
    assert_eq!(drain(&mut stream).await.0.len(), 1);
    next_in_line().await;
}

/// A component whose function `f` returns the resource `tokens`, with these further functions.
fn with_resource(functions: &str) -> String {
    format!(
        r#"(component
            (type $r' (resource (rep i32)))
            (export $r "tokens" (type $r'))
            (core module $m
                (memory (export "memory") 1)
                (func (export "f") (result i32) i32.const 0)
                (func (export "next") (param i32) (result i32) i32.const 0))
            (core instance $i (instantiate $m))
            (core func $new (canon resource.new $r'))
            {functions}
            (func (export "f") (result (own $r)) (canon lift (core func $i "f"))))"#
    )
}

#[test]
fn other_resources_say_what_a_stream_is() {
    let next = |result: &str| {
        format!(
            r#"(func (export "[method]tokens.next") (param "self" (borrow $r)) (result {result})
                (canon lift (core func $i "next") (memory (core memory $i "memory"))))"#
        )
    };
    let load = |functions: &str| {
        let component = guests::component(&with_resource(functions)).unwrap();
        let spec = spec(Grants::default(), patient());
        Fixture::new()
            .host
            .load(&component, spec, Arc::new(NoModels))
    };
    let refused = |functions: &str, expected: &str| {
        let Err(LoadError::Interface(error)) = load(functions) else {
            panic!("accepted: {functions}");
        };
        assert!(error.contains(expected), "{error}");
        assert!(
            error.contains("one method `next: func() -> option<t>`"),
            "{error}"
        );
    };
    let service = load(&next("(option u32)")).unwrap();
    assert!(service.interface().method("f").unwrap().streams);
    assert_eq!(service.interface().methods.len(), 1);
    load(&next("(result (option u32))")).unwrap();
    refused("", "it has no method `next`");
    refused(&next("u32"), "its `next` has another type");
    refused(&next("(result u32)"), "its `next` has another type");
    let other =
        r#"(func (export "[static]tokens.other") (result u32) (canon lift (core func $i "f")))"#;
    let both = format!("{}{other}", next("(option u32)"));
    refused(&both, "it has `[static]tokens.other`");
}
