//! An OCI registry on this machine: pulled from, pushed to, and everything it may get wrong.

use std::{
    collections::BTreeMap,
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    body::Body,
    http::{Method, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use rialto_registry::{Digest, Source, source::OciReference};

use super::{
    Place,
    server::{Seen, Server, assert_goes_on, cut, ranged, status},
};
use crate::{
    Config, Culprit, FetchError, OciError, PublishError, PutError, RegistryLogin, Secret, Store,
    silent,
};

const MIB: usize = 1 << 20;

/// What a registry holds and how it behaves.
#[derive(Default)]
struct Shelf {
    /// By path below the repository: `blobs/sha256:..`, `manifests/..`.
    things: Mutex<BTreeMap<String, Vec<u8>>>,
    /// Whether tokens are asked for.
    guarded: bool,
    /// Whose token lets push; others may pull.
    login: Option<&'static str>,
    /// Where tokens are had, if not here.
    realm: Option<&'static str>,
    /// Where blobs are sent on to.
    elsewhere: Option<String>,
}

fn component() -> Vec<u8> {
    let mut body = b"\0asm\x0d\0\x01\0".to_vec();
    body.extend((0..2 * MIB).map(|i| u8::try_from(i / 3 % 239).unwrap()));
    body
}

fn with(mut response: Response<Body>, name: &'static str, value: &str) -> Response<Body> {
    response.headers_mut().insert(name, value.parse().unwrap());
    response
}

impl Shelf {
    fn put(&self, path: &str, bytes: &[u8]) {
        self.things
            .lock()
            .unwrap()
            .insert(path.to_owned(), bytes.to_vec());
    }

    /// A component under the tag `1`, as another tool would have pushed it.
    fn with_component(self, body: &[u8], size: usize) -> Self {
        let digest = Digest::of(body);
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",
            "config":{{"mediaType":"application/vnd.wasm.config.v0+json","digest":"sha256:{}","size":2}},
            "layers":[{{"mediaType":"application/wasm","digest":"sha256:{digest}","size":{size}}}]}}"#,
            Digest::of(b"{}"),
        );
        self.put("manifests/1", manifest.as_bytes());
        self.put(
            &format!("manifests/sha256:{}", Digest::of(manifest.as_bytes())),
            manifest.as_bytes(),
        );
        self.put(&format!("blobs/sha256:{digest}"), body);
        self
    }

    async fn serve(self) -> Server {
        let shelf = Arc::new(self);
        Server::start(move |host, seen| shelf.answer(host, seen)).await
    }

    fn answer(&self, host: &str, seen: &Seen) -> Response<Body> {
        if seen.path == "/token" {
            return self.token(seen);
        }
        let Some(path) = seen.path.strip_prefix("/v2/team/filetype/") else {
            return status(404);
        };
        let pushes = seen.method != Method::GET && seen.method != Method::HEAD;
        let authorization = seen.header("authorization").unwrap_or_default();
        if self.guarded && !authorization.starts_with("Bearer pu") {
            let here = format!("http://{host}/token");
            let realm = self.realm.unwrap_or(&here);
            let challenge = format!(r#"Bearer realm="{realm}",service="registry""#);
            return with(status(401), "www-authenticate", &challenge);
        }
        if pushes && self.guarded && authorization != "Bearer push" {
            return status(403);
        }
        self.act(path, seen)
    }

    fn token(&self, seen: &Seen) -> Response<Body> {
        let known = self.login.is_some() && seen.header("authorization") == self.login;
        if seen.header("authorization").is_some() && !known {
            return status(401);
        }
        let token = if known { "push" } else { "pull" };
        Response::new(Body::from(format!(
            r#"{{"token":"{token}","expires_in":300}}"#
        )))
    }

    fn act(&self, path: &str, seen: &Seen) -> Response<Body> {
        match seen.method {
            Method::GET | Method::HEAD => {
                let things = self.things.lock().unwrap();
                let Some(thing) = things.get(path) else {
                    return status(404);
                };
                match &self.elsewhere {
                    Some(url) if path.starts_with("blobs/") => with(status(307), "location", url),
                    _ => ranged(thing, seen),
                }
            }
            Method::POST if path == "blobs/uploads/" => {
                let location = "/v2/team/filetype/blobs/uploads/7?state=x%2Fy";
                with(status(202), "location", location)
            }
            Method::PUT if path == "blobs/uploads/7" => {
                let digest = seen
                    .query
                    .strip_prefix("state=x%2Fy&digest=sha256%3A")
                    .unwrap();
                assert_eq!(Digest::of(&seen.body).to_string(), digest);
                self.put(&format!("blobs/sha256:{digest}"), &seen.body);
                status(201)
            }
            Method::PUT => {
                let digest = Digest::of(&seen.body);
                self.put(path, &seen.body);
                self.put(&format!("manifests/sha256:{digest}"), &seen.body);
                status(201)
            }
            _ => status(405),
        }
    }
}

fn reference(server: &Server, version: &str) -> OciReference {
    format!("oci://{}/team/filetype{version}", server.host)
        .parse()
        .unwrap()
}

fn log(server: &Server) -> Vec<String> {
    let seen = server.seen();
    seen.iter()
        .map(|it| format!("{} {}", it.method, it.path))
        .collect()
}

#[tokio::test]
async fn a_component_is_pulled_with_an_anonymous_token() {
    let (place, body) = (Place::new(), component());
    let shelf = Shelf {
        guarded: true,
        ..Shelf::default()
    };
    let server = shelf.with_component(&body, body.len()).serve().await;
    let store = place.store();
    let reference = reference(&server, ":1");
    let digest = store.resolve(&reference).await.unwrap();
    assert_eq!(digest, Digest::of(&body));
    let path = store
        .fetch(&Source::Oci(reference), &digest, &silent())
        .await
        .unwrap();
    assert_eq!(fs::read(path).unwrap(), body);
    let manifest = "GET /v2/team/filetype/manifests/1";
    let blob = format!("GET /v2/team/filetype/blobs/sha256:{digest}");
    let asked = [manifest, "GET /token", manifest];
    let all = [&asked[..], &asked[..], &[blob.as_str()]].concat();
    assert_eq!(log(&server), all);
    let seen = server.seen();
    assert_eq!(seen[0].header("authorization"), None);
    assert_eq!(
        seen[0].header("accept"),
        Some("application/vnd.oci.image.manifest.v1+json")
    );
    assert_eq!(seen[1].header("authorization"), None);
    assert_eq!(
        seen[1].query,
        "service=registry&scope=repository%3Ateam%2Ffiletype%3Apull"
    );
    assert_eq!(seen[6].header("authorization"), Some("Bearer pull"));
}

#[tokio::test]
async fn a_blob_elsewhere_breaks_off_and_is_gone_on_with() {
    let (place, body) = (Place::new(), component());
    let (blob, asked) = (body.clone(), AtomicUsize::new(0));
    let far = Server::start(move |_, seen| {
        let breaks = asked.fetch_add(1, Ordering::SeqCst) == 0;
        cut(&blob, seen, if breaks { MIB } else { usize::MAX })
    })
    .await;
    let shelf = Shelf {
        guarded: true,
        elsewhere: Some(far.url("/blob?signature=x")),
        ..Shelf::default()
    };
    let server = shelf.with_component(&body, body.len()).serve().await;
    let source = Source::Oci(reference(&server, ":1"));
    let digest = Digest::of(&body);
    let path = place
        .store()
        .fetch(&source, &digest, &silent())
        .await
        .unwrap();
    assert_eq!(fs::read(path).unwrap(), body);
    let seen = far.seen();
    assert_eq!(seen.len(), 2);
    assert_goes_on(&far);
    assert!(seen.iter().all(|it| it.header("authorization").is_none()));
}

#[tokio::test]
async fn what_is_pushed_can_be_pulled_by_tag_and_by_digest() {
    let (place, body) = (Place::new(), component());
    let credentials: &'static str =
        Box::leak(format!("Basic {}", STANDARD.encode("me:secret")).into_boxed_str());
    let shelf = Shelf {
        guarded: true,
        login: Some(credentials),
        ..Shelf::default()
    };
    let server = shelf.serve().await;
    let login = RegistryLogin {
        registry: server.host.clone(),
        user: "me".to_owned(),
        password: Secret::new("secret"),
    };
    let store = Store::open(Config {
        registry_logins: vec![login],
        ..place.config()
    })
    .unwrap();
    let digest = store.put_bytes(&body).unwrap();
    let to = Source::Oci(reference(&server, ":2"));
    let manifest = store.publish(&digest, &to).await.unwrap().unwrap();
    // The second time nothing has to be sent but the manifest.
    assert_eq!(store.publish(&digest, &to).await.unwrap(), Some(manifest));
    let posts = log(&server)
        .iter()
        .filter(|it| it.starts_with("POST"))
        .count();
    assert_eq!(posts, 2, "component and config");
    let pushed = server.seen();
    let pushed = pushed.iter().find(|it| it.method == Method::PUT).unwrap();
    assert_eq!(pushed.header("authorization"), Some("Bearer push"));
    // Somebody without a login, who knows the reference only.
    for version in [":2".to_owned(), format!("@sha256:{manifest}")] {
        let place = Place::new();
        let other = place.store();
        let reference = reference(&server, &version);
        let found = other.resolve(&reference).await.unwrap();
        assert_eq!(found, digest);
        let path = other
            .fetch(&Source::Oci(reference), &found, &silent())
            .await
            .unwrap();
        assert_eq!(fs::read(path).unwrap(), body);
    }
    let error = store
        .publish(
            &digest,
            &Source::Oci(reference(&server, &format!("@sha256:{manifest}"))),
        )
        .await
        .unwrap_err();
    assert!(matches!(error, PublishError::NoTag(_)), "{error:?}");
}

#[tokio::test]
async fn a_model_is_pushed_as_plain_bytes() {
    let place = Place::new();
    let server = Shelf::default().serve().await;
    let store = place.store();
    let digest = store.put_bytes(b"weights").unwrap();
    let source = Source::Oci(reference(&server, ":m"));
    store.publish(&digest, &source).await.unwrap();
    let other = Place::new();
    other
        .store()
        .fetch(&source, &digest, &silent())
        .await
        .unwrap();
    let error = store.resolve(&reference(&server, ":m")).await.unwrap_err();
    assert!(
        matches!(error, OciError::NoComponent { found: 0, .. }),
        "{error:?}"
    );
    let absent = Digest::of(b"absent");
    let error = store.fetch(&source, &absent, &silent()).await.unwrap_err();
    assert!(
        matches!(error, FetchError::Oci(OciError::NoLayer { .. })),
        "{error:?}"
    );
    let error = store.publish(&absent, &source).await.unwrap_err();
    assert!(matches!(error, PublishError::Absent(_)), "{error:?}");
}

#[tokio::test]
async fn logins_are_for_their_registry_alone() {
    let (place, body) = (Place::new(), component());
    let shelf = Shelf {
        guarded: true,
        ..Shelf::default()
    };
    let server = shelf.with_component(&body, body.len()).serve().await;
    let store = Store::open(Config {
        registry_logins: vec![RegistryLogin {
            registry: "registry.example".to_owned(),
            user: "me".to_owned(),
            password: Secret::new("secret"),
        }],
        ..place.config()
    })
    .unwrap();
    store.resolve(&reference(&server, ":1")).await.unwrap();
    for request in server.seen() {
        let shown = request.header("authorization").unwrap_or_default();
        assert!(!shown.starts_with("Basic"), "{shown}");
    }
    let digest = store.put_bytes(b"mine").unwrap();
    let to = Source::Oci(reference(&server, ":3"));
    let error = store.publish(&digest, &to).await.unwrap_err();
    assert!(error.to_string().contains("docker login"), "{error}");
}

#[tokio::test]
async fn a_redirects_target_learns_no_login() {
    let (place, body) = (Place::new(), component());
    for challenge in [r#"Bearer realm="http://HOST/token""#, r#"Basic realm="x""#] {
        let thief = Server::start(move |host, _| {
            let challenge = challenge.replace("HOST", host);
            with(status(401), "www-authenticate", &challenge)
        })
        .await;
        let shelf = Shelf {
            elsewhere: Some(thief.url("/blob")),
            ..Shelf::default()
        };
        let server = shelf.with_component(&body, body.len()).serve().await;
        let store = Store::open(Config {
            registry_logins: vec![RegistryLogin {
                registry: server.host.clone(),
                user: "me".to_owned(),
                password: Secret::new("secret"),
            }],
            ..place.config()
        })
        .unwrap();
        let source = Source::Oci(reference(&server, ":1"));
        let digest = Digest::of(&body);
        let error = store.fetch(&source, &digest, &silent()).await.unwrap_err();
        let refused = matches!(error, FetchError::Oci(OciError::Answer { .. }));
        assert!(refused, "{error:?}");
        let seen = [thief.seen(), server.seen()].concat();
        assert_eq!(thief.seen().len(), 1);
        assert!(seen.iter().all(|it| it.header("authorization").is_none()));
    }
}

#[tokio::test]
async fn a_login_from_docker_is_used() {
    let (place, body) = (Place::new(), component());
    let auth = STANDARD.encode("me:secret");
    let credentials: &'static str = Box::leak(format!("Basic {auth}").into_boxed_str());
    let shelf = Shelf {
        guarded: true,
        login: Some(credentials),
        ..Shelf::default()
    };
    let server = shelf.with_component(&body, body.len()).serve().await;
    let path = place.dir.path().join("config.json");
    let text = format!(r#"{{"auths":{{"{}":{{"auth":"{auth}"}}}}}}"#, server.host);
    fs::write(&path, text).unwrap();
    let store = Store::open(Config {
        docker_config: Some(path),
        ..place.config()
    })
    .unwrap();
    store.resolve(&reference(&server, ":1")).await.unwrap();
    assert_eq!(server.seen()[1].header("authorization"), Some(credentials));
}

#[tokio::test]
async fn a_registry_that_lies_is_found_out() {
    let (place, body) = (Place::new(), component());
    let (store, digest) = (place.store(), Digest::of(&body));
    let fetch = |source: OciReference| {
        let store = store.clone();
        async move {
            store
                .fetch(&Source::Oci(source), &digest, &silent())
                .await
                .unwrap_err()
        }
    };
    // Another size than the manifest says.
    let server = Shelf::default().with_component(&body, 5).serve().await;
    let error = fetch(reference(&server, ":1")).await;
    assert!(
        matches!(error, FetchError::Oci(OciError::Answer { .. })),
        "{error:?}"
    );
    // Other bytes than the manifest says.
    let shelf = Shelf::default().with_component(&body, body.len());
    let mut lie = body.clone();
    lie[100] ^= 1;
    shelf.put(&format!("blobs/sha256:{digest}"), &lie);
    let server = shelf.serve().await;
    let error = fetch(reference(&server, ":1")).await;
    let wrong = matches!(
        error,
        FetchError::Put {
            source: PutError::WrongDigest { .. },
            ..
        }
    );
    assert!(wrong, "{error:?}");
    let culprit = Culprit::Source(Source::Oci(reference(&server, ":1")), digest);
    assert!(store.marks().is_marked(&culprit));
    // Another manifest than was asked for.
    let shelf = Shelf::default().with_component(&body, body.len());
    let asked = Digest::of(b"another manifest");
    shelf.put(
        &format!("manifests/sha256:{asked}"),
        br#"{"schemaVersion":2,"layers":[]}"#,
    );
    shelf.put("manifests/long", &vec![b' '; MIB + 1]);
    let server = shelf.serve().await;
    let error = fetch(reference(&server, &format!("@sha256:{asked}"))).await;
    assert!(error.to_string().contains("has sha256"), "{error}");
    let error = fetch(reference(&server, ":long")).await;
    assert!(error.to_string().contains("is too long"), "{error}");
    let error = fetch(reference(&server, ":absent")).await;
    let absent = matches!(error, FetchError::Oci(OciError::Status { status: 404, .. }));
    assert!(absent, "{error:?}");
    assert_eq!(place.files().len(), 0);
}

#[tokio::test]
async fn tokens_are_asked_for_at_safe_places_only() {
    let (place, body) = (Place::new(), component());
    for realm in [
        "http://auth.example/token",
        "ftp://auth.example/",
        "http://",
    ] {
        let shelf = Shelf {
            guarded: true,
            realm: Some(realm),
            ..Shelf::default()
        };
        let server = shelf.with_component(&body, body.len()).serve().await;
        let error = place
            .store()
            .resolve(&reference(&server, ":1"))
            .await
            .unwrap_err();
        assert!(
            error.to_string().contains("leads to no safe address"),
            "{error}"
        );
        assert_eq!(server.seen().len(), 1);
    }
}
