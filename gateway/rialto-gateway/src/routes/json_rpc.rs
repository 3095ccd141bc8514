//! JSON-RPC 2.0 as MCP and A2A use it over HTTP: one request a body, answers and errors.
//!
//! Not here: which requests there are.

use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::{Deserialize, Deserializer};
use serde_json::error::Category;
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// What a client sent.
#[derive(Debug)]
pub(crate) enum Message {
    /// A request.
    Request(Request),
    /// Something that nobody answers: a notification, or an answer to a request that was never made.
    Unanswered,
}

/// A request.
#[derive(Debug)]
pub(crate) struct Request {
    /// The client's number for it: a text or a number.
    pub(crate) id: Value,
    /// What is asked for.
    pub(crate) method: String,
    /// Its parameters as they were sent.
    pub(crate) params: Option<Box<RawValue>>,
}

/// Why a request has no result.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RpcError {
    pub(crate) code: i32,
    pub(crate) message: Cow<'static, str>,
    pub(crate) data: Option<Value>,
}

#[derive(Deserialize)]
struct Envelope {
    jsonrpc: Option<String>,
    #[serde(default, deserialize_with = "present")]
    id: Option<Value>,
    method: Option<String>,
    params: Option<Box<RawValue>>,
    result: Option<Box<RawValue>>,
    error: Option<Box<RawValue>>,
}

/// A value that is there, be it null.
fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(from).map(Some)
}

/// Reads a body.
///
/// # Errors
/// [`PARSE_ERROR`] for what is no JSON, [`INVALID_REQUEST`] for what is no single message.
pub(crate) fn read(body: &[u8]) -> Result<Message, RpcError> {
    let envelope: Envelope =
        serde_json::from_slice(body).map_err(|error| match error.classify() {
            Category::Syntax | Category::Eof | Category::Io => {
                RpcError::new(PARSE_ERROR, format!("the body is no JSON: {error}"))
            }
            Category::Data => {
                RpcError::new(INVALID_REQUEST, format!("no JSON-RPC request: {error}"))
            }
        })?;
    if envelope.jsonrpc.as_deref() != Some("2.0") {
        return Err(RpcError::new(
            INVALID_REQUEST,
            "`jsonrpc` has to be \"2.0\"",
        ));
    }
    match (envelope.method, envelope.id) {
        (Some(method), Some(id)) if is_id(&id) => Ok(Message::Request(Request {
            id,
            method,
            params: envelope.params,
        })),
        (Some(_), Some(_)) => Err(RpcError::new(
            INVALID_REQUEST,
            "`id` has to be a text or a whole number",
        )),
        (Some(_), None) => Ok(Message::Unanswered),
        (None, _) if envelope.result.is_some() || envelope.error.is_some() => {
            Ok(Message::Unanswered)
        }
        (None, _) => Err(RpcError::new(INVALID_REQUEST, "`method` is missing")),
    }
}

fn is_id(id: &Value) -> bool {
    id.is_string() || id.is_i64() || id.is_u64()
}

impl Request {
    /// Its parameters as a type; none are an empty object.
    ///
    /// # Errors
    /// [`INVALID_PARAMS`].
    pub(crate) fn params<'a, T: Deserialize<'a>>(&'a self) -> Result<T, RpcError> {
        let text = self.params.as_deref().map_or("{}", RawValue::get);
        serde_json::from_str(text)
            .map_err(|error| RpcError::new(INVALID_PARAMS, format!("`params`: {error}")))
    }
}

impl RpcError {
    pub(crate) fn new(code: i32, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            message: message.into(),
            data: None,
        }
    }

    pub(crate) fn data(mut self, data: Value) -> Self {
        self.data = Some(data);
        self
    }

    /// The status that the stateless revisions give it. Earlier clients take anything but 200 for a broken
    /// connection, unless the body was no request at all.
    const fn status(&self, is_stateless: bool) -> StatusCode {
        match self.code {
            PARSE_ERROR | INVALID_REQUEST | HEADER_MISMATCH | UNSUPPORTED_VERSION => {
                StatusCode::BAD_REQUEST
            }
            FORBIDDEN => StatusCode::FORBIDDEN,
            INVALID_PARAMS if is_stateless => StatusCode::BAD_REQUEST,
            METHOD_NOT_FOUND if is_stateless => StatusCode::NOT_FOUND,
            _ => StatusCode::OK,
        }
    }

    /// The answer to the request of this id; null where it cannot be known.
    pub(crate) fn answer(self, id: &Value, is_stateless: bool) -> Response {
        let status = self.status(is_stateless);
        (status, axum::Json(self.body(id))).into_response()
    }

    /// The same without its status.
    pub(crate) fn body(self, id: &Value) -> Value {
        let mut error = json!({ "code": self.code, "message": self.message });
        if let Some(data) = self.data {
            error["data"] = data;
        }
        json!({ "jsonrpc": "2.0", "id": id, "error": error })
    }
}

/// A result's message.
pub(crate) fn result(id: &Value, result: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "result": result })
}

/// JSON-RPC: the body is no JSON.
pub(crate) const PARSE_ERROR: i32 = -32_700;
/// JSON-RPC: the body is no request.
pub(crate) const INVALID_REQUEST: i32 = -32_600;
/// JSON-RPC: there is no such request.
pub(crate) const METHOD_NOT_FOUND: i32 = -32_601;
/// JSON-RPC: the parameters do not fit, or name something that is not there.
pub(crate) const INVALID_PARAMS: i32 = -32_602;
/// MCP 2026-07-28: a header says something else than the body.
pub(crate) const HEADER_MISMATCH: i32 = -32_020;
/// MCP 2026-07-28: the revision is not spoken here.
pub(crate) const UNSUPPORTED_VERSION: i32 = -32_022;
/// Ours, of those that JSON-RPC leaves to servers: a page of another origin asks.
pub(crate) const FORBIDDEN: i32 = -32_003;

#[cfg(test)]
mod tests {
    use super::*;

    fn code(body: &str) -> i32 {
        read(body.as_bytes()).unwrap_err().code
    }

    #[test]
    fn requests_keep_their_parameters_as_they_were_sent() {
        let body = br#"{"jsonrpc":"2.0","id":"a","method":"m","params":{ "x": 1.50 }}"#;
        let Message::Request(request) = read(body).unwrap() else {
            panic!("no request");
        };
        assert_eq!(
            (request.id.clone(), request.method.as_str()),
            (json!("a"), "m")
        );
        assert_eq!(request.params.as_deref().unwrap().get(), r#"{ "x": 1.50 }"#);
        assert!(request.params::<Vec<u8>>().is_err());
    }

    #[test]
    fn notifications_and_strange_answers_are_not_answered() {
        for body in [
            r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
            r#"{"jsonrpc":"2.0","id":null,"error":{}}"#,
        ] {
            let read = read(body.as_bytes()).unwrap();
            assert!(matches!(read, Message::Unanswered), "{body}");
        }
    }

    #[test]
    fn what_is_no_request_has_a_code_of_its_own() {
        for body in ["", "{", "nonsense", "{\"jsonrpc\":\"2.0\""] {
            assert_eq!(code(body), PARSE_ERROR, "{body}");
        }
        for body in [
            "[]",
            "1",
            "{}",
            r#"{"id":1,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":1}"#,
            r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":2}"#,
            r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#,
        ] {
            assert_eq!(code(body), INVALID_REQUEST, "{body}");
        }
    }
}
