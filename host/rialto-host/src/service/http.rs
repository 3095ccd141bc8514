//! The request that a handler of `wasi:http` gets, from the arguments of its one method.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request};
use http_body_util::Full;
use serde_json::Value;
use wasmtime::component::Val;

use crate::error::CallError;
use crate::json::Arg;

/// What the guest's host is called where the request does not say.
const AUTHORITY: &str = "service.invalid";

/// The request that checked arguments describe.
///
/// # Errors
/// [`CallError::Refused`] if no such request can be.
pub(super) fn request(args: Vec<Arg>) -> Result<Request<Full<Bytes>>, CallError> {
    let mut request = Request::builder().method("POST").uri("/");
    let mut body = Bytes::new();
    let mut named = false;
    for (place, arg) in args.into_iter().enumerate() {
        match (place, arg) {
            (0, Arg::Val(Val::Option(Some(method)))) => {
                request = request.method(text(*method)?.as_str());
            }
            (1, Arg::Val(Val::Option(Some(path)))) => {
                let path = text(*path)?;
                if !path.starts_with('/') {
                    return Err(refused("a path begins with `/`"));
                }
                request = request.uri(path);
            }
            (2, Arg::Val(Val::Option(Some(headers)))) => {
                for (name, value) in pairs(*headers)? {
                    named |= name == http::header::HOST;
                    request = request.header(name, value);
                }
            }
            (3, Arg::Bytes(bytes)) => body = bytes,
            _ => {}
        }
    }
    if !named {
        request = request.header(http::header::HOST, AUTHORITY);
    }
    request
        .body(Full::new(body))
        .map_err(|error| refused(&error.to_string()))
}

fn text(val: Val) -> Result<String, CallError> {
    if let Val::String(text) = val {
        return Ok(text);
    }
    Err(CallError::Internal("no text".to_owned()))
}

fn pairs(headers: Val) -> Result<Vec<(HeaderName, HeaderValue)>, CallError> {
    if let Val::List(headers) = headers {
        return headers.into_iter().map(pair).collect();
    }
    Err(CallError::Internal("no headers".to_owned()))
}

fn pair(pair: Val) -> Result<(HeaderName, HeaderValue), CallError> {
    if let Val::Tuple(pair) = pair
        && let [Val::String(name), Val::String(value)] = pair.as_slice()
    {
        let no = |error: &dyn std::fmt::Display| refused(&format!("header `{name}`: {error}"));
        let value = HeaderValue::from_str(value).map_err(|error| no(&error))?;
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| no(&error))?;
        return Ok((name, value));
    }
    Err(CallError::Internal("no header".to_owned()))
}

/// A request that cannot be: the caller's doing.
fn refused(text: &str) -> CallError {
    CallError::Refused {
        error: Value::from(text).to_string().into(),
    }
}
