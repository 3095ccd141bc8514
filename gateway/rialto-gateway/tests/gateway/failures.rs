//! Calls that fail: a clear error, and nothing charged (M3).

use rialto_channels::Amount;
use rialto_gateway::client::{Body, ClientError};
use serde_json::json;

use crate::mesh::{Mesh, addition};

#[tokio::test(flavor = "multi_thread")]
async fn hostile_guests_cost_their_callers_nothing() {
    let mesh = Mesh::start().await;
    let client = mesh.client(0);
    let none = Body::json(&json!({}));
    let check = async |method: &str, status: u16, code: &str| {
        let quote = client.quote("hostile", method, &none).await.unwrap();
        match client.call(&quote, &none).await {
            Err(ClientError::Refused {
                status: found,
                code: named,
                ..
            }) => {
                assert_eq!((found, named.as_str()), (status, code), "{method}");
            }
            other => panic!("{method}: {other:?}"),
        }
        assert_eq!(mesh.charged(), Amount::ZERO, "{method}");
    };
    check("trap", 502, "service_crashed").await;
    check("spin", 504, "service_timeout").await;
    check("grow", 502, "service_memory_exceeded").await;
    check("recurse", 502, "service_stack_exhausted").await;
    check("big_text", 502, "service_output_too_large").await;
    check("big_bytes", 502, "service_output_too_large").await;
    check("refuse", 422, "service_refused").await;

    // One deposit was made, with the first of them, and the client knows of it.
    let state = client.channels().await.remove(0);
    assert!(!state.balance.is_zero());
    assert_eq!(state.charged, Amount::ZERO);
    let quote = client.quote("types", "add", &addition(1, 1)).await.unwrap();
    let answer = client.call(&quote, &addition(1, 1)).await.unwrap();
    assert_eq!(answer.deposit, None);
    mesh.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_are_told_before_the_price() {
    let mesh = Mesh::start().await;
    let check = async |path: &str, kind: &str, body: &'static str, status: u16, code: &str| {
        let request = mesh.http.post(mesh.path(path)).header("content-type", kind);
        let response = request.body(body).send().await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{path} {body}");
        let answer: serde_json::Value = response.json().await.unwrap();
        assert_eq!(answer["error"]["code"], code, "{path} {body}");
        assert!(answer["error"]["hint"].is_string(), "{path} {body}");
    };
    let json = "application/json";
    let add = "/services/types/add";
    check(add, json, "{", 400, "body_malformed").await;
    check(add, json, "[]", 400, "arguments_invalid").await;
    check(add, json, "{\"left_one\": 1}", 400, "arguments_invalid").await;
    let wrong = "{\"left_one\": \"a\", \"right_one\": 1}";
    check(add, json, wrong, 400, "arguments_invalid").await;
    let extra = "{\"left_one\": 1, \"right_one\": 1, \"third\": 1}";
    check(add, json, extra, 400, "arguments_invalid").await;
    check(add, "image/png", "x", 415, "body_type_unsupported").await;
    let form = "multipart/form-data";
    check("/services/types/bytes", form, "x", 400, "body_malformed").await;
    check("/services/types/nope", json, "{}", 404, "method_unknown").await;
    check("/services/nope/add", json, "{}", 404, "service_unknown").await;
    check("/nope", json, "{}", 404, "route_unknown").await;
    check("/health", json, "{}", 405, "method_not_allowed").await;
    check("/receipts/0x12", json, "{}", 405, "method_not_allowed").await;

    let fitting = "{\"left_one\": 1, \"right_one\": 1}";
    let request = mesh.http.post(mesh.path(add)).header("content-type", json);
    let priced = request.body(fitting).send().await.unwrap();
    assert_eq!(priced.status().as_u16(), 402);
    let unpriced = mesh.http.post(mesh.path(add)).send().await.unwrap();
    assert_eq!(unpriced.status().as_u16(), 402);
    assert!(mesh.node.channels().is_empty());
    mesh.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_ids_are_not_found() {
    let mesh = Mesh::start().await;
    let id = format!("0x{}", "ab".repeat(32));
    let check = async |path: String, status: u16, code: &str| {
        let (found, body) = mesh.get(&path).await;
        assert_eq!(found, status, "{path}");
        assert_eq!(body["error"]["code"], code, "{path}");
    };
    check(format!("/receipts/{id}"), 404, "receipt_unknown").await;
    check(format!("/channels/{id}"), 404, "channel_unknown").await;
    check("/receipts/nonsense".to_owned(), 400, "id_malformed").await;
    check("/channels/0x00".to_owned(), 400, "id_malformed").await;
    let probe = "/services/types/add?bytes=many".to_owned();
    check(probe, 400, "arguments_invalid").await;
    mesh.end().await;
}
