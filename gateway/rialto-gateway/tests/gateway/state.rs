//! What services keep for those who pay: a bucket for each payer, within its quota, and nothing charged where
//! it is used up.

use reqwest::StatusCode;
use rialto_channels::Amount;
use rialto_gateway::client::{Body, ClientError, PayingClient};
use serde_json::{Value, json};

use crate::mesh::{Mesh, install_built};

const WASI: &str = "wasi = [\"cli\", \"io\", \"clocks\", \"random\", \"filesystem\"]\n";

async fn mesh() -> Mesh {
    Mesh::with_node(rialto_gateway::Config::default(), |config| {
        let services = &config.services_dir;
        let terms = format!(
            "[limits]\nkey_value_bytes_max = 400\n[grants]\nkey_value = true\n{WASI}\
             [prices.count]\ncall = \"100\"\n[prices.set]\ncall = \"100\"\n"
        );
        install_built(services, "keeps", "state", &terms);
        let terms = format!(
            "[limits]\nkey_value_bytes_max = 400\n[grants]\nhttp = []\nkey_value = true\n{WASI}"
        );
        install_built(services, "spin", "spin-state", &terms);
    })
    .await
}

async fn count(client: &PayingClient) -> Value {
    let body = Body::json(&json!({ "of_caller": true, "key": "visits" }));
    let quote = client.quote("keeps", "count", &body).await.unwrap();
    let answer = client.call(&quote, &body).await.unwrap();
    assert_eq!(answer.charged, Amount::new(100));
    serde_json::from_slice(&answer.body).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_payer_has_a_bucket_and_a_quota_of_its_own() {
    let mesh = mesh().await;
    let (ann, ben) = (mesh.client(0), mesh.client(1));
    assert_eq!(count(&ann).await, 1);
    assert_eq!(count(&ann).await, 2);
    assert_eq!(count(&ben).await, 1, "it sees nothing of another's");

    let set =
        |value: &str| Body::json(&json!({ "of_caller": true, "key": "note", "value": value }));
    let fill = set(&"x".repeat(200));
    let quote = ann.quote("keeps", "set", &fill).await.unwrap();
    ann.call(&quote, &fill).await.unwrap();
    let before = mesh.charged();
    let large = set(&"x".repeat(300));
    let quote = ann.quote("keeps", "set", &large).await.unwrap();
    let refused = ann.call(&quote, &large).await.unwrap_err();
    let ClientError::Refused {
        status: 422,
        code,
        details: Some(details),
        ..
    } = &refused
    else {
        panic!("{refused:?}");
    };
    assert_eq!(code, "service_refused");
    assert!(
        details.to_string().contains("its quota is 400"),
        "{details}"
    );
    assert_eq!(mesh.charged(), before, "nothing is charged");
    // Neither is what was there touched, nor what others have.
    assert_eq!(count(&ann).await, 3);
    ben.call(&ben.quote("keeps", "set", &fill).await.unwrap(), &fill)
        .await
        .unwrap();
    mesh.end().await;
}

/// An application by Spin's SDK, which imports Spin's own interface.
#[tokio::test(flavor = "multi_thread")]
async fn a_spin_application_keeps_its_keys() {
    let mesh = mesh().await;
    let url = |path: &str| mesh.path(&format!("/http/spin{path}"));
    let get = async |path: &str| {
        let sent = mesh.http.get(url(path)).send().await.unwrap();
        (sent.status(), sent.text().await.unwrap())
    };
    assert_eq!(get("/default/a").await.0, StatusCode::NOT_FOUND);
    for (key, value) in [("b", "two"), ("a", "one")] {
        let put = mesh.http.put(url(&format!("/default/{key}"))).body(value);
        assert_eq!(put.send().await.unwrap().status(), StatusCode::OK);
    }
    assert_eq!(get("/default/a").await.1, "one");
    assert_eq!(get("/default").await.1, "a\nb");
    let there = mesh.http.head(url("/default/a")).send().await.unwrap();
    assert_eq!(there.status(), StatusCode::OK);
    let removed = mesh.http.delete(url("/default/a")).send().await.unwrap();
    assert_eq!(removed.status(), StatusCode::OK);
    assert_eq!(get("/default").await.1, "b");
    let there = mesh.http.head(url("/default/a")).send().await.unwrap();
    assert_eq!(there.status(), StatusCode::NOT_FOUND);
    let large = mesh.http.put(url("/default/c")).body("x".repeat(400));
    let large = large.send().await.unwrap();
    assert_eq!(large.status(), StatusCode::CONFLICT);
    assert!(large.text().await.unwrap().contains("its quota is 400"));
    assert_eq!(
        get("/elsewhere").await,
        (StatusCode::BAD_REQUEST, "no such store".to_owned())
    );
    let (status, text) = get("/caller").await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(text.contains("nobody pays for this call"), "{text}");
    mesh.end().await;
}
