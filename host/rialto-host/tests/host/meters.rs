//! What the host counts is what happened.

use rialto_host::ServiceLoad;

use super::*;

fn load(fixture: &Fixture, name: &str) -> ServiceLoad {
    let load = fixture.host.load_now();
    let mut services = load.services.into_iter();
    services.find(|service| service.name == name).unwrap()
}

#[tokio::test]
async fn calls_instances_memory_and_limits_are_counted() {
    let fixture = Fixture::new();
    let service = fixture.load_as("hostile", guests::HOSTILE, Grants::default(), patient());
    for _ in 0..3 {
        still_serves(&service).await;
    }
    for (method, limit) in [("grow", "memory_bytes_max"), ("recurse", "stack")] {
        call(&service, method, json!({})).await.unwrap_err();
        let breaches = load(&fixture, "hostile").breaches;
        let hit: Vec<_> = breaches.into_iter().filter(|it| it.0 == limit).collect();
        assert_eq!(hit, [(limit, 1)]);
    }
    let after = load(&fixture, "hostile");
    assert_eq!(after.instances, 5);
    assert_eq!((after.running, after.waiting), (0, 0));
    assert_eq!(after.memory_bytes, 0, "all of it was given back");
    assert!(after.memory_peak > 0);
    let echo = after.methods.iter().find(|it| it.name == "echo").unwrap();
    assert_eq!(echo.waited.count(), 3);
    assert_eq!(echo.guest.count(), 3);
    assert_eq!(echo.device.count(), 0);
    assert_eq!(echo.input_bytes, 3 * r#"{"text":"hello"}"#.len() as u64);
    assert_eq!(echo.output_bytes, 3 * r#""hello""#.len() as u64);
}

#[tokio::test]
async fn a_component_is_compiled_once_and_then_found() {
    let fixture = Fixture::new();
    for wanted in [(0, 1), (1, 1)] {
        fixture.load(guests::HOSTILE, Grants::default(), patient());
        let load = fixture.host.load_now();
        assert_eq!((load.compiled_hits, load.compiled_misses), wanted);
        assert!(load.compiled_bytes > 0);
    }
}
