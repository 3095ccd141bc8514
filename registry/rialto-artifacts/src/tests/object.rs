//! An S3-compatible store on this machine: got from and put to.

use std::{
    collections::BTreeMap,
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use axum::{
    body::Body,
    http::{Method, Response},
};
use rialto_registry::{Digest, Source};

use super::{
    Place, recorder,
    server::{Seen, Server, assert_goes_on, cut, ranged, status},
};
use crate::{Config, FetchError, PublishError, PutError, Secret, Store, silent};

const MIB: usize = 1 << 20;

/// Objects by their path; parts of uploads by their number.
#[derive(Default)]
struct Bucket {
    objects: Mutex<BTreeMap<String, Vec<u8>>>,
    parts: Mutex<BTreeMap<u32, Vec<u8>>>,
    /// How many answers break off after a MiB.
    breaks: AtomicUsize,
    /// Whether ranges are not known.
    whole: AtomicBool,
}

impl Bucket {
    async fn serve(self: &Arc<Self>) -> Server {
        let bucket = Arc::clone(self);
        Server::start(move |_, seen| bucket.answer(seen)).await
    }

    fn put(&self, path: &str, bytes: &[u8]) {
        self.objects
            .lock()
            .unwrap()
            .insert(path.to_owned(), bytes.to_vec());
    }

    fn answer(&self, seen: &Seen) -> Response<Body> {
        let part = seen
            .query
            .split('&')
            .find_map(|it| it.strip_prefix("partNumber="));
        match (&seen.method, part) {
            (&Method::GET | &Method::HEAD, _) => self.get(seen),
            (&Method::POST, _) if seen.query.starts_with("uploads") => {
                let text = "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>";
                Response::new(Body::from(text))
            }
            (&Method::POST, _) => {
                let parts = std::mem::take(&mut *self.parts.lock().unwrap());
                self.put(
                    &seen.path,
                    &parts.into_values().collect::<Vec<_>>().concat(),
                );
                let text = "<CompleteMultipartUploadResult><ETag>\"1\"</ETag></CompleteMultipartUploadResult>";
                Response::new(Body::from(text))
            }
            (&Method::PUT, Some(number)) => {
                let number = number.parse().unwrap();
                self.parts
                    .lock()
                    .unwrap()
                    .insert(number, seen.body.to_vec());
                with_etag(status(200))
            }
            (&Method::PUT, None) => {
                self.put(&seen.path, &seen.body);
                with_etag(status(200))
            }
            _ => status(405),
        }
    }

    fn get(&self, seen: &Seen) -> Response<Body> {
        let objects = self.objects.lock().unwrap();
        let Some(object) = objects.get(&seen.path) else {
            return status(404);
        };
        let left = self.breaks.load(Ordering::SeqCst);
        if left > 0 {
            self.breaks.store(left - 1, Ordering::SeqCst);
            return cut(object, seen, MIB);
        }
        let mut seen = seen.clone();
        if self.whole.load(Ordering::SeqCst) {
            seen.headers.remove("range");
        }
        ranged(object, &seen)
    }
}

fn with_etag(mut response: Response<Body>) -> Response<Body> {
    response
        .headers_mut()
        .insert("etag", "\"1\"".parse().unwrap());
    response
}

fn config(place: &Place, server: &Server, more: &[(&str, &str)]) -> Config {
    let endpoint = server.url("");
    let settings = [("AWS_ENDPOINT_URL", endpoint.as_str())];
    let settings = settings.iter().chain(more);
    Config {
        object_store: settings
            .map(|(name, value)| ((*name).to_owned(), Secret::new(*value)))
            .collect(),
        ..place.config()
    }
}

const KEYS: [(&str, &str); 2] = [
    ("AWS_ACCESS_KEY_ID", "AKID"),
    ("AWS_SECRET_ACCESS_KEY", "very-secret"),
];

fn body() -> Vec<u8> {
    (0..9 * MIB + 5)
        .map(|i| u8::try_from(i / 11 % 233).unwrap())
        .collect()
}

#[tokio::test]
async fn what_is_put_is_got_by_others() {
    let (place, bucket, body) = (Place::new(), Arc::new(Bucket::default()), body());
    let server = bucket.serve().await;
    let store = Store::open(config(&place, &server, &KEYS)).unwrap();
    for (body, key) in [(&body[..], "models/a b.onnx"), (b"small", "small")] {
        let digest = store.put_bytes(body).unwrap();
        let source: Source = format!("s3://bucket/{key}").parse().unwrap();
        assert_eq!(store.publish(&digest, &source).await.unwrap(), None);
        let there = Place::new();
        let other = Store::open(config(&there, &server, &KEYS)).unwrap();
        let (progress, seen) = recorder();
        let path = other.fetch(&source, &digest, &progress).await.unwrap();
        assert_eq!(fs::read(path).unwrap(), body);
        let total = u64::try_from(body.len()).unwrap();
        assert_eq!(
            seen.lock().unwrap().last().unwrap().bytes_total,
            Some(total)
        );
    }
    for request in server.seen() {
        let shown = request.header("authorization").unwrap();
        assert!(
            shown.starts_with("AWS4-HMAC-SHA256 Credential=AKID/"),
            "{shown}"
        );
        assert!(!format!("{request:?}").contains("very-secret"));
    }
    assert!(
        server
            .seen()
            .iter()
            .any(|it| it.path == "/bucket/models/a%20b.onnx")
    );
}

#[tokio::test]
async fn public_objects_are_read_without_a_signature_and_broken_reads_go_on() {
    let (place, bucket, body) = (Place::new(), Arc::new(Bucket::default()), body());
    bucket.put("/bucket/m", &body);
    bucket.breaks.store(2, Ordering::SeqCst);
    let server = bucket.serve().await;
    let store = Store::open(config(&place, &server, &[])).unwrap();
    let source: Source = "s3://bucket/m".parse().unwrap();
    let path = store
        .fetch(&source, &Digest::of(&body), &silent())
        .await
        .unwrap();
    assert_eq!(fs::read(path).unwrap(), body);
    let seen = server.seen();
    assert!(seen.iter().all(|it| it.header("authorization").is_none()));
    assert_eq!(seen.len(), 3);
    assert_goes_on(&server);
}

#[tokio::test]
async fn a_read_goes_on_after_a_restart() {
    let (place, bucket, body) = (Place::new(), Arc::new(Bucket::default()), body());
    bucket.put("/bucket/m", &body);
    let digest = Digest::of(&body);
    let part = place
        .dir
        .path()
        .join(format!("store/.partial/{digest}.part"));
    drop(place.store());
    fs::write(part, &body[..3 * MIB]).unwrap();
    let server = bucket.serve().await;
    let store = Store::open(config(&place, &server, &KEYS)).unwrap();
    let source: Source = "s3://bucket/m".parse().unwrap();
    store.fetch(&source, &digest, &silent()).await.unwrap();
    assert_eq!(server.seen()[0].range(), Some(3 * MIB));
}

#[tokio::test]
async fn a_wrong_partial_costs_a_read_and_no_more() {
    let (place, bucket, body) = (Place::new(), Arc::new(Bucket::default()), body());
    bucket.put("/bucket/m", &body);
    let digest = Digest::of(&body);
    let server = bucket.serve().await;
    let store = Store::open(config(&place, &server, &KEYS)).unwrap();
    let part = place
        .dir
        .path()
        .join(format!("store/.partial/{digest}.part"));
    let source: Source = "s3://bucket/m".parse().unwrap();
    // Wrong and shorter than the object, as long, longer; and right, for a store that knows no ranges.
    let (long, right) = (vec![9; body.len() + 1], body[..MIB].to_vec());
    for (left, whole) in [
        (vec![9; MIB], false),
        (vec![9; body.len()], false),
        (long, false),
        (right, true),
    ] {
        fs::write(&part, left).unwrap();
        bucket.whole.store(whole, Ordering::SeqCst);
        let path = store.fetch(&source, &digest, &silent()).await.unwrap();
        assert_eq!(fs::read(path).unwrap(), body);
        assert!(!part.exists() && store.marks().is_empty());
        fs::remove_file(store.get(&digest).unwrap().unwrap()).unwrap();
    }
}

#[tokio::test]
async fn what_is_absent_wrong_or_not_here_is_refused() {
    let (place, bucket) = (Place::new(), Arc::new(Bucket::default()));
    bucket.put("/bucket/m", b"wrong bytes");
    let server = bucket.serve().await;
    let store = Store::open(config(&place, &server, &KEYS)).unwrap();
    let digest = Digest::of(b"right bytes");
    let fetch = |store: &Store, text: &str| {
        let (store, source) = (store.clone(), text.parse::<Source>().unwrap());
        async move { store.fetch(&source, &digest, &silent()).await.unwrap_err() }
    };
    let error = fetch(&store, "s3://bucket/absent").await;
    let absent = matches!(
        error,
        FetchError::Object {
            source: object_store::Error::NotFound { .. },
            ..
        }
    );
    assert!(absent, "{error:?}");
    let error = fetch(&store, "s3://bucket/m").await;
    let wrong = matches!(
        error,
        FetchError::Put {
            source: PutError::WrongDigest { .. },
            ..
        }
    );
    assert!(wrong, "{error:?}");
    // Plain HTTP is for this machine, whatever the environment says.
    let mut config = config(&place, &server, &[("AWS_ALLOW_HTTP", "true")]);
    config.object_store[0].1 = Secret::new("http://store.example");
    config.retries_max = 0;
    let error = fetch(&Store::open(config).unwrap(), "s3://bucket/m").await;
    assert!(matches!(error, FetchError::Object { .. }), "{error:?}");
    assert_eq!(server.seen().len(), 2);
    let here = store.put_bytes(b"x").unwrap();
    for to in ["https://models.example/m", "hf://owner/name@v1/m"] {
        let error = store
            .publish(&here, &to.parse().unwrap())
            .await
            .unwrap_err();
        assert!(matches!(error, PublishError::ReadOnly(_)), "{error:?}");
    }
    let to = place.dir.path().join("out/m");
    store
        .publish(&here, &Source::File(to.clone()))
        .await
        .unwrap();
    assert_eq!(fs::read(to).unwrap(), b"x");
}
