//! Components that know nothing of this host: the published examples of the packages wstd and wasi, and an
//! application by Spin's SDK. They run as they are.

use std::fs;

use reqwest::{Method, StatusCode};
use rialto_testkit::guests;
use rialto_testkit::mesh::path_from_env;
use serde_json::json;

use crate::mesh::{Mesh, install};

const GRANTS: &str = "[grants]\nhttp = []\n\
    wasi = [\"cli\", \"io\", \"clocks\", \"random\", \"filesystem\"]\n";

async fn mesh(names: &'static [&'static str]) -> Mesh {
    Mesh::with_node(rialto_gateway::Config::default(), move |config| {
        let services = &config.services_dir;
        let built = path_from_env("RIALTO_TEST_GUESTS").unwrap();
        for name in names {
            install(services, name, guests::TYPES, GRANTS);
            let component = built.join(name).join("component.wasm");
            fs::copy(component, services.join(name).join("component.wasm")).unwrap();
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_http_server_of_wstd_answers_as_its_source_says() {
    let mesh = mesh(&["wstd-server"]).await;
    let send = async |method: Method, path: &str, header: (&str, &str), body: &'static str| {
        let url = mesh.path(&format!("/http/wstd-server{path}"));
        let request = mesh.http.request(method, url).header(header.0, header.1);
        request.body(body).send().await.unwrap()
    };
    let none = ("x-nothing", "");
    let home = send(Method::GET, "/", none, "").await;
    assert_eq!(home.status(), StatusCode::OK);
    let text = home.text().await.unwrap();
    assert_eq!(text, "Hello, wasi:http/proxy world!\n");

    let echo = send(Method::POST, "/echo", none, "every byte of it").await;
    assert_eq!(echo.text().await.unwrap(), "every byte of it");

    let headers = send(Method::GET, "/echo-headers", ("x-mine", "back"), "").await;
    assert_eq!(headers.headers()["x-mine"], "back");

    let status = ("x-response-status", "418");
    let teapot = send(Method::GET, "/response-status", status, "").await;
    assert_eq!(teapot.status().as_u16(), 418);

    // One line each tenth of a second, as it is written.
    let mut lines = send(Method::GET, "/stream-body", none, "").await;
    assert!(!lines.headers().contains_key("content-length"));
    let first = lines.chunk().await.unwrap().unwrap();
    assert!(first.len() < 150, "{first:?}");
    let first = String::from_utf8(first.to_vec()).unwrap();
    let lines = first + &lines.text().await.unwrap();
    assert_eq!(lines.lines().count(), 5, "{lines}");
    assert!(lines.lines().all(|it| it.starts_with("stream started ")));

    let slept = send(Method::GET, "/wait-response", none, "").await;
    let slept = slept.text().await.unwrap();
    assert!(slept.starts_with("slept for 1"), "{slept}");

    let lost = send(Method::GET, "/elsewhere", none, "").await;
    assert_eq!(lost.status(), StatusCode::NOT_FOUND);
    for fails in ["/response-fail", "/response-body-fail"] {
        let failed = send(Method::GET, fails, none, "").await;
        assert!(failed.status().is_server_error(), "{fails}: {failed:?}");
    }
    mesh.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_handler_of_wasi_and_a_spin_application_run() {
    let mesh = mesh(&["wasi-proxy", "spin"]).await;
    let hello = mesh.http.get(mesh.path("/http/wasi-proxy/")).send();
    assert_eq!(hello.await.unwrap().text().await.unwrap(), "Hello, WASI!");

    let spin = |path: &str| mesh.path(&format!("/http/spin{path}"));
    let greeting = mesh.http.get(spin("/hello/ada")).header("x-from", "afar");
    let greeting = greeting.send().await.unwrap();
    assert_eq!(greeting.headers()["content-type"], "text/plain");
    assert_eq!(greeting.text().await.unwrap(), "hello, ada, from afar\n");

    let echo = mesh.http.post(spin("/echo")).json(&json!({"a": [1, 2]}));
    let echo = echo.send().await.unwrap();
    assert_eq!(echo.status(), StatusCode::CREATED);
    assert_eq!(echo.headers()["content-type"], "application/json");
    assert_eq!(echo.text().await.unwrap(), r#"{"a":[1,2]}"#);

    let lost = mesh.http.get(spin("/no/such")).send().await.unwrap();
    assert_eq!(lost.status(), StatusCode::NOT_FOUND);
    assert_eq!(lost.text().await.unwrap(), "nothing at /no/such\n");
    mesh.end().await;
}
