//! Handlers of `wasi:http` as services: unmodified, with every limit, and with requests of their own to
//! granted origins only.

use std::sync::Mutex;

use ::http::{Request, Response};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use rialto_host::{
    GuestResponse, LoadError, Origin, Outbound, OutboundAnswer, OutboundError, ResponseText,
    WasiGroup, is_public,
};
use rialto_testkit::mesh::path_from_env;

use super::*;

pub(crate) fn component() -> Vec<u8> {
    let place = path_from_env("RIALTO_TEST_GUESTS").unwrap();
    std::fs::read(place.join("http/component.wasm")).unwrap()
}

pub(crate) fn granted(origins: &[&str]) -> Grants {
    let origin = |text: &&str| {
        let (https, host) = match text.strip_prefix("https://") {
            Some(host) => (true, host),
            None => (false, text.strip_prefix("http://").unwrap()),
        };
        Origin {
            https,
            host: host.to_owned(),
            below: false,
            port: if https { 443 } else { 80 },
        }
    };
    Grants {
        http: Some(origins.iter().map(origin).collect()),
        wasi: WasiGroup::ALL.into(),
        ..Grants::default()
    }
}

fn load(fixture: &Fixture, grants: Grants, limits: Limits) -> Service {
    let spec = spec(grants, limits);
    fixture
        .host
        .load(&component(), spec, Arc::new(NoModels))
        .unwrap()
}

/// For what a cell hands over when it is whole.
fn load_here(fixture: &Fixture, limits: Limits) -> Service {
    let spec = spec_here(granted(&[]), limits);
    let loaded = fixture.host.load(&component(), spec, Arc::new(NoModels));
    loaded.unwrap()
}

/// Status and body of an answer.
async fn get(service: &Service, path: &str) -> Result<(u64, String), CallError> {
    let body = json!({ "method": "GET", "path": path, "body": "" });
    let outcome = call(service, "handle", body).await?;
    Ok(read(&outcome.body))
}

fn read(json: &[u8]) -> (u64, String) {
    let answer: Value = serde_json::from_slice(json).unwrap();
    let body = STANDARD.decode(answer["body"].as_str().unwrap()).unwrap();
    let status = answer["status"].as_u64().unwrap();
    (status, String::from_utf8(body).unwrap())
}

#[tokio::test]
async fn requests_come_in_and_responses_go_out() {
    let fixture = Fixture::new();
    let service = load(&fixture, granted(&[]), patient());
    assert!(
        service
            .interface()
            .name
            .starts_with("wasi:http/incoming-handler@0.2")
    );
    let request = json!({
        "path": "/echo",
        "headers": [["x-one", "1"], ["accept", "*/*"], ["x-two", "2"]],
        "body": STANDARD.encode("some bytes"),
    });
    let found = answer(&service, "handle", request).await;
    let headers = json!([["x-one", "1"], ["x-two", "2"]]);
    let body = STANDARD.encode("some bytes");
    assert_eq!(
        found,
        json!({ "status": 200, "headers": headers, "body": body })
    );
    let (_, about) = get(&service, "/about?q=1").await.unwrap();
    assert_eq!(about, "GET service.invalid q=1");
    let named = json!({ "path": "/about", "headers": [["host", "a.example"]], "body": "" });
    let outcome = call(&service, "handle", named).await.unwrap();
    assert_eq!(read(&outcome.body).1, "POST a.example ");
    assert_eq!(
        get(&service, "/missing").await.unwrap(),
        (404, "not here".to_owned())
    );
    let prepared = service
        .prepare("handle", Arguments::Raw(Bytes::from_static(b"raw")))
        .unwrap();
    let outcome = service.call(prepared, context()).await.unwrap();
    assert_eq!(read(&outcome.body), (400, "no such path".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_response_is_a_failure() {
    let fixture = Fixture::new();
    let limits = Limits {
        cpu_max: Duration::from_millis(200),
        output_bytes_max: 100_000,
        ..patient()
    };
    let service = load(&fixture, granted(&[]), limits);
    let refused = get(&service, "/broken").await.unwrap_err();
    let CallError::Refused { error } = refused else {
        panic!("{refused}");
    };
    assert_eq!(read(&error), (503, "broken".to_owned()));
    for (path, code) in [
        ("/silent", "trapped"),
        ("/waits", "trapped"),
        ("/error", "trapped"),
        ("/early", "trapped"),
        ("/trap", "trapped"),
        ("/after", "cpu_exceeded"),
        ("/large?1000000", "output_too_large"),
        ("/large?99000", "output_too_large"),
    ] {
        let error = get(&service, path).await.unwrap_err();
        assert_eq!(error.wire_code(), code, "{path}: {error}");
    }
    let (_, large) = get(&service, "/large?70000").await.unwrap();
    assert_eq!(large.len(), 70_000);
}

#[tokio::test]
async fn requests_that_cannot_be_are_refused() {
    let fixture = Fixture::new();
    let service = load(&fixture, granted(&[]), patient());
    for odd in [
        json!({ "path": "no/slash", "body": "" }),
        json!({ "path": "/a b", "body": "" }),
        json!({ "method": "NO METHOD", "body": "" }),
        json!({ "headers": [["a b", "1"]], "body": "" }),
        json!({ "headers": [["a", "line\nbreak"]], "body": "" }),
    ] {
        let error = call(&service, "handle", odd.clone()).await.unwrap_err();
        assert_eq!(error.wire_code(), "refused", "{odd}: {error}");
    }
}

/// The internet of a test: answers by host, and remembers what was asked.
#[derive(Debug, Default)]
struct Net(Mutex<Vec<String>>);

impl Outbound for Net {
    fn send(&self, request: Request<Bytes>, deadline: Instant) -> OutboundAnswer {
        assert!(deadline > Instant::now());
        let url = request.uri().to_string();
        self.0.lock().unwrap().push(url.clone());
        let answer = match request.uri().host() {
            Some("a.example") => Ok(Bytes::from(format!("{url} says hello"))),
            Some("large.example") => Ok(Bytes::from(vec![b'x'; 1 << 20])),
            _ => {
                assert!(!is_public("127.0.0.1".parse().unwrap()));
                Err(OutboundError::NotPublic(url))
            }
        };
        Box::pin(async move {
            let body = Full::new(answer?).map_err(|never| match never {});
            Ok(Response::new(body.boxed_unsync()))
        })
    }
}

fn online(net: &Arc<Net>) -> Fixture {
    let net = Arc::clone(net);
    Fixture::with(|config| config.outbound = net)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_go_to_granted_origins_only() {
    let net = Arc::new(Net::default());
    let fixture = online(&net);
    let origins = ["https://a.example", "http://inside.example"];
    let service = load(&fixture, granted(&origins), patient());
    let fetched = get(&service, "/fetch?https://a.example/x").await.unwrap();
    assert_eq!(fetched, (200, "https://a.example/x says hello".to_owned()));
    for (url, reason) in [
        ("https://b.example/", "HttpRequestDenied"),
        ("http://a.example/", "HttpRequestDenied"),
        ("https://a.example:8443/", "HttpRequestDenied"),
        ("https://a.example@b.example/", "HttpRequestDenied"),
        ("ftp://a.example/", "HttpProtocolError"),
        ("http://inside.example/", "DestinationIpProhibited"),
    ] {
        let refused = get(&service, &format!("/fetch?{url}")).await.unwrap_err();
        let CallError::Refused { error } = refused else {
            panic!("{refused}");
        };
        let (_, text) = read(&error);
        assert!(text.contains(reason), "{url}: {text}");
    }
    let asked = net.0.lock().unwrap().clone();
    assert_eq!(asked, ["https://a.example/x", "http://inside.example/"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_and_their_bytes_have_limits() {
    let net = Arc::new(Net::default());
    let fixture = online(&net);
    let limits = Limits {
        outbound_requests_max: 5,
        host_bytes_max: 3 << 20,
        ..patient()
    };
    let origins = ["https://a.example", "https://large.example"];
    let service = load(&fixture, granted(&origins), limits);
    let (_, said) = get(&service, "/many?https://a.example/").await.unwrap();
    assert!(
        said.starts_with("5 ") && said.contains("ConnectionLimitReached"),
        "{said}"
    );
    let (_, said) = get(&service, "/fetch?https://large.example/")
        .await
        .unwrap();
    assert_eq!(said.len(), 1 << 20);
    let limits = Limits {
        host_bytes_max: 1 << 19,
        ..patient()
    };
    let service = load(&fixture, granted(&origins), limits);
    let (_, said) = get(&service, "/fetch?https://large.example/")
        .await
        .unwrap();
    assert!(said.len() < 1 << 20, "{} bytes came", said.len());
}

#[tokio::test]
async fn a_host_that_sends_nothing_says_so() {
    let fixture = Fixture::new();
    let service = load(&fixture, granted(&["https://a.example"]), patient());
    let refused = get(&service, "/fetch?https://a.example/")
        .await
        .unwrap_err();
    let CallError::Refused { error } = refused else {
        panic!("{refused}");
    };
    assert!(read(&error).1.contains("HttpRequestDenied"));
}

#[test]
fn without_the_grant_the_line_to_add_is_named() {
    let fixture = Fixture::new();
    let grants = Grants {
        wasi: WasiGroup::ALL.into(),
        ..Grants::default()
    };
    let spec = spec(grants, patient());
    let error = fixture.host.load(&component(), spec, Arc::new(NoModels));
    let error = error.unwrap_err();
    assert!(matches!(error, LoadError::NotGranted(_)), "{error}");
    assert!(error.to_string().contains("http = []"), "{error}");
}

async fn respond(service: &Service, path: &str) -> Result<GuestResponse, CallError> {
    let body = json!({ "method": "GET", "path": path, "body": "" });
    let body = Bytes::from(body.to_string());
    let prepared = service.prepare("handle", Arguments::Json(body)).unwrap();
    service.respond(prepared, context()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_is_taken_while_it_is_written() {
    let fixture = Fixture::new();
    let service = load_here(&fixture, patient());
    let path = "/drip?3,5";
    let mut response = respond(&service, path).await.unwrap();
    assert_eq!(response.status(), 200);
    let head: Value = serde_json::from_slice(response.head()).unwrap();
    assert_eq!(head["headers"], json!([["content-type", "text/plain"]]));
    let mut text = ResponseText::new(response.head());
    let mut pieces = Vec::new();
    let mut used = response.usage().clone();
    while let Some(bytes) = response.next().await.unwrap() {
        let now = response.usage().clone();
        assert!(now.output_bytes > used.output_bytes);
        // The first is there with the head.
        assert!(pieces.is_empty() || now.host_calls > used.host_calls);
        used = now;
        text.push(&bytes);
        pieces.push(bytes);
    }
    // One piece for each pause of the guest's, and no later.
    assert_eq!(pieces, ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"]);
    assert!(response.next().await.unwrap().is_none());
    let outcome = response.finish(text).unwrap();
    let body = json!({ "method": "GET", "path": path, "body": "" });
    let whole = call(&service, "handle", body).await.unwrap();
    assert_eq!(outcome.body, whole.body);
    assert_eq!(outcome.usage.output_bytes, whole.usage.output_bytes);
    assert_eq!(outcome.usage.host_calls, whole.usage.host_calls);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_before_a_failure_comes_before_it() {
    let fixture = Fixture::new();
    let limits = Limits {
        cpu_max: Duration::from_millis(200),
        output_bytes_max: 100_000,
        ..patient()
    };
    let service = load_here(&fixture, limits);
    for (path, bytes, code) in [
        ("/drip?2,5,trap", 18, "trapped"),
        ("/early", 5, "trapped"),
        ("/after", 8, "cpu_exceeded"),
    ] {
        let mut response = respond(&service, path).await.unwrap();
        let mut taken = 0;
        let error = loop {
            match response.next().await {
                Ok(Some(bytes)) => taken += bytes.len(),
                Ok(None) => panic!("{path} came to its end"),
                Err(error) => break error,
            }
        };
        assert_eq!((taken, error.wire_code()), (bytes, code), "{path}");
        assert!(response.next().await.unwrap().is_none(), "it is over");
    }
    // What would be too much is not handed over.
    let mut response = respond(&service, "/large?1000000").await.unwrap();
    let mut taken = 0;
    let error = loop {
        match response.next().await {
            Ok(bytes) => taken += bytes.map_or(0, |bytes| bytes.len()),
            Err(error) => break error,
        }
    };
    assert_eq!(error.wire_code(), "output_too_large");
    assert!((1..75_000).contains(&taken), "{taken}");
    let before = respond(&service, "/silent").await.unwrap_err();
    assert_eq!(before.wire_code(), "trapped");
}

/// A guest with nobody to write to stands still, and is gone with its response.
#[tokio::test(flavor = "multi_thread")]
async fn a_response_that_is_dropped_leaves_its_place() {
    let fixture = Fixture::with(|config| config.calls_max = 1);
    let service = load_here(&fixture, patient());
    let mut response = respond(&service, "/drip?1000000000").await.unwrap();
    for _ in 0..10 {
        assert!(response.next().await.unwrap().is_some());
    }
    // Asked for and not waited for: nothing is lost.
    let asked = tokio::time::timeout(Duration::ZERO, response.next()).await;
    let next = match asked {
        Ok(next) => next,
        Err(_) => response.next().await,
    };
    assert_eq!(next.unwrap().unwrap(), "data: 11\n\n");
    drop(response);
    assert_eq!(get(&service, "/missing").await.unwrap().0, 404);
}
