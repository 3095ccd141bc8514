//! The same guests with the same arguments at both isolation levels: equal answers, errors, use and counts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rialto_host::{
    CallError, Grants, Isolation, Limits, NoModels, Outcome, Secret, ServiceLoad, ServiceSpec,
    Settings, Usage, WasiGroup,
};
use rialto_testkit::guests;
use rialto_testkit::mesh::path_from_env;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::host::{Fixture, call, keyvalue, patient, spec};

/// A guest, what it gets, and what is asked of it.
struct Case {
    name: &'static str,
    component: Vec<u8>,
    spec: ServiceSpec,
    calls: Vec<(&'static str, Value)>,
}

fn of_text(text: &str) -> Vec<u8> {
    guests::component(text).unwrap()
}

fn built(name: &str) -> Vec<u8> {
    let place = path_from_env("RIALTO_TEST_GUESTS").unwrap();
    std::fs::read(place.join(name).join("component.wasm")).unwrap()
}

fn everything() -> Grants {
    Grants {
        config: true,
        log: true,
        context: true,
        key_value: true,
        wasi: WasiGroup::ALL.into(),
        ..Grants::default()
    }
}

fn hostile() -> Vec<(&'static str, Value)> {
    let methods = [
        "trap",
        "spin",
        "grow",
        "grow_many",
        "grow_table",
        "recurse",
        "big_text",
        "big_bytes",
        "refuse",
    ];
    let echo = |bytes: usize| ("echo", json!({ "text": "x".repeat(bytes) }));
    let calls = methods.into_iter().map(|method| (method, json!({})));
    calls.chain([0, 1, 100_000].map(echo)).collect()
}

fn cases() -> Vec<Case> {
    let quick = Limits {
        cpu_max: Duration::from_millis(100),
        ..patient()
    };
    let secret = Secret::new(Zeroizing::new("sk-live-0123456789".to_owned())).unwrap();
    let ambient = ServiceSpec {
        settings: Settings {
            config: BTreeMap::from([("greeting".to_owned(), "hello".to_owned())]),
            secrets: BTreeMap::from([("key".to_owned(), secret)]),
        },
        deterministic: true,
        ..spec(everything(), patient())
    };
    let tell = |how: &str| ("tell", json!({ "name": "key", "how": how }));
    vec![
        Case {
            name: "hostile",
            component: of_text(guests::HOSTILE),
            spec: spec(Grants::default(), quick.clone()),
            calls: hostile(),
        },
        Case {
            name: "flood",
            component: of_text(guests::FLOOD),
            spec: spec(everything(), patient()),
            calls: vec![("run", json!({}))],
        },
        Case {
            name: "ambient",
            component: built("ambient"),
            spec: ambient,
            calls: vec![
                ("settings", json!({})),
                ("setting", json!({ "name": "key" })),
                ("setting", json!({ "name": "other" })),
                ("chance", json!({ "salt": 1 })),
                ("clocks", json!({})),
                tell("log"),
                tell("refuse"),
                tell("trap"),
            ],
        },
        state(),
        Case {
            name: "stream",
            component: built("stream"),
            spec: spec(everything(), quick),
            calls: vec![
                ("count", json!({ "to": 3 })),
                ("words", json!({ "text": "a bc d" })),
                ("words", json!({ "text": "" })),
                ("crash", json!({ "after": 2 })),
                ("spin", json!({})),
            ],
        },
    ]
}

/// A guest that keeps keys and values.
fn state() -> Case {
    Case {
        name: "state",
        component: built("state"),
        spec: spec(everything(), patient()),
        calls: vec![
            (
                "set",
                json!({ "of_caller": false, "key": "k", "value": "v" }),
            ),
            ("get", json!({ "of_caller": false, "key": "k" })),
            ("get", json!({ "of_caller": true, "key": "k" })),
            ("increment", json!({ "key": "n", "delta": 5 })),
            ("batch", json!({ "keys": 2_500 })),
            ("swap_late", json!({ "key": "s" })),
            ("open_by_name", json!({ "name": "other" })),
            ("write_and_fail", json!({ "key": "w", "traps": true })),
        ],
    }
}

/// What came of a call, as far as it does not depend on the time.
fn told(outcome: Result<Outcome, CallError>) -> Result<(String, [u64; 7]), String> {
    let Outcome { body, usage } = outcome.map_err(|error| {
        if let CallError::Refused { error } = &error {
            return String::from_utf8(error.to_vec()).unwrap();
        }
        format!("{}: {error}", error.wire_code())
    })?;
    let Usage {
        memory_peak,
        table_peak,
        host_calls,
        host_bytes,
        input_bytes,
        output_bytes,
        tensor_runs,
        ..
    } = usage;
    let used = [
        memory_peak,
        table_peak,
        host_calls,
        host_bytes,
        input_bytes,
        output_bytes,
        tensor_runs,
    ];
    Ok((String::from_utf8(body.to_vec()).unwrap(), used))
}

/// What the host has counted of a service, as far as it does not depend on the time.
fn counted(fixture: &Fixture, name: &str) -> Vec<(String, u64)> {
    let loads = fixture.host.load_now().services;
    let load = loads.into_iter().find(|load| load.name == name).unwrap();
    let ServiceLoad {
        instances,
        memory_bytes,
        memory_peak,
        breaches,
        methods,
        ..
    } = load;
    let mut counts = vec![
        ("instances".to_owned(), instances),
        ("memory_bytes".to_owned(), memory_bytes),
        ("memory_peak".to_owned(), memory_peak),
    ];
    counts.extend(
        breaches
            .into_iter()
            .map(|(name, hit)| (name.to_owned(), hit)),
    );
    for method in methods {
        let name = method.name;
        counts.push((format!("{name} waited"), method.waited.count()));
        counts.push((format!("{name} guest"), method.guest.count()));
        counts.push((format!("{name} input"), method.input_bytes));
        counts.push((format!("{name} output"), method.output_bytes));
    }
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_levels_answer_refuse_stop_and_count_alike() {
    for case in cases() {
        let mut found = Vec::new();
        for isolation in Isolation::ALL {
            // A host of its own, so that what it keeps begins empty.
            let kept = Arc::new(keyvalue::memory::Memory::default());
            let fixture = Fixture::with(|config| config.key_value = kept);
            let spec = ServiceSpec {
                name: case.name.to_owned(),
                isolation,
                ..case.spec.clone()
            };
            let loaded = fixture.host.load(&case.component, spec, Arc::new(NoModels));
            let service = loaded.unwrap();
            assert_eq!(service.isolation(), isolation);
            let mut outcomes = Vec::new();
            for (method, body) in &case.calls {
                outcomes.push((*method, told(call(&service, method, body.clone()).await)));
            }
            assert_eq!(service.process().is_some(), isolation == Isolation::Process);
            found.push((outcomes, counted(&fixture, case.name)));
        }
        let [(here, counts_here), (there, counts_there)] = &found[..] else {
            panic!("two levels");
        };
        for (one, two) in here.iter().zip(there) {
            assert_eq!(one, two, "{}", case.name);
        }
        assert_eq!(counts_here, counts_there, "{}", case.name);
    }
}
