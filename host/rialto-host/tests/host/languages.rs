//! Services in other languages than Rust, built by their own toolchains: the templates of `rialto new`
//! answer alike, and their engines are as confined as anything else.
//!
//! One test a language: compiling Python's component takes many seconds, once for all of a test's calls
//! and once for all runs on a machine.

use rialto_tensor::CpuDevice;
use rialto_testkit::mesh::path_from_env;

use super::*;

/// A host whose compiled code outlives the test.
struct Lab {
    host: Host,
}

impl Lab {
    fn new() -> Self {
        let cache = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("languages");
        let mut config = Config::new(cache);
        config.calls_max = 8;
        config.cells = Some(cells());
        config.computers = vec![Arc::new(CpuDevice::new(1, 256 << 20))];
        Self {
            host: Host::new(config).unwrap(),
        }
    }

    fn load(&self, built: &str, grants: Grants, limits: Limits) -> Service {
        let place = path_from_env("RIALTO_TEST_GUESTS").unwrap();
        let component = std::fs::read(place.join(built).join("component.wasm")).unwrap();
        let spec = spec(grants, limits);
        self.host
            .load(&component, spec, Arc::new(NoModels))
            .unwrap()
    }
}

fn granted() -> Grants {
    Grants {
        tensor: true,
        context: true,
        log: true,
        ..Grants::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn javascript_is_typed_and_confined() {
    let lab = Lab::new();
    the_template_works(
        &lab,
        "javascript",
        Grants {
            log: true,
            ..Grants::default()
        },
    )
    .await;
    let trials = Trials::new(&lab, "javascript");
    // A number of JavaScript: exact up to 2^53, and no further.
    trials.keeps_values(json!(9_007_199_254_740_991_u64)).await;
    let error = trials
        .echo(json!("18446744073709551615"))
        .await
        .unwrap_err();
    assert_eq!(error.wire_code(), "trapped", "{error}");
    trials.are_confined("stack_exhausted").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_is_typed_and_confined() {
    let lab = Lab::new();
    the_template_works(
        &lab,
        "python",
        Grants {
            log: true,
            ..Grants::default()
        },
    )
    .await;
    let trials = Trials::new(&lab, "python");
    trials.keeps_values(json!("18446744073709551615")).await;
    // Python counts its own frames and raises: an exception that the method's type does not know.
    trials.are_confined("trapped").await;
    if level() == Isolation::InProcess {
        // It takes long enough to be made ahead, by itself.
        warm::ready(&lab.host, 1).await;
    }
    let before = lab.host.load_now().warm_taken;
    trials.keeps_values(json!("18446744073709551615")).await;
    let taken = lab.host.load_now().warm_taken > before;
    assert_eq!(taken, level() == Isolation::InProcess);
}

#[tokio::test(flavor = "multi_thread")]
async fn rusts_template_answers_as_the_others() {
    let grants = Grants {
        log: true,
        wasi: rialto_host::WasiGroup::ALL.into(),
        ..Grants::default()
    };
    the_template_works(&Lab::new(), "rust", grants).await;
}

/// What every template does: a typed call, the error of its own, wrong arguments refused with the place,
/// and its documentation for callers.
async fn the_template_works(lab: &Lab, language: &str, grants: Grants) {
    let name = format!("template-{language}");
    let service = lab.load(&name, grants, patient());
    let interface = service.interface();
    assert_eq!(interface.name, format!("rialto-service:{name}/texts@0.1.0"));
    assert_eq!(interface.docs.as_deref(), Some("What a text is made of."));
    assert_eq!(interface.methods.len(), 1, "nothing of the toolchain's own");
    let method = interface.method("measure").unwrap();
    let docs = method.docs.as_deref().unwrap();
    assert!(docs.starts_with("Counts the words"), "{docs}");
    let schema = method.params[0].schema.to_string();
    assert!(schema.contains("200 if left out"), "{schema}");

    let document =
        |text: &str, rate: Value| json!({ "document": { "text": text, "words_per_minute": rate } });
    let found = answer(
        &service,
        "measure",
        document("ein 😀😀😀😀😀 langes Wörtchen", json!(60)),
    )
    .await;
    let expected = json!({ "words": 4, "longest": "Wörtchen", "reading_seconds": 4.0 });
    assert_eq!(found, expected, "{language}");
    let found = answer(
        &service,
        "measure",
        json!({ "document": { "text": "one" } }),
    )
    .await;
    assert_eq!(found["reading_seconds"], json!(0.3));

    for (body, expected) in [
        (document(" ", json!(null)), r#""`text` has no words""#),
        (
            document("one", json!(0)),
            r#""`words_per_minute` is 0: nobody would finish""#,
        ),
    ] {
        match call(&service, "measure", body).await {
            Err(CallError::Refused { error }) => assert_eq!(&error[..], expected.as_bytes()),
            other => panic!("{language}: {other:?}"),
        }
    }
    for (body, place) in [
        (document("one", json!("fast")), "words_per_minute"),
        (json!({ "document": {} }), "text"),
    ] {
        let body = serde_json::to_vec(&body).unwrap();
        let refused = service.prepare("measure", Arguments::Json(body.into()));
        let error = refused.unwrap_err().to_string();
        assert!(error.contains(place), "{language}: {error}");
    }
}

/// The guest of `testing/guests/languages` in one language.
struct Trials {
    service: Service,
    /// The same with little time.
    hurried: Service,
}

impl Trials {
    fn new(lab: &Lab, language: &str) -> Self {
        let name = format!("trials-{language}");
        let usual = Limits {
            output_bytes_max: 1 << 20,
            ..patient()
        };
        let hurried = Limits {
            cpu_max: Duration::from_millis(300),
            ..patient()
        };
        Self {
            service: lab.load(&name, granted(), usual),
            hurried: lab.load(&name, granted(), hurried),
        }
    }

    async fn echo(&self, large: Value) -> Result<Outcome, CallError> {
        let mut values = values();
        values["large"] = large;
        call(&self.service, "echo", json!({ "values": values })).await
    }

    /// Every kind of value comes back as it went, errors keep their type, and the host's functions work.
    async fn keeps_values(&self, large: Value) {
        let outcome = self.echo(large.clone()).await.unwrap();
        let mut expected = values();
        expected["large"] = large;
        let found: Value = serde_json::from_slice(&outcome.body).unwrap();
        assert_eq!(found, expected);

        let refused = call(&self.service, "refuse", json!({ "point": { "x": -3 } })).await;
        let Err(CallError::Refused { error }) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!(&error[..], br#"{"polygon":[{"x":-3,"y":null}]}"#);

        let said = call(&self.service, "say", json!({ "message": "héllo" })).await;
        let said = said.unwrap();
        assert_eq!(
            (&said.body[..], said.usage.host_calls),
            (&b"\"call-1\""[..], 2)
        );

        let doubled = call(&self.service, "double", json!({ "values": [1.5, -2.0] })).await;
        let doubled = doubled.unwrap();
        assert_eq!(&doubled.body[..], b"[3.0,-4.0]");
        assert_eq!(doubled.usage.tensor_runs, 1);
        self.streams().await;
    }

    /// A class of the language is a stream.
    async fn streams(&self) {
        let down = |start: i32, stop: Option<i32>| {
            let body = json!({ "start": start, "stop": stop });
            call(&self.service, "down", body)
        };
        let whole = down(2, None).await.unwrap();
        assert_eq!(&whole.body[..], b"[2,1,0]");
        for (start, stop, said) in [
            (2, Some(1), "\"no further than 1\""),
            (-1, None, "\"`start` is below nought\""),
        ] {
            let Err(CallError::Refused { error }) = down(start, stop).await else {
                panic!("{start} was not refused")
            };
            assert_eq!(&error[..], said.as_bytes());
        }
    }

    /// Each way of misbehaving has its error, and leaves the next call a fresh instance.
    async fn are_confined(&self, recursion: &str) {
        for (service, method, body, code) in [
            (&self.hurried, "spin", json!({}), "cpu_exceeded"),
            (&self.service, "grow", json!({}), "memory_exceeded"),
            (&self.service, "recurse", json!({ "depth": 0 }), recursion),
            (&self.service, "fail", json!({}), "trapped"),
            (
                &self.service,
                "tell",
                json!({ "letters": 2_000_000 }),
                "output_too_large",
            ),
        ] {
            let error = call(service, method, body).await.unwrap_err();
            assert_eq!(error.wire_code(), code, "{method}: {error}");
            assert_eq!(answer(service, "count", json!({})).await, 1);
        }
    }
}

fn values() -> Value {
    json!({
        "shape": { "polygon": [{ "x": i32::MIN, "y": 0.5 }, { "x": 7, "y": null }] },
        "access": ["write_all"], "colour": "light_red", "large": 7, "letter": "ß",
        "content": "AP8=", "pair": ["a \"b\" \u{1f600}", true], "nested": [[0.25], []],
    })
}
