//! The host against real components: every type, every limit, every hostile guest.
#![expect(
    clippy::unwrap_used,
    reason = "helpers outside test functions; a failure is a failed test"
)]

mod cache;
mod composed;
mod deterministic;
mod generation;
mod hostile;
mod http;
mod keyvalue;
mod languages;
mod leaks;
mod loading;
mod meters;
mod models;
mod nn;
mod operations;
mod overload;
mod settings;
mod streams;
mod types;
mod warm;

use std::sync::Arc;
use std::time::{Duration, Instant};

use rialto_host::{
    Arguments, CallContext, CallError, Config, Grants, Host, Limits, NoModels, Outcome, Service,
    ServiceSpec,
};
use rialto_testkit::guests;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A host on a folder of its own.
struct Fixture {
    host: Host,
    dir: TempDir,
}

impl Fixture {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::new(dir.path().join("cache"));
        config.calls_max = 8;
        change(&mut config);
        Self {
            host: Host::new(config).unwrap(),
            dir,
        }
    }

    fn load(&self, text: &str, grants: Grants, limits: Limits) -> Service {
        self.load_as("test", text, grants, limits)
    }

    fn load_as(&self, name: &str, text: &str, grants: Grants, limits: Limits) -> Service {
        let component = guests::component(text).unwrap();
        let spec = ServiceSpec {
            name: name.to_owned(),
            ..spec(grants, limits)
        };
        self.host
            .load(&component, spec, Arc::new(NoModels))
            .unwrap()
    }
}

fn spec(grants: Grants, limits: Limits) -> ServiceSpec {
    ServiceSpec {
        name: "test".to_owned(),
        version: "0.1.0".to_owned(),
        grants,
        limits,
        ..ServiceSpec::default()
    }
}

/// Generous for a busy machine; tests that need a time-out set their own limit.
fn context() -> CallContext {
    CallContext {
        call_id: "call-1".to_owned(),
        deadline: Instant::now() + Duration::from_secs(100),
        payer: String::new(),
        price: 0,
    }
}

fn patient() -> Limits {
    Limits {
        cpu_max: Duration::from_secs(60),
        wall_max: Duration::from_secs(100),
        ..Limits::default()
    }
}

async fn call(service: &Service, method: &str, body: Value) -> Result<Outcome, CallError> {
    let body = serde_json::to_vec(&body).unwrap();
    let prepared = service
        .prepare(method, Arguments::Json(body.into()))
        .unwrap();
    service.call(prepared, context()).await
}

async fn answer(service: &Service, method: &str, body: Value) -> Value {
    let outcome = call(service, method, body).await.unwrap();
    serde_json::from_slice(&outcome.body).unwrap()
}

/// The host still serves an honest guest.
async fn still_serves(service: &Service) {
    assert_eq!(
        answer(service, "echo", json!({ "text": "hello" })).await,
        "hello"
    );
}
