//! `/a2a`: this host's services as agents that speak A2A 1.0, by JSON-RPC and by the protocol's HTTP binding; and the
//! files by which agents are found.
//!
//! Whoever knows a task's id may see and cancel it: ids are not guessed, and there are no accounts. Tasks are kept in
//! memory, within limits (`table`); paid ones are noted on the disk (`journal`), and the next gateway goes on with them
//! (`resume`).
//!
//! Not here: notifications by push, gRPC, and earlier versions of the protocol.

mod calls;
mod entry;
mod feed;
mod journal;
mod operations;
mod resume;
mod table;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use self::feed::Binding;
pub use self::journal::TaskJournal;
use self::operations::{Agent, Reply, agent};
pub(crate) use self::resume::resume;
pub(crate) use self::table::Tasks;
use self::table::Telling;
use crate::a2a::card::Host;
use crate::a2a::paths::{self, Place, Target};
use crate::a2a::{Error, Kind, message, payment, query, registration, version};
use crate::body::Held;
use crate::gateway::Gateway;
use crate::problem::{ErrorCode, Problem};
use crate::routes::json_rpc::{self, Message};

/// `/a2a`.
pub(crate) async fn host(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    answer(&gateway, "", request).await
}

/// What is below `/a2a`.
pub(crate) async fn below(
    State(gateway): State<Arc<Gateway>>,
    Path(path): Path<String>,
    request: Request,
) -> Response {
    answer(&gateway, &path, request).await
}

/// `GET /.well-known/agent-card.json`.
pub(crate) async fn card(State(gateway): State<Arc<Gateway>>, headers: HeaderMap) -> Response {
    match agent(&gateway, &headers, None) {
        Ok(agent) => agent.card(),
        Err(problem) => problem.into_response(),
    }
}

/// `GET /.well-known/agent-registration.json`: proves that agents of ERC-8004 are here.
pub(crate) async fn registrations(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
) -> Response {
    let services = gateway.node.services();
    let names = services.iter().map(|view| view.manifest.name().to_string());
    let agents = names.filter_map(|name| gateway.node.published_agent(&name));
    let agents = agents.collect();
    let url = gateway.base_url(&headers);
    with_host(&gateway, &url, |host| {
        file(&headers, &registration::of_host(&host, agents))
    })
}

/// `GET /registrations/{service}`: a service's registration file of ERC-8004.
pub(crate) async fn registration(
    State(gateway): State<Arc<Gateway>>,
    Path(service): Path<String>,
    headers: HeaderMap,
) -> Response {
    let asked = match agent(&gateway, &headers, Some(service)) {
        Ok(asked) => asked,
        Err(problem) => return problem.into_response(),
    };
    let url = gateway.base_url(&headers);
    let [service] = asked.services.as_slice() else {
        return nothing_here().into_response();
    };
    let agents = gateway.node.published_agent(&service.name);
    let agents = agents.into_iter().collect();
    with_host(&gateway, &url, |host| {
        file(&headers, &registration::of_service(&host, service, agents))
    })
}

async fn answer(gateway: &Arc<Gateway>, path: &str, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Some(Place { service, target }) = paths::place(&parts.method, path) else {
        return nothing_here().into_response();
    };
    let asked = match agent(gateway, &parts.headers, service) {
        Ok(asked) => asked,
        Err(problem) => return problem.into_response(),
    };
    if target == Target::Card {
        return asked.card();
    }
    let mut response = if target == Target::Rpc {
        asked.by_rpc(&parts, body).await
    } else {
        let answered = asked.by_http(target, &parts, body).await;
        answered.unwrap_or_else(|error| http(error.status(), error.in_http().to_string().into()))
    };
    let headers = response.headers_mut();
    if let Some(known) = known_extensions(&parts.headers) {
        headers.insert("a2a-extensions", known);
    }
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("private, no-store"));
    response
}

impl Agent<'_> {
    fn card(&self) -> Response {
        let url = self.gateway.base_url(self.headers);
        with_host(self.gateway, &url, |host| {
            let card = match (&self.service, self.services.as_slice()) {
                (Some(_), [service]) => host.of_service(service),
                (_, services) => host.of_host(services),
            };
            file(self.headers, &card)
        })
    }

    async fn by_rpc(&self, parts: &Parts, body: Body) -> Response {
        let refuse = |error: &Error, id: &Value| {
            let body = json!({ "jsonrpc": "2.0", "id": id, "error": error.in_rpc() });
            axum::Json(body).into_response()
        };
        let held = match self.gateway.bodies.read(&parts.headers, body).await {
            Ok(held) => held,
            Err(problem) => return problem.into_response(),
        };
        let request = match json_rpc::read(&held.bytes) {
            Ok(Message::Request(request)) => request,
            Ok(Message::Unanswered) => {
                let error = Error::new(Kind::Request, "`id` is missing: nothing is asked");
                return refuse(&error, &Value::Null);
            }
            Err(error) => {
                return refuse(&Error::of_code(error.code, error.message), &Value::Null);
            }
        };
        if let Err(error) = version::check(&parts.headers, parts.uri.query()) {
            return refuse(&error, &request.id);
        }
        let params = request
            .params
            .as_deref()
            .map_or("{}", |params| params.get());
        match self
            .operate(&request.method, params, held, &request.id)
            .await
        {
            Ok(response) => response,
            Err(error) => refuse(&error, &request.id),
        }
    }

    async fn operate(
        &self,
        method: &str,
        params: &str,
        held: Held,
        id: &Value,
    ) -> Result<Response, Error> {
        let (result, room) = match method {
            "SendMessage" => self.take(params, held).await?,
            "SendStreamingMessage" => {
                let sent = message::read(params.as_bytes())?;
                let reply = self.send(sent, held, true)?;
                return feed::events(&self.gateway.tasks, reply, Binding::Rpc(id.clone()));
            }
            "SubscribeToTask" => {
                let reply = Reply::Task(self.subscribe(&query::one(params)?.id)?);
                return feed::events(&self.gateway.tasks, reply, Binding::Rpc(id.clone()));
            }
            "GetTask" => self.get(&query::one(params)?.id)?,
            "ListTasks" => self.list(&query::many(params)?)?,
            "CancelTask" => self.cancel(&query::one(params)?.id)?,
            "GetExtendedAgentCard" => return Err(no_extended_card()),
            "CreateTaskPushNotificationConfig"
            | "GetTaskPushNotificationConfig"
            | "ListTaskPushNotificationConfigs"
            | "DeleteTaskPushNotificationConfig" => return Err(no_push()),
            other => {
                let message = format!("there is no `{other}` in A2A {}", version::VERSION);
                return Err(Error::new(Kind::Method, message));
            }
        };
        let text = room.of(json_rpc::result(id, &result).to_string());
        Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response())
    }

    async fn by_http(&self, target: Target, parts: &Parts, body: Body) -> Result<Response, Error> {
        version::check(&parts.headers, parts.uri.query())?;
        let (result, room) = match target {
            Target::Send => {
                let held = self.gateway.bodies.read(&parts.headers, body).await?;
                let text = held.bytes.clone();
                self.take(text_of(&text)?, held).await?
            }
            Target::Stream => {
                let held = self.gateway.bodies.read(&parts.headers, body).await?;
                let sent = message::read(&held.bytes)?;
                let reply = self.send(sent, held, true)?;
                return feed::events(&self.gateway.tasks, reply, Binding::Http);
            }
            Target::Subscribe(id) => {
                let reply = Reply::Task(self.subscribe(&id)?);
                return feed::events(&self.gateway.tasks, reply, Binding::Http);
            }
            Target::Get(id) => self.get(&id)?,
            Target::Cancel(id) => self.cancel(&id)?,
            Target::List => {
                let words = Query::<BTreeMap<String, String>>::try_from_uri(&parts.uri);
                let unfit = |_| Error::new(Kind::Params, "the query cannot be read");
                self.list(&query::many_of_words(words.map_err(unfit)?.0)?)?
            }
            Target::Push => return Err(no_push()),
            Target::ExtendedCard => return Err(no_extended_card()),
            Target::Rpc | Target::Card => return Err(nothing_of_http()),
        };
        Ok(http(StatusCode::OK, room.of(result.to_string())))
    }

    /// Takes a message and waits for its end, unless that is not wanted.
    async fn take(&self, params: &str, held: Held) -> Result<(Value, Telling), Error> {
        let sent = message::read(params.as_bytes())?;
        let at_once = sent.returns_at_once;
        match self.send(sent, held, false)? {
            Reply::Message(message) => {
                Ok((json!({ "message": message }), self.gateway.tasks.tell(0)?))
            }
            Reply::Task(mut watcher) => {
                if !at_once {
                    watcher.settled().await;
                }
                let room = self.gateway.tasks.tell(watcher.answer_bytes())?;
                Ok((json!({ "task": watcher.task() }), room))
            }
        }
    }
}

fn text_of(bytes: &[u8]) -> Result<&str, Error> {
    let no_text = |_| Error::new(Kind::Parse, "the body is no JSON in UTF-8");
    std::str::from_utf8(bytes).map_err(no_text)
}

fn with_host<T>(gateway: &Gateway, url: &str, then: impl FnOnce(Host<'_>) -> T) -> T {
    let network = gateway.network().to_string();
    then(Host {
        url,
        token: &gateway.node.payee().token_name,
        network: &network,
    })
}

/// A file that may be kept for a while.
fn file(headers: &HeaderMap, content: &Value) -> Response {
    let text = content.to_string();
    let digest = Sha256::digest(&text);
    let name: String = digest[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let tag = format!("\"{name}\"");
    let known = headers.get(header::IF_NONE_MATCH);
    let is_known = known
        .and_then(|it| it.to_str().ok())
        .is_some_and(|it| it.contains(&name));
    let mut response = match is_known {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => ([(header::CONTENT_TYPE, "application/json")], text).into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("public, max-age=60"),
    );
    headers.insert(header::VARY, HeaderValue::from_static("host"));
    if let Ok(tag) = HeaderValue::try_from(tag) {
        headers.insert(header::ETAG, tag);
    }
    response
}

/// An answer of the HTTP binding.
fn http(status: StatusCode, body: Bytes) -> Response {
    let kind = [(header::CONTENT_TYPE, "application/a2a+json")];
    (status, kind, body).into_response()
}

/// Those of the extensions that a client asks for that are known here.
fn known_extensions(headers: &HeaderMap) -> Option<HeaderValue> {
    let lists = ["a2a-extensions", "x-a2a-extensions"];
    let asked = lists.into_iter().flat_map(|name| headers.get_all(name));
    let asked = asked.filter_map(|list| list.to_str().ok());
    let asked: Vec<&str> = asked
        .flat_map(|list| list.split(','))
        .map(str::trim)
        .collect();
    let known = [payment::EXTENSION, payment::EXTENSION_BEFORE];
    let known: Vec<&str> = known.into_iter().filter(|it| asked.contains(it)).collect();
    let value = (!known.is_empty()).then(|| HeaderValue::try_from(known.join(", ")));
    value?.ok()
}

fn no_push() -> Error {
    let message = "nobody is notified by push here: stream, subscribe, or get the task";
    Error::new(Kind::PushUnsupported, message)
}

fn no_extended_card() -> Error {
    Error::new(Kind::Unsupported, "there is one card, the public one")
}

fn nothing_of_http() -> Error {
    Error::new(Kind::Method, "there is no such operation")
}

fn nothing_here() -> Problem {
    Problem::new(ErrorCode::RouteUnknown, "there is no such operation of A2A").hint(
        "an agent's own path takes JSON-RPC by POST; /.well-known/agent-card.json names the paths",
    )
}
