//! Services as agents of A2A: cards, messages, payments, refusals.

use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::mesh::Mesh;
use crate::payer::{tokens, transfer};

const EXTENSION: &str = "https://github.com/google-agentic-commerce/a2a-x402/blob/main/spec/v0.2";

pub(crate) fn version_1(request: RequestBuilder) -> RequestBuilder {
    request.header("A2A-Version", "1.0")
}

/// Asks by JSON-RPC; what is answered, whether result or error.
pub(crate) async fn ask(mesh: &Mesh, agent: &str, method: &str, params: Value) -> Value {
    let body = json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params});
    let request = version_1(mesh.http.post(mesh.path(agent))).json(&body);
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK, "{method}");
    let answer: Value = response.json().await.unwrap();
    assert_eq!(
        (&answer["jsonrpc"], &answer["id"]),
        (&json!("2.0"), &json!(7))
    );
    answer
}

/// What is sent for a message with one part and this metadata.
pub(crate) fn message(part: Value, fields: Value) -> Value {
    let mut message = json!({"messageId": "m", "role": "ROLE_USER", "parts": [part]});
    for (name, value) in fields.as_object().unwrap() {
        message[name] = value.clone();
    }
    json!({ "message": message })
}

pub(crate) fn call(method: &str, arguments: Value) -> Value {
    json!({"data": {"method": method, "arguments": arguments}})
}

pub(crate) async fn send(mesh: &Mesh, agent: &str, params: Value) -> Value {
    let mut answer = ask(mesh, agent, "SendMessage", params).await;
    assert!(answer.get("error").is_none(), "{answer}");
    answer["result"]["task"].take()
}

pub(crate) fn state(task: &Value) -> &str {
    task["status"]["state"].as_str().unwrap()
}

pub(crate) fn said(task: &Value) -> &Value {
    &task["status"]["message"]["metadata"]
}

/// A payment for the second offer of what a task waits for. Numbers are as protobuf's JSON has them.
pub(crate) fn payment(task: &Value, payload: &Value) -> Value {
    let required = &said(task)["x402.payment.required"];
    let mut payment = json!({
        "x402Version": 2.0,
        "accepted": required["accepts"][1],
        "payload": payload,
        "resource": required["resource"],
    });
    let seconds = payment["accepted"]["maxTimeoutSeconds"].as_f64().unwrap();
    payment["accepted"]["maxTimeoutSeconds"] = json!(seconds);
    json!({"x402.payment.status": "payment-submitted", "x402.payment.payload": payment})
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_have_cards_and_registration_files() {
    let mesh = Mesh::start().await;
    let response = mesh.http.get(mesh.path("/.well-known/agent-card.json"));
    let response = response.send().await.unwrap();
    let tag = response.headers()["etag"].clone();
    assert_eq!(response.headers()["cache-control"], "public, max-age=60");
    let host: Value = response.json().await.unwrap();
    let known = mesh.http.get(mesh.path("/.well-known/agent-card.json"));
    let known = known.header("if-none-match", tag).send().await.unwrap();
    assert_eq!(known.status(), StatusCode::NOT_MODIFIED);
    assert_eq!(mesh.get("/a2a/.well-known/agent-card.json").await.1, host);
    let (_, services) = mesh.get("/services").await;
    let services = services["services"].as_array().unwrap();
    let methods = services
        .iter()
        .map(|it| it["methods"].as_array().unwrap().len());
    assert_eq!(
        host["skills"].as_array().unwrap().len(),
        methods.sum::<usize>()
    );
    assert_eq!(host["supportedInterfaces"][0]["url"], mesh.path("/a2a"));

    let (status, types) = mesh.get("/a2a/types/.well-known/agent-card.json").await;
    assert_eq!((status, &types["name"]), (200, &json!("types")));
    for (number, binding) in ["JSONRPC", "HTTP+JSON"].into_iter().enumerate() {
        let expected = json!({
            "url": mesh.path("/a2a/types"), "protocolBinding": binding, "protocolVersion": "1.0",
        });
        assert_eq!(types["supportedInterfaces"][number], expected);
    }
    let can = &types["capabilities"];
    assert_eq!(
        (&can["streaming"], &can["pushNotifications"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(can["extensions"][0]["uri"], EXTENSION);
    let skills = types["skills"].as_array().unwrap();
    let add = skills.iter().find(|skill| skill["id"] == "add").unwrap();
    let text = add["description"].as_str().unwrap();
    assert!(
        text.contains("Costs 100 ") && text.contains("left_one"),
        "{text}"
    );
    let example: Value = serde_json::from_str(add["examples"][0].as_str().unwrap()).unwrap();
    assert_eq!(
        example,
        json!({"method": "add", "arguments": {"left_one": 1, "right_one": 1}})
    );
    assert_eq!(
        mesh.get("/a2a/nobody/.well-known/agent-card.json").await.0,
        404
    );

    let (status, file) = mesh.get("/registrations/types").await;
    assert_eq!(
        (status, &file["name"], &file["x402Support"]),
        (200, &json!("types"), &json!(true))
    );
    let doors = file["services"].as_array().unwrap();
    let door = |name: &str| {
        let found = doors.iter().find(|it| it["name"] == name);
        found.unwrap()["endpoint"].clone()
    };
    assert_eq!(
        door("A2A"),
        mesh.path("/a2a/types/.well-known/agent-card.json")
    );
    assert_eq!(door("MCP"), mesh.path("/mcp"));
    let (status, file) = mesh.get("/.well-known/agent-registration.json").await;
    assert_eq!((status, &file["registrations"]), (200, &json!([])));
    assert_eq!(mesh.get("/registrations/nobody").await.0, 404);
    mesh.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn free_methods_are_called_at_once_in_both_bindings() {
    let mesh = Mesh::start().await;
    let text = || call("text", json!({"text": "hello"}));
    let task = send(&mesh, "/a2a/types", message(text(), json!({}))).await;
    assert_eq!(state(&task), "TASK_STATE_COMPLETED");
    assert_eq!(task["artifacts"][0]["parts"][0]["text"], "hello");
    assert_eq!(task["metadata"]["rialto/charged"], "0");
    let id = task["id"].as_str().unwrap();
    let got = ask(&mesh, "/a2a/types", "GetTask", json!({ "id": id })).await;
    assert_eq!(got["result"], task);
    // It is no task of another agent.
    let other = ask(&mesh, "/a2a", "GetTask", json!({ "id": id })).await;
    assert_eq!(other["error"]["code"], -32_001);
    let over = ask(&mesh, "/a2a/types", "CancelTask", json!({ "id": id })).await;
    assert_eq!(over["error"]["code"], -32_002);
    let more = message(text(), json!({ "taskId": id }));
    let more = ask(&mesh, "/a2a/types", "SendMessage", more).await;
    assert_eq!(more["error"]["code"], -32_004);

    for data in [
        json!({"service": "types", "method": "text", "arguments": {"text": "x"}}),
        json!({"method": "types_text", "arguments": {"text": "x"}}),
    ] {
        let task = send(&mesh, "/a2a", message(json!({ "data": data }), json!({}))).await;
        assert_eq!(task["artifacts"][0]["parts"][0]["text"], "x", "{task}");
    }
    let request = version_1(mesh.http.post(mesh.path("/a2a/types/message:send")));
    let request = request.header("A2A-Extensions", EXTENSION);
    let response = request
        .json(&message(text(), json!({})))
        .send()
        .await
        .unwrap();
    assert_eq!(response.headers()["content-type"], "application/a2a+json");
    assert_eq!(response.headers()["a2a-extensions"], EXTENSION);
    let answer: Value = response.json().await.unwrap();
    let id = answer["task"]["id"].as_str().unwrap();
    let path = mesh.path(&format!("/a2a/types/tasks/{id}"));
    let got = version_1(mesh.http.get(&path)).send().await.unwrap();
    assert_eq!(got.json::<Value>().await.unwrap(), answer["task"]);
    let over = version_1(mesh.http.post(format!("{path}:cancel")))
        .send()
        .await
        .unwrap();
    assert_eq!(over.status(), StatusCode::BAD_REQUEST);
    let over: Value = over.json().await.unwrap();
    assert_eq!(over["error"]["details"][0]["reason"], "TASK_NOT_CANCELABLE");

    // A text is for the one method that takes one; what is not understood is answered by words.
    let unclear = message(json!({"text": "hello"}), json!({"contextId": "mine"}));
    let unclear = ask(&mesh, "/a2a", "SendMessage", unclear).await;
    let words = &unclear["result"]["message"];
    assert_eq!(
        (&words["role"], &words["contextId"]),
        (&json!("ROLE_AGENT"), &json!("mine"))
    );
    assert!(
        words["parts"][0]["text"]
            .as_str()
            .unwrap()
            .contains("data part")
    );
    mesh.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_paid_once_and_kept() {
    let mesh = Mesh::start().await;
    let (key, receiver) = (mesh.key(0), mesh.node.payee().receiver);
    let before = tokens(&mesh, receiver).await;
    let add = call("add", json!({"left_one": 40.0, "right_one": 2.0}));
    let asked = send(&mesh, "/a2a/types", message(add.clone(), json!({}))).await;
    assert_eq!(state(&asked), "TASK_STATE_INPUT_REQUIRED");
    assert_eq!(said(&asked)["x402.payment.status"], "payment-required");
    let required = &said(&asked)["x402.payment.required"];
    assert_eq!(required["x402Version"], 2);
    assert_eq!(required["resource"]["url"], mesh.path("/a2a/types"));
    assert_eq!(asked["status"]["message"]["extensions"], json!([EXTENSION]));

    let (id, context) = (&asked["id"], &asked["contextId"]);
    let words = json!({"text": "Here it is."});
    let paying = |payload: &Value| {
        let metadata = payment(&asked, payload);
        message(words.clone(), json!({"taskId": id, "metadata": metadata}))
    };
    let cheap = paying(&transfer(&mesh, &key, receiver, 99, 2));
    let refused = send(&mesh, "/a2a/types", cheap).await;
    assert_eq!(state(&refused), "TASK_STATE_INPUT_REQUIRED");
    assert_eq!(said(&refused)["x402.payment.status"], "payment-failed");
    assert!(
        said(&refused)["x402.payment.error"].is_string(),
        "{refused}"
    );
    assert_eq!(
        said(&refused)["x402.payment.required"]["accepts"],
        required["accepts"]
    );

    let pays = paying(&transfer(&mesh, &key, receiver, 100, 1));
    let paid = send(&mesh, "/a2a/types", pays.clone()).await;
    assert_eq!(state(&paid), "TASK_STATE_COMPLETED", "{paid}");
    assert_eq!((&paid["id"], &paid["contextId"]), (id, context));
    assert_eq!(paid["artifacts"][0]["parts"][0]["data"], 42);
    assert_eq!(said(&paid)["x402.payment.status"], "payment-completed");
    let receipts = said(&paid)["x402.payment.receipts"].as_array().unwrap();
    assert_eq!(receipts.last().unwrap()["success"], true);
    assert_eq!(paid["metadata"]["rialto/receipt"]["charged"], "100");
    // The same again, to the same task and without one.
    assert_eq!(send(&mesh, "/a2a/types", pays.clone()).await, paid);
    let metadata = pays["message"]["metadata"].clone();
    let again = message(add.clone(), json!({ "metadata": metadata }));
    let again = send(&mesh, "/a2a/types", again).await;
    assert_eq!(again["metadata"]["rialto/replayed"], true, "{again}");
    assert_eq!(again["artifacts"][0]["parts"][0]["data"], 42);
    let other = call("add", json!({"left_one": 1, "right_one": 2}));
    let other = message(other, json!({"metadata": pays["message"]["metadata"]}));
    let other = send(&mesh, "/a2a/types", other).await;
    assert_eq!(state(&other), "TASK_STATE_FAILED");
    assert_eq!(said(&other)["rialto/error"]["code"], "payment_conflict");
    assert_eq!(tokens(&mesh, receiver).await, before + 100, "paid once");
    let got = ask(&mesh, "/a2a/types", "GetTask", json!({ "id": id })).await;
    assert_eq!(got["result"], paid);
    mesh.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_pay_says_so_or_takes_it_back() {
    let mesh = Mesh::start().await;
    let add = || {
        message(
            call("add", json!({"left_one": 1, "right_one": 2})),
            json!({}),
        )
    };
    let asked = send(&mesh, "/a2a/types", add()).await;
    let no =
        json!({"taskId": asked["id"], "metadata": {"x402.payment.status": "payment-rejected"}});
    let no = send(&mesh, "/a2a/types", message(json!({"text": "no"}), no)).await;
    assert_eq!(state(&no), "TASK_STATE_CANCELED");
    assert_eq!(said(&no)["x402.payment.status"], "payment-rejected");
    let asked = send(&mesh, "/a2a/types", add()).await;
    let canceled = ask(
        &mesh,
        "/a2a/types",
        "CancelTask",
        json!({"id": asked["id"]}),
    )
    .await;
    assert_eq!(state(&canceled["result"]), "TASK_STATE_CANCELED");
    // One that waits takes other arguments.
    let asked = send(&mesh, "/a2a/types", add()).await;
    let other = call("text", json!({"text": "free"}));
    let other = message(
        other,
        json!({"taskId": asked["id"], "contextId": asked["contextId"]}),
    );
    let other = send(&mesh, "/a2a/types", other).await;
    assert_eq!(
        (state(&other), &other["id"]),
        ("TASK_STATE_COMPLETED", &asked["id"])
    );
    mesh.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_is_refused_with_its_code() {
    let mesh = Mesh::start().await;
    let raw = async |version: &'static str, body: &'static str| -> Value {
        let request = mesh
            .http
            .post(mesh.path("/a2a"))
            .header("A2A-Version", version);
        request
            .body(body)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap()
    };
    for (version, body, code) in [
        ("1.0", "{", -32_700),
        ("1.0", "[]", -32_600),
        ("1.0", r#"{"jsonrpc":"2.0","method":"GetTask"}"#, -32_600),
        (
            "1.0",
            r#"{"jsonrpc":"2.0","id":1,"method":"message/send"}"#,
            -32_601,
        ),
        (
            "1.0",
            r#"{"jsonrpc":"2.0","id":1,"method":"SendMessage"}"#,
            -32_602,
        ),
        (
            "1.0",
            r#"{"jsonrpc":"2.0","id":1,"method":"GetTask","params":{"id":"x"}}"#,
            -32_001,
        ),
        (
            "1.0",
            r#"{"jsonrpc":"2.0","id":1,"method":"GetExtendedAgentCard"}"#,
            -32_004,
        ),
        (
            "1.0",
            r#"{"jsonrpc":"2.0","id":1,"method":"ListTaskPushNotificationConfigs"}"#,
            -32_003,
        ),
        (
            "0.3",
            r#"{"jsonrpc":"2.0","id":1,"method":"GetTask","params":{"id":"x"}}"#,
            -32_009,
        ),
        (
            "",
            r#"{"jsonrpc":"2.0","id":1,"method":"GetTask","params":{"id":"x"}}"#,
            -32_009,
        ),
    ] {
        let answer = raw(version, body).await;
        assert_eq!(answer["error"]["code"], code, "{version} {body}: {answer}");
        assert!(answer["error"]["data"][0]["reason"].is_string());
    }
    mesh.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_no_call_is_refused() {
    let mesh = Mesh::start().await;
    for (part, code) in [
        (call("none", json!({})), -32_602),
        (call("add", json!({"left_one": "x"})), -32_602),
        (json!({"data": {"arguments": {}}}), -32_602),
        (json!({"raw": "aGk="}), -32_005),
    ] {
        let answer = ask(
            &mesh,
            "/a2a/types",
            "SendMessage",
            message(part.clone(), json!({})),
        )
        .await;
        assert_eq!(answer["error"]["code"], code, "{part}: {answer}");
    }
    let junk = json!({"metadata": {"x402.payment.payload": {"x402Version": 2}}});
    let junk = message(call("add", json!({"left_one": 1, "right_one": 2})), junk);
    let junk = ask(&mesh, "/a2a/types", "SendMessage", junk).await;
    assert_eq!(
        junk["error"]["data"][0]["metadata"]["code"], "payment_malformed",
        "{junk}"
    );

    mesh.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_by_http_have_statuses_and_names() {
    let mesh = Mesh::start().await;
    let get = |path: &'static str| version_1(mesh.http.get(mesh.path(path))).send();
    let missing = get("/a2a/types/tasks/x").await.unwrap();
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);
    let missing: Value = missing.json().await.unwrap();
    assert_eq!(missing["error"]["status"], "NOT_FOUND");
    assert_eq!(
        get("/a2a/nobody/tasks").await.unwrap().status(),
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        get("/a2a/types/what").await.unwrap().status(),
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        get("/a2a/types/tasks?pageSize=x").await.unwrap().status(),
        StatusCode::BAD_REQUEST
    );
    let push = get("/a2a/types/tasks/x/pushNotificationConfigs")
        .await
        .unwrap();
    let push: Value = push.json().await.unwrap();
    assert_eq!(
        push["error"]["details"][0]["reason"],
        "PUSH_NOTIFICATION_NOT_SUPPORTED"
    );
    let old = mesh
        .http
        .get(mesh.path("/a2a/types/tasks"))
        .send()
        .await
        .unwrap();
    let old: Value = old.json().await.unwrap();
    assert_eq!(
        old["error"]["details"][0]["reason"],
        "VERSION_NOT_SUPPORTED"
    );
    mesh.end().await;
}
