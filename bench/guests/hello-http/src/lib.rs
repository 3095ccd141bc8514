//! The same greeting as `hello`, as a handler of `wasi:http`: JSON in, JSON out, in the guest.
//!
//! What the mesh's host does for every service (read the body, check its type, write the result) is
//! done here with serde_json, as an author for `wasmtime serve` would.

use std::io::{Read as _, Write as _};

use serde_json::{Value, json};
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{
    Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};

wasip2::http::proxy::export!(Hello);

/// The handler.
#[derive(Debug)]
pub struct Hello;

impl Guest for Hello {
    fn handle(request: IncomingRequest, answer: ResponseOutparam) {
        let (status, body) = match greet(&request) {
            Ok(text) => (200, Value::String(text)),
            Err(problem) => (400, json!({ "error": problem })),
        };
        respond(answer, status, &body);
    }
}

fn greet(request: &IncomingRequest) -> Result<String, String> {
    let body = request.consume().map_err(|()| "the body is gone")?;
    let mut stream = body.stream().map_err(|()| "the body is gone")?;
    let mut bytes = Vec::new();
    stream
        .read_to_end(&mut bytes)
        .map_err(|error| error.to_string())?;
    let value: Value = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    let name = value.get("name").and_then(Value::as_str);
    name.map(|name| format!("hello, {name}"))
        .ok_or_else(|| "`name`: expected a string".to_owned())
}

/// Whoever went away before the answer does not need it: errors end here.
fn respond(answer: ResponseOutparam, status: u16, body: &Value) {
    let kind = b"application/json".to_vec();
    let fields =
        Fields::from_list(&[("content-type".to_owned(), kind)]).unwrap_or_else(|_| Fields::new());
    let response = OutgoingResponse::new(fields);
    let _ = response.set_status_code(status);
    let Ok(outgoing) = response.body() else {
        return;
    };
    ResponseOutparam::set(answer, Ok(response));
    if let Ok(mut stream) = outgoing.write() {
        drop(stream.write_all(body.to_string().as_bytes()));
        drop(stream.flush());
    }
    drop(OutgoingBody::finish(outgoing, None));
}
