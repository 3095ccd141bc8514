//! Instances that are made before their calls, in this process alone: used once, armed when they are handed out, and no more than may be.

use std::collections::HashSet;

use rialto_host::{WarmConfig, WasiGroup};
use rialto_testkit::mesh::path_from_env;

use super::*;

/// Far longer than it takes, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(30);

/// Every component takes long enough.
fn config(instances_max: u32) -> WarmConfig {
    WarmConfig {
        instances_max,
        service_instances_max: 2,
        cost_min: Duration::ZERO,
        ..WarmConfig::default()
    }
}

fn host(warm: WarmConfig) -> Fixture {
    Fixture::with(|config| {
        config.calls_max = 2;
        config.warm = warm;
    })
    .here()
}

/// Waits until so many are ready, or more.
pub(crate) async fn ready(host: &Host, instances: u64) {
    let stop = Instant::now() + PATIENCE;
    while host.load_now().warm.0 < instances {
        assert!(Instant::now() < stop, "{:?}", host.load_now().warm);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_was_ready_serves_one_call() {
    let fixture = host(config(4));
    let limits = Limits {
        memory_bytes_max: 32 << 20,
        ..patient()
    };
    let one = fixture.load_as("one", guests::LEAK, Grants::default(), limits.clone());
    let other = guests::LEAK.replace("rialto:leak/api", "rialto:other/api");
    let two = fixture.load_as("two", &other, Grants::default(), limits);
    for round in 0..8 {
        for service in [&one, &two] {
            if round > 0 {
                ready(&fixture.host, 3).await;
            }
            let error = call(service, "stain", json!({})).await.unwrap_err();
            assert_eq!(error.wire_code(), "trapped");
            // Nothing of a call before it, whoever made that.
            assert_eq!(answer(service, "look", json!({})).await, 0);
        }
    }
    let load = fixture.host.load_now();
    assert!(load.warm_taken >= 14, "{}", load.warm_taken);
    assert!(load.warm.0 <= 4);
}

/// All that differs from call to call is that of the call, not of the instance's making.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_call_is_it_is_when_it_comes() {
    let fixture = host(config(2));
    let place = path_from_env("RIALTO_TEST_GUESTS").unwrap();
    let component = std::fs::read(place.join("ambient/component.wasm")).unwrap();
    let limits = Limits {
        wall_max: Duration::from_secs(2),
        ..patient()
    };
    let grants = Grants {
        config: true,
        context: true,
        log: true,
        wasi: WasiGroup::ALL.into(),
        ..Grants::default()
    };
    let spec = spec_here(grants, limits);
    let service = fixture.host.load(&component, spec, Arc::new(NoModels));
    let service = service.unwrap();
    let mut seen = HashSet::new();
    for number in 0..6 {
        if number > 0 {
            ready(&fixture.host, 1).await;
        }
        let body = json!({ "salt": 1 }).to_string();
        let prepared = service.prepare("chance", Arguments::Json(body.into()));
        let context = CallContext {
            call_id: format!("call-{number}"),
            ..context()
        };
        let outcome = service.call(prepared.unwrap(), context).await.unwrap();
        let text = String::from_utf8(outcome.body.to_vec()).unwrap();
        assert!(text.contains(&format!("call-{number}")), "{text}");
        assert!(seen.insert(text), "nothing is drawn twice");
    }
    assert!(fixture.host.load_now().warm_taken >= 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_count_from_the_call() {
    let fixture = host(config(2));
    let limits = Limits {
        wall_max: Duration::from_secs(2),
        cpu_max: Duration::from_millis(20),
        ..patient()
    };
    let service = fixture.load(guests::HOSTILE, Grants::default(), limits);
    answer(&service, "echo", json!({ "text": "a" })).await;
    ready(&fixture.host, 2).await;
    // Longer than a call may take.
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    let text = answer(&service, "echo", json!({ "text": "late" })).await;
    assert_eq!(text, "late");
    ready(&fixture.host, 1).await;
    let error = call(&service, "spin", json!({})).await.unwrap_err();
    assert_eq!(error.wire_code(), "cpu_exceeded");
    assert!(fixture.host.load_now().warm_taken >= 2);
}

/// What a component asks while it is instantiated belongs to a call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_that_asks_before_its_call_is_not_made_ahead() {
    let fixture = host(config(2));
    let grants = Grants {
        context: true,
        ..Grants::default()
    };
    let service = fixture.load(ASKS, grants, patient());
    for _ in 0..200 {
        let left = answer(&service, "left", json!({})).await;
        assert!(left.as_u64().unwrap() > 0, "{left}");
        let load = fixture.host.load_now();
        assert_eq!((load.warm.0, load.warm_taken), (0, 0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_are_ready_than_may_be_and_none_of_a_service_that_is_gone() {
    let fixture = host(config(3));
    let names = ["a", "b", "c"];
    let services =
        names.map(|name| fixture.load_as(name, guests::TYPES, Grants::default(), patient()));
    for service in &services {
        for _ in 0..4 {
            answer(service, "text", json!({ "text": "x" })).await;
        }
    }
    ready(&fixture.host, 3).await;
    assert_eq!(fixture.host.load_now().warm.0, 3);
    drop(services);
    assert_eq!(fixture.host.load_now().warm, (0, 0));

    for none in [
        WarmConfig {
            instances_max: 0,
            ..config(0)
        },
        WarmConfig {
            bytes_max: 1,
            ..config(4)
        },
        WarmConfig {
            cost_min: Duration::from_secs(1),
            ..config(4)
        },
    ] {
        let fixture = host(none);
        let service = fixture.load(guests::TYPES, Grants::default(), patient());
        for _ in 0..50 {
            answer(&service, "text", json!({ "text": "x" })).await;
            assert_eq!(fixture.host.load_now().warm, (0, 0));
        }
    }
}

/// Reads the time that is left in its start function.
const ASKS: &str = r#"(component
  (import "rialto:service/context@0.1.0" (instance $context
    (export "time-left-ms" (func (result u64)))))
  (core func $left (canon lower (func $context "time-left-ms")))
  (core module $m
    (import "host" "left" (func $left (result i64)))
    (global $seen (mut i64) (i64.const 0))
    (func $start (global.set $seen (call $left)))
    (start $start)
    (func (export "left") (result i64) (global.get $seen)))
  (core instance $i (instantiate $m (with "host" (instance (export "left" (func $left))))))
  (func $seen (result u64) (canon lift (core func $i "left")))
  (instance $api (export "left" (func $seen)))
  (export "test:asks/api@0.1.0" (instance $api)))"#;
