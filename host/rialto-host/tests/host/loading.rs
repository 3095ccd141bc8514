//! What is refused at load, and what the author is told.

use std::collections::BTreeSet;

use rialto_host::{LoadError, WasiGroup};

use super::*;

fn load(fixture: &Fixture, text: &str, grants: Grants) -> Result<Service, LoadError> {
    let component = guests::component(text).unwrap();
    let spec = spec(grants, patient());
    fixture.host.load(&component, spec, Arc::new(NoModels))
}

fn refused(text: &str) -> String {
    load(&Fixture::new(), text, Grants::default())
        .unwrap_err()
        .to_string()
}

#[test]
fn an_ungranted_import_is_named_with_the_line_to_add() {
    assert_eq!(
        refused(guests::FLOOD),
        "the manifest does not grant what the component imports:\n  \
         `rialto:service/context@0.1.0`: add to [grants] in service.toml: context = true"
    );
    let wasi = r#"(component
        (import "wasi:random/random@0.2.6" (instance
            (export "get-random-u64" (func (result u64)))))
        (import "wasi:clocks/wall-clock@0.2.0" (instance)))"#;
    let text = refused(wasi);
    assert!(text.contains("`wasi:random/random@0.2.6`"), "{text}");
    assert!(text.contains(r#"wasi = ["clocks", "random"]"#), "{text}");
    // Other grants do not help.
    let grants = Grants {
        tensor: true,
        log: true,
        wasi: BTreeSet::from(WasiGroup::ALL),
        ..Grants::default()
    };
    assert!(load(&Fixture::new(), guests::FLOOD, grants).is_err());
}

#[test]
fn sockets_and_unknown_imports_are_refused_under_every_grant() {
    let all = Grants {
        calls: Some(rialto_host::Callees::All),
        tensor: true,
        context: true,
        log: true,
        http: Some(Vec::new()),
        key_value: true,
        config: true,
        wasi: BTreeSet::from(WasiGroup::ALL),
    };
    for import in [
        "wasi:sockets/tcp@0.2.0",
        "wasi:keyvalue/watcher@0.2.0-draft2",
        "wasi:blobstore/container@0.2.0-draft",
        "rialto:other/thing@0.1.0",
    ] {
        let text = format!(r#"(component (import "{import}" (instance)))"#);
        let error = load(&Fixture::new(), &text, all.clone()).unwrap_err();
        assert!(matches!(error, LoadError::NeverGranted { .. }), "{error}");
    }
}

#[tokio::test]
async fn granted_wasi_has_no_authority() {
    let text = r#"(component
        (import "wasi:cli/environment@0.2.0" (instance $env
            (export "get-environment" (func (result (list (tuple string string)))))
            (export "get-arguments" (func (result (list string))))))
        (core module $memory
            (memory (export "memory") 1)
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
        (core instance $mem (instantiate $memory))
        (core func $get-env (canon lower (func $env "get-environment")
            (memory (core memory $mem "memory")) (realloc (core func $mem "realloc"))))
        (core func $get-args (canon lower (func $env "get-arguments")
            (memory (core memory $mem "memory")) (realloc (core func $mem "realloc"))))
        (core module $m
            (import "host" "memory" (memory 1))
            (import "host" "env" (func $env (param i32)))
            (import "host" "args" (func $args (param i32)))
            (func (export "count") (result i32)
                (call $env (i32.const 0))
                (call $args (i32.const 8))
                (i32.add (i32.load (i32.const 4)) (i32.load (i32.const 12)))))
        (core instance $i (instantiate $m (with "host" (instance
            (export "memory" (memory $mem "memory"))
            (export "env" (func $get-env)) (export "args" (func $get-args))))))
        (func (export "count") (result u32) (canon lift (core func $i "count"))))"#;
    let grants = Grants {
        wasi: BTreeSet::from([WasiGroup::Cli]),
        ..Grants::default()
    };
    let service = load(&Fixture::new(), text, grants).unwrap();
    assert_eq!(service.interface().name, "root");
    let outcome = call(&service, "count", json!({})).await.unwrap();
    assert_eq!(&outcome.body[..], b"0");
    assert_eq!(outcome.usage.host_calls, 2);
}

#[test]
fn exports_that_cannot_be_served_say_why() {
    let check = |text: &str, expected: &str| {
        let error = refused(text);
        assert!(error.contains(expected), "{error}");
    };
    check("(component)", "it exports no function of its own");
    check(
        r#"(component
            (core module $m (func (export "f")))
            (core instance $i (instantiate $m))
            (func $f (canon lift (core func $i "f")))
            (instance $a (export "f" (func $f)))
            (export "a:a/one" (instance $a))
            (export "a:a/two" (instance $a)))"#,
        "a service exports one interface or plain functions, found a:a/one, a:a/two",
    );
    check(
        r#"(component
            (type $r' (resource (rep i32)))
            (export $r "thing" (type $r'))
            (core module $m (func (export "f") (param i32)))
            (core instance $i (instantiate $m))
            (func (export "f") (param "it" (own $r)) (canon lift (core func $i "f"))))"#,
        "function `f`: parameter `it`: resources cannot be served",
    );
    // 2^24 values by 24 types: the walk is bounded.
    let mut types = String::from("(type $t0 (tuple u8 u8))");
    for at in 1..24 {
        types.push_str(&format!("(type $t{at} (tuple $t{} $t{}))", at - 1, at - 1));
    }
    let wide = format!(
        r#"(component {types}
            (core module $m (memory (export "memory") 1)
                (func (export "f") (result i32) i32.const 0))
            (core instance $i (instantiate $m))
            (func (export "f") (result $t23)
                (canon lift (core func $i "f") (memory (core memory $i "memory")))))"#
    );
    let component = guests::component(&wide).unwrap();
    let spec = spec(Grants::default(), patient());
    let error = Fixture::new()
        .host
        .load(&component, spec, Arc::new(NoModels));
    assert!(error.is_err());
}

/// A component whose one function takes so many uses of `used`, a type `$used` in component text,
/// with `wit` as the text that its docs come from.
fn using(used: &str, count: usize, wit: &str) -> String {
    let uses = " $used".repeat(count);
    format!(
        r#"(component {used}
            (type $all (tuple {uses}))
            (core module $m
                (@custom "rialto:wit" "{wit}")
                (memory (export "memory") 1)
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 0)
                (func (export "f") (param i32)))
            (core instance $i (instantiate $m))
            (func (export "f") (param "it" $all) (canon lift (core func $i "f")
                (memory (core memory $i "memory")) (realloc (core func $i "realloc")))))"#
    )
}

#[test]
fn few_bytes_that_describe_much_are_refused() {
    let cases: String = (0..500).map(|at| format!(" \"case-{at}\"")).collect();
    let used = format!("(type $used' (enum {cases})) (export $used \"used\" (type $used'))");
    let load = |count| load(&Fixture::new(), &using(&used, count, ""), Grants::default());
    assert_eq!(load(18).unwrap().interface().methods.len(), 1);
    // Ten times as much is still a small component: 100,000 names from 10 KB.
    let error = load(200).unwrap_err().to_string();
    assert!(error.contains("nested too deeply or too large"), "{error}");
}

#[test]
fn documentation_is_kept_while_there_is_room() {
    let used = "(type $used' (enum \"a\")) (export $used \"used\" (type $used'))";
    let text = "x".repeat(50_000);
    let types = "used, ".repeat(999);
    let wit = format!(
        "package a:a;\\nworld one {{\\n/// {text}\\nenum used {{ a }}\\n\
         export f: func(it: tuple<{types}used>);\\n}}\\n"
    );
    let service = load(
        &Fixture::new(),
        &using(used, 1_000, &wit),
        Grants::default(),
    )
    .unwrap();
    let schema = service.interface().methods[0].params[0].schema.to_string();
    assert!(
        schema.contains(&text),
        "the first use has its documentation"
    );
    assert!(schema.len() < 4 << 20, "{} bytes of schema", schema.len());
}

#[test]
fn what_is_no_component_or_too_large_is_refused() {
    let fixture = Fixture::with(|config| config.component_bytes_max = 1_000);
    let load = |bytes: &[u8]| {
        let spec = spec(Grants::default(), patient());
        fixture
            .host
            .load(bytes, spec, Arc::new(NoModels))
            .unwrap_err()
    };
    for bytes in [&b""[..], b"\0asm\x01\0\0\0", b"(component)", &[0; 1_001]] {
        let error = load(bytes);
        assert!(matches!(error, LoadError::Invalid(_)), "{error}");
    }
    let huge = r#"(component
        (core module $m (memory 2000) (func (export "f")))
        (core instance $i (instantiate $m))
        (func (export "f") (canon lift (core func $i "f"))))"#;
    let error = load(&guests::component(huge).unwrap());
    assert!(matches!(error, LoadError::TooLarge(_)), "{error}");
}
