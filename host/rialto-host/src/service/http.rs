//! A request through a handler of `wasi:http`, and its response as JSON.
//!
//! The response is taken while the guest writes it, since a guest may wait until its reader has read. It
//! ends with the guest: what a handler does after its response is part of the call.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tracing::Instrument as _;
use wasmtime::Store;
use wasmtime::component::{InstancePre, Val};
use wasmtime_wasi_http::WasiHttpView as _;
use wasmtime_wasi_http::p2::bindings::Proxy;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Scheme};
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;

use crate::error::CallError;
use crate::json::Arg;
use crate::spec::Limits;
use crate::state::CallState;

/// What the guest's host is called where the request does not say.
const AUTHORITY: &str = "service.invalid";

/// Why there is no response.
pub(super) enum Failure {
    /// The guest ended, or a limit ended it.
    Guest(wasmtime::Error),
    /// What it answered is none.
    Answer(CallError),
}

impl From<wasmtime::Error> for Failure {
    fn from(error: wasmtime::Error) -> Self {
        Self::Guest(error)
    }
}

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

/// Instantiates, handles and gives the response as JSON: in the error where its status says failure.
pub(super) async fn run(
    instance: &InstancePre<CallState>,
    store: &mut Store<CallState>,
    request: Request<Full<Bytes>>,
    limits: &Limits,
) -> Result<Bytes, Failure> {
    let making = tracing::info_span!("host.instantiate");
    let instance = instance.instantiate_async(&mut *store);
    let instance = instance.instrument(making).await?;
    let proxy = Proxy::new(&mut *store, &instance)?;
    let (sender, receiver) = oneshot::channel();
    let mut http = store.data_mut().http();
    let request = http.new_incoming_request(Scheme::Http, request)?;
    let out = http.new_response_outparam(sender)?;
    let handler = proxy.wasi_http_incoming_handler();
    let guest = async {
        let handled = handler.call_handle(&mut *store, request, out).await;
        handled.map_err(Failure::Guest)
    };
    let guest = guest.instrument(tracing::info_span!("guest.run"));
    let ((), response) = tokio::try_join!(guest, response(receiver, limits))?;
    Ok(response)
}

type Answer = Result<http::Response<HyperOutgoingBody>, ErrorCode>;

async fn response(receiver: oneshot::Receiver<Answer>, limits: &Limits) -> Result<Bytes, Failure> {
    let trapped = |text: String| Failure::Answer(CallError::Trapped(text));
    let Ok(answer) = receiver.await else {
        // If the guest failed, its own error says more: it comes first only if it ends first.
        tokio::task::yield_now().await;
        return Err(trapped("it gave no response".to_owned()));
    };
    let answer = answer.map_err(|error| trapped(format!("it answered with {error}")))?;
    let (parts, body) = answer.into_parts();
    let status = parts.status.as_u16();
    if status < 200 {
        return Err(trapped(format!(
            "it answered with status {status}, which ends nothing"
        )));
    }
    let bytes_max = usize::try_from(limits.output_bytes_max).unwrap_or(usize::MAX);
    let body = Limited::new(body, bytes_max).collect().await;
    let body = body.map_err(|error| match error.downcast::<LengthLimitError>() {
        Ok(_) => too_large(limits),
        Err(error) => trapped(format!("its response ended early: {error}")),
    })?;
    let headers: Vec<Value> = parts
        .headers
        .iter()
        .map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())]))
        .collect();
    let body = STANDARD.encode(body.to_bytes());
    let json = json!({ "status": status, "headers": headers, "body": body }).to_string();
    if json.len() > bytes_max {
        return Err(too_large(limits));
    }
    let json = Bytes::from(json);
    if status >= 500 {
        return Err(Failure::Answer(CallError::Refused { error: json }));
    }
    Ok(json)
}

fn too_large(limits: &Limits) -> Failure {
    Failure::Answer(CallError::OutputTooLarge {
        bytes_max: limits.output_bytes_max,
    })
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
