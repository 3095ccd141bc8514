//! Each way of misbehaving ends with its own error, and the host goes on serving.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::task::JoinSet;

use super::*;

fn quick() -> Limits {
    Limits {
        cpu_max: Duration::from_millis(100),
        ..patient()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_hostile_method_has_its_own_error() {
    let fixture = Fixture::new();
    let service = fixture.load(guests::HOSTILE, Grants::default(), quick());
    let cases = [
        ("trap", "trapped"),
        ("spin", "cpu_exceeded"),
        ("grow", "memory_exceeded"),
        ("grow_many", "memory_exceeded"),
        ("grow_table", "table_exceeded"),
        ("recurse", "stack_exhausted"),
        ("big_text", "output_too_large"),
        ("big_bytes", "output_too_large"),
        ("refuse", "refused"),
    ];
    for (method, code) in cases {
        let error = call(&service, method, json!({})).await.unwrap_err();
        assert_eq!(error.wire_code(), code, "{method}: {error}");
        still_serves(&service).await;
    }
}

#[tokio::test]
async fn a_refusal_carries_the_services_own_error() {
    let fixture = Fixture::new();
    let service = fixture.load(guests::HOSTILE, Grants::default(), patient());
    let error = call(&service, "refuse", json!({})).await.unwrap_err();
    let CallError::Refused { error } = error else {
        panic!("{error}")
    };
    assert_eq!(&error[..], br#""not \"it\"""#);
}

#[tokio::test]
async fn both_memories_together_meet_the_limit() {
    let fixture = Fixture::new();
    let limits = Limits {
        memory_bytes_max: 4 << 20,
        ..patient()
    };
    let service = fixture.load(guests::HOSTILE, Grants::default(), limits);
    let error = call(&service, "grow_many", json!({})).await.unwrap_err();
    assert_eq!(error, CallError::MemoryExceeded { bytes_max: 4 << 20 });
    // 20 pages of the first memory and one of the second are there from the start.
    let outcome = call(&service, "echo", json!({ "text": "" })).await.unwrap();
    assert_eq!(outcome.usage.memory_peak, 21 * 65_536);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spinning_guests_stop_neither_the_others_nor_the_timers() {
    let fixture = Fixture::new();
    let spinning = Limits {
        cpu_max: Duration::from_secs(60),
        wall_max: Duration::from_millis(700),
        ..patient()
    };
    let spinner = fixture.load(guests::HOSTILE, Grants::default(), spinning);
    let honest = fixture.load(guests::HOSTILE, Grants::default(), patient());
    let spins: Vec<_> = (0..4)
        .map(|_| {
            let spinner = spinner.clone();
            tokio::spawn(async move { call(&spinner, "spin", json!({})).await })
        })
        .collect();
    tokio::time::timeout(Duration::from_secs(30), still_serves(&honest))
        .await
        .unwrap();
    for spin in spins {
        let error = spin.await.unwrap().unwrap_err();
        assert!(matches!(error, CallError::TimedOut { .. }), "{error}");
    }
}

#[tokio::test]
async fn the_callers_deadline_ends_a_call_before_the_services() {
    let fixture = Fixture::new();
    let service = fixture.load(guests::HOSTILE, Grants::default(), patient());
    let prepared = service
        .prepare("spin", Arguments::Json("{}".into()))
        .unwrap();
    let context = CallContext {
        call_id: String::new(),
        deadline: Instant::now() + Duration::from_millis(50),
        payer: String::new(),
        price: 0,
        hirer: std::sync::Arc::new(rialto_host::NoHirer),
        awaited: None,
    };
    let error = service.call(prepared, context).await.unwrap_err();
    assert!(matches!(error, CallError::TimedOut { .. }), "{error}");
}

#[tokio::test]
async fn a_flood_of_host_calls_is_stopped() {
    let fixture = Fixture::new();
    let grants = Grants {
        context: true,
        ..Grants::default()
    };
    let service = fixture.load(guests::FLOOD, grants, patient());
    let error = call(&service, "run", json!({})).await.unwrap_err();
    assert_eq!(error, CallError::HostCalls);
    let left = answer(&service, "left_ms", json!({})).await;
    let left = left.as_u64().unwrap();
    assert!(left > 1_000 && left <= 60_000, "{left}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_calls_at_once_are_all_answered() {
    let fixture = Fixture::new();
    let service = fixture.load(guests::HOSTILE, Grants::default(), patient());
    let calls: Vec<_> = (0..64)
        .map(|at| {
            let service = service.clone();
            tokio::spawn(async move {
                let text = format!("{at}").repeat(1_000);
                let echoed = answer(&service, "echo", json!({ "text": text })).await;
                assert_eq!(echoed, text);
            })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_recovers() {
    let fixture = Fixture::with(|config| {
        config.calls_max = 1;
        config.queue_max = 0;
    });
    let limits = Limits {
        wall_max: Duration::from_millis(300),
        ..patient()
    };
    let service = fixture.load(guests::HOSTILE, Grants::default(), limits);
    let mut spin = pin!(call(&service, "spin", json!({})));
    // One poll takes the only place and comes back at the first clock tick.
    poll_fn(|cx| {
        assert!(spin.as_mut().poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
    let error = call(&service, "echo", json!({ "text": "" }))
        .await
        .unwrap_err();
    assert_eq!(error.wire_code(), "overloaded");
    let soon = Instant::now() + Duration::from_secs(1);
    let echo = service.prepare("echo", Arguments::Json(r#"{"text":""}"#.into()));
    let echo = echo.unwrap();
    let room = service.check_room(&echo, "", soon).unwrap_err();
    assert_eq!(room.wire_code(), "overloaded");
    assert_eq!(spin.await.unwrap_err().wire_code(), "timed_out");
    service.check_room(&echo, "", soon).unwrap();
    still_serves(&service).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_one_service_does_not_hold_up_another() {
    let fixture = Fixture::with(|config| {
        config.calls_max = 2;
        // The door is looked at: the flood keeps its cores.
        config.foreground_max = Duration::from_secs(1_000);
    });
    let slow = Limits {
        wall_max: Duration::from_secs(100),
        cpu_max: Duration::from_millis(50),
        ..patient()
    };
    let flood = fixture.load_as("flood", guests::HOSTILE, Grants::default(), slow);
    let quiet = fixture.load_as("quiet", guests::HOSTILE, Grants::default(), patient());
    let ended = Arc::new(AtomicU32::new(0));
    let mut calls = JoinSet::new();
    for _ in 0..60 {
        let (flood, ended) = (flood.clone(), Arc::clone(&ended));
        calls.spawn(async move {
            let error = call(&flood, "spin", json!({})).await.unwrap_err();
            ended.fetch_add(1, Ordering::Relaxed);
            assert_eq!(error.wire_code(), "cpu_exceeded");
        });
    }
    // Once one has ended, the others wait.
    calls.join_next().await.unwrap().unwrap();
    let before = ended.load(Ordering::Relaxed);
    still_serves(&quiet).await;
    let passed = ended.load(Ordering::Relaxed) - before;
    assert!(passed <= 6, "{passed} of the flood's calls went before it");
    while let Some(call) = calls.join_next().await {
        call.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_calls_leave_no_memory_behind() {
    let fixture = Fixture::new();
    let service = fixture.load(guests::HOSTILE, Grants::default(), quick());
    let round = async |times: usize| {
        for _ in 0..times {
            for method in ["grow", "grow_table", "big_text", "big_bytes", "recurse"] {
                assert!(call(&service, method, json!({})).await.is_err());
            }
        }
    };
    round(3).await;
    let before = resident_bytes();
    round(10).await;
    let growth = resident_bytes().saturating_sub(before);
    // One leaked call would be 64 MiB of guest memory, ten 640.
    assert!(growth < 64 << 20, "{growth} bytes more than before");
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payer_whose_calls_keep_failing_is_held_back_until_they_succeed_again() {
    let fixture = Fixture::new();
    let service = fixture.load(guests::HOSTILE, Grants::default(), patient());
    let held_back = || fixture.host.load_now().held_back;
    let call_by = async |payer: &str, method: &str, body: &'static str| {
        let context = CallContext {
            payer: payer.to_owned(),
            ..context()
        };
        let body = Arguments::Json(body.into());
        let prepared = service.prepare(method, body).unwrap();
        service.call(prepared, context).await
    };
    let hello = r#"{"text":"hello"}"#;
    for _ in 0..3 {
        call_by("bad", "trap", "{}").await.unwrap_err();
    }
    assert_eq!(held_back(), 0);
    call_by("good", "echo", hello).await.unwrap();
    assert_eq!(held_back(), 0, "it is somebody else's");
    call_by("bad", "trap", "{}").await.unwrap_err();
    assert_eq!(held_back(), 1);
    // Eight are held against it now; below six it is as good as anybody.
    for _ in 0..4 {
        call_by("bad", "echo", hello).await.unwrap();
    }
    assert_eq!(held_back(), 1 + 3);
}
