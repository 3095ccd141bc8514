//! What machines and people read without paying.

use reqwest::Method;
use rialto_gateway::x402::header::{self, PAYMENT_REQUIRED};
use rialto_gateway::x402::offer::PaymentRequired;
use serde_json::json;

use crate::mesh::Mesh;

#[tokio::test(flavor = "multi_thread")]
async fn an_unpaid_get_is_a_whole_402() {
    let mesh = Mesh::start().await;
    let url = mesh.path("/services/types/add");
    for method in [Method::GET, Method::POST, Method::HEAD] {
        let response = mesh
            .http
            .request(method.clone(), &url)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status().as_u16(), 402, "{method}");
        assert_eq!(response.headers()["cache-control"], "no-store");
        let header = response.headers()[PAYMENT_REQUIRED].clone();
        assert!(header.len() < 8 * 1024);
        let required: PaymentRequired = header::decode(header.as_bytes()).unwrap();
        let schemes: Vec<_> = required.accepts.iter().map(|a| a.scheme.as_str()).collect();
        assert_eq!(schemes, ["batch-settlement", "exact"]);
        assert_eq!(required.accepts[0].network, "eip155:84532");
        assert_eq!(required.resource.unwrap().url, url);
    }
    let probe = mesh.path("/services/types/bytes?bytes=3000");
    let response = mesh.http.get(probe).send().await.unwrap();
    let header = response.headers()[PAYMENT_REQUIRED].clone();
    let required: PaymentRequired = header::decode(header.as_bytes()).unwrap();
    assert_eq!(required.accepts[1].amount, "130");
    let (status, free) = mesh.get("/services/types/text").await;
    assert_eq!(status, 405);
    assert_eq!(free["error"]["details"]["price"], "0");
    mesh.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_origins_can_pay() {
    let mesh = Mesh::start().await;
    let url = mesh.path("/services/types/add");
    let asked = mesh
        .http
        .request(Method::OPTIONS, &url)
        .header("origin", "https://app.example")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "payment-signature")
        .send()
        .await
        .unwrap();
    assert!(asked.status().is_success());
    assert_eq!(asked.headers()["access-control-allow-origin"], "*");
    let answered = mesh.http.get(&url).header("origin", "https://app.example");
    let answered = answered.send().await.unwrap();
    let exposed = answered.headers()["access-control-expose-headers"]
        .to_str()
        .unwrap();
    for name in [
        "payment-required",
        "payment-response",
        "x-payment-response",
        "rialto-receipt",
    ] {
        assert!(exposed.contains(name), "{exposed}");
    }
    mesh.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documents_agree_with_each_other() {
    let mesh = Mesh::start().await;
    let (_, services) = mesh.get("/services").await;
    let calls = &services["calls"];
    assert_eq!(
        (&calls["running"], &calls["background"]),
        (&json!(0), &json!(0))
    );
    assert_eq!(calls["limits"]["calls_max"], 128);
    assert_eq!(calls["payer_limits"]["calls_max"], 96);
    assert_eq!(calls["payer_limits"]["time_ms_max"], json!(null));
    let (_, openapi) = mesh.get("/openapi.json").await;
    let (_, manifest) = mesh.get("/.well-known/x402").await;
    let mut paid = 0;
    for service in services["services"].as_array().unwrap() {
        let name = service["name"].as_str().unwrap();
        assert_eq!(mesh.get(&format!("/services/{name}")).await.1, *service);
        for method in service["methods"].as_array().unwrap() {
            let path = method["path"].as_str().unwrap();
            let post = &openapi["paths"][path]["post"];
            assert!(post.is_object(), "{path}");
            let free = method["free"] == json!(true);
            assert_eq!(post.get("x-payment-info").is_none(), free, "{path}");
            paid += usize::from(!free);
        }
    }
    assert_eq!(manifest["resources"].as_array().unwrap().len(), paid);
    assert_eq!(mesh.get("/services/nope").await.0, 404);
    let (_, node) = mesh.get("/node").await;
    assert_eq!(node["chain_id"], 84532);
    assert_eq!(node["host"], node["host"]);
    assert_eq!(mesh.get("/health").await, (200, json!({"status": "ok"})));

    let page = mesh.http.get(mesh.path("/")).send().await.unwrap();
    assert!(
        page.headers()["content-security-policy"]
            .to_str()
            .unwrap()
            .contains("'none'")
    );
    let html = page.text().await.unwrap();
    assert!(html.contains("<h2>types"));
    assert!(html.contains("/services/types/add"));
    for asset in ["/page.css", "/page.js"] {
        let response = mesh.http.get(mesh.path(asset)).send().await.unwrap();
        assert!(response.status().is_success());
    }
    mesh.end().await;
}
