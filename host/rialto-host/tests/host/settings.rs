//! Settings and secrets: a guest reads both, and nobody else reads a secret.

use std::collections::BTreeMap;
use std::io;
use std::sync::Mutex;

use rialto_host::{Secret, Settings, WasiGroup};
use rialto_testkit::mesh::path_from_env;
use zeroize::Zeroizing;

use super::*;

const KEY: &str = "sk-live-0123456789";
const PEM: &str = "-----BEGIN KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END KEY-----\n";

pub(crate) fn ambient() -> Vec<u8> {
    let place = path_from_env("RIALTO_TEST_GUESTS").unwrap();
    std::fs::read(place.join("ambient/component.wasm")).unwrap()
}

pub(crate) fn granted() -> Grants {
    Grants {
        config: true,
        log: true,
        context: true,
        wasi: WasiGroup::ALL.into(),
        ..Grants::default()
    }
}

fn load(fixture: &Fixture) -> Service {
    let secret = |value: &str| Secret::new(Zeroizing::new(value.to_owned())).unwrap();
    let mut spec = spec(granted(), patient());
    spec.settings = Settings {
        config: BTreeMap::from([("greeting".to_owned(), "hello".to_owned())]),
        secrets: BTreeMap::from([
            ("key".to_owned(), secret(KEY)),
            ("pem".to_owned(), secret(PEM)),
        ]),
    };
    assert!(!format!("{spec:?}").contains(KEY));
    fixture
        .host
        .load(&ambient(), spec, Arc::new(NoModels))
        .unwrap()
}

#[tokio::test]
async fn a_guest_reads_settings_and_secrets_by_name() {
    let fixture = Fixture::new();
    let service = load(&fixture);
    let setting = async |name: &str| answer(&service, "setting", json!({ "name": name })).await;
    assert_eq!(setting("greeting").await, "hello");
    assert_eq!(setting("key").await, KEY);
    assert_eq!(setting("pem").await, PEM);
    assert_eq!(setting("other").await, Value::Null);
    assert_eq!(
        answer(&service, "settings", json!({})).await,
        json!([["greeting", "hello"], ["key", KEY], ["pem", PEM]])
    );
}

/// What was logged, for one thread.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl io::Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn secrets_are_in_no_log_and_in_no_error() {
    let fixture = Fixture::new();
    let service = load(&fixture);
    let logged = Logged::default();
    let writer = logged.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let guard = tracing::subscriber::set_default(subscriber);
    let mut errors = String::new();
    for name in ["key", "pem", "greeting"] {
        for how in ["log", "print", "long", "refuse", "trap"] {
            let told = call(&service, "tell", json!({ "name": name, "how": how })).await;
            errors.push_str(&format!("{told:?}"));
        }
    }
    drop(guard);
    let log = String::from_utf8(logged.0.lock().unwrap().clone()).unwrap();
    for told in [&log, &errors] {
        for secret in [KEY, "MIIEvQIBADANBgkq", "hkiG9w0BAQEFAASC", "sk-live"] {
            assert!(!told.contains(secret), "{secret} is in {told}");
        }
        assert!(
            told.contains("[secret]") && told.contains("hello"),
            "{told}"
        );
    }
    assert!(log.contains("it is [secret], twice [secret]"), "{log}");
    assert!(log.contains("it is [secret], of course"), "{log}");
}

#[test]
fn each_version_of_the_interface_is_served() {
    let fixture = Fixture::new();
    for version in ["0.2.0-rc.1", "0.2.0-draft-2024-09-27", "0.2.0-draft"] {
        let text = format!(
            r#"(component
                (import "wasi:config/store@{version}" (instance $config
                    (type $error' (variant (case "upstream" string) (case "io" string)))
                    (export "error" (type $error (eq $error')))
                    (export "get" (func (param "key" string)
                        (result (result (option string) (error $error)))))
                    (export "get-all" (func
                        (result (result (list (tuple string string)) (error $error)))))))
                (core module $m (func (export "f")))
                (core instance $i (instantiate $m))
                (func (export "f") (canon lift (core func $i "f"))))"#
        );
        fixture.load(&text, granted(), patient());
        let component = guests::component(&text).unwrap();
        let spec = spec(Grants::default(), patient());
        let error = fixture.host.load(&component, spec, Arc::new(NoModels));
        let error = error.unwrap_err().to_string();
        assert!(error.contains("service.toml: config = true"), "{error}");
    }
}
