//! Guests that call other services: by name and by type, counted, refused and failed.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use rialto_host::{
    Bill, Callees, Hire, HireError, HireQuote, Hired, HiredItems, Hirer, Hiring, LoadError, Spent,
    Step, WasiGroup,
};
use rialto_testkit::mesh::path_from_env;

use super::*;

/// Answers as it is told to, and remembers what it was asked.
#[derive(Debug, Default)]
struct Other {
    asked: Mutex<Vec<(String, String, Value)>>,
    answer: Option<Result<&'static str, HireError>>,
    /// Answers that came item by item and are gone.
    ended: Arc<AtomicU64>,
}

impl Other {
    fn saying(answer: Result<&'static str, HireError>) -> Arc<Self> {
        Arc::new(Self {
            answer: Some(answer),
            ..Self::default()
        })
    }
}

impl Hirer for Other {
    fn left(&self) -> u128 {
        u128::MAX
    }

    fn spent(&self) -> Spent {
        let calls = self.asked.lock().unwrap().len() as u64;
        Spent {
            calls,
            amount: u128::from(calls) * 7,
        }
    }

    fn quote(&self, _: String, _: String, bytes: u64) -> Hiring<HireQuote> {
        Box::pin(async move {
            Ok(HireQuote {
                price_max: bytes.into(),
                provider: "here".to_owned(),
            })
        })
    }

    fn call(&self, hire: Hire) -> Hiring<Hired> {
        let arguments = serde_json::from_slice(&hire.arguments).unwrap();
        let mut asked = self.asked.lock().unwrap();
        asked.push((hire.service, hire.method, arguments));
        let answer = self.answer.clone().unwrap();
        Box::pin(async move {
            tokio::task::yield_now().await;
            answer.map(|body| Hired {
                body: Bytes::from_static(body.as_bytes()),
                charged: 7,
                receipt: None,
            })
        })
    }

    fn open(&self, hire: Hire) -> Hiring<Box<dyn HiredItems>> {
        let arguments = serde_json::from_slice(&hire.arguments).unwrap();
        let mut asked = self.asked.lock().unwrap();
        asked.push((hire.service, hire.method, arguments));
        assert_eq!(hire.lends, 0, "the guest goes on");
        let answer = self.answer.clone().unwrap();
        let ended = Arc::clone(&self.ended);
        Box::pin(async move {
            tokio::task::yield_now().await;
            let items: VecDeque<Value> = serde_json::from_str(answer?).unwrap();
            let items: Box<dyn HiredItems> = Box::new(Items { items, ended });
            Ok(items)
        })
    }
}

/// Items that were told before; a number among them is none, but an end.
#[derive(Debug)]
struct Items {
    items: VecDeque<Value>,
    ended: Arc<AtomicU64>,
}

impl HiredItems for Items {
    fn next(&mut self) -> Step<'_, Option<Bytes>> {
        Box::pin(async {
            tokio::task::yield_now().await;
            match self.items.pop_front() {
                Some(item) if item == BROKEN => Err(HireError::Refused("\"no more\"".to_owned())),
                item => Ok(item.map(|item| item.to_string().into())),
            }
        })
    }

    fn end(&mut self) -> Step<'_, Bill> {
        self.items.clear();
        Box::pin(std::future::ready(Ok(Bill {
            charged: 3,
            receipt: None,
        })))
    }
}

impl Drop for Items {
    fn drop(&mut self) {
        self.ended.fetch_add(1, Ordering::Relaxed);
    }
}

/// An item that is none: the answer breaks off there.
const BROKEN: &str = "broken";

fn load(fixture: &Fixture, calls: Option<Callees>) -> Result<Service, LoadError> {
    load_guest(fixture, "agent", calls)
}

fn load_guest(
    fixture: &Fixture,
    guest: &str,
    calls: Option<Callees>,
) -> Result<Service, LoadError> {
    let place = path_from_env("RIALTO_TEST_GUESTS").unwrap();
    let component = std::fs::read(place.join(guest).join("component.wasm")).unwrap();
    let grants = Grants {
        wasi: WasiGroup::ALL.into(),
        calls,
        ..Grants::default()
    };
    let spec = spec_here(grants, patient());
    fixture.host.load(&component, spec, Arc::new(NoModels))
}

async fn ask(
    service: &Service,
    hirer: Arc<Other>,
    method: &str,
    body: Value,
) -> Result<(Value, rialto_host::Usage), CallError> {
    let body = serde_json::to_vec(&body).unwrap();
    let prepared = service.prepare(method, Arguments::Json(body.into()));
    let context = CallContext { hirer, ..context() };
    let outcome = service.call(prepared.unwrap(), context).await?;
    Ok((
        serde_json::from_slice(&outcome.body).unwrap(),
        outcome.usage,
    ))
}

#[tokio::test]
async fn a_service_is_called_by_its_name() {
    let fixture = Fixture::new();
    let service = load(&fixture, Some(Callees::All)).unwrap();
    assert!(!service.is_steady(), "others answer as they like");
    let other = Other::saying(Ok(r#"{"a":1}"#));
    let body = json!({"service": "x", "method": "y", "arguments": "{\"b\":2}", "times": 2});
    let (told, usage) = ask(&service, Arc::clone(&other), "ask", body)
        .await
        .unwrap();
    let most = u64::MAX;
    assert_eq!(
        told,
        json!([
            format!("{most} to spend"),
            "{\"a\":1} for 7",
            "{\"a\":1} for 7",
            format!("{most} left")
        ])
    );
    assert_eq!((usage.hires, usage.spent), (2, 14));
    let asked = other.asked.lock().unwrap()[0].clone();
    assert_eq!(asked, ("x".to_owned(), "y".to_owned(), json!({"b": 2})));
    let quoted = ask(
        &service,
        Arc::clone(&other),
        "quote",
        json!({"service": "x", "method": "y", "bytes": 9}),
    );
    assert_eq!(quoted.await.unwrap().0, json!(9));
}

#[tokio::test]
async fn a_service_is_called_by_its_types() {
    let fixture = Fixture::new();
    let words = Callees::Named(BTreeSet::from(["words".to_owned()]));
    let service = load(&fixture, Some(words)).unwrap();
    let other = Other::saying(Ok(r#"{"words": 2, "longest": "there"}"#));
    let count = |other| ask(&service, other, "count", json!({"text": "hi there"}));
    let (told, _) = count(Arc::clone(&other)).await.unwrap();
    assert_eq!(told, "2 words, the longest is there");
    let asked = other.asked.lock().unwrap().remove(0);
    assert_eq!((asked.0.as_str(), asked.1.as_str()), ("words", "count"));
    assert_eq!(
        asked.2,
        json!({"text": "hi there", "bytes": "aGkgdGhlcmU="})
    );

    // What the other refuses, and what becomes of nobody's answer, is the function's own error.
    for (error, text) in [
        (HireError::Refused("\"no words\"".to_owned()), "no words"),
        (HireError::Late, "no answer in time"),
    ] {
        let refused = count(Other::saying(Err(error))).await.unwrap_err();
        let CallError::Refused { error } = refused else {
            panic!("{refused}")
        };
        assert_eq!(error, format!("\"{text}\""));
    }
    let wrong = count(Other::saying(Ok("[]"))).await.unwrap_err();
    assert!(
        matches!(&wrong, CallError::Callee(text) if text.contains("another type")),
        "{wrong}"
    );
}

#[tokio::test]
async fn a_function_that_cannot_refuse_ends_the_call() {
    let fixture = Fixture::new();
    let service = load(&fixture, Some(Callees::All)).unwrap();
    let shout = |other| ask(&service, other, "shout", json!({"text": "hi"}));
    let (told, _) = shout(Other::saying(Ok("\"HI\""))).await.unwrap();
    assert_eq!(told, "HI");
    let short = HireError::OverBudget {
        price_max: 5,
        left: 4,
    };
    let ended = shout(Other::saying(Err(short))).await.unwrap_err();
    assert!(
        matches!(&ended, CallError::Callee(text) if text.contains("up to 5")),
        "{ended}"
    );
    assert!(!ended.is_fault());
}

#[tokio::test]
async fn items_are_taken_by_name_and_whatever_is_open_ends_with_the_call() {
    let fixture = Fixture::new();
    let service = load_guest(&fixture, "follower", Some(Callees::All)).unwrap();
    let other = Other::saying(Ok("[1, [2], \"broken\", 3]"));
    let follow = |take: Option<u32>| {
        let body = json!({"service": "x", "method": "y", "arguments": "{\"b\":2}", "take": take});
        ask(&service, Arc::clone(&other), "follow", body)
    };
    let said = |told: &Value| {
        let all = told.as_array().unwrap();
        all[1..all.len() - 1].to_vec()
    };
    let (told, usage) = follow(Some(2)).await.unwrap();
    assert_eq!(said(&told), [json!("1"), json!("[2]"), json!("for 3")]);
    assert_eq!(usage.hires, 1);
    let (told, _) = follow(None).await.unwrap();
    let broken = "broke off: it was refused: \"no more\"";
    let expected = [
        json!("1"),
        json!("[2]"),
        json!(broken),
        json!("3"),
        json!("for 3"),
    ];
    assert_eq!(said(&told), expected);
    let asked = other.asked.lock().unwrap()[0].clone();
    assert_eq!(asked, ("x".to_owned(), "y".to_owned(), json!({"b": 2})));
    assert_eq!(other.ended.load(Ordering::Relaxed), 2);
    let body = json!({"service": "x", "method": "y", "arguments": "{}", "times": 3});
    let (told, _) = ask(&service, Arc::clone(&other), "leave_open", body)
        .await
        .unwrap();
    assert_eq!(told[2], "1");
    assert_eq!(other.ended.load(Ordering::Relaxed), 5);
    let refused = Other::saying(Err(HireError::Late));
    let body = json!({"service": "x", "method": "y", "arguments": "{}"});
    let refused = ask(&service, refused, "follow", body).await.unwrap_err();
    let CallError::Refused { error } = refused else {
        panic!("{refused}")
    };
    assert_eq!(error, "\"no answer in time\"");
}

#[tokio::test]
async fn items_are_taken_by_their_types() {
    let fixture = Fixture::new();
    let service = load_guest(&fixture, "follower", Some(Callees::All)).unwrap();
    let other = Other::saying(Ok(
        r#"[{"number": 1, "text": "one"}, {"number": 2, "text": "two"}]"#,
    ));
    let body = json!({"to": 5, "take": 1});
    let (told, _) = ask(&service, Arc::clone(&other), "count", body)
        .await
        .unwrap();
    assert_eq!(told, json!(["1: one"]));
    assert_eq!(other.ended.load(Ordering::Relaxed), 1);
    let asked = other.asked.lock().unwrap().remove(0);
    assert_eq!(
        asked,
        ("counter".to_owned(), "count".to_owned(), json!({"to": 5}))
    );
    let until = |answer| {
        ask(
            &service,
            Other::saying(answer),
            "count_until_refused",
            json!({"after": 2}),
        )
    };
    let (told, _) = until(Ok(r#"[1, 2, "broken"]"#)).await.unwrap();
    assert_eq!(told, json!(["1", "2", "no more"]));
    // The method itself cannot refuse.
    let ended = until(Err(HireError::Late)).await.unwrap_err();
    assert!(matches!(&ended, CallError::Callee(_)), "{ended}");
    let (told, _) = until(Ok(r#"[1, "two"]"#)).await.unwrap();
    assert!(told[1].as_str().unwrap().contains("another type"), "{told}");
    let holes = ask(
        &service,
        Other::saying(Ok("[null, [1], null]")),
        "holes",
        json!({"items": 3}),
    );
    assert_eq!(holes.await.unwrap().0, json!([null, [1], null]));
}

#[test]
fn what_is_not_granted_is_not_linked() {
    let fixture = Fixture::new();
    let missing = |calls| match load(&fixture, calls) {
        Err(LoadError::NotGranted(missing)) => {
            missing.into_iter().map(|it| it.line).collect::<Vec<_>>()
        }
        other => panic!("{other:?}"),
    };
    let lines = missing(None);
    assert!(
        lines.contains(&r#"calls = ["words"]"#.to_owned()),
        "{lines:?}"
    );
    let other = Callees::Named(BTreeSet::from(["embed".to_owned()]));
    assert_eq!(missing(Some(other)), [r#"calls = ["embed", "words"]"#]);
}
