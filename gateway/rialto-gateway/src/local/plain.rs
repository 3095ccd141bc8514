//! `/v1` for programs that know OpenAI's API and nothing of payment: the node's wallet pays, within a budget.
//!
//! A model that this node runs is called here; any other at whichever provider on the mesh is best. What a provider
//! can do is taken from the methods that its offer names: its answer, or its refusal, shows the rest.

mod feed;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use rialto_node::SearchError;
use rialto_registry::{MethodName, Name, index};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use self::feed::Feed;
use super::access::Guest;
use super::calls::{Made, make, mark};
use super::{Local, no_wallet};
use crate::body::Held;
use crate::client::Body;
use crate::client::mesh::{Ask, MeshClient};
use crate::listing::ServiceRecord;
use crate::openai::events::{Events, Writer};
use crate::openai::models::{self, Model};
use crate::openai::{Answered, Asked, Mistake, chat, embeddings, mistake, responses};
use crate::problem::{ErrorCode, Problem};

/// The paths below `/v1`.
pub(super) fn routes() -> Router<Arc<Local>> {
    use axum::routing::{get, post};
    Router::new()
        .route("/v1/models", get(all))
        .route("/v1/models/{model}", get(one))
        .route("/v1/chat/completions", post(complete))
        .route("/v1/responses", post(respond))
        .route("/v1/embeddings", post(embed))
}

async fn all(State(local): State<Arc<Local>>, headers: HeaderMap) -> Response {
    match known(&local, &headers) {
        Ok(models) => {
            let models: Vec<Value> = models.into_values().collect();
            Json(json!({ "object": "list", "data": models })).into_response()
        }
        Err(problem) => mistake::problem(problem),
    }
}

async fn one(
    State(local): State<Arc<Local>>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    match known(&local, &headers) {
        Ok(mut models) => match models.remove(&name) {
            Some(model) => Json(model).into_response(),
            None => Mistake::unknown_model(&name).into_response(),
        },
        Err(problem) => mistake::problem(problem),
    }
}

/// The models of this node that somebody may use, and those on the mesh that its index knows, by name.
fn known(local: &Local, headers: &HeaderMap) -> Result<BTreeMap<String, Value>, Problem> {
    let guest = local.access.guest(headers)?;
    let mut models = BTreeMap::new();
    for method in ["chat", "embed"] {
        let query = index::Query {
            method: method.parse::<MethodName>().ok(),
            limit: index::HITS_MAX,
            ..index::Query::default()
        };
        for service in local.offered(&query)? {
            let name = service.service.as_str();
            let entry = models::entry(name, &service.publisher, local.started_secs);
            models.insert(name.to_owned(), entry);
        }
    }
    for service in ServiceRecord::all(&local.node) {
        // What runs here is called here, be it a model or not.
        models.remove(&service.name);
        if Model::of(&service).is_one() {
            let entry = models::model(&service, local.started_secs);
            models.insert(service.name, entry);
        }
    }
    models.retain(|name, _| guest.may_use(name));
    Ok(models)
}

async fn embed(State(local): State<Arc<Local>>, request: Request) -> Response {
    let answer = async {
        let door = Door::open(&local, request).await?;
        let (asked, encoding) = embeddings::read(&door.held.bytes)?;
        let place = door.place(&asked, |model| model.embeds).await?;
        let call = door.call(asked, place)?;
        call.whole(|body, answered| embeddings::answer(body, &answered.model, encoding))
            .await
    };
    told(answer.await)
}

async fn complete(State(local): State<Arc<Local>>, request: Request) -> Response {
    let answer = async {
        let door = Door::open(&local, request).await?;
        let (mut asked, manner) = chat::read(&door.held.bytes)?;
        let place = door.place(&asked, |model| model.chats).await?;
        if manner.streams {
            asked.method = place.streaming();
            let call = door.call(asked, place)?;
            return call.streamed(Writer::chat(manner), manner.tokens_max).await;
        }
        let call = door.call(asked, place)?;
        call.whole(chat::answer).await
    };
    told(answer.await)
}

async fn respond(State(local): State<Arc<Local>>, request: Request) -> Response {
    let answer = async {
        let door = Door::open(&local, request).await?;
        let (mut asked, manner) = responses::read(&door.held.bytes)?;
        let place = door.place(&asked, |model| model.chats).await?;
        if manner.streams {
            asked.method = place.streaming();
            let most = manner.tokens_max;
            let call = door.call(asked, place)?;
            return call.streamed(Writer::response(manner), most).await;
        }
        let call = door.call(asked, place)?;
        call.whole(|body, answered| manner.answer(body, answered))
            .await
    };
    told(answer.await)
}

/// Why there is no answer.
enum Failure {
    Mistake(Mistake),
    Problem(Problem),
}

impl From<Mistake> for Failure {
    fn from(mistake: Mistake) -> Self {
        Self::Mistake(mistake)
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

fn told(answer: Result<Response, Failure>) -> Response {
    match answer {
        Ok(response) => response,
        Err(Failure::Mistake(mistake)) => mistake.into_response(),
        Err(Failure::Problem(problem)) => mistake::paid_problem(problem),
    }
}

/// Where a model is called, and whether it streams there.
#[derive(Debug, Clone, Copy)]
struct Place {
    is_here: bool,
    streams: bool,
}

impl Place {
    /// The method for an answer piece by piece. A model that does not stream says all at once.
    const fn streaming(self) -> &'static str {
        if self.streams { "stream" } else { "chat" }
    }
}

/// A request whose body is here, of somebody who may ask.
struct Door<'a> {
    local: &'a Local,
    guest: Guest,
    held: Held,
}

impl<'a> Door<'a> {
    async fn open(local: &'a Local, request: Request) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let guest = local.access.guest(&parts.headers)?;
        let held = local.bodies.read(&parts.headers, body).await?;
        Ok(Self { local, guest, held })
    }

    /// Where the model is that can do what is asked.
    async fn place(&self, asked: &Asked, can: impl Fn(Model) -> bool) -> Result<Place, Failure> {
        let unknown = || Mistake::unknown_model(&asked.service);
        if let Some(view) = self.local.node.service(&asked.service) {
            let model = Model::of(&ServiceRecord::new(&view));
            return match can(model) {
                true => Ok(Place {
                    is_here: true,
                    streams: model.streams,
                }),
                false => Err(unknown().into()),
            };
        }
        let name: Name = asked.service.parse().map_err(|_| unknown())?;
        let offers = match self.local.node.providers(&name).await {
            Ok(offers) => offers,
            Err(SearchError::Alone) => return Err(unknown().into()),
            Err(error @ SearchError::Chain(_)) => {
                let message = format!("who offers the model cannot be looked up: {error}");
                return Err(Problem::new(ErrorCode::Unavailable, message).into());
            }
        };
        let offered = |method: &str| {
            let method: Option<MethodName> = method.parse().ok();
            let method = method.as_ref();
            let mut offers = offers.iter().map(|offer| &offer.offer().prices);
            method.is_some_and(|method| offers.any(|prices| prices.contains_key(method)))
        };
        let model = Model {
            chats: offered("chat"),
            streams: offered("chat") && offered("stream"),
            embeds: offered("embed"),
        };
        match can(model) {
            true => Ok(Place {
                is_here: false,
                streams: model.streams,
            }),
            false => Err(unknown().into()),
        }
    }

    /// The call, on the asking one's budget.
    fn call(&self, asked: Asked, place: Place) -> Result<Call, Failure> {
        let client = self.local.client.clone().ok_or_else(no_wallet)?;
        let digest: [u8; 32] = Sha256::digest(&asked.arguments).into();
        let unknown = || Mistake::unknown_model(&asked.service);
        let body = Body::text(asked.arguments);
        let name = asked.service.parse().map_err(|_| unknown())?;
        Ok(Call {
            answered: Answered::now(&digest, &asked.service),
            gateway: place.is_here.then(|| self.local.bases.gateway().to_owned()),
            ask: Ask {
                allowance: Some(self.guest.allowance(&asked.service)?),
                ..Ask::once(name, asked.method, body, TIME_MAX)
            },
            client,
        })
    }
}

/// A call that is to be made.
struct Call {
    client: MeshClient,
    /// This node's own, if that is where it is made.
    gateway: Option<String>,
    ask: Ask,
    answered: Answered,
}

impl Call {
    /// Makes it, and tells its answer in the client's terms. An answer that cannot be told so, of a service that
    /// only looks like a model, is told as it is: it was paid for.
    async fn whole(
        self,
        tell: impl FnOnce(&[u8], &Answered) -> Option<Value>,
    ) -> Result<Response, Failure> {
        let made = make(&self.client, self.gateway.as_deref(), &self.ask, None).await?;
        let body = tell(&made.answer.body, &self.answered);
        let body = body.map_or_else(|| made.answer.body.clone(), |body| body.to_string().into());
        let mut response = (StatusCode::OK, body).into_response();
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        mark(response.headers_mut(), &made);
        Ok(response)
    }

    /// Makes it, and tells its answer piece by piece.
    async fn streamed(self, writer: Writer, tokens_max: Option<u64>) -> Result<Response, Failure> {
        let events = Events::new(writer, self.answered.clone(), tokens_max);
        let feed = Feed::begin(self, events).await?;
        Ok(feed.into_response())
    }
}

/// What an answer cost, for the last event of a stream.
fn cost(made: &Made) -> Value {
    let receipt = made.answer.receipt.as_ref();
    json!({
        "charged": made.answer.charged.to_string(),
        "receipt": receipt.map(|signed| signed.receipt.id.to_string()),
        "provider": made.provider,
    })
}

/// Now, in seconds since the Unix epoch.
pub(super) fn now_secs() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default().as_secs()
}

/// How long a call may take, as long as these clients wait.
pub(super) const TIME_MAX: Duration = Duration::from_secs(600);
