//! A Spin application, by Spin's own SDK: it knows nothing of this host.
#![expect(unsafe_code, reason = "what the SDK's macro exports")]

use spin_sdk::http::{IntoResponse, Params, Request, Response, Router};
use spin_sdk::http_component;

#[http_component]
fn handle(request: Request) -> anyhow::Result<impl IntoResponse> {
    let mut router = Router::new();
    router.get("/hello/:name", hello);
    router.post("/echo", echo);
    router.any("/*", lost);
    Ok(router.handle(request))
}

fn hello(request: Request, params: Params) -> anyhow::Result<Response> {
    let name = params.get("name").unwrap_or("nobody");
    let from = request.header("x-from").and_then(|value| value.as_str());
    let text = format!("hello, {name}, from {}\n", from.unwrap_or("somewhere"));
    Ok(Response::builder()
        .status(200)
        .header("content-type", "text/plain")
        .body(text)
        .build())
}

fn echo(request: Request, _: Params) -> anyhow::Result<Response> {
    let kind = request.header("content-type").and_then(|it| it.as_str());
    let kind = kind.unwrap_or("application/octet-stream").to_owned();
    Ok(Response::builder()
        .status(201)
        .header("content-type", kind)
        .body(request.into_body())
        .build())
}

fn lost(request: Request, _: Params) -> anyhow::Result<Response> {
    Ok(Response::new(
        404,
        format!("nothing at {}\n", request.path()),
    ))
}
