//! Services as tools of MCP: lists, searches, calls and payments, in the stateless revision and in those before.

use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use crate::mesh::Mesh;
use crate::payer::{tokens, transfer};

/// Asks in the revisions before the stateless one.
async fn ask(mesh: &Mesh, method: &str, params: Value) -> Value {
    let body = json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params});
    let request = mesh.http.post(mesh.path("/mcp")).json(&body);
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK, "{method}");
    let answer: Value = response.json().await.unwrap();
    assert_eq!(
        (&answer["jsonrpc"], &answer["id"]),
        (&json!("2.0"), &json!(7))
    );
    answer
}

/// Asks in the stateless revision.
async fn ask_stateless(
    mesh: &Mesh,
    method: &str,
    mut params: Value,
    extensions: Value,
) -> Response {
    params["_meta"]["io.modelcontextprotocol/protocolVersion"] = STATELESS.into();
    params["_meta"]["io.modelcontextprotocol/clientCapabilities"] =
        json!({"extensions": extensions});
    let mut request = mesh.http.post(mesh.path("/mcp"));
    request = request.header("MCP-Protocol-Version", STATELESS);
    request = request.header("Mcp-Method", method);
    if let Some(name) = params["name"].as_str() {
        request = request.header("Mcp-Name", name);
    }
    let body = json!({"jsonrpc": "2.0", "id": "a", "method": method, "params": params});
    request.json(&body).send().await.unwrap()
}

async fn call(mesh: &Mesh, name: &str, arguments: Value) -> Value {
    let params = json!({"name": name, "arguments": arguments});
    ask(mesh, "tools/call", params).await["result"].take()
}

/// A call with a payment for one of the offers that an unpaid one is answered by.
async fn pay(mesh: &Mesh, arguments: &Value, payload: &Value) -> Value {
    let unpaid = call(mesh, ADD, arguments.clone()).await;
    let required = &unpaid["structuredContent"];
    let payment = json!({
        "x402Version": 2,
        "accepted": required["accepts"][1],
        "payload": payload,
        "resource": required["resource"],
    });
    let meta = json!({"x402/payment": payment});
    let params = json!({"name": ADD, "arguments": arguments, "_meta": meta});
    ask(mesh, "tools/call", params).await["result"].take()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_is_a_tool_and_free_ones_are_called_at_once() {
    let mesh = Mesh::start().await;
    let hello = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {}});
    let hello = ask(&mesh, "initialize", hello).await["result"].take();
    assert_eq!(hello["protocolVersion"], "2025-06-18");
    assert!(hello["capabilities"]["tools"].is_object());
    assert_eq!(ask(&mesh, "ping", json!({})).await["result"], json!({}));

    let listed = ask(&mesh, "tools/list", json!({})).await["result"].take();
    let tools = listed["tools"].as_array().unwrap();
    let (_, services) = mesh.get("/services").await;
    let services = services["services"].as_array().unwrap();
    let methods = services
        .iter()
        .map(|it| it["methods"].as_array().unwrap().len());
    assert_eq!(tools.len(), methods.sum::<usize>() + 3);
    let add = tools.iter().find(|tool| tool["name"] == ADD).unwrap();
    assert_eq!(
        add["inputSchema"]["required"],
        json!(["left_one", "right_one"])
    );
    assert_eq!(add["inputSchema"]["type"], "object");
    assert!(add["description"].as_str().unwrap().contains("Costs 100 "));

    let answer = call(&mesh, "types_text", json!({"text": "hello"})).await;
    assert_eq!(answer["content"][0]["text"], "hello");
    assert_eq!(answer["structuredContent"], json!({"result": "hello"}));
    assert!(answer.get("isError").is_none());
    let wrong = call(&mesh, "types_text", json!({"text": 5})).await;
    assert_eq!(wrong["isError"], true);
    assert_eq!(wrong["_meta"]["rialto/error"]["code"], "arguments_invalid");
    mesh.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_are_found_described_and_called_by_three_tools() {
    let mesh = Mesh::start().await;
    let found = call(
        &mesh,
        "rialto__search",
        json!({"query": "add numbers", "limit": 3}),
    )
    .await;
    let found = &found["structuredContent"]["tools"];
    assert_eq!(found[0]["name"], ADD, "{found}");
    assert!(found.as_array().unwrap().len() <= 3);
    let described = call(&mesh, "rialto__describe", json!({"name": ADD})).await;
    let listed = ask(&mesh, "tools/list", json!({})).await["result"].take();
    let listed = listed["tools"].as_array().unwrap();
    assert!(listed.contains(&described["structuredContent"]));
    let called = json!({"name": "types_text", "arguments": {"text": "hello"}});
    let answer = call(&mesh, "rialto__call", called).await;
    assert_eq!(answer["structuredContent"]["result"], "hello");
    let none = call(&mesh, "rialto__describe", json!({"name": "no_tool"})).await;
    assert_eq!(none["isError"], true);

    let only = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    let request = mesh.http.post(mesh.path("/mcp?tools=search")).json(&only);
    let listed: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(listed["result"]["tools"].as_array().unwrap().len(), 3);
    mesh.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_is_paid_once_and_a_repeated_payment_gets_its_answer() {
    let mesh = Mesh::start().await;
    let (key, receiver) = (mesh.key(0), mesh.node.payee().receiver);
    let arguments = json!({"left_one": 40, "right_one": 2});
    let unpaid = call(&mesh, ADD, arguments.clone()).await;
    assert_eq!(unpaid["isError"], true);
    let required = &unpaid["structuredContent"];
    assert_eq!(required["resource"]["url"], "mcp://tool/types_add");
    let text = unpaid["content"][0]["text"].as_str().unwrap();
    assert_eq!(&serde_json::from_str::<Value>(text).unwrap(), required);
    let wrong = call(&mesh, ADD, json!({"left_one": "x"})).await;
    assert_eq!(wrong["_meta"]["rialto/error"]["code"], "arguments_invalid");

    let before = tokens(&mesh, receiver).await;
    let payload = transfer(&mesh, &key, receiver, 100, 1);
    let paid = pay(&mesh, &arguments, &payload).await;
    assert_eq!(paid["structuredContent"]["result"], 42, "{paid}");
    let meta = &paid["_meta"];
    assert_eq!(meta["x402/payment-response"]["success"], true);
    assert_eq!(meta["rialto/receipt"]["charged"], "100");
    let again = pay(&mesh, &arguments, &payload).await;
    assert_eq!(again["_meta"]["rialto/replayed"], true);
    assert_eq!(again["structuredContent"]["result"], 42);
    let other = pay(&mesh, &json!({"left_one": 1, "right_one": 2}), &payload).await;
    assert_eq!(other["_meta"]["rialto/error"]["code"], "payment_conflict");
    let cheap = transfer(&mesh, &key, receiver, 99, 2);
    let cheap = pay(&mesh, &arguments, &cheap).await;
    assert_eq!(cheap["isError"], true);
    assert!(cheap["structuredContent"]["error"].is_string(), "{cheap}");
    assert_eq!(tokens(&mesh, receiver).await, before + 100, "paid once");
    mesh.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stateless_revision_says_all_of_itself_in_each_request() {
    let mesh = Mesh::start().await;
    let found = ask_stateless(&mesh, "server/discover", json!({}), json!({})).await;
    let found: Value = found.json().await.unwrap();
    assert_eq!(found["result"]["resultType"], "complete");
    assert_eq!(found["result"]["supportedVersions"][0], STATELESS);
    let listed = ask_stateless(&mesh, "tools/list", json!({}), json!({})).await;
    let listed: Value = listed.json().await.unwrap();
    assert_eq!(listed["result"]["cacheScope"], "public");
    assert!(listed["result"]["ttlMs"].is_u64());

    let arguments = json!({"name": ADD, "arguments": {"left_one": 1, "right_one": 2}});
    let plain = ask_stateless(&mesh, "tools/call", arguments.clone(), json!({})).await;
    let plain: Value = plain.json().await.unwrap();
    assert_eq!(plain["result"]["isError"], true);
    assert_eq!(plain["result"]["resultType"], "complete");
    let knows = json!({"org.x402/payment": {}});
    let demanded = ask_stateless(&mesh, "tools/call", arguments, knows).await;
    let demanded: Value = demanded.json().await.unwrap();
    assert_eq!(demanded["result"]["resultType"], "payment_required");
    let required = &demanded["result"]["paymentRequired"];
    assert_eq!(required["accepts"][1]["scheme"], "exact");

    let unknown = ask_stateless(&mesh, "ping", json!({}), json!({})).await;
    assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
    let unknown: Value = unknown.json().await.unwrap();
    assert_eq!(unknown["error"]["code"], -32_601);
    mesh.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_is_refused_with_its_code() {
    let mesh = Mesh::start().await;
    let send = async |body: &'static str| {
        let request = mesh.http.post(mesh.path("/mcp")).body(body);
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    for (body, code) in [
        ("{", "-32700"),
        ("[]", "-32600"),
        (r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, "-32600"),
    ] {
        let (status, answer) = send(body).await;
        assert_eq!(status, 400, "{body}");
        assert!(answer.contains(code), "{body}: {answer}");
    }
    let notified = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    assert_eq!(send(notified).await, (202, String::new()));
    for (name, arguments) in [("no_tool", json!({})), ("types_text", json!([1]))] {
        let params = json!({"name": name, "arguments": arguments});
        let answer = ask(&mesh, "tools/call", params).await;
        assert_eq!(answer["error"]["code"], -32_602, "{name}");
    }
    let cursor = ask(&mesh, "tools/list", json!({"cursor": "from-99999"})).await;
    assert_eq!(cursor["error"]["code"], -32_602);
    let get = mesh.http.get(mesh.path("/mcp")).send().await.unwrap();
    assert_eq!(get.status(), StatusCode::METHOD_NOT_ALLOWED);
    let evil = mesh
        .http
        .post(mesh.path("/mcp"))
        .header("origin", "http://evil.example");
    let evil = evil.body("{}").send().await.unwrap();
    assert_eq!(evil.status(), StatusCode::FORBIDDEN);
    mesh.end().await;
}

const ADD: &str = "types_add";
const STATELESS: &str = "2026-07-28";
