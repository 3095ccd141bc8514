//! What a stranger's manifest may make this machine do: nothing on this machine and its networks, and
//! nothing in its operator's name.

use std::{
    fs,
    net::IpAddr,
    sync::atomic::{AtomicUsize, Ordering},
};

use axum::{body::Body, http::Response};
use base64::{Engine, engine::general_purpose::STANDARD};
use rialto_registry::{Digest, Source};

use super::{
    Place,
    server::{Server, ranged, status},
    wheel,
};
use crate::{Config, FetchError, OciError, RegistryLogin, Secret, Store, silent};

const BODY: &[u8] = b"weights";

/// As the node's, as far as these tests go.
fn is_public(address: IpAddr) -> bool {
    !address.is_loopback()
}

async fn refusal(store: &Store, source: &str) -> FetchError {
    let source: Source = source.parse().unwrap();
    let fetched = store.fetch(&source, &Digest::of(BODY), &silent()).await;
    fetched.unwrap_err()
}

#[tokio::test]
async fn nothing_on_this_machine_is_asked() {
    let place = Place::new();
    let server = Server::start(|_, seen| ranged(BODY, seen)).await;
    let port = server.host.rsplit(':').next().unwrap().to_owned();
    let store = Store::open(Config {
        hub_url: server.url(""),
        retries_max: 9,
        ..place.config()
    })
    .unwrap();
    let strangers = store.for_strangers(is_public).unwrap();
    let file = place.dir.path().join("model");
    fs::write(&file, BODY).unwrap();
    for source in [
        format!("http://127.0.0.1:{port}/m"),
        format!("http://127.1:{port}/m"),
        format!("http://[::1]:{port}/m"),
        format!("file://{}", file.display()),
        "hf://owner/name@v1/m".to_owned(),
    ] {
        let error = refusal(&strangers, &source).await;
        let refused = matches!(error, FetchError::NotForStrangers { .. });
        assert!(refused, "{source}: {error:?}");
    }
    // A name that leads here is found out when it is resolved, and not asked for again and again.
    let error = refusal(&strangers, &format!("http://localhost:{port}/m")).await;
    assert!(matches!(error, FetchError::Http { .. }), "{error:?}");
    let source = format!("oci://127.0.0.1:{port}/team/m:1");
    let error = refusal(&strangers, &source).await;
    let refused = matches!(error, FetchError::Oci(OciError::Answer { .. }));
    assert!(refused, "{error:?}");
    let source = format!("oci://localhost:{port}/team/m:1");
    let error = refusal(&strangers, &source).await;
    assert!(
        matches!(error, FetchError::Oci(OciError::Http { .. })),
        "{error:?}"
    );
    assert!(server.seen().is_empty());
    // The operator may, and what is here then is there for both.
    let source: Source = server.url("/m").parse().unwrap();
    let digest = Digest::of(BODY);
    store.fetch(&source, &digest, &silent()).await.unwrap();
    strangers.fetch(&source, &digest, &silent()).await.unwrap();
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn no_redirect_leads_to_this_machine() {
    let place = Place::new();
    let inside = Server::start(|_, seen| ranged(BODY, seen)).await;
    let to = inside.url("/m");
    let outside = Server::start(move |_, _| {
        let mut response = status(302);
        response
            .headers_mut()
            .insert("location", to.parse().unwrap());
        response
    })
    .await;
    // The first address that is looked at plays the internet's part.
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    let first = |_| ASKED.fetch_add(1, Ordering::SeqCst) == 0;
    let store = place.store().for_strangers(first).unwrap();
    let error = refusal(&store, &outside.url("/m")).await;
    assert!(matches!(error, FetchError::Http { .. }), "{error:?}");
    assert_eq!((outside.seen().len(), inside.seen().len()), (1, 0));
}

#[tokio::test]
async fn nobodys_credentials_are_shown() {
    let place = Place::new();
    let server = Server::start(|host, seen| {
        if seen.path.starts_with("/v2/") && seen.header("authorization").is_none() {
            let challenge = format!(r#"Bearer realm="http://{host}/token""#);
            let mut response = status(401);
            response
                .headers_mut()
                .insert("www-authenticate", challenge.parse().unwrap());
            return response;
        }
        match seen.path.as_str() {
            "/token" => Response::new(Body::from(r#"{"token":"anybody"}"#)),
            "/owner/name/resolve/v1/m" => ranged(BODY, seen),
            _ => status(404),
        }
    })
    .await;
    let docker = place.dir.path().join("config.json");
    let auth = STANDARD.encode("me:secret");
    let text = format!(r#"{{"auths":{{"{}":{{"auth":"{auth}"}}}}}}"#, server.host);
    fs::write(&docker, text).unwrap();
    let store = Store::open(Config {
        hub_url: server.url(""),
        hub_token: Some(Secret::new("hub-secret")),
        registry_logins: vec![RegistryLogin {
            registry: server.host.clone(),
            user: "me".to_owned(),
            password: Secret::new("secret"),
        }],
        docker_config: Some(docker),
        ..place.config()
    })
    .unwrap();
    let store = store.for_strangers(|_| true).unwrap();
    refusal(&store, &format!("oci://{}/team/m:1", server.host)).await;
    let source: Source = "hf://owner/name@v1/m".parse().unwrap();
    let fetched = store.fetch(&source, &Digest::of(BODY), &silent()).await;
    fetched.unwrap();
    let seen = server.seen();
    assert!(seen.iter().any(|it| it.path == "/token"));
    for request in seen {
        let shown = request.header("authorization").unwrap_or_default();
        assert!(["", "Bearer anybody"].contains(&shown), "{shown}");
    }
}

#[tokio::test]
async fn pip_asks_the_public_index_alone() {
    let place = Place::new();
    let python = place.python("echo \"$isolated $PIP_CONFIG_FILE $NETRC\" >&2; exit 1");
    let store = Store::open(Config {
        python,
        ..place.config()
    })
    .unwrap();
    for (store, said) in [
        (
            store.for_strangers(is_public).unwrap(),
            "yes /dev/null /dev/null",
        ),
        (store, ""),
    ] {
        let fetched = store.fetch(&wheel("m"), &Digest::of(BODY), &silent()).await;
        let FetchError::Pip { message, .. } = fetched.unwrap_err() else {
            panic!("pip failed")
        };
        assert_eq!(message.contains("yes"), !said.is_empty(), "{message}");
        assert!(message.contains(said), "{message}");
    }
}
