//! MCP over HTTP, in its stateless revision and in those before: what is asked for, and how it is answered.
//!
//! Nothing is kept between requests, so that any replica can answer any of them. Whose tools they are, and who pays
//! for them, is a [`Toolbox`]'s: a host's for strangers at its gateway, or the mesh's for programs of this machine at
//! the local door.
//!
//! Not here: resources, prompts and requests of the server's own, of which services have none.

mod era;
mod feed;
mod result;
mod search;
mod tools;

use axum::response::{IntoResponse, Response};
use futures_util::future::join_all;
use futures_util::stream::{BoxStream, StreamExt as _};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use self::era::{BATCHES, STATELESS, WITH_HANDSHAKE, agreed};
use self::feed::events;
use self::tools::{CALL, DESCRIBE, FOUND, FOUND_MAX, SEARCH, View};
use crate::problem::{ErrorCode, Problem};
use crate::routes::json_rpc::{
    self, INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND, Message, Request, RpcError,
};
use crate::routes::streams::wants_events;

pub(crate) use era::Era;
pub(crate) use result::{as_text, failed, told};
pub(crate) use search::{Texts, Words, best};
pub(crate) use tools::{Payer, Tool, Tools, described, in_object, is_object, name_of, parts};

/// The tools of an endpoint.
pub(crate) trait Toolbox: Sync {
    /// What an agent reads of them before anything else.
    const INSTRUCTIONS: &'static str;
    /// Who pays for calls.
    const PAYER: Payer;

    /// Those that may be listed.
    fn listed(&self) -> Tools;

    /// Summaries of those that fit the words best, the best first.
    fn search(&self, query: &str, limit: usize) -> Result<Vec<Value>, Problem>;

    /// One as the protocol describes it.
    fn describe(&self, name: &str) -> impl Future<Output = Result<Value, Problem>> + Send;

    /// Calls one. None if there is no such tool; whatever else goes wrong is a result.
    fn call(&self, call: ToolCall<'_>) -> impl Future<Output = Option<Answered>> + Send;
}

/// A call of a tool.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ToolCall<'a> {
    pub(crate) name: &'a str,
    /// A JSON object.
    pub(crate) arguments: &'a str,
    pub(crate) meta: &'a Meta,
    pub(crate) era: Era,
    /// Whether the client wants to hear of items as they come.
    pub(crate) wants_items: bool,
}

/// What a client says beside a call.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Meta {
    #[serde(rename = "x402/payment")]
    pub(crate) payment: Option<Value>,
    /// What the client knows messages on this call's progress by.
    #[serde(rename = "progressToken")]
    progress: Option<Value>,
}

/// What came of a call, or of the beginning of one.
pub(crate) enum Answered {
    /// All of it.
    Whole(Value),
    /// Its items come one by one. Whoever drops it ends the call.
    Stream(BoxStream<'static, Told>),
}

/// A part of an answer that comes one by one.
pub(crate) enum Told {
    Item(axum::body::Bytes),
    /// What came of it: the last part.
    Result(Value),
}

/// Answers a body.
pub(crate) async fn answer(
    toolbox: &impl Toolbox,
    headers: &HeaderMap,
    wanted: Option<&str>,
    body: &[u8],
) -> Response {
    if body.trim_ascii_start().starts_with(b"[") {
        return batch(toolbox, headers, wanted, body).await;
    }
    let request = match json_rpc::read(body) {
        Ok(Message::Request(request)) => request,
        Ok(Message::Unanswered) => return StatusCode::ACCEPTED.into_response(),
        Err(error) => return error.answer(&Value::Null, true),
    };
    let era = match Era::of(headers, &request) {
        Ok(era) => era,
        Err(error) => return error.answer(&request.id, true),
    };
    let asked = Asked {
        toolbox,
        headers,
        wanted,
        era,
        may_stream: true,
        request: &request,
    };
    match asked.answer().await {
        Ok(Answer::Result(result)) => whole(&json_rpc::result(&request.id, &era.complete(result))),
        Ok(Answer::Stream(stream, token)) => events(stream, token, request.id.clone(), era),
        Err(error) => error.answer(&request.id, era.is_stateless()),
    }
}

/// Answers several messages at once, which one revision has.
async fn batch(
    toolbox: &impl Toolbox,
    headers: &HeaderMap,
    wanted: Option<&str>,
    body: &[u8],
) -> Response {
    let refused = |text: String| RpcError::new(INVALID_REQUEST, text).answer(&Value::Null, true);
    if !Era::may_batch(headers) {
        return refused(format!(
            "several messages at once are spoken in {BATCHES} alone"
        ));
    }
    let messages: Vec<&RawValue> = match serde_json::from_slice(body) {
        Ok(messages) => messages,
        Err(error) => return refused(format!("no list of messages: {error}")),
    };
    if messages.is_empty() || messages.len() > BATCH_MAX {
        return refused(format!("1 to {BATCH_MAX} messages go at once"));
    }
    let answers = messages.into_iter().map(|message| async move {
        let request = match json_rpc::read(message.get().as_bytes()) {
            Ok(Message::Request(request)) if request.method == "initialize" => {
                let error = RpcError::new(INVALID_REQUEST, "a handshake goes alone");
                return Some(error.body(&request.id));
            }
            Ok(Message::Request(request)) => request,
            Ok(Message::Unanswered) => return None,
            Err(error) => return Some(error.body(&Value::Null)),
        };
        let asked = Asked {
            toolbox,
            headers,
            wanted,
            era: Era::WithHandshake,
            may_stream: false,
            request: &request,
        };
        Some(match asked.answer().await {
            Ok(Answer::Result(result)) => json_rpc::result(&request.id, &result),
            Ok(Answer::Stream(stream, _)) => {
                json_rpc::result(&request.id, &result_of(stream).await)
            }
            Err(error) => error.body(&request.id),
        })
    });
    let answers: Vec<Value> = join_all(answers).await.into_iter().flatten().collect();
    match answers.is_empty() {
        true => StatusCode::ACCEPTED.into_response(),
        false => whole(&Value::Array(answers)),
    }
}

/// Everything but `POST`: there is nothing to listen to, and no session to end.
pub(crate) fn other() -> Response {
    let problem = Problem::new(ErrorCode::MethodNotAllowed, "MCP is spoken by POST here")
        .hint("give this URL to an MCP client (streamable HTTP)");
    let mut response = problem.into_response();
    let allow = HeaderValue::from_static("POST");
    response.headers_mut().insert(header::ALLOW, allow);
    response
}

/// A request and what it came with.
struct Asked<'a, T> {
    toolbox: &'a T,
    headers: &'a HeaderMap,
    wanted: Option<&'a str>,
    era: Era,
    may_stream: bool,
    request: &'a Request,
}

enum Answer {
    Result(Value),
    /// With what the client knows messages on its progress by.
    Stream(BoxStream<'static, Told>, Value),
}

/// What a tool is called with.
#[derive(Debug, Deserialize)]
struct Called {
    name: String,
    #[serde(default)]
    arguments: Option<Box<RawValue>>,
    #[serde(rename = "_meta", default)]
    meta: Meta,
}

/// What the tools that find others are called with.
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

impl<T: Toolbox> Asked<'_, T> {
    async fn answer(&self) -> Result<Answer, RpcError> {
        let result = match (self.request.method.as_str(), self.era.is_stateless()) {
            ("tools/call", _) => return self.call().await,
            ("tools/list", _) => self.list()?,
            ("server/discover", true) => self.discovered(),
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
            "instructions": T::INSTRUCTIONS,
        }))
    }

    fn discovered(&self) -> Value {
        let mut versions = vec![STATELESS];
        versions.extend(WITH_HANDSHAKE);
        let mut capabilities = json!({ "tools": {} });
        if T::PAYER == Payer::Client {
            capabilities["extensions"] = json!({ era::PAYMENT_EXTENSION: {} });
        }
        json!({
            "supportedVersions": versions,
            "capabilities": capabilities,
            "instructions": T::INSTRUCTIONS,
            "ttlMs": LIST_GOOD_FOR_MS,
            "cacheScope": "public",
            "_meta": { "io.modelcontextprotocol/serverInfo": server() },
        })
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
        let tools = self.toolbox.listed();
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
        let arguments = called.arguments.as_deref();
        let found = match called.name.as_str() {
            SEARCH => {
                let Search { query, limit } = of_own(arguments)?;
                let limit = limit.unwrap_or(FOUND).clamp(1, FOUND_MAX);
                match self.toolbox.search(&query, limit) {
                    Ok(tools) => json!({ "tools": tools }),
                    Err(problem) => return Ok(Answer::Result(failed(problem))),
                }
            }
            DESCRIBE => {
                let Describe { name } = of_own(arguments)?;
                match self.toolbox.describe(&name).await {
                    Ok(described) => described,
                    Err(problem) => return Ok(Answer::Result(failed(problem))),
                }
            }
            CALL => {
                let CallOther { name, arguments } = of_own(arguments)?;
                let made = self.make(&name, arguments.as_deref(), &called.meta).await?;
                return Ok(made.unwrap_or_else(|| Answer::Result(failed(no_tool(&name)))));
            }
            name => {
                let made = self.make(name, arguments, &called.meta).await?;
                return made.ok_or_else(|| RpcError::new(INVALID_PARAMS, unknown(name)));
            }
        };
        Ok(Answer::Result(json!({
            "content": [{ "type": "text", "text": found.to_string() }],
            "structuredContent": found,
        })))
    }

    async fn make(
        &self,
        name: &str,
        arguments: Option<&RawValue>,
        meta: &Meta,
    ) -> Result<Option<Answer>, RpcError> {
        let arguments = arguments.map_or("{}", RawValue::get);
        if !arguments.trim_start().starts_with('{') {
            let message = "`arguments` has to be an object";
            return Err(RpcError::new(INVALID_PARAMS, message));
        }
        let hears = self.may_stream && wants_events(self.headers);
        let token = meta.progress.clone().filter(|_| hears);
        let call = ToolCall {
            name,
            arguments,
            meta,
            era: self.era,
            wants_items: token.is_some(),
        };
        Ok(match (self.toolbox.call(call).await, token) {
            (None, _) => None,
            (Some(Answered::Whole(result)), _) => Some(Answer::Result(result)),
            (Some(Answered::Stream(stream)), Some(token)) => Some(Answer::Stream(stream, token)),
            // Nobody hears of its items.
            (Some(Answered::Stream(stream)), None) => Some(Answer::Result(result_of(stream).await)),
        })
    }
}

/// What comes of a call in the end.
async fn result_of(mut stream: BoxStream<'static, Told>) -> Value {
    while let Some(part) = stream.next().await {
        match part {
            Told::Item(_) => {}
            Told::Result(result) => return result,
        }
    }
    failed(Problem::new(
        ErrorCode::Internal,
        "the call ended without a result",
    ))
}

/// There is no such tool.
pub(crate) fn no_tool(name: &str) -> Problem {
    Problem::new(ErrorCode::MethodUnknown, unknown(name))
}

fn unknown(name: &str) -> String {
    format!("there is no tool `{name}` here: {SEARCH} finds those that there are")
}

/// The arguments of one of the tools that find others.
fn of_own<T: for<'de> Deserialize<'de>>(arguments: Option<&RawValue>) -> Result<T, RpcError> {
    serde_json::from_str(arguments.map_or("{}", RawValue::get))
        .map_err(|error| RpcError::new(INVALID_PARAMS, format!("`arguments`: {error}")))
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

/// How long a client may keep a list: services come and go.
const LIST_GOOD_FOR_MS: u64 = 60_000;
/// Messages in one body.
const BATCH_MAX: usize = 32;
