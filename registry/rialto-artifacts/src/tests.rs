//! Whole fetches: from loopback servers, from wheels of a pretended pip, and all the ways they fail.

use std::{
    fs,
    io::{Cursor, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rialto_registry::{Digest, Source, source::WheelSource};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use zip::{ZipWriter, write::SimpleFileOptions};

use crate::{Config, FetchError, Progress, ProgressFn, PutError, Store, silent};

mod eviction;
mod object;
mod oci;
mod resume;
mod server;
mod strangers;

const BODY: &[u8] = b"the bytes of a model";

struct Place {
    dir: TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn config(&self) -> Config {
        Config {
            retry_pause: Duration::from_millis(1),
            ..Config::new(self.dir.path().join("store"))
        }
    }

    fn store(&self) -> Store {
        Store::open(self.config()).unwrap()
    }

    /// Every file of the store, partial ones included.
    fn files(&self) -> Vec<PathBuf> {
        fn walk(dir: &Path, files: &mut Vec<PathBuf>) {
            // What is removed in the background may vanish at any moment.
            let entries = fs::read_dir(dir).into_iter().flatten().flatten();
            for entry in entries {
                let path = entry.path();
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    walk(&path, files)
                } else if path.file_name().unwrap() != ".lock" {
                    files.push(path)
                }
            }
        }
        let mut files = Vec::new();
        walk(&self.dir.path().join("store"), &mut files);
        files
    }

    /// An interpreter that takes `--dest DIR` from pip's arguments as `$dest` and runs `script`.
    fn python(&self, script: &str) -> PathBuf {
        let path = self.dir.path().join("python");
        let text = format!(
            "#!/bin/sh\nwhile [ $# -gt 0 ]; do [ \"$1\" = --dest ] && dest=$2; [ \"$1\" = --isolated ] && isolated=yes; last=$1; shift; done\n{script}\n"
        );
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// A store whose pip delivers `wheel`.
    fn store_with_wheel(&self, wheel: &[u8], limits: impl FnOnce(&mut Config)) -> Store {
        let saved = self.dir.path().join("saved.whl");
        fs::write(&saved, wheel).unwrap();
        let python = self.python(&format!(
            "cp {} \"$dest/p-1-py3-none-any.whl\"",
            saved.display()
        ));
        let mut config = Config {
            python,
            ..self.config()
        };
        limits(&mut config);
        Store::open(config).unwrap()
    }
}

fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn wheel(path: &str) -> Source {
    Source::Wheel(WheelSource::parse("p==1", path).unwrap())
}

fn recorder() -> (ProgressFn, Arc<Mutex<Vec<Progress>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&seen);
    (
        Arc::new(move |progress| kept.lock().unwrap().push(progress)),
        seen,
    )
}

/// Answers every request with `head` and `body`, after a pause, and counts the requests.
async fn server(head: String, body: Vec<u8>) -> (Source, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/model", listener.local_addr().unwrap());
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&requests);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::SeqCst);
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(head.as_bytes()).await;
            let _ = stream.write_all(&body).await;
        }
    });
    (Source::url(&url).unwrap(), requests)
}

async fn good_server(body: &[u8]) -> (Source, Arc<AtomicUsize>) {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    server(head, body.to_vec()).await
}

#[test]
fn what_is_put_is_found_again() {
    let place = Place::new();
    let store = place.store();
    let digest = store.put_bytes(BODY).unwrap();
    assert_eq!(digest, Digest::of(BODY));
    let path = store.get(&digest).unwrap().unwrap();
    assert_eq!(
        path,
        place.dir.path().join("store").join(digest.to_string())
    );
    assert_eq!(fs::read(&path).unwrap(), BODY);
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o444
    );
    assert_eq!(store.put_file(&path).unwrap(), digest);
    assert_eq!(store.bytes_used(), u64::try_from(BODY.len()).unwrap());
    assert_eq!(place.store().read(&digest).unwrap().unwrap(), BODY);
    assert_eq!(place.store().get(&Digest::of(b"other")).unwrap(), None);
    assert_eq!(place.files().len(), 1);
}

#[test]
fn a_damaged_artifact_is_deleted_on_first_use() {
    let place = Place::new();
    let digest = place.store().put_bytes(BODY).unwrap();
    let path = place.dir.path().join("store").join(digest.to_string());
    fs::remove_file(&path).unwrap();
    fs::write(&path, b"the bytes of a model with a virus").unwrap();
    assert_eq!(place.store().get(&digest).unwrap(), None);
    assert!(!path.exists());
}

#[test]
fn limits_refuse_and_leave_nothing() {
    let place = Place::new();
    let store = Store::open(Config {
        artifact_bytes_max: 10,
        ..place.config()
    })
    .unwrap();
    assert!(matches!(
        store.put_bytes(BODY),
        Err(PutError::TooLarge { bytes_max: 10 })
    ));
    let store = Store::open(Config {
        store_bytes_max: 30,
        ..place.config()
    })
    .unwrap();
    store.put_bytes(BODY).unwrap();
    let error = store
        .put_bytes(b"other bytes, of equal length")
        .unwrap_err();
    assert!(matches!(error, PutError::Full { bytes_max: 30, .. }));
    assert!(
        error.to_string().contains("raise `store_bytes_max`"),
        "{error}"
    );
    assert_eq!(place.files().len(), 1);
    // What is there already needs no room of its own.
    let reopened = Store::open(Config {
        store_bytes_max: 40,
        ..place.config()
    })
    .unwrap();
    reopened.put_bytes(BODY).unwrap();
    reopened.put_bytes(b"0123456789").unwrap();
}

#[tokio::test]
async fn a_url_is_fetched_once_and_shared() {
    let place = Place::new();
    let store = place.store();
    let body = vec![7; 3 << 20];
    let digest = Digest::of(&body);
    let (source, requests) = good_server(&body).await;
    let (progress, seen) = recorder();
    let fetches = (0..8).map(|_| {
        let (store, source, progress) = (store.clone(), source.clone(), Arc::clone(&progress));
        tokio::spawn(async move { store.fetch(&source, &digest, &progress).await })
    });
    for fetch in fetches.collect::<Vec<_>>() {
        assert_eq!(fs::read(fetch.await.unwrap().unwrap()).unwrap(), body);
    }
    assert_eq!(requests.load(Ordering::SeqCst), 1);
    let seen = seen.lock().unwrap();
    let last = seen.last().unwrap();
    assert_eq!((last.bytes, last.bytes_total), (3 << 20, Some(3 << 20)));
    assert!(seen.windows(2).all(|pair| pair[0].bytes < pair[1].bytes));
}

#[tokio::test]
async fn a_failure_is_shared_by_those_who_wait_for_it() {
    let place = Place::new();
    let (store, digest) = (place.store(), Digest::of(BODY));
    let head = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let (absent, requests) = server(head.to_owned(), vec![]).await;
    let (good, _) = good_server(BODY).await;
    let fetch = |source: &Source| {
        let (store, source) = (store.clone(), source.clone());
        tokio::spawn(async move { store.fetch(&source, &digest, &silent()).await })
    };
    let fetches: Vec<_> = (0..8).map(|_| fetch(&absent)).collect();
    for fetch in fetches {
        let error = fetch.await.unwrap().unwrap_err();
        let FetchError::Shared(error) = &error else {
            panic!("{error:?}")
        };
        assert!(matches!(**error, FetchError::Status { status: 404, .. }));
    }
    assert_eq!(requests.load(Ordering::SeqCst), 1);
    // Who comes later tries for itself, and so does who knows another source.
    fetch(&absent).await.unwrap().unwrap_err();
    assert_eq!(requests.load(Ordering::SeqCst), 2);
    let (first, other) = (fetch(&absent), fetch(&good));
    first.await.unwrap().unwrap_err();
    other.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_wrong_hash_is_refused_and_nothing_is_left() {
    let place = Place::new();
    let store = place.store_with_wheel(&zip(&[("m.onnx", BODY)]), |_| {});
    let (url, _) = good_server(BODY).await;
    let file = place.dir.path().join("model");
    fs::write(&file, BODY).unwrap();
    let expected = Digest::of(b"something else");
    for source in [url, Source::File(file), wheel("m.onnx")] {
        let error = store
            .fetch(&source, &expected, &silent())
            .await
            .unwrap_err();
        let FetchError::Put {
            source: PutError::WrongDigest { found, .. },
            ..
        } = error
        else {
            panic!("{error:?}")
        };
        assert_eq!(found, Digest::of(BODY));
        assert_eq!(place.files(), Vec::<PathBuf>::new());
        assert_eq!(store.bytes_used(), 0);
    }
}

#[tokio::test]
async fn servers_that_misbehave_leave_nothing() {
    let place = Place::new();
    let store = Store::open(Config {
        artifact_bytes_max: 1_000,
        ..place.config()
    })
    .unwrap();
    let digest = Digest::of(BODY);
    let fetch = |source: Source| {
        let store = store.clone();
        async move { store.fetch(&source, &digest, &silent()).await.unwrap_err() }
    };
    let head = |text: &str| format!("HTTP/1.1 {text}\r\nConnection: close\r\n\r\n");

    let (source, _) = server(head("404 Not Found\r\nContent-Length: 0"), vec![]).await;
    assert!(matches!(
        fetch(source).await,
        FetchError::Status { status: 404, .. }
    ));
    let (source, _) = server(head("200 OK\r\nContent-Length: 100"), BODY.to_vec()).await;
    assert!(
        matches!(fetch(source).await, FetchError::Http { .. }),
        "cut off"
    );
    let (source, _) = server(head("200 OK\r\nContent-Length: 99999"), vec![]).await;
    assert!(matches!(
        fetch(source).await,
        FetchError::DownloadTooLarge {
            bytes_max: 1_000,
            ..
        }
    ));
    let (source, _) = server(head("200 OK"), vec![0; 100_000]).await;
    let error = fetch(source).await;
    assert!(
        matches!(
            error,
            FetchError::Put {
                source: PutError::TooLarge { .. },
                ..
            }
        ),
        "{error:?}"
    );
    let (source, _) = server("nonsense".to_owned(), vec![]).await;
    assert!(matches!(fetch(source).await, FetchError::Http { .. }));
    let gone = Source::url("http://127.0.0.1:1/model").unwrap();
    assert!(matches!(fetch(gone).await, FetchError::Http { .. }));
    assert_eq!(place.files(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_silent_source_is_given_up() {
    let place = Place::new();
    let python = place.python("exec sleep 60");
    let fetch_time_max = Duration::from_millis(300);
    let store = Store::open(Config {
        python,
        fetch_time_max,
        ..place.config()
    })
    .unwrap();
    let error = store
        .fetch(&wheel("m.onnx"), &Digest::of(BODY), &silent())
        .await
        .unwrap_err();
    assert!(matches!(error, FetchError::TimedOut { .. }), "{error:?}");
    assert_eq!(place.files(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_wheel_is_unpacked_by_one_name_only() {
    let place = Place::new();
    let bytes = zip(&[
        ("../../escaped", b"evil"),
        ("/absolute", b"evil"),
        ("p/m.onnx", BODY),
    ]);
    let store = place.store_with_wheel(&bytes, |_| {});
    let (progress, seen) = recorder();
    let path = store
        .fetch(&wheel("p/m.onnx"), &Digest::of(BODY), &progress)
        .await
        .unwrap();
    assert_eq!(fs::read(path).unwrap(), BODY);
    assert_eq!(place.files().len(), 1);
    assert!(!place.dir.path().join("escaped").exists());
    let messages: Vec<_> = seen
        .lock()
        .unwrap()
        .iter()
        .map(|p| p.message.clone())
        .collect();
    assert!(
        messages.contains(&"downloading p==1 with pip".to_owned()),
        "{messages:?}"
    );
    assert!(
        messages.contains(&"unpacking p/m.onnx".to_owned()),
        "{messages:?}"
    );

    let error = store
        .fetch(&wheel("p/other"), &Digest::of(b""), &silent())
        .await
        .unwrap_err();
    assert!(matches!(error, FetchError::NotInWheel { .. }), "{error:?}");
}

#[tokio::test]
async fn a_bomb_ends_at_the_limit() {
    let place = Place::new();
    let bomb = zip(&[("m.onnx", &vec![0; 8 << 20])]);
    assert!(bomb.len() < 100_000);
    let store = place.store_with_wheel(&bomb, |config| config.artifact_bytes_max = 1 << 20);
    let error = store
        .fetch(&wheel("m.onnx"), &Digest::of(b""), &silent())
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            FetchError::Put {
                source: PutError::TooLarge { .. },
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(place.files(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn damaged_wheels_are_errors() {
    let good = zip(&[("m.onnx", &BODY.repeat(50))]);
    for cut in [0, 1, 10, good.len() / 2, good.len() - 1] {
        let place = Place::new();
        let store = place.store_with_wheel(&good[..cut], |_| {});
        let error = store
            .fetch(&wheel("m.onnx"), &Digest::of(b""), &silent())
            .await
            .unwrap_err();
        assert!(
            matches!(error, FetchError::Wheel { .. }),
            "{cut}: {error:?}"
        );
    }
}

#[tokio::test]
async fn a_missing_pip_names_the_remedy() {
    let place = Place::new();
    let without_pip = place.python("echo 'python: No module named pip' >&2; exit 1");
    for python in [PathBuf::from("no-such-python3"), without_pip] {
        let store = Store::open(Config {
            python,
            ..place.config()
        })
        .unwrap();
        let error = store
            .fetch(&wheel("m"), &Digest::of(b""), &silent())
            .await
            .unwrap_err();
        assert!(matches!(error, FetchError::NoPip { .. }), "{error:?}");
        assert!(
            error.to_string().contains("apt-get install python3-pip"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_failing_pip_is_quoted() {
    let place = Place::new();
    let python = place.python("echo \"ERROR: no $last for you\" >&2; exit 1");
    let store = Store::open(Config {
        python,
        ..place.config()
    })
    .unwrap();
    let error = store
        .fetch(&wheel("m"), &Digest::of(b""), &silent())
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "pip cannot download p==1: ERROR: no p==1 for you"
    );
}

#[tokio::test]
async fn a_missing_file_and_a_device_are_errors() {
    let place = Place::new();
    let store = place.store();
    for path in ["/no/such/file", "/dev/zero", "/"] {
        let source = Source::File(PathBuf::from(path));
        let error = store
            .fetch(&source, &Digest::of(b""), &silent())
            .await
            .unwrap_err();
        assert!(matches!(error, FetchError::File { .. }), "{error:?}");
    }
}
