//! Downloads that break off, are redirected, or come from whom nobody should trust.

use std::{
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{body::Body, http::Response};
use rialto_registry::{Digest, Source};

use super::{
    Place, recorder,
    server::{Server, assert_goes_on, cut, ranged, status},
};
use crate::{Config, Culprit, Fault, FetchError, MarkFn, PutError, Secret, Store, silent};

const MIB: usize = 1 << 20;

fn body() -> Vec<u8> {
    (0..3 * MIB)
        .map(|i| u8::try_from(i / 7 % 253).unwrap())
        .collect()
}

fn redirect(to: String) -> Response<Body> {
    let mut response = status(302);
    response
        .headers_mut()
        .insert("location", to.parse().unwrap());
    response
}

/// Breaks off after a MiB the first `breaks` times.
async fn flaky(body: &[u8], breaks: usize) -> Server {
    let (body, asked) = (body.to_vec(), AtomicUsize::new(0));
    Server::start(move |_, seen| {
        if asked.fetch_add(1, Ordering::SeqCst) < breaks {
            cut(&body, seen, MIB)
        } else {
            ranged(&body, seen)
        }
    })
    .await
}

#[tokio::test]
async fn a_hub_redirects_and_breaks_off_and_is_gone_on_with() {
    let (place, body) = (Place::new(), body());
    let digest = Digest::of(&body);
    let far = flaky(&body, 2).await;
    let blob = far.url("/blobs/1");
    let hub = Server::start(move |_, seen| match seen.path.as_str() {
        "/owner/model/resolve/v1/onnx/m.onnx" => redirect(blob.clone()),
        _ => status(404),
    })
    .await;
    let store = Store::open(Config {
        hub_url: hub.url(""),
        hub_token: Some(Secret::new("hub-secret")),
        ..place.config()
    })
    .unwrap();
    let source: Source = "hf://owner/model@v1/onnx/m.onnx".parse().unwrap();
    let (progress, seen) = recorder();
    let path = store.fetch(&source, &digest, &progress).await.unwrap();
    assert_eq!(fs::read(path).unwrap(), body);
    assert_eq!(hub.seen().len(), 3);
    for request in hub.seen() {
        assert_eq!(request.header("authorization"), Some("Bearer hub-secret"));
    }
    assert_eq!(far.seen().len(), 3);
    assert_goes_on(&far);
    for request in far.seen() {
        assert_eq!(request.header("authorization"), None, "another host");
    }
    let seen = seen.lock().unwrap();
    assert!(seen.windows(2).all(|pair| pair[0].bytes < pair[1].bytes));
    assert_eq!(seen.last().unwrap().bytes_total, Some(3 << 20));
    assert_eq!(place.files().len(), 1);
}

#[tokio::test]
async fn a_download_goes_on_after_a_restart() {
    let (place, body) = (Place::new(), body());
    let digest = Digest::of(&body);
    let server = flaky(&body, 1).await;
    let source = Source::url(&server.url("/m")).unwrap();
    let config = Config {
        retries_max: 0,
        ..place.config()
    };
    let store = Store::open(config.clone()).unwrap();
    let error = store.fetch(&source, &digest, &silent()).await.unwrap_err();
    assert!(matches!(error, FetchError::Http { .. }), "{error:?}");
    assert!(store.get(&digest).unwrap().is_none());
    let kept = store.bytes_used();
    assert!(kept > 512 << 10, "{kept}");
    drop(store);
    let store = Store::open(config).unwrap();
    assert_eq!(store.bytes_used(), kept);
    let path = store.fetch(&source, &digest, &silent()).await.unwrap();
    assert_eq!(fs::read(path).unwrap(), body);
    assert_eq!(server.seen().len(), 2);
    assert_goes_on(&server);
    assert_eq!(store.bytes_used(), 3 << 20);
    assert!(store.marks().is_empty());
}

#[tokio::test]
async fn a_damaged_partial_costs_a_download_and_blames_nobody() {
    let (place, body) = (Place::new(), body());
    let digest = Digest::of(&body);
    let store = place.store();
    let part = place
        .dir
        .path()
        .join(format!("store/.partial/{digest}.part"));
    for left in [vec![9; MIB], vec![9; 4 * MIB], body.clone()] {
        let good = left == body;
        fs::write(&part, left).unwrap();
        let server = flaky(&body, 0).await;
        let source = Source::url(&server.url("/m")).unwrap();
        let path = store.fetch(&source, &digest, &silent()).await.unwrap();
        assert_eq!(fs::read(path).unwrap(), body);
        assert_eq!(server.seen().len(), if good { 0 } else { 2 });
        assert!(store.marks().is_empty());
        fs::remove_file(store.get(&digest).unwrap().unwrap()).unwrap();
    }
}

#[tokio::test]
async fn servers_without_ranges_start_anew() {
    let (place, body) = (Place::new(), body());
    let digest = Digest::of(&body);
    let (whole, asked) = (body.clone(), AtomicUsize::new(0));
    let server = Server::start(move |_, seen| {
        let mut seen = seen.clone();
        seen.headers.remove("range");
        let breaks = asked.fetch_add(1, Ordering::SeqCst) == 0;
        cut(&whole, &seen, if breaks { MIB } else { usize::MAX })
    })
    .await;
    let source = Source::url(&server.url("/m")).unwrap();
    let path = place
        .store()
        .fetch(&source, &digest, &silent())
        .await
        .unwrap();
    assert_eq!(fs::read(path).unwrap(), body);
}

#[tokio::test]
async fn tries_are_counted_and_some_answers_are_final() {
    let (place, digest) = (Place::new(), Digest::of(b"x"));
    let store = Store::open(Config {
        retries_max: 2,
        ..place.config()
    })
    .unwrap();
    for (code, requests) in [(503, 3), (429, 3), (404, 1), (403, 1), (416, 1)] {
        let server = Server::start(move |_, _| status(code)).await;
        let source = Source::url(&server.url("/m")).unwrap();
        let error = store.fetch(&source, &digest, &silent()).await.unwrap_err();
        assert!(matches!(error, FetchError::Status { status, .. } if status == code));
        assert_eq!(server.seen().len(), requests, "{code}");
    }
    // Whoever redirects in circles is not asked again either.
    let server = Server::start(|host, _| redirect(format!("http://{host}/again"))).await;
    let source = Source::url(&server.url("/m")).unwrap();
    let error = store.fetch(&source, &digest, &silent()).await.unwrap_err();
    assert!(matches!(error, FetchError::Http { .. }), "{error:?}");
    assert_eq!(server.seen().len(), 9);
    let server = Server::start(|_, _| redirect("http://models.example/m".to_owned())).await;
    let source = Source::url(&server.url("/m")).unwrap();
    store.fetch(&source, &digest, &silent()).await.unwrap_err();
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn a_wrong_source_is_marked_and_the_next_is_right() {
    let (place, body) = (Place::new(), body());
    let digest = Digest::of(&body);
    let mut lie = body.clone();
    lie[2 * MIB] ^= 1;
    let (wrong, right) = (flaky(&lie, 0).await, flaky(&body, 0).await);
    let sources = [&wrong, &right].map(|it| Source::url(&it.url("/m")).unwrap());
    let store = place.store();
    let marked = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&marked);
    let listener: MarkFn = Arc::new(move |culprit, fault| {
        kept.lock().unwrap().push((culprit.clone(), fault));
    });
    assert!(store.marks().listen(listener));
    let path = store
        .fetch_any(&sources, None, &digest, &silent())
        .await
        .unwrap();
    assert_eq!(fs::read(&path).unwrap(), body);
    let culprit = Culprit::Source(sources[0].clone(), digest);
    assert_eq!(
        *marked.lock().unwrap(),
        [(culprit.clone(), Fault::WrongBytes)]
    );
    assert!(store.marks().is_marked(&culprit));
    assert_eq!((wrong.seen().len(), right.seen().len()), (1, 1));
    assert_eq!(place.files().len(), 1);
    // Next time it is asked last.
    fs::remove_file(path).unwrap();
    store
        .fetch_any(&sources, None, &digest, &silent())
        .await
        .unwrap();
    assert_eq!((wrong.seen().len(), right.seen().len()), (1, 2));
}

#[tokio::test]
async fn when_every_source_fails_each_is_named() {
    let (place, digest) = (Place::new(), Digest::of(b"x"));
    let store = place.store();
    let absent = Server::start(|_, _| status(404)).await;
    let wrong = flaky(b"y", 0).await;
    let sources = [
        Source::url(&absent.url("/m")).unwrap(),
        Source::url(&wrong.url("/m")).unwrap(),
        "file:///no/such/model".parse().unwrap(),
    ];
    let error = store
        .fetch_any(&sources, None, &digest, &silent())
        .await
        .unwrap_err();
    let FetchError::AllFailed { attempts, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(attempts.len(), 3);
    let text = error.to_string();
    for part in [
        "answered with status 404",
        "expected an artifact",
        "/no/such/model",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let error = store
        .fetch_any(&[], None, &digest, &silent())
        .await
        .unwrap_err();
    assert!(matches!(error, FetchError::NoSource { .. }), "{error:?}");
    // What is here needs no source.
    let here = store.put_bytes(b"here").unwrap();
    store.fetch_any(&[], None, &here, &silent()).await.unwrap();
}

#[tokio::test]
async fn a_download_that_does_not_fit_is_refused_before_it_begins() {
    let (place, body) = (Place::new(), body());
    let server = flaky(&body, 0).await;
    let store = Store::open(Config {
        store_bytes_max: 2 << 20,
        ..place.config()
    })
    .unwrap();
    let (progress, seen) = recorder();
    let source = Source::url(&server.url("/m")).unwrap();
    let error = store
        .fetch(&source, &Digest::of(&body), &progress)
        .await
        .unwrap_err();
    let full = |error: &FetchError| {
        matches!(
            error,
            FetchError::Put {
                source: PutError::Full { .. },
                ..
            }
        )
    };
    assert!(full(&error), "{error:?}");
    assert!(seen.lock().unwrap().is_empty(), "not a byte was taken");
    assert_eq!((place.files().len(), store.bytes_used()), (0, 0));
}
