//! What came of a call, as the result of a tool.

use serde_json::{Value, json};

use crate::problem::{ErrorCode, Problem};

/// An answer: as text for agents, and as it is for programs. One that is no object travels in one.
pub(crate) fn told(body: &[u8], is_object: bool, meta: Value) -> Value {
    let body = value(body);
    let text = as_text(&body);
    let structured = match is_object && body.is_object() {
        true => body,
        false => json!({ "result": body }),
    };
    json!({
        "content": [{ "type": "text", "text": text }],
        "structuredContent": structured,
        "_meta": meta,
    })
}

/// An answer as its host gave it. What is no JSON, as of a stream that broke off, is a text: it was paid for.
pub(crate) fn value(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or_else(|_| String::from_utf8_lossy(body).into())
}

/// A value for agents to read: a text as it is.
pub(crate) fn as_text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// A problem as a tool's result: agents read the text, programs the code.
pub(crate) fn failed(problem: Problem) -> Value {
    let is_ours = problem.code() == ErrorCode::Internal;
    let error = problem.error();
    let message = error["message"].as_str().unwrap_or_default();
    let hint = error["hint"].as_str();
    let details = error.get("details").map(Value::to_string);
    let parts = [Some(message), hint, details.as_deref()];
    let text = parts.into_iter().flatten().collect::<Vec<_>>().join("\n");
    if is_ours {
        tracing::error!(%text, "a tool failed by our fault");
    }
    json!({
        "isError": true,
        "content": [{ "type": "text", "text": text }],
        "_meta": { "rialto/error": error },
    })
}
