//! `/v1` where there is no model: lists, and refusals as OpenAI's clients read them. What models answer is tested
//! with unmodified clients, end to end.

use serde_json::{Value, json};

use crate::mesh::Mesh;

#[tokio::test(flavor = "multi_thread")]
async fn services_that_are_no_models_are_none() {
    let mesh = Mesh::start().await;
    let (status, models) = mesh.get("/v1/models").await;
    assert_eq!(
        (status, models),
        (200, json!({"object": "list", "data": []}))
    );
    let (status, none) = mesh.get("/v1/models/types").await;
    assert_eq!(
        (status, &none["error"]["code"]),
        (404, &json!("model_not_found"))
    );
    let chat = json!({"model": "types", "messages": [{"role": "user", "content": "a"}]});
    let mut many = chat.clone();
    many["n"] = json!(2);
    for (path, body, status, param) in [
        ("/v1/chat/completions", chat, 404, json!("model")),
        ("/v1/chat/completions", many, 400, json!("n")),
        ("/v1/chat/completions", json!({}), 400, Value::Null),
        (
            "/v1/responses",
            json!({"model": "none", "input": "a"}),
            404,
            json!("model"),
        ),
        (
            "/v1/embeddings",
            json!({"model": "types", "input": "a"}),
            404,
            json!("model"),
        ),
        (
            "/v1/embeddings",
            json!({"model": "types", "input": []}),
            400,
            json!("input"),
        ),
    ] {
        let sent = mesh
            .http
            .post(mesh.path(path))
            .json(&body)
            .send()
            .await
            .unwrap();
        assert_eq!(sent.status(), status, "{path} {body}");
        let answer: Value = sent.json().await.unwrap();
        assert_eq!(answer["error"]["type"], "invalid_request_error");
        assert_eq!(answer["error"]["param"], param, "{path} {body}");
    }
    mesh.end().await;
}
