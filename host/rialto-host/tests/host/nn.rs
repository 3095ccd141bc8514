//! `wasi:nn`: a component that knows nothing else runs a real model, and is refused what it must be.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rialto_compute::{Element, Model, Tensor};
use rialto_host::{Models, OpenError, WasiGroup};
use rialto_tensor::{Engine as _, TractEngine};
use rialto_testkit::mesh::path_from_env;
use sha2::{Digest as _, Sha256};

use super::*;

/// The digest of magika's model, the smallest that is a service here.
const MAGIKA: &str = "fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c";

/// One model, whatever its name.
struct One(Arc<dyn Model>);

impl Models for One {
    fn open(&self, _name: &str) -> Result<Arc<dyn Model>, OpenError> {
        Ok(Arc::clone(&self.0))
    }
}

struct Lab {
    service: Service,
    model: Arc<dyn Model>,
    file: Vec<u8>,
    _fixture: Fixture,
}

fn lab(limits: Limits) -> Lab {
    let fixture = Fixture::new();
    let component = path_from_env("RIALTO_TEST_GUESTS").unwrap();
    let component = std::fs::read(component.join("nn/component.wasm")).unwrap();
    let file = path_from_env("RIALTO_ARTIFACTS").unwrap().join(MAGIKA);
    let file = std::fs::read(file).unwrap();
    let model = TractEngine::default()
        .load(file.clone().into(), "magika")
        .unwrap();
    let spec = ServiceSpec {
        models: vec!["magika".to_owned()],
        model_digests: vec![("magika".to_owned(), Sha256::digest(&file).into())],
        ..spec(
            Grants {
                tensor: true,
                wasi: WasiGroup::ALL.into(),
                ..Grants::default()
            },
            limits,
        )
    };
    let models = Arc::new(One(Arc::clone(&model)));
    let service = fixture.host.load(&component, spec, models).unwrap();
    Lab {
        service,
        model,
        file,
        _fixture: fixture,
    }
}

fn limits() -> Limits {
    Limits {
        input_bytes_max: 16 << 20,
        wall_max: Duration::from_secs(60),
        cpu_max: Duration::from_secs(60),
        ..Limits::default()
    }
}

fn input(element: &str, values: &[i32]) -> Value {
    let data: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    json!({"name": "bytes", "shape": [1, values.len()], "element": element, "data": STANDARD.encode(data)})
}

fn text() -> Vec<i32> {
    (0..2048).map(|index| index * 7 % 251).collect()
}

impl Lab {
    /// What the engine says by itself, as the guest reports it.
    fn expected(&self) -> Value {
        let tensor = Tensor::from_i32(vec![1, 2048], &text()).unwrap();
        let name = self.model.outputs()[0].name.clone();
        let outputs = self
            .model
            .run(
                vec![("bytes".to_owned(), tensor)],
                std::slice::from_ref(&name),
            )
            .unwrap();
        assert_eq!(outputs[0].element(), Element::F32);
        json!([{
            "name": name, "shape": outputs[0].shape(), "element": "TensorType::Fp32",
            "data": STANDARD.encode(outputs[0].data()),
        }])
    }

    async fn refusal(&self, method: &str, body: Value) -> String {
        match call(&self.service, method, body).await {
            Err(CallError::Refused { error }) => String::from_utf8(error.to_vec()).unwrap(),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_for_other_hosts_runs_a_granted_model() {
    let lab = lab(limits());
    let inputs = json!([input("i32", &text())]);
    for name in ["magika", MAGIKA] {
        let found = answer(
            &lab.service,
            "by_name",
            json!({"name": name, "inputs": inputs}),
        )
        .await;
        assert_eq!(found, lab.expected());
    }
    let body = json!({
        "file": STANDARD.encode(&lab.file), "encoding": "onnx", "times": 3, "inputs": inputs,
    });
    let outcome = call(&lab.service, "by_file", body).await.unwrap();
    let found: Value = serde_json::from_slice(&outcome.body).unwrap();
    assert_eq!(found, lab.expected(), "the file's bytes name the model");
    assert_eq!(outcome.usage.tensor_runs, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_granted_or_does_not_fit_is_refused_with_its_code() {
    let lab = lab(limits());
    let good = json!([input("i32", &text())]);
    let by_name = |name: &str, inputs: &Value| json!({"name": name, "inputs": inputs});
    let refused = lab.refusal("by_name", by_name("other", &good)).await;
    assert!(refused.contains("ErrorCode::Security"), "{refused}");
    let short = json!([input("i32", &[1, 2])]);
    let refused = lab.refusal("by_name", by_name("magika", &short)).await;
    assert!(refused.contains("ErrorCode::InvalidArgument"), "{refused}");
    assert!(
        refused.contains("takes shape [?, 2048], found [1, 2]"),
        "{refused}"
    );
    let wide = json!([input("fp64", &text())]);
    let refused = lab.refusal("by_name", by_name("magika", &wide)).await;
    assert!(
        refused.contains("ErrorCode::UnsupportedOperation"),
        "{refused}"
    );
    let cut = json!([{"name": "bytes", "shape": [1, 2048], "element": "i32", "data": "AAAA"}]);
    let refused = lab.refusal("by_name", by_name("magika", &cut)).await;
    assert!(refused.contains("needs 8192 bytes, found 3"), "{refused}");

    let by_file = |file: &[u8], encoding: &str| json!({"file": STANDARD.encode(file), "encoding": encoding, "times": 1, "inputs": good});
    let mut other = lab.file.clone();
    other.push(0);
    let refused = lab.refusal("by_file", by_file(&other, "onnx")).await;
    assert!(refused.contains("ErrorCode::Security"), "{refused}");
    let refused = lab.refusal("by_file", by_file(&lab.file, "openvino")).await;
    assert!(refused.contains("ErrorCode::InvalidEncoding"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hoard_ends_at_the_calls_limit() {
    let lab = lab(Limits {
        tensor_bytes_max: 10 << 20,
        ..limits()
    });
    let kept = answer(&lab.service, "hoard", json!({"count": 30})).await;
    assert_eq!(kept, json!(10));
}
