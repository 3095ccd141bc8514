//! Deterministic calls: equal calls are equal, others are not, and what is steady is known.

use super::settings::{ambient, granted};
use super::*;

fn load(fixture: &Fixture, deterministic: bool) -> Service {
    let mut spec = spec(granted(), patient());
    spec.deterministic = deterministic;
    fixture
        .host
        .load(&ambient(), spec, Arc::new(NoModels))
        .unwrap()
}

async fn chance(service: &Service, salt: u32, call_id: &str) -> Vec<String> {
    let body = json!({ "salt": salt }).to_string();
    let prepared = service.prepare("chance", Arguments::Json(body.into()));
    let context = CallContext {
        call_id: call_id.to_owned(),
        ..context()
    };
    let outcome = service.call(prepared.unwrap(), context).await.unwrap();
    serde_json::from_slice(&outcome.body).unwrap()
}

#[tokio::test]
async fn equal_calls_are_equal_and_others_are_not() {
    let (fixture, other_host) = (Fixture::new(), Fixture::new());
    let service = load(&fixture, true);
    let first = chance(&service, 1, "one").await;
    assert_eq!(first, chance(&service, 1, "two").await);
    assert_eq!(first, chance(&load(&other_host, true), 1, "three").await);
    let other = chance(&service, 2, "one").await;
    // The last two are the same for all: the time left and the difference of equal numbers.
    for (place, (one, two)) in first.iter().zip(&other).enumerate() {
        assert_eq!(one == two, [6, 8].contains(&place), "{place}: {one}");
    }
    let open = load(&fixture, false);
    let (one, two) = (chance(&open, 1, "one").await, chance(&open, 1, "two").await);
    for place in [0, 1, 2, 3, 4, 5, 7] {
        assert_ne!(one[place], two[place], "{place}");
    }
    assert_eq!(one[7], "one");
}

#[tokio::test]
async fn clocks_stand_and_pass_by_being_read() {
    let fixture = Fixture::new();
    let service = load(&fixture, true);
    let clocks = answer(&service, "clocks", json!({})).await;
    assert_eq!(clocks, json!([1_735_689_600_u64, 1_000_000, 2_000_000]));
    let open = load(&fixture, false);
    let clocks = answer(&open, "clocks", json!({})).await;
    assert!(clocks[0].as_u64().unwrap() > 1_735_689_600, "{clocks}");
}

#[test]
fn what_is_steady_is_known() {
    let fixture = Fixture::new();
    assert!(load(&fixture, true).is_steady());
    assert!(!load(&fixture, false).is_steady());
    let importing = |import: &str, deterministic| {
        let text = format!(
            r#"(component {import}
                (core module $m (func (export "f")))
                (core instance $i (instantiate $m))
                (func (export "f") (canon lift (core func $i "f"))))"#
        );
        let mut spec = spec(granted(), patient());
        spec.grants.key_value = true;
        spec.deterministic = deterministic;
        let component = guests::component(&text).unwrap();
        let loaded = fixture.host.load(&component, spec, Arc::new(NoModels));
        loaded.unwrap().is_steady()
    };
    assert!(importing("", false), "a guest that asks nobody");
    let types = r#"(import "wasi:clocks/wall-clock@0.2.6" (instance
        (type $t (record (field "seconds" u64) (field "nanoseconds" u32)))
        (export "datetime" (type (eq $t)))))"#;
    assert!(importing(types, false), "types tell nothing");
    let random = r#"(import "wasi:random/random@0.2.6" (instance
        (export "get-random-u64" (func (result u64)))))"#;
    assert!(!importing(random, false) && importing(random, true));
}
