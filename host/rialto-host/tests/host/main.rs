//! The host against real components: every type, every limit, every hostile guest.
#![expect(
    clippy::unwrap_used,
    reason = "helpers outside test functions; a failure is a failed test"
)]

mod cache;
mod calls;
mod composed;
mod deterministic;
mod generation;
mod hostile;
pub(crate) mod http;
pub(crate) mod keyvalue;
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

use rialto_host::cell::{ComputerSetup, Program};
use rialto_host::{
    Arguments, CallContext, CallError, CellConfig, Config, Grants, Host, Isolation, Limits,
    NoModels, Outcome, Service, ServiceSpec,
};
use rialto_testkit::guests;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A host on a folder of its own.
pub(crate) struct Fixture {
    pub(crate) host: Host,
    pub(crate) dir: TempDir,
    /// Where its services run.
    isolation: Isolation,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::new(dir.path().join("cache"));
        config.calls_max = 8;
        config.cells = Some(cells());
        change(&mut config);
        Self {
            host: Host::new(config).unwrap(),
            dir,
            isolation: level(),
        }
    }

    /// The same for what no cell has.
    pub(crate) fn here(mut self) -> Self {
        self.isolation = Isolation::InProcess;
        self
    }

    pub(crate) fn load(&self, text: &str, grants: Grants, limits: Limits) -> Service {
        self.load_as("test", text, grants, limits)
    }

    pub(crate) fn load_as(
        &self,
        name: &str,
        text: &str,
        grants: Grants,
        limits: Limits,
    ) -> Service {
        let component = guests::component(text).unwrap();
        let spec = ServiceSpec {
            name: name.to_owned(),
            isolation: self.isolation,
            ..spec(grants, limits)
        };
        self.host
            .load(&component, spec, Arc::new(NoModels))
            .unwrap()
    }
}

pub(crate) fn spec(grants: Grants, limits: Limits) -> ServiceSpec {
    ServiceSpec {
        name: "test".to_owned(),
        version: "0.1.0".to_owned(),
        grants,
        limits,
        isolation: level(),
        ..ServiceSpec::default()
    }
}

/// Where the services of these tests run: this file is a part of two programs.
pub(crate) fn level() -> Isolation {
    if env!("CARGO_CRATE_NAME") == "cells" {
        Isolation::Process
    } else {
        Isolation::InProcess
    }
}

/// A spec for what no cell offers.
pub(crate) fn spec_here(grants: Grants, limits: Limits) -> ServiceSpec {
    ServiceSpec {
        isolation: Isolation::InProcess,
        ..spec(grants, limits)
    }
}

/// The program `cells` of these tests as a cell: one of its tests, by its name, with something else to do.
pub(crate) fn cells() -> CellConfig {
    let program = Program {
        file: std::env::current_exe().unwrap(),
        arguments: [CELL_TEST, "--exact", "--nocapture"]
            .map(Into::into)
            .to_vec(),
        environment: vec![(CELL_MODE.into(), "serve".into())],
    };
    CellConfig {
        computer: ComputerSetup {
            threads: 2,
            memory_bytes_max: 256 << 20,
        },
        ..CellConfig::new(program)
    }
}

pub(crate) const CELL_MODE: &str = "RIALTO_TEST_CELL";
pub(crate) const CELL_TEST: &str = "process::a_call_in_a_cell_answers_as_here";

/// Generous for a busy machine; tests that need a time-out set their own limit.
pub(crate) fn context() -> CallContext {
    CallContext {
        call_id: "call-1".to_owned(),
        deadline: Instant::now() + Duration::from_secs(100),
        payer: String::new(),
        price: 0,
        hirer: std::sync::Arc::new(rialto_host::NoHirer),
        awaited: None,
    }
}

pub(crate) fn patient() -> Limits {
    Limits {
        cpu_max: Duration::from_secs(60),
        wall_max: Duration::from_secs(100),
        ..Limits::default()
    }
}

pub(crate) async fn call(
    service: &Service,
    method: &str,
    body: Value,
) -> Result<Outcome, CallError> {
    let body = serde_json::to_vec(&body).unwrap();
    let prepared = service
        .prepare(method, Arguments::Json(body.into()))
        .unwrap();
    service.call(prepared, context()).await
}

pub(crate) async fn answer(service: &Service, method: &str, body: Value) -> Value {
    let outcome = call(service, method, body).await.unwrap();
    serde_json::from_slice(&outcome.body).unwrap()
}

/// The host still serves an honest guest.
pub(crate) async fn still_serves(service: &Service) {
    assert_eq!(
        answer(service, "echo", json!({ "text": "hello" })).await,
        "hello"
    );
}
