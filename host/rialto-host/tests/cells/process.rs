//! Processes that end, by themselves or by others, and what their calls and neighbours see of it.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rialto_host::{
    Arguments, CallError, Grants, Isolation, LoadError, NoModels, ResponseText, Service, cell,
};
use rialto_tensor::CpuDevice;
use rialto_testkit::guests;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::json;

use super::host::{
    CELL_MODE, Fixture, call, cells, context, http, patient, spec, spec_here, still_serves,
};

fn load(fixture: &Fixture, name: &str) -> Service {
    fixture.load_as(name, guests::HOSTILE, Grants::default(), patient())
}

/// A service in this process.
fn load_here(fixture: &Fixture) -> Service {
    let component = guests::component(guests::HOSTILE).unwrap();
    let spec = spec_here(Grants::default(), patient());
    let loaded = fixture.host.load(&component, spec, Arc::new(NoModels));
    loaded.unwrap()
}

fn pid(service: &Service) -> Pid {
    Pid::from_raw(i32::try_from(service.process().unwrap()).unwrap()).unwrap()
}

fn is_alive(pid: Pid) -> bool {
    test_kill_process(pid).is_ok()
}

/// Has a call that does not end by itself go into its service's process.
async fn begin<T: std::fmt::Debug>(service: &Service, mut call: Pin<&mut impl Future<Output = T>>) {
    loop {
        let early = tokio::time::timeout(Duration::from_millis(5), call.as_mut()).await;
        assert!(early.is_err(), "it ended: {early:?}");
        // Whoever sees the process in one poll has told it of the call in the same.
        if service.process().is_some() {
            return;
        }
    }
}

/// Looks until something is so.
async fn until(what: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !what() {
        assert!(Instant::now() < end, "not within 30 s");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[test]
fn a_call_in_a_cell_answers_as_here() {
    if std::env::var(CELL_MODE).is_ok() {
        let served = cell::serve(|setup| {
            let cpu = CpuDevice::new(setup.threads, setup.memory_bytes_max);
            vec![Arc::new(cpu)]
        });
        panic!("served: {served:?}");
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(compare());
}

async fn compare() {
    let fixture = Fixture::new();
    let here = load_here(&fixture);
    let there = load(&fixture, "there");
    assert_eq!(there.isolation(), Isolation::Process);
    assert_eq!(
        (there.process(), here.process()),
        (None, None),
        "none is needed yet"
    );
    let text = json!({ "text": "x".repeat(100_000) });
    let (one, two) = (
        call(&here, "echo", text.clone()),
        call(&there, "echo", text),
    );
    let (one, two) = (one.await.unwrap(), two.await.unwrap());
    assert_eq!(one.body, two.body);
    assert_ne!(there.process(), Some(std::process::id()));
    assert_eq!(one.usage.memory_peak, two.usage.memory_peak);

    assert_eq!(one.usage.output_bytes, two.usage.output_bytes);
    assert_eq!(one.usage.input_bytes, two.usage.input_bytes);
    assert!(two.usage.guest_time > Duration::ZERO, "{:?}", two.usage);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_killed_fails_its_calls_and_nobody_elses() {
    let fixture = Fixture::new();
    let (struck, other) = (load(&fixture, "struck"), load(&fixture, "other"));
    still_serves(&other).await;
    let others = pid(&other);
    for (signal, named) in [(Signal::KILL, "SIGKILL"), (Signal::ABORT, "SIGABRT")] {
        still_serves(&struck).await;
        let process = pid(&struck);
        let mut waiting = pin!(call(&other, "spin", json!({})));
        begin(&other, waiting.as_mut()).await;
        let mut spinning: Vec<_> = (0..3)
            .map(|_| Box::pin(call(&struck, "spin", json!({}))))
            .collect();
        for spin in &mut spinning {
            begin(&struck, spin.as_mut()).await;
        }
        kill_process(process, signal).unwrap();
        for call in spinning {
            let error = call.await.unwrap_err();
            assert_eq!(error.wire_code(), "cell_ended");
            assert!(error.to_string().contains(named), "{error}");
        }
        let left = tokio::time::timeout(Duration::from_millis(1), waiting.as_mut());
        assert!(left.await.is_err(), "the other service's call goes on");
        still_serves(&struck).await;
        assert_ne!(pid(&struck), process);
        still_serves(&other).await;
        assert_eq!(pid(&other), others);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_whose_process_ends_again_and_again_rests() {
    let fixture = Fixture::new();
    let service = load(&fixture, "again");
    for _ in 0..3 {
        // A call that ends well wipes the slate, so none may.
        let mut spin = pin!(call(&service, "spin", json!({})));
        begin(&service, spin.as_mut()).await;
        kill_process(pid(&service), Signal::KILL).unwrap();
        assert_eq!(spin.await.unwrap_err().wire_code(), "cell_ended");
    }
    let error = call(&service, "echo", json!({ "text": "" }))
        .await
        .unwrap_err();
    let CallError::CellRests { retry_after_ms } = error else {
        panic!("{error}");
    };
    assert!(retry_after_ms > 0 && retry_after_ms <= 2_000);
    assert_eq!(service.process(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_nobody_waits_for_ends_and_its_cell_goes_on() {
    let fixture = Fixture::with(|config| {
        config.cells = Some(cell_of_one());
    });
    let service = load(&fixture, "given-up");
    still_serves(&service).await;
    let process = pid(&service);
    for _ in 0..3 {
        let spin = call(&service, "spin", json!({}));
        assert!(
            tokio::time::timeout(Duration::from_millis(50), spin)
                .await
                .is_err()
        );
        // The only place in the cell is free again when the guest there has ended.
        still_serves(&service).await;
        assert_eq!(pid(&service), process);
    }
}

fn cell_of_one() -> rialto_host::CellConfig {
    rialto_host::CellConfig {
        calls_max: 1,
        ..cells()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_processes_make_place_and_end() {
    let fixture = Fixture::with(|config| {
        config.cells = Some(rialto_host::CellConfig {
            cells_max: 1,
            idle_max: Duration::from_millis(200),
            ..cells()
        });
    });
    let (one, two) = (load(&fixture, "one"), load(&fixture, "two"));
    still_serves(&one).await;
    let first = pid(&one);
    still_serves(&two).await;
    assert_eq!(one.process(), None);
    until(|| !is_alive(first)).await;
    // The only place is taken by a call that is not over.
    let mut spin = Box::pin(call(&two, "spin", json!({})));
    begin(&two, spin.as_mut()).await;
    let error = call(&one, "echo", json!({ "text": "" })).await.unwrap_err();
    assert_eq!(error.wire_code(), "overloaded");
    let second = pid(&two);
    drop(spin);
    until(|| two.process().is_none() && !is_alive(second)).await;
    still_serves(&one).await;
    let third = pid(&one);
    drop((one, two, fixture));
    until(|| !is_alive(third)).await;
}

#[tokio::test]
async fn what_cannot_be_had_in_a_cell_is_refused_when_it_is_loaded() {
    let component = guests::component(guests::HOSTILE).unwrap();
    let refused = |fixture: &Fixture| {
        let spec = spec(Grants::default(), patient());
        let loaded = fixture.host.load(&component, spec, Arc::new(NoModels));
        let error = loaded.unwrap_err();
        assert!(matches!(error, LoadError::Isolation(_)), "{error}");
        error.to_string()
    };
    let without = Fixture::with(|config| config.cells = None);
    assert!(refused(&without).contains("no way"));
    let wrong = Fixture::with(|config| {
        let mut cells = cells();
        cells.program.file = "/nonexistent".into();
        config.cells = Some(cells);
    });
    assert!(refused(&wrong).contains("/nonexistent"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn arguments_are_checked_before_a_process_is_started() {
    let fixture = Fixture::new();
    let service = load(&fixture, "checked");
    let wrong = service.prepare("echo", Arguments::Json("{\"text\": 1}".into()));
    assert_eq!(wrong.unwrap_err().wire_code(), "invalid_argument");
    let prepared = service.prepare("echo", Arguments::Json("{\"text\": \"\"}".into()));
    let mut late = context();
    late.deadline = Instant::now();
    let error = service.call(prepared.unwrap(), late).await.unwrap_err();
    assert!(
        matches!(
            error,
            CallError::TimedOut { .. } | CallError::Overloaded { .. }
        ),
        "{error}"
    );
    assert_eq!(service.process(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_comes_whole_and_is_what_a_call_answers() {
    let fixture = Fixture::new();
    let spec = spec(http::granted(&[]), patient());
    let loaded = fixture
        .host
        .load(&http::component(), spec, Arc::new(NoModels));
    let service = loaded.unwrap();
    for (path, status, bytes) in [
        ("/drip?3,5", 200, 27),
        ("/large?200000", 200, 200_000),
        ("/missing", 404, 8),
        ("/broken", 503, 6),
    ] {
        let body = json!({ "method": "GET", "path": path, "body": "" });
        let arguments = Arguments::Json(body.to_string().into());
        let prepared = service.prepare("handle", arguments).unwrap();
        let mut response = service.respond(prepared, context()).await.unwrap();
        assert_eq!(response.status(), status, "{path}");
        let mut text = ResponseText::new(response.head());
        let mut taken = 0;
        while let Some(piece) = response.next().await.unwrap() {
            taken += piece.len();
            text.push(&piece);
        }
        assert_eq!(taken, bytes, "{path}");
        assert!(response.next().await.unwrap().is_none());
        let called = call(&service, "handle", body).await;
        match (response.finish(text), called) {
            (Ok(one), Ok(two)) => {
                assert_eq!(one.body, two.body);
                assert_eq!(one.usage.output_bytes, two.usage.output_bytes);
            }
            (Err(one), Err(two)) => assert_eq!(one, two),
            other => panic!("{path}: {other:?}"),
        }
    }
    let body = json!({ "method": "GET", "path": "/silent", "body": "" }).to_string();
    let prepared = service.prepare("handle", Arguments::Json(body.into()));
    let error = service.respond(prepared.unwrap(), context()).await;
    assert_eq!(error.unwrap_err().wire_code(), "trapped");
}
