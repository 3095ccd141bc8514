//! Language models through the sandbox, misused: each misuse has an answer, none harms the next call.
//!
//! The model is the one that the service `chat` runs.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use rialto_compute::Model;
use rialto_compute::language::LanguageModel;
use rialto_host::{LoadError, Models, OpenError, WasiGroup};
use rialto_testkit::mesh::path_from_env;

use super::*;

const SMOLLM2: &str = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53";

#[derive(Debug)]
struct One(Arc<dyn LanguageModel>);

impl Models for One {
    fn open(&self, name: &str) -> Result<Arc<dyn Model>, OpenError> {
        Err(OpenError::Unknown(name.to_owned()))
    }

    fn language(&self, name: &str) -> Option<Arc<dyn LanguageModel>> {
        ["one", "smollm2"]
            .contains(&name)
            .then(|| Arc::clone(&self.0))
    }
}

fn place(variable: &str) -> PathBuf {
    path_from_env(variable).unwrap()
}

fn service(fixture: &Fixture, limits: Limits) -> Service {
    let component = place("RIALTO_TEST_GUESTS").join("generation/component.wasm");
    load(fixture, &component, &["one", "another"], limits)
}

fn load(fixture: &Fixture, component: &Path, models: &[&str], limits: Limits) -> Service {
    let file = std::fs::read(place("RIALTO_ARTIFACTS").join(SMOLLM2)).unwrap();
    let engine = rialto_lm::Engine::new(rialto_lm::Config::default());
    let model = engine.load(&Bytes::from(file), "one").unwrap();
    let component = std::fs::read(component).unwrap();
    let grants = Grants {
        tensor: true,
        wasi: WasiGroup::ALL.into(),
        ..Grants::default()
    };
    let spec = ServiceSpec {
        models: models.iter().map(|name| (*name).to_owned()).collect(),
        ..spec_here(grants, limits)
    };
    let models = Arc::new(One(model));
    if level() == Isolation::Process {
        // Its sessions stay with the host: no cell takes it.
        let asked = ServiceSpec {
            isolation: level(),
            ..spec.clone()
        };
        let refused = fixture.host.load(&component, asked, models.clone());
        let error = refused.unwrap_err();
        assert!(matches!(error, LoadError::Isolation(_)), "{error}");
        assert!(error.to_string().contains("in-process"), "{error}");
    }
    fixture.host.load(&component, spec, models).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_misuse_has_an_answer_and_the_next_call_its_tokens() {
    let fixture = Fixture::new();
    let service = service(&fixture, patient());
    let body = json!({ "model": "one" });
    let outcomes = answer(&service, "misuse", body.clone()).await;
    let outcomes = outcomes.as_array().unwrap();
    assert_eq!(outcomes.len(), 23);
    for outcome in outcomes {
        let refusal = outcome["refusal"].as_str().unwrap();
        assert!(refusal.len() > 10, "nothing was said to {outcome}");
        assert!(!refusal.contains("stopped"), "{outcome}");
    }
    assert_eq!(answer(&service, "honest", body).await, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_for_sessions_has_a_limit() {
    let fixture = Fixture::new();
    let limits = Limits {
        session_bytes_max: 4 << 20,
        ..patient()
    };
    let service = service(&fixture, limits);
    let body = json!({ "model": "one" });
    let error = call(&service, "endless", body.clone()).await.unwrap_err();
    let CallError::Refused { error } = error else {
        panic!("{error}");
    };
    let error = String::from_utf8(error.to_vec()).unwrap();
    assert!(error.contains("a call's may have 4194304 bytes"), "{error}");
    assert_eq!(answer(&service, "honest", body).await, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writing_without_end_ends_with_the_calls_time_and_leaves_the_model_free() {
    let fixture = Fixture::new();
    let limits = Limits {
        wall_max: Duration::from_secs(1),
        ..patient()
    };
    let service = service(&fixture, limits);
    let body = json!({ "model": "one" });
    let error = call(&service, "endless", body.clone()).await.unwrap_err();
    assert_eq!(error.wire_code(), "timed_out");
    assert_eq!(answer(&service, "honest", body).await, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chat_streams_the_words_that_it_answers_at_once() {
    let fixture = Fixture::new();
    let component = place("RIALTO_SERVICES").join("chat/component.wasm");
    let service = load(&fixture, &component, &["smollm2"], patient());
    let body = json!({
        "messages": [{ "role": "user", "content": "Name three colours." }],
        "options": { "max_tokens": 24, "seed": 7 },
    });
    let whole = answer(&service, "chat", body.clone()).await;
    let text = serde_json::to_vec(&body).unwrap();
    let prepared = service.prepare("stream", Arguments::Json(text.into()));
    let mut stream = service.open(prepared.unwrap(), context()).await.unwrap();
    let (mut said, mut pieces, mut tokens) = (String::new(), 0_u64, 0);
    while let Some(item) = stream.next().await.unwrap() {
        said.push_str(&serde_json::from_slice::<String>(&item).unwrap());
        pieces += 1;
        let so_far = stream.usage().tokens_written;
        assert!(
            so_far > tokens,
            "each piece is written when it is asked for"
        );
        tokens = so_far;
    }
    assert_eq!(whole["message"]["content"], said);
    assert!(pieces > 5, "{pieces} pieces of {said:?}");
}
