//! Keys and values as guests see them, by both drafts; who keeps them is a fake here.

pub(crate) mod memory;

use std::sync::atomic::Ordering;

use memory::Memory;
use rialto_host::WasiGroup;
use rialto_testkit::mesh::path_from_env;

use super::*;

fn component() -> Vec<u8> {
    let place = path_from_env("RIALTO_TEST_GUESTS").unwrap();
    std::fs::read(place.join("state/component.wasm")).unwrap()
}

fn granted() -> Grants {
    Grants {
        key_value: true,
        wasi: WasiGroup::ALL.into(),
        ..Grants::default()
    }
}

fn load(limits: Limits) -> (Arc<Memory>, Fixture, Service) {
    let memory = Arc::new(Memory::default());
    let kept = Arc::clone(&memory);
    let fixture = Fixture::with(|config| config.key_value = kept);
    let spec = spec(granted(), limits);
    let service = fixture.host.load(&component(), spec, Arc::new(NoModels));
    (memory, fixture, service.unwrap())
}

async fn refusal(service: &Service, method: &str, body: Value) -> String {
    let error = call(service, method, body).await.unwrap_err();
    let CallError::Refused { error } = error else {
        panic!("{error}");
    };
    serde_json::from_slice(&error).unwrap()
}

async fn call_of(service: &Service, payer: &str, method: &str, body: Value) -> Value {
    let body = serde_json::to_vec(&body).unwrap();
    let prepared = service.prepare(method, Arguments::Json(body.into()));
    let context = CallContext {
        payer: payer.to_owned(),
        ..context()
    };
    let outcome = service.call(prepared.unwrap(), context).await.unwrap();
    serde_json::from_slice(&outcome.body).unwrap()
}

#[tokio::test]
async fn keys_stay_from_call_to_call() {
    let (_, _fixture, service) = load(patient());
    let get = json!({ "of_caller": false, "key": "k" });
    assert_eq!(answer(&service, "get", get.clone()).await, Value::Null);
    let set = json!({ "of_caller": false, "key": "k", "value": "v" });
    answer(&service, "set", set).await;
    assert_eq!(answer(&service, "get", get.clone()).await, "v");
    let delete = json!({ "key": "k" });
    assert_eq!(
        answer(&service, "delete", delete.clone()).await,
        json!([true, false])
    );
    assert_eq!(
        answer(&service, "delete", delete).await,
        json!([false, false])
    );
    let add = |delta| json!({ "key": "n", "delta": delta });
    assert_eq!(answer(&service, "increment", add(5)).await, 5);
    assert_eq!(answer(&service, "increment", add(-7)).await, -2);
    let batch = answer(&service, "batch", json!({ "keys": 2_500 })).await;
    assert_eq!(batch, json!([2_500, 2_501]), "with the number's key");
}

#[tokio::test]
async fn a_payers_bucket_is_its_own_and_needs_a_payer() {
    let (_, _fixture, service) = load(patient());
    let set = |value: &str| json!({ "of_caller": true, "key": "k", "value": value });
    let get = json!({ "of_caller": true, "key": "k" });
    call_of(&service, "ann", "set", set("ann's")).await;
    call_of(&service, "ben", "set", set("ben's")).await;
    assert_eq!(call_of(&service, "ann", "get", get.clone()).await, "ann's");
    assert_eq!(call_of(&service, "ben", "get", get.clone()).await, "ben's");
    assert_eq!(
        call_of(&service, "eve", "get", get.clone()).await,
        Value::Null
    );
    let text = refusal(&service, "get", get).await;
    assert!(text.contains("nobody pays for this call"), "{text}");
    let shared = json!({ "of_caller": false, "key": "k" });
    assert_eq!(call_of(&service, "ann", "get", shared).await, Value::Null);
    for (name, fits) in [
        ("", true),
        ("default", true),
        ("other", false),
        ("caller", false),
    ] {
        let open = call(&service, "open_by_name", json!({ "name": name })).await;
        assert_eq!(open.is_ok(), fits, "{name}: {open:?}");
    }
    let text = refusal(&service, "open_by_name", json!({ "name": "other" })).await;
    assert!(text.contains("NoSuchStore"), "{text}");
}

#[tokio::test]
async fn a_late_swap_fails_and_says_what_is_there() {
    let (_, _fixture, service) = load(patient());
    let said = answer(&service, "swap_late", json!({ "key": "k" })).await;
    assert_eq!(said, "None first second");
    let count = json!({ "of_caller": false, "key": "n" });
    for wanted in 1..4 {
        assert_eq!(answer(&service, "count", count.clone()).await, wanted);
    }
}

#[tokio::test]
async fn the_first_draft_is_served_from_the_same_buckets() {
    let (_, _fixture, service) = load(patient());
    let said = answer(&service, "by_first_draft", json!({ "keys": 1_500 })).await;
    assert_eq!(
        said,
        json!([
            "1500 keys",
            "1 of 2",
            "sum 42",
            "value 42",
            "Err(\"Error::Other(\\\"no number\\\")\")",
            "exists false"
        ])
    );
}

#[tokio::test]
async fn keys_and_values_have_limits() {
    let limits = Limits {
        key_value_bytes_max: 10_000,
        transfer_bytes_max: 3 << 20,
        ..patient()
    };
    let (_, _fixture, service) = load(limits.clone());
    let fill = json!({ "of_caller": false, "bytes": 3_000 });
    let filled = answer(&service, "fill", fill).await;
    assert_eq!(filled, json!([3, "the bucket is full"]));
    let large = json!({ "of_caller": false, "bytes": (1 << 20) + 1 });
    let (_, _fixture, service) = load(Limits {
        key_value_bytes_max: 100 << 20,
        ..limits
    });
    let filled = answer(&service, "fill", large).await;
    assert_eq!(filled, json!([0, "a value has at most 1048576 bytes"]));
    let long = "k".repeat(1_025);
    let text = refusal(&service, "get", json!({ "of_caller": false, "key": long })).await;
    assert_eq!(text, "a key has at most 1024 bytes");
    // Values that are held to be swapped are held by the host.
    let value = "v".repeat(1 << 20);
    let set = json!({ "of_caller": false, "key": "k", "value": value });
    answer(&service, "set", set).await;
    let held = answer(&service, "hold_notes", json!({ "key": "k" })).await;
    assert_eq!(held[0], 3);
    assert!(
        held[1].as_str().unwrap().contains("3145728 bytes"),
        "{held}"
    );
    let notes = json!({ "key": "not there" });
    let error = call(&service, "hold_notes", notes).await.unwrap_err();
    assert_eq!(error.wire_code(), "handles_exceeded", "{error}");
}

#[tokio::test]
async fn reads_and_writes_are_counted() {
    let limits = Limits {
        host_bytes_max: 100_000,
        ..patient()
    };
    let (_, _fixture, service) = load(limits);
    let set = |value: &str| json!({ "of_caller": false, "key": "k", "value": value });
    let outcome = call(&service, "set", set("v")).await.unwrap();
    assert!(outcome.usage.host_calls >= 2, "{:?}", outcome.usage);
    let error = call(&service, "set", set(&"v".repeat(100_000)));
    let too_much = CallError::HostBytes { bytes_max: 100_000 };
    assert_eq!(error.await.unwrap_err(), too_much);
    call(&service, "set", set(&"v".repeat(60_000)))
        .await
        .unwrap();
    let held = call(&service, "hold_notes", json!({ "key": "k" })).await;
    assert_eq!(held.unwrap_err(), too_much, "reads count, too");
}

#[tokio::test]
async fn an_answer_waits_for_the_disk_if_it_depends_on_it() {
    let (memory, _fixture, service) = load(patient());
    let syncs = || memory.syncs.load(Ordering::SeqCst);
    call(&service, "open_by_name", json!({ "name": "" }))
        .await
        .unwrap();
    assert_eq!(syncs(), 0, "nothing was read or written");
    let get = json!({ "of_caller": false, "key": "k" });
    call(&service, "get", get.clone()).await.unwrap();
    assert_eq!(syncs(), 1);
    memory.broken.store(true, Ordering::SeqCst);
    let error = call(&service, "get", get.clone()).await.unwrap_err();
    assert_eq!(error, CallError::State("the disk is full".to_owned()));
    memory.broken.store(false, Ordering::SeqCst);
    // What a call wrote stays when it fails.
    for (traps, code) in [(true, "trapped"), (false, "refused")] {
        let key = format!("traps {traps}");
        let body = json!({ "key": key, "traps": traps });
        let error = call(&service, "write_and_fail", body).await.unwrap_err();
        assert_eq!(error.wire_code(), code);
        let get = json!({ "of_caller": false, "key": key });
        assert_eq!(answer(&service, "get", get).await, "written");
    }
}

#[tokio::test]
async fn without_the_grant_or_the_host_there_is_none() {
    let fixture = Fixture::new();
    let grants = Grants {
        key_value: false,
        ..granted()
    };
    let load = |grants| {
        let spec = spec(grants, patient());
        fixture.host.load(&component(), spec, Arc::new(NoModels))
    };
    let error = load(grants).unwrap_err().to_string();
    for line in [
        "`wasi:keyvalue/store@0.2.0-draft2`: add to [grants] in service.toml: key_value = true",
        "`wasi:keyvalue/atomics@0.2.0-draft`: add to [grants] in service.toml: key_value = true",
    ] {
        assert!(error.contains(line), "{error}");
    }
    let service = load(granted()).unwrap();
    let get = json!({ "of_caller": false, "key": "k" });
    let text = refusal(&service, "get", get).await;
    assert!(text.contains("sandbox.state_bytes_max"), "{text}");
}
