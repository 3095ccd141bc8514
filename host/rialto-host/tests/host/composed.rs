//! A dependency inside a composed component has what the component around it gives it, and no more.

use rialto_host::{LoadError, WasiGroup};

use super::*;

/// A component with a dependency that draws a number; `outer` says where the number comes from.
fn composed(outer: &str) -> String {
    format!(
        r#"(component
            (component $dependency
                (import "wasi:random/random@0.2.6" (instance $random
                    (export "get-random-u64" (func (result u64)))))
                (core func $low (canon lower (func $random "get-random-u64")))
                (core module $m
                    (import "host" "f" (func $f (result i64)))
                    (func (export "f") (result i64) (call $f)))
                (core instance $i (instantiate $m
                    (with "host" (instance (export "f" (func $low))))))
                (func (export "draw") (result u64) (canon lift (core func $i "f"))))
            {outer}
            (instance $d (instantiate $dependency
                (with "wasi:random/random@0.2.6" (instance $random))))
            (export "draw" (func $d "draw")))"#
    )
}

/// The host's own, handed through.
const HANDED: &str = r#"(import "wasi:random/random@0.2.6" (instance $random
    (export "get-random-u64" (func (result u64)))))"#;

/// Another component's, which always draws 7.
const VIRTUAL: &str = r#"(component $virtual
        (core module $m (func (export "f") (result i64) i64.const 7))
        (core instance $i (instantiate $m))
        (func $f (result u64) (canon lift (core func $i "f")))
        (instance $random (export "get-random-u64" (func $f)))
        (export "random" (instance $random)))
    (instance $v (instantiate $virtual))
    (alias export $v "random" (instance $random))"#;

/// The host's under a name of the author's choice.
const RENAMED: &str = r#"(import "an:other/name" (instance $random
    (export "get-random-u64" (func (result u64)))))"#;

fn load(outer: &str, grants: Grants) -> Result<Service, LoadError> {
    let component = guests::component(&composed(outer)).unwrap();
    let spec = spec(grants, patient());
    let fixture = Fixture::new();
    fixture.host.load(&component, spec, Arc::new(NoModels))
}

fn with_random() -> Grants {
    Grants {
        wasi: [WasiGroup::Random].into(),
        ..Grants::default()
    }
}

#[tokio::test]
async fn what_is_handed_through_needs_the_grant() {
    let error = load(HANDED, Grants::default()).unwrap_err().to_string();
    let line = "`wasi:random/random@0.2.6`: add to [grants] in service.toml: wasi = [\"random\"]";
    assert!(error.contains(line), "{error}");
    let service = load(HANDED, with_random()).unwrap();
    let one = answer(&service, "draw", json!({})).await;
    assert_ne!(one, answer(&service, "draw", json!({})).await);
    // A name of the author's choice is another service's, and not the host's by another name.
    let error = load(RENAMED, with_random()).unwrap_err();
    assert!(matches!(error, LoadError::NotGranted(_)), "{error}");
    assert!(error.to_string().contains("calls = [\"other\"]"), "{error}");
}

#[tokio::test]
async fn what_is_virtual_stays_virtual_whatever_is_granted() {
    for grants in [Grants::default(), with_random()] {
        let service = load(VIRTUAL, grants).unwrap();
        assert_eq!(answer(&service, "draw", json!({})).await, 7);
    }
}

/// Left to itself, a dependency's import is nobody's, and the component is none.
#[test]
fn what_is_not_given_is_not_there() {
    let text = composed(HANDED).replace(
        r#"(with "wasi:random/random@0.2.6" (instance $random))"#,
        "",
    );
    let component = guests::component(&text).unwrap();
    let spec = spec(with_random(), patient());
    let error = Fixture::new()
        .host
        .load(&component, spec, Arc::new(NoModels));
    let error = error.unwrap_err();
    assert!(matches!(error, LoadError::Invalid(_)), "{error}");
}

/// For every capability there is.
#[test]
fn a_missing_grant_names_its_line() {
    let fixture = Fixture::new();
    for (import, line) in [
        ("rialto:tensor/models@0.1.1", "tensor = true"),
        ("wasi:nn/graph@0.2.0-rc-2024-10-28", "tensor = true"),
        ("rialto:service/context@0.1.0", "context = true"),
        ("rialto:service/log@0.1.0", "log = true"),
        ("wasi:http/outgoing-handler@0.2.6", "http = []"),
        ("wasi:keyvalue/store@0.2.0-draft2", "key_value = true"),
        ("wasi:keyvalue/batch@0.2.0-draft", "key_value = true"),
        ("wasi:config/store@0.2.0-rc.1", "config = true"),
        ("wasi:cli/stdout@0.2.6", "wasi = [\"cli\"]"),
        ("wasi:io/streams@0.2.6", "wasi = [\"io\"]"),
        ("wasi:clocks/wall-clock@0.2.6", "wasi = [\"clocks\"]"),
        ("wasi:random/random@0.2.6", "wasi = [\"random\"]"),
        ("wasi:filesystem/types@0.2.6", "wasi = [\"filesystem\"]"),
    ] {
        // The import is a dependency's, and the component hands it through.
        let text = format!(
            r#"(component
                (import "{import}" (instance $given))
                (component $dependency (import "{import}" (instance)))
                (instance $d (instantiate $dependency (with "{import}" (instance $given))))
                (core module $m (func (export "f")))
                (core instance $i (instantiate $m))
                (func (export "f") (canon lift (core func $i "f"))))"#
        );
        let component = guests::component(&text).unwrap();
        let spec = spec(Grants::default(), patient());
        let error = fixture.host.load(&component, spec, Arc::new(NoModels));
        let error = error.unwrap_err();
        assert!(
            matches!(error, LoadError::NotGranted(_)),
            "{import}: {error}"
        );
        let wanted = format!("`{import}`: add to [grants] in service.toml: {line}");
        assert!(error.to_string().contains(&wanted), "{error}");
    }
}
