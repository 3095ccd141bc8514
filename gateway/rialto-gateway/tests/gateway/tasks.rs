//! Tasks of A2A: listed, streamed, paid for, canceled, and bounded.

use std::time::Duration;

use reqwest::{Response, StatusCode};
use rialto_gateway::Config;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::a2a::{ask, call, message, payment, said, send, state, version_1};
use crate::mesh::Mesh;
use crate::payer::transfer;
use crate::streams;

const PATIENCE: Duration = Duration::from_secs(30);

async fn events(response: Response) -> Vec<Value> {
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let text = timeout(PATIENCE, response.text()).await.unwrap().unwrap();
    let lines = text.lines().filter_map(|line| line.strip_prefix("data: "));
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_of_a_conversation_are_listed_in_pages() {
    let mesh = Mesh::start().await;
    let context = "a-name-that-is-not-guessed";
    for number in 0..3 {
        let part = call("text", json!({"text": number.to_string()}));
        send(
            &mesh,
            "/a2a/types",
            message(part, json!({"contextId": context})),
        )
        .await;
    }
    let list =
        async |params: Value| ask(&mesh, "/a2a/types", "ListTasks", params).await["result"].take();
    let first = list(json!({"contextId": context, "pageSize": 2})).await;
    assert_eq!(
        (&first["totalSize"], &first["pageSize"]),
        (&json!(3), &json!(2))
    );
    assert!(first["tasks"][0].get("artifacts").is_none());
    let next = first["nextPageToken"].as_str().unwrap();
    let params =
        json!({"contextId": context, "pageSize": 2, "pageToken": next, "includeArtifacts": true});
    let rest = list(params).await;
    assert_eq!(rest["nextPageToken"], "");
    assert_eq!(rest["tasks"][0]["artifacts"][0]["parts"][0]["text"], "0");
    for (params, total) in [
        (json!({}), 0),
        (json!({"contextId": "another-name-that-is-not"}), 0),
        (
            json!({"contextId": context, "status": "TASK_STATE_FAILED"}),
            0,
        ),
        (
            json!({"contextId": context, "statusTimestampAfter": "2999-01-01T00:00:00Z"}),
            0,
        ),
        (
            json!({"contextId": context, "status": "TASK_STATE_COMPLETED"}),
            3,
        ),
    ] {
        assert_eq!(list(params.clone()).await["totalSize"], total, "{params}");
    }
    let path = format!("/a2a/types/tasks?contextId={context}&pageSize=1&includeArtifacts=true");
    let listed = version_1(mesh.http.get(mesh.path(&path)))
        .send()
        .await
        .unwrap();
    let listed: Value = listed.json().await.unwrap();
    assert_eq!(listed["tasks"][0]["artifacts"][0]["parts"][0]["text"], "2");
    mesh.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn items_are_told_as_they_come_and_paid_for() {
    let mesh = streams::mesh().await;
    let stream = async |agent: &str, params: &Value| {
        let path = mesh.path(&format!("/a2a/{agent}/message:stream"));
        version_1(mesh.http.post(path))
            .json(params)
            .send()
            .await
            .unwrap()
    };
    let words = message(call("words", json!({"text": "a b"})), json!({}));
    let told = events(stream("free", &words).await).await;
    assert_eq!(state(&told[0]["task"]), "TASK_STATE_WORKING");
    let pieces: Vec<_> = told
        .iter()
        .filter_map(|it| it.get("artifactUpdate"))
        .collect();
    let piece = |piece: &Value| {
        let text = piece["artifact"]["parts"][0]["text"]
            .as_str()
            .unwrap()
            .to_owned();
        (text, piece["append"] == true, piece["lastChunk"] == true)
    };
    let pieces: Vec<_> = pieces.into_iter().map(piece).collect();
    let expected = [("a ", false, false), ("b", true, false), ("", true, true)];
    assert_eq!(
        pieces,
        expected.map(|(text, append, last)| (text.to_owned(), append, last))
    );
    let last = &told.last().unwrap()["statusUpdate"];
    assert_eq!(state(last), "TASK_STATE_COMPLETED");
    let id = &last["taskId"];
    let got = ask(&mesh, "/a2a/free", "GetTask", json!({ "id": id })).await;
    assert_eq!(
        got["result"]["artifacts"][0]["parts"],
        json!([{"text": "a b", "mediaType": "text/plain"}])
    );
    let late = ask(&mesh, "/a2a/free", "SubscribeToTask", json!({ "id": id })).await;
    assert_eq!(late["error"]["code"], -32_004);
    // A method that does not stream has one piece.
    let whole = message(
        call("add", json!({"left_one": 1, "right_one": 2})),
        json!({}),
    );
    let request =
        json!({"jsonrpc": "2.0", "id": "s", "method": "SendStreamingMessage", "params": whole});
    let request = version_1(mesh.http.post(mesh.path("/a2a/types"))).json(&request);
    let told = events(request.send().await.unwrap()).await;
    assert_eq!((told.len(), &told[0]["id"]), (1, &json!("s")));
    assert_eq!(
        state(&told[0]["result"]["task"]),
        "TASK_STATE_INPUT_REQUIRED"
    );

    mesh.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn items_are_paid_for_before_they_come() {
    let mesh = streams::mesh().await;
    let stream = async |agent: &str, params: &Value| {
        let path = mesh.path(&format!("/a2a/{agent}/message:stream"));
        let request = version_1(mesh.http.post(path)).json(params);
        request.send().await.unwrap()
    };
    let asked = stream("paid", &message(call("count", json!({"to": 3})), json!({}))).await;
    let asked = events(asked).await.remove(0)["task"].take();
    let (key, receiver) = (mesh.key(0), mesh.node.payee().receiver);
    let amount = said(&asked)["x402.payment.required"]["accepts"][1]["amount"]
        .as_str()
        .unwrap();
    let payload = transfer(&mesh, &key, receiver, amount.parse().unwrap(), 1);
    let metadata = payment(&asked, &payload);
    let fields = json!({"taskId": asked["id"], "metadata": metadata});
    let told = events(stream("paid", &message(json!({"text": "paid"}), fields)).await).await;
    let items: Vec<_> = told
        .iter()
        .filter_map(|it| it["artifactUpdate"]["artifact"]["parts"][0].get("data"))
        .map(|data| data["number"].clone())
        .collect();
    assert_eq!(items, [1, 2, 3], "{told:?}");
    let last = &told.last().unwrap()["statusUpdate"];
    assert_eq!(said(last)["x402.payment.status"], "payment-completed");
    assert!(
        last["metadata"]["rialto/receipt"]["charged"].is_string(),
        "{last}"
    );
    mesh.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_goes_on_without_its_client_and_ends_when_it_is_canceled() {
    let mesh = streams::mesh().await;
    let endless = message(call("endless", json!({"pause_ms": 10})), json!({}));
    let path = mesh.path("/a2a/free/message:stream");
    let mut sent = version_1(mesh.http.post(path))
        .json(&endless)
        .send()
        .await
        .unwrap();
    let first = timeout(PATIENCE, sent.chunk())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    let first = String::from_utf8(first.to_vec()).unwrap();
    let first = first
        .lines()
        .next()
        .unwrap()
        .strip_prefix("data: ")
        .unwrap();
    let first: Value = serde_json::from_str(first).unwrap();
    let id = first["task"]["id"].as_str().unwrap();
    drop(sent);
    let path = mesh.path(&format!("/a2a/free/tasks/{id}"));
    let watching = version_1(mesh.http.post(format!("{path}:subscribe")))
        .send()
        .await
        .unwrap();
    let watching = tokio::spawn(events(watching));
    loop {
        let got = version_1(mesh.http.get(&path)).send().await.unwrap();
        let got: Value = got.json().await.unwrap();
        assert_eq!(state(&got), "TASK_STATE_WORKING");
        if got["artifacts"][0]["parts"]
            .as_array()
            .is_some_and(|it| it.len() > 3)
        {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let canceled = version_1(mesh.http.post(format!("{path}:cancel")))
        .send()
        .await
        .unwrap();
    let canceled: Value = canceled.json().await.unwrap();
    assert_eq!(state(&canceled), "TASK_STATE_CANCELED");
    mesh.place_is_free().await;
    let told = timeout(PATIENCE, watching).await.unwrap().unwrap();
    assert_eq!(
        state(&told.last().unwrap()["statusUpdate"]),
        "TASK_STATE_CANCELED"
    );

    // Who wants no end has the task at once.
    let mut endless = message(call("endless", json!({"pause_ms": 10})), json!({}));
    endless["configuration"] = json!({"returnImmediately": true});
    let task = send(&mesh, "/a2a/free", endless).await;
    assert_eq!(state(&task), "TASK_STATE_WORKING");
    ask(&mesh, "/a2a/free", "CancelTask", json!({"id": task["id"]})).await;
    mesh.place_is_free().await;
    mesh.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_strangers_send_is_bounded() {
    let config = Config {
        tasks_max: 4,
        task_bytes_max: 2_000,
        tasks_bytes_max: 3_000,
        ..Config::default()
    };
    let mesh = streams::mesh_with(config).await;
    let (key, receiver) = (mesh.key(0), mesh.node.payee().receiver);
    let add = || {
        message(
            call("add", json!({"left_one": 1, "right_one": 2})),
            json!({}),
        )
    };
    let asked = send(&mesh, "/a2a/types", add()).await;
    let metadata = payment(&asked, &transfer(&mesh, &key, receiver, 100, 1));
    let pays = json!({"taskId": asked["id"], "metadata": metadata});
    let paid = send(&mesh, "/a2a/types", message(json!({"text": "p"}), pays)).await;
    assert_eq!(state(&paid), "TASK_STATE_COMPLETED");
    let is_kept = async |task: &Value| {
        let got = ask(&mesh, "/a2a/types", "GetTask", json!({"id": task["id"]})).await;
        got.get("result").is_some()
    };
    let first = send(&mesh, "/a2a/types", add()).await;
    for _ in 0..6 {
        send(&mesh, "/a2a/types", add()).await;
    }
    assert!(!is_kept(&first).await, "the oldest one made place");
    assert!(
        is_kept(&paid).await,
        "strangers do not push out what was paid"
    );
    // An answer that is too large is for those who wait for it.
    let large = message(call("text", json!({"text": "x".repeat(2_500)})), json!({}));
    let large = send(&mesh, "/a2a/types", large).await;
    let text = large["artifacts"][0]["parts"][0]["text"].as_str().unwrap();
    assert_eq!(text.len(), 2_500);
    let got = ask(&mesh, "/a2a/types", "GetTask", json!({"id": large["id"]})).await;
    assert_eq!(
        got["result"]["artifacts"][0]["metadata"]["rialto/forgotten"], true,
        "{got}"
    );
    // A stream ends where a task is full, and leaves its place.
    let endless = message(call("endless", json!({"pause_ms": 0})), json!({}));
    let full = send(&mesh, "/a2a/free", endless).await;
    assert_eq!(state(&full), "TASK_STATE_FAILED", "{full}");
    mesh.place_is_free().await;
    // So many answers fit; newer ones push out older ones.
    let mut kept = Vec::new();
    for _ in 0..4 {
        let part = call("text", json!({"text": "y".repeat(900)}));
        kept.push(send(&mesh, "/a2a/types", message(part, json!({}))).await);
    }
    assert!(!is_kept(&kept[0]).await && is_kept(&kept[3]).await);
    let status = mesh
        .http
        .post(mesh.path("/a2a/types"))
        .body("x".repeat(17 << 20));
    let status = version_1(status).send().await.map(|it| it.status());
    assert!(status.is_err() || status.is_ok_and(|it| it == StatusCode::PAYLOAD_TOO_LARGE));
    mesh.end().await;
}
