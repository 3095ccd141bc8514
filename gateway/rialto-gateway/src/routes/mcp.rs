//! `/mcp`: this host's services for agents that speak MCP, in its stateless revision and in those before.
//!
//! Every method is a tool, described by its types and its author's words; a call is paid as x402 has it for MCP.
//! Nothing is kept between requests, so that any replica can answer any of them.
//!
//! Not here: resources, prompts and requests of the server's own, of which a host of services has none.

mod calls;
mod era;
mod search;
mod tools;

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Query, Request as HttpRequest, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use rialto_node::{StreamEnd, StreamPart};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use self::calls::{Answered, Call, Called, Meta, Streaming};
use self::era::{Era, STATELESS, WITH_HANDSHAKE, agreed};
use self::tools::{CALL, DESCRIBE, FOUND, FOUND_MAX, SEARCH, Tools, View};
use crate::gateway::Gateway;
use crate::problem::{ErrorCode, Problem};
use crate::routes::json_rpc::{
    self, FORBIDDEN, INVALID_PARAMS, METHOD_NOT_FOUND, Message, Request, RpcError,
};
use crate::routes::streams::{as_events, event, wants_events};

/// Which tools a client wants to be listed.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Wanted {
    tools: Option<String>,
}

/// `POST`: one message.
pub(crate) async fn post(
    State(gateway): State<Arc<Gateway>>,
    Query(wanted): Query<Wanted>,
    request: HttpRequest,
) -> Response {
    let (parts, body) = request.into_parts();
    if !may_ask(&parts.headers, gateway.public_url()) {
        let message = "pages of another origin may not ask here";
        return RpcError::new(FORBIDDEN, message).answer(&Value::Null, true);
    }
    let held = match gateway.bodies.read(&parts.headers, body).await {
        Ok(held) => held,
        Err(problem) => return problem.into_response(),
    };
    let request = match json_rpc::read(&held.bytes) {
        Ok(Message::Request(request)) => request,
        Ok(Message::Unanswered) => return StatusCode::ACCEPTED.into_response(),
        Err(error) => return error.answer(&Value::Null, true),
    };
    let era = match Era::of(&parts.headers, &request) {
        Ok(era) => era,
        Err(error) => return error.answer(&request.id, true),
    };
    let asked = Asked {
        gateway: &gateway,
        headers: &parts.headers,
        wanted: wanted.tools.as_deref(),
        era,
        request: &request,
    };
    match asked.answer().await {
        Ok(Answer::Result(result)) => whole(&json_rpc::result(&request.id, &era.complete(result))),
        Ok(Answer::Stream(stream, token)) => events(*stream, token, request.id.clone(), era),
        Err(error) => error.answer(&request.id, era.is_stateless()),
    }
}

/// `GET` and the rest: there is nothing to listen to, and no session to end.
pub(crate) async fn other() -> Response {
    let problem = Problem::new(ErrorCode::MethodNotAllowed, "MCP is spoken by POST here")
        .hint("give this URL to an MCP client (streamable HTTP)");
    let mut response = problem.into_response();
    let allow = HeaderValue::from_static("POST");
    response.headers_mut().insert(header::ALLOW, allow);
    response
}

/// A request and what it came with.
struct Asked<'a> {
    gateway: &'a Gateway,
    headers: &'a HeaderMap,
    wanted: Option<&'a str>,
    era: Era,
    request: &'a Request,
}

enum Answer {
    Result(Value),
    /// With what the client knows messages on its progress by.
    Stream(Box<Streaming>, Value),
}

/// What is called of the tools that find others.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Search {
    #[serde(default)]
    query: String,
    limit: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Describe {
    name: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CallOther {
    name: String,
    arguments: Option<Box<RawValue>>,
}

impl Asked<'_> {
    async fn answer(&self) -> Result<Answer, RpcError> {
        let result = match (self.request.method.as_str(), self.era.is_stateless()) {
            ("tools/call", _) => return self.call().await,
            ("tools/list", _) => self.list()?,
            ("server/discover", true) => discovered(),
            ("initialize", false) => self.shake_hands()?,
            ("ping", false) => json!({}),
            (method, _) => {
                let message = format!("there is no `{method}` here");
                return Err(RpcError::new(METHOD_NOT_FOUND, message));
            }
        };
        Ok(Answer::Result(result))
    }

    fn shake_hands(&self) -> Result<Value, RpcError> {
        #[derive(Deserialize)]
        struct Hello {
            #[serde(rename = "protocolVersion")]
            version: String,
        }
        let hello: Hello = self.request.params()?;
        Ok(json!({
            "protocolVersion": agreed(&hello.version),
            "capabilities": { "tools": {} },
            "serverInfo": server(),
            "instructions": INSTRUCTIONS,
        }))
    }

    fn list(&self) -> Result<Value, RpcError> {
        #[derive(Deserialize)]
        struct From {
            cursor: Option<String>,
        }
        let from: From = self.request.params()?;
        let view = match self.wanted {
            None => View::Fitting,
            Some("all") => View::All,
            Some("search") => View::Search,
            Some(_) => {
                let message = "`tools` in the URL is `all` or `search`";
                return Err(RpcError::new(INVALID_PARAMS, message));
            }
        };
        let tools = Tools::of(&self.gateway.node);
        let page = tools.page(view, from.cursor.as_deref());
        let unknown = || RpcError::new(INVALID_PARAMS, "this host gave no such cursor");
        let page = page.ok_or_else(unknown)?;
        let mut result = json!({ "tools": page.tools });
        if let Some(next) = page.next {
            result["nextCursor"] = next.into();
        }
        if self.era.is_stateless() {
            result["ttlMs"] = LIST_GOOD_FOR_MS.into();
            result["cacheScope"] = "public".into();
        }
        Ok(result)
    }

    async fn call(&self) -> Result<Answer, RpcError> {
        let called: Called = self.request.params()?;
        let tools = Tools::of(&self.gateway.node);
        let arguments = called.arguments.as_deref();
        let found = match called.name.as_str() {
            SEARCH => {
                let Search { query, limit } = of_own(arguments)?;
                let limit = limit.unwrap_or(FOUND).clamp(1, FOUND_MAX);
                let found = tools.search(&query, limit).into_iter();
                let found: Vec<Value> = found.map(Tools::summarise).collect();
                json!({ "tools": found })
            }
            DESCRIBE => {
                let Describe { name } = of_own(arguments)?;
                match tools.get(&name) {
                    Some(tool) => tools.describe(tool),
                    None => return Ok(Answer::Result(calls::failed(no_tool(&name)))),
                }
            }
            CALL => {
                let CallOther { name, arguments } = of_own(arguments)?;
                if tools.get(&name).is_none() {
                    return Ok(Answer::Result(calls::failed(no_tool(&name))));
                }
                return self
                    .make(&tools, &name, arguments.as_deref(), &called.meta)
                    .await;
            }
            name => return self.make(&tools, name, arguments, &called.meta).await,
        };
        Ok(Answer::Result(json!({
            "content": [{ "type": "text", "text": found.to_string() }],
            "structuredContent": found,
        })))
    }

    async fn make(
        &self,
        tools: &Tools,
        name: &str,
        arguments: Option<&RawValue>,
        meta: &Meta,
    ) -> Result<Answer, RpcError> {
        let tool = tools.get(name).ok_or_else(|| {
            let message =
                format!("there is no tool `{name}` here: {SEARCH} finds those that there are");
            RpcError::new(INVALID_PARAMS, message)
        })?;
        let call = Call::new(self.gateway, self.headers, tool, self.era);
        let token = meta.progress.clone().filter(|_| wants_events(self.headers));
        let made = call.make(arguments, meta, token.is_some()).await?;
        Ok(match made {
            Answered::Whole(result) => Answer::Result(result),
            Answered::Stream(stream) => Answer::Stream(stream, token.unwrap_or_default()),
        })
    }
}

fn no_tool(name: &str) -> Problem {
    Problem::new(
        ErrorCode::MethodUnknown,
        format!("there is no tool `{name}` here"),
    )
    .hint(format!("{SEARCH} finds those that there are"))
}

/// The arguments of one of the tools that find others.
fn of_own<T: for<'de> Deserialize<'de>>(arguments: Option<&RawValue>) -> Result<T, RpcError> {
    serde_json::from_str(arguments.map_or("{}", RawValue::get))
        .map_err(|error| RpcError::new(INVALID_PARAMS, format!("`arguments`: {error}")))
}

fn discovered() -> Value {
    let mut versions = vec![STATELESS];
    versions.extend(WITH_HANDSHAKE);
    json!({
        "supportedVersions": versions,
        "capabilities": { "tools": {}, "extensions": { era::PAYMENT_EXTENSION: {} } },
        "instructions": INSTRUCTIONS,
        "ttlMs": LIST_GOOD_FOR_MS,
        "cacheScope": "public",
        "_meta": { "io.modelcontextprotocol/serverInfo": server() },
    })
}

fn server() -> Value {
    json!({ "name": "rialto", "title": "Rialto", "version": env!("CARGO_PKG_VERSION") })
}

impl Era {
    /// The stateless revision wants to know of each result what kind it is.
    fn complete(self, mut result: Value) -> Value {
        if self.is_stateless() && result.get("resultType").is_none() {
            result["resultType"] = "complete".into();
        }
        result
    }
}

fn whole(message: &Value) -> Response {
    let mut response = axum::Json(message).into_response();
    let no_store = HeaderValue::from_static("private, no-store");
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, no_store);
    response
}

/// A message for each item, and at last the result. Whoever goes away cancels the call.
fn events(stream: Streaming, token: Value, id: Value, era: Era) -> Response {
    let state = Some((stream, token, id, 0_u64));
    let messages = futures_util::stream::unfold(state, move |state| async move {
        let (mut stream, token, id, items) = state?;
        let end = match stream.items.next().await {
            Some(StreamPart::Item(item)) => {
                let items = items.saturating_add(1);
                let told = progress(&token, items, &item);
                return Some((told, Some((stream, token, id, items))));
            }
            Some(StreamPart::End(end)) => end,
            None => StreamEnd {
                outcome: None,
                failure: None,
            },
        };
        let result = json_rpc::result(&id, &era.complete(stream.result(end)));
        Some((event("message", result.to_string().as_bytes()), None))
    });
    let messages = futures_util::StreamExt::map(messages, Ok::<Bytes, Infallible>);
    as_events(Body::from_stream(messages))
}

fn progress(token: &Value, items: u64, item: &[u8]) -> Bytes {
    let item: Value = serde_json::from_slice(item).unwrap_or_default();
    let text = calls::as_text(&item);
    let message = json!({
        "jsonrpc": "2.0",
        "method": "notifications/progress",
        "params": { "progressToken": token, "progress": items, "message": text },
    });
    event("message", message.to_string().as_bytes())
}

/// Whether a page may ask: pages of this machine a host of this machine, and any page a host that has a public
/// name. A page that gave itself a name for this machine asks by that name.
fn may_ask(headers: &HeaderMap, public_url: Option<&str>) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return true;
    };
    let host_of = |text: &str| text.parse::<Uri>().ok()?.host().map(str::to_owned);
    let asked = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let asked = asked.and_then(|host| host_of(&format!("http://{host}")));
    let public = public_url.and_then(host_of);
    if public.is_some() && asked == public {
        return true;
    }
    let origin = origin.to_str().ok().and_then(host_of);
    let is_here = |host: Option<String>| {
        host.is_some_and(|host| {
            let plain = host.trim_matches(['[', ']']);
            let address = plain.parse::<std::net::IpAddr>();
            plain == "localhost" || address.is_ok_and(|address| address.is_loopback())
        })
    };
    is_here(asked) && is_here(origin)
}

/// How long a client may keep a list: services come and go.
const LIST_GOOD_FOR_MS: u64 = 60_000;
const INSTRUCTIONS: &str = "The tools are methods of AI services that this host runs. Most cost a little, which \
     x402 pays: a call without a payment is answered by what it costs. rialto__search finds tools by words, \
     rialto__describe says what one takes, and rialto__call calls one that is not listed.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_ask_hosts_that_they_may_know() {
        let asks = |host: &'static str, origin: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static(host));
            if !origin.is_empty() {
                headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
            }
            may_ask(&headers, Some("https://rialto.example/x"))
        };
        for (host, origin) in [
            ("127.0.0.1:8402", ""),
            ("evil.example", ""),
            ("127.0.0.1:8402", "http://localhost:6274"),
            ("[::1]:8402", "http://127.0.0.2"),
            ("rialto.example", "https://app.example"),
        ] {
            assert!(asks(host, origin), "{host} {origin}");
        }
        for (host, origin) in [
            ("127.0.0.1:8402", "http://evil.example"),
            ("evil.example", "http://evil.example"),
            ("evil.example", "http://localhost"),
            ("127.0.0.1:8402", "null"),
        ] {
            assert!(!asks(host, origin), "{host} {origin}");
        }
    }
}
