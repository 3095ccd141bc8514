//! More than a host can do: how many calls run at once, who waits, and who is refused and for what.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

use rialto_host::{Concurrency, DoorLoad, PayerLimits, Payers, Prepared, Tenant, WasiGroup};
use rialto_testkit::mesh::path_from_env;
use tokio::task::{JoinSet, yield_now};

use super::*;

/// Far longer than it takes, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);

/// A host whose guests run on its own threads, which these tests watch.
fn here(change: impl FnOnce(&mut Config)) -> Fixture {
    Fixture::with(change).here()
}

fn prepared(service: &Service, method: &str, body: &'static str) -> Prepared {
    let prepared = service.prepare(method, Arguments::Json(body.into()));
    prepared.unwrap()
}

type Calling = Pin<Box<dyn Future<Output = Result<Outcome, CallError>> + Send>>;

/// A call of a payer's.
fn call_of(service: &Service, payer: &str, method: &str, body: &'static str) -> Calling {
    let context = CallContext {
        payer: payer.to_owned(),
        ..context()
    };
    let (service, prepared) = (service.clone(), prepared(service, method, body));
    Box::pin(async move { service.call(prepared, context).await })
}

fn echo_of(service: &Service, payer: &str) -> Calling {
    call_of(service, payer, "echo", r#"{"text":""}"#)
}

/// Why a call of this payer would be refused now.
fn room(service: &Service, method: &str, payer: &str) -> Option<&'static str> {
    let body = if method == "echo" {
        r#"{"text":""}"#
    } else {
        ""
    };
    let soon = Instant::now() + PATIENCE;
    let room = service.check_room(&prepared(service, method, body), payer, soon);
    room.err().map(|error| error.wire_code())
}

/// Each of these has begun and is not over.
async fn begin<F: Future + Unpin>(calls: &mut [F]) {
    poll_fn(|cx| {
        for call in &mut *calls {
            assert!(Pin::new(call).poll(cx).is_pending());
        }
        Poll::Ready(())
    })
    .await;
}

/// Until the door looks so.
async fn until(fixture: &Fixture, seen: impl Fn(&DoorLoad) -> bool) {
    let begun = Instant::now();
    loop {
        let load = fixture.host.door_load();
        if seen(&load) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{load:?}");
        yield_now().await;
    }
}

fn turned(fixture: &Fixture, reason: &str) -> u64 {
    let turned = fixture.host.load_now().turned;
    let found = turned.iter().find(|(name, _)| *name == reason);
    found.unwrap().1
}

/// Who has most of what waits is told so; who pays nothing, only that the host is full.
#[tokio::test]
async fn a_payer_over_its_share_is_told_from_a_full_host() {
    let fixture = here(|config| {
        config.calls_max = 1;
        config.queue_max = 2;
        config.service_queue_max = 2;
    });
    let service = fixture.load(guests::HOSTILE, Grants::default(), patient());
    let mut spin = pin!(call(&service, "spin", json!({})));
    poll_fn(|cx| {
        assert!(spin.as_mut().poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
    let mut waiting = [echo_of(&service, "ann"), echo_of(&service, "ann")];
    begin(&mut waiting).await;
    assert_eq!(room(&service, "echo", "ann"), Some("over_share"));
    assert_eq!(room(&service, "echo", "bob"), None);
    let refused = echo_of(&service, "ann").await.unwrap_err();
    assert_eq!(refused.wire_code(), "over_share");
    let mut other = [echo_of(&service, "bob")];
    begin(&mut other).await;
    // Room was made for `bob`: one each, and nobody has more.
    let [_, second] = waiting;
    assert_eq!(second.await.unwrap_err().wire_code(), "over_share");
    assert_eq!(room(&service, "echo", "ann"), Some("over_share"));
    assert_eq!(room(&service, "echo", ""), Some("overloaded"));
    assert_eq!(turned(&fixture, "payer_share"), 4);
}

/// A payer's own limits hold where there is room for all, over all services, and for nobody else.
#[tokio::test]
async fn a_payers_own_limits_hold_however_much_room_there_is() {
    let own = PayerLimits {
        running_max: 1,
        waiting_max: 1,
    };
    let fixture = here(|config| {
        config.payers = Payers {
            own: [(Tenant::new("ann"), own)].into(),
            ..Payers::default()
        };
    });
    let service = fixture.load(guests::HOSTILE, Grants::default(), patient());
    let other = fixture.load_as("other", guests::HOSTILE, Grants::default(), patient());
    let mut running = [call_of(&service, "ann", "spin", "")];
    begin(&mut running).await;
    let mut waiting = [echo_of(&other, "ann")];
    begin(&mut waiting).await;
    for service in [&service, &other] {
        assert_eq!(room(service, "echo", "ann"), Some("over_share"));
        assert_eq!(room(service, "echo", "bob"), None);
        echo_of(service, "bob").await.unwrap();
    }
    let refused = echo_of(&service, "ann").await.unwrap_err();
    assert_eq!(refused.wire_code(), "over_share");
    assert_eq!(turned(&fixture, "payer_limit"), 3);
    drop(running);
    let [next] = waiting;
    next.await.unwrap();
}

/// Guests that compute have no more places than the processors get on with, and another service's call is
/// among the next.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn places_follow_what_the_processors_get_on_with() {
    let fixture = here(|config| {
        config.calls_max = 200;
        // The limit is looked at: the flood keeps its cores.
        config.foreground_max = Duration::from_secs(1_000);
    });
    let spinning = Limits {
        cpu_max: Duration::from_millis(30),
        ..patient()
    };
    let flood = fixture.load_as("flood", guests::HOSTILE, Grants::default(), spinning);
    let quiet = fixture.load_as("quiet", guests::HOSTILE, Grants::default(), patient());
    let begun = Instant::now();
    let mut calls = JoinSet::new();
    for payer in 0..60 {
        // A payer whose calls fail again and again is held back: each of these fails once.
        let spin = call_of(&flood, &payer.to_string(), "spin", "");
        calls.spawn(async move { spin.await.unwrap_err().wire_code() });
    }
    let (mut most, mut slowest) = (0, Duration::ZERO);
    while let Some(ended) = calls.join_next().await {
        assert_eq!(ended.unwrap(), "cpu_exceeded");
        most = most.max(fixture.host.door_load().running);
        let since = Instant::now();
        echo_of(&quiet, "").await.unwrap();
        slowest = slowest.max(since.elapsed());
    }
    let processors = std::thread::available_parallelism().unwrap().get();
    let load = fixture.host.door_load();
    assert!(most <= u32::try_from(6 * processors).unwrap() + 4, "{most}");
    assert!(slowest < begun.elapsed() / 4, "{slowest:?}");
    assert_eq!((load.running, load.waiting, load.computing), (0, 0, 0));
    assert_eq!(load.admitted, 120);
}

/// Guests that sleep, or wait for who reads them, hold places and nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guests_that_wait_for_something_else_leave_the_processors_to_others() {
    let fixture = here(|config| config.calls_max = 40);
    let place = path_from_env("RIALTO_TEST_GUESTS").unwrap();
    let component = std::fs::read(place.join("stream/component.wasm")).unwrap();
    let grants = Grants {
        wasi: WasiGroup::ALL.into(),
        ..Grants::default()
    };
    let spec = spec_here(grants, patient());
    let sleeper = fixture.host.load(&component, spec, Arc::new(NoModels));
    let sleeper = sleeper.unwrap();
    let quiet = fixture.load_as("quiet", guests::HOSTILE, Grants::default(), patient());
    let mut sleeping = Vec::new();
    for _ in 0..39 {
        let hour = prepared(&sleeper, "endless", r#"{"pause_ms":3600000}"#);
        let mut stream = sleeper.open(hour, context()).await.unwrap();
        sleeping.push(tokio::spawn(async move { stream.next().await }));
    }
    until(&fixture, |load| load.running == 39 && load.computing == 0).await;
    for _ in 0..50 {
        echo_of(&quiet, "").await.unwrap();
    }
    let load = fixture.host.door_load();
    assert_eq!((load.running, load.places, load.background), (39, 40, 0));
    for stream in sleeping {
        stream.abort();
    }
    until(&fixture, |load| load.running == 0).await;
}

/// Long calls have a bound of their own, and a refusal; short ones go on beside them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_calls_have_a_bound_of_their_own() {
    let fixture = here(|config| config.background_max = 2);
    let service = fixture.load(guests::HOSTILE, Grants::default(), patient());
    let other = fixture.load_as("other", guests::HOSTILE, Grants::default(), patient());
    let mut long: Vec<_> = (0..2)
        .map(|_| tokio::spawn(call_of(&service, "", "spin", "")))
        .collect();
    until(&fixture, |load| load.background == 2).await;
    assert_eq!(fixture.host.door_load().computing, 0);
    // Nobody knows yet that this method computes for long.
    assert_eq!(room(&service, "spin", ""), None);
    for _ in 0..6 {
        let refused = call_of(&service, "", "spin", "").await.unwrap_err();
        assert_eq!(refused.wire_code(), "long_calls");
        assert!(!refused.is_fault(), "not the service's");
        still_serves(&service).await;
    }
    assert_eq!(turned(&fixture, "long_calls"), 6);
    assert_eq!(room(&service, "spin", ""), Some("long_calls"));
    assert_eq!(room(&service, "echo", ""), None);
    let again = call_of(&service, "", "spin", "").await.unwrap_err();
    assert_eq!(again.wire_code(), "long_calls", "at the door, by now");
    let load = fixture.host.door_load();
    assert_eq!((load.running, load.background, load.admitted), (2, 2, 14));
    // Another service has none of its part yet.
    let others = tokio::spawn(call_of(&other, "", "spin", ""));
    until(&fixture, |load| load.background == 3).await;
    others.abort();
    until(&fixture, |load| load.background == 2).await;
    long.pop().unwrap().abort();
    until(&fixture, |load| load.background == 1).await;
    assert_eq!(room(&service, "spin", ""), None);
    long.pop().unwrap().abort();
    until(&fixture, |load| load.running == 0 && load.background == 0).await;
}

/// Long calls in the background hold none of the places that are for short ones.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_calls_hold_no_places_of_short_ones() {
    let fixture = here(|config| config.calls_max = 64);
    let flood = fixture.load_as("flood", guests::HOSTILE, Grants::default(), patient());
    let quiet = fixture.load_as("quiet", guests::HOSTILE, Grants::default(), patient());
    let mut spinning = JoinSet::new();
    for _ in 0..20 {
        spinning.spawn(call_of(&flood, "", "spin", ""));
    }
    until(&fixture, |load| load.background == 20).await;
    // Long enough for the limit to follow many times.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(1) {
        echo_of(&quiet, "").await.unwrap();
    }
    let load = fixture.host.door_load();
    assert_eq!((load.running, load.background, load.waiting), (20, 20, 0));
    let processors = std::thread::available_parallelism().unwrap().get();
    let least = u32::try_from(2 * processors).unwrap();
    assert!(load.places >= 20 + least, "{load:?}");
    spinning.shutdown().await;
    until(&fixture, |load| load.running == 0).await;
}

/// Both say so, and mean it.
#[tokio::test]
async fn the_operators_number_is_the_number() {
    let fixture = here(|config| config.concurrency = Concurrency::Fixed(3));
    assert_eq!(fixture.host.door_load().places, 3);
    let fixture = here(|config| config.concurrency = Concurrency::Adaptive);
    assert!(fixture.host.door_load().places <= 8);
}
