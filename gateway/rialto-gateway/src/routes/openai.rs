//! `/v1`: services for clients of OpenAI's API, by [`openai`](crate::openai)'s translation. They pay as x402 says, like
//! anybody: the 402 passes through them to whatever pays beneath.

pub(crate) mod feed;

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use rialto_node::{Arguments, CallOutcome, Lineage, Terms};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use self::feed::Feed;
use crate::body::Held;
use crate::demand;
use crate::gateway::Gateway;
use crate::listing::ServiceRecord;
use crate::openai::events::{Events, Writer};
use crate::openai::models::{self, Model};
use crate::openai::{Answered, Asked, Mistake, chat, embeddings, mistake, responses};
use crate::problem::Problem;
use crate::routes::calls::{Route, Sent, manner_of};
use crate::routes::refusal::Refusal;
use crate::x402::header::PAYMENT_RESPONSE;
use crate::x402::payment::{Manner, Means};

/// `GET /v1/models`.
pub(crate) async fn models(State(gateway): State<Arc<Gateway>>) -> Json<Value> {
    let all = ServiceRecord::all(&gateway.node);
    let models = all.iter().filter(|service| Model::of(service).is_one());
    let models: Vec<Value> = models
        .map(|it| models::model(it, gateway.started_secs))
        .collect();
    Json(json!({ "object": "list", "data": models }))
}

/// `GET /v1/models/{model}`.
pub(crate) async fn model(
    State(gateway): State<Arc<Gateway>>,
    Path(name): Path<String>,
) -> Response {
    match service(&gateway, &name).filter(|it| Model::of(it).is_one()) {
        Some(service) => Json(models::model(&service, gateway.started_secs)).into_response(),
        None => Mistake::unknown_model(&name).into_response(),
    }
}

/// `POST /v1/embeddings`.
pub(crate) async fn embed(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let answer = async {
        let door = Door::open(&gateway, request, "/v1/embeddings").await?;
        let (asked, encoding) = embeddings::read(&door.held.bytes)?;
        door.model(&asked, |model| model.embeds)?;
        let call = door.call(&asked)?;
        call.whole(|outcome, answered| embeddings::answer(&outcome.body, &answered.model, encoding))
            .await
    };
    told(answer.await)
}

/// `POST /v1/chat/completions`.
pub(crate) async fn complete(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let answer = async {
        let door = Door::open(&gateway, request, "/v1/chat/completions").await?;
        let (mut asked, manner) = chat::read(&door.held.bytes)?;
        let model = door.model(&asked, |model| model.chats)?;
        if manner.streams {
            asked.method = if model.streams { "stream" } else { "chat" };
            let call = door.call(&asked)?;
            return call.streamed(Writer::chat(manner), manner.tokens_max).await;
        }
        let call = door.call(&asked)?;
        call.whole(|outcome, answered| chat::answer(&outcome.body, answered))
            .await
    };
    told(answer.await)
}

/// `POST /v1/responses`.
pub(crate) async fn respond(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let answer = async {
        let door = Door::open(&gateway, request, "/v1/responses").await?;
        let (mut asked, manner) = responses::read(&door.held.bytes)?;
        let model = door.model(&asked, |model| model.chats)?;
        if manner.streams {
            asked.method = if model.streams { "stream" } else { "chat" };
            let most = manner.tokens_max;
            let call = door.call(&asked)?;
            return call.streamed(Writer::response(manner), most).await;
        }
        let call = door.call(&asked)?;
        call.whole(|outcome, answered| manner.answer(&outcome.body, answered))
            .await
    };
    told(answer.await)
}

/// Why there is no answer.
enum Failure {
    Mistake(Mistake),
    Refusal(Refusal),
}

impl From<Mistake> for Failure {
    fn from(mistake: Mistake) -> Self {
        Self::Mistake(mistake)
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refusal(refusal)
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Refusal(problem.into())
    }
}

/// A demand of payment stays as it is, for whatever pays beneath the client; the rest is as the client reads it.
fn told(answer: Result<Response, Failure>) -> Response {
    match answer {
        Ok(response) => response,
        Err(Failure::Mistake(mistake)) => mistake.into_response(),
        Err(Failure::Refusal(Refusal::Demand(demand))) => demand.into_response(),
        Err(Failure::Refusal(Refusal::Problem(problem))) => mistake::problem(problem),
        Err(Failure::Refusal(Refusal::Deposited(problem, settlement))) => {
            let mut response = mistake::problem(problem);
            demand::insert(response.headers_mut(), PAYMENT_RESPONSE, &*settlement);
            response
        }
    }
}

fn service(gateway: &Gateway, name: &str) -> Option<ServiceRecord> {
    let view = gateway.node.service(name)?;
    Some(ServiceRecord::new(&view))
}

/// A request whose body is here.
struct Door<'a> {
    gateway: &'a Gateway,
    headers: HeaderMap,
    held: Held,
    path: &'static str,
}

impl<'a> Door<'a> {
    async fn open(
        gateway: &'a Gateway,
        request: Request,
        path: &'static str,
    ) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        Ok(Self {
            gateway,
            held: gateway.bodies.read(&parts.headers, body).await?,
            headers: parts.headers,
            path,
        })
    }

    /// What the model can do, if it is one that can do what is asked.
    fn model(&self, asked: &Asked, can: impl Fn(Model) -> bool) -> Result<Model, Mistake> {
        let found = service(self.gateway, &asked.service);
        let found = found.map(|service| Model::of(&service));
        found
            .filter(|model| can(*model))
            .ok_or_else(|| Mistake::unknown_model(&asked.service))
    }

    /// The call, with the payment that came with the request.
    fn call<'b>(&'b self, asked: &'b Asked) -> Result<Call<'b>, Refusal> {
        let url = format!("{}{}", self.gateway.base_url(&self.headers), self.path);
        let route = Route::new(self.gateway, &self.headers, &asked.service, asked.method).at(url);
        let bytes = u64::try_from(asked.arguments.len()).unwrap_or(u64::MAX);
        let terms = route.terms(bytes)?;
        let presented = route.presented(&self.headers, &terms)?;
        route.check_open()?;
        let manner = manner_of(presented.as_ref());
        let means = route.means(presented, &terms)?;
        if matches!(means, Some(Means::Refund(_))) {
            let message = "a refund is no call: ask for it at the method's own path";
            return Err(Problem::malformed_payment(message).into());
        }
        let sent = Sent {
            arguments: Arguments::Json(asked.arguments.clone()),
            digest: Sha256::digest(&asked.arguments).into(),
            bytes,
            lineage: Lineage::default(),
        };
        Ok(Call {
            route,
            terms,
            means,
            manner,
            sent,
            model: &asked.service,
        })
    }
}

/// A call that is to be made.
struct Call<'a> {
    route: Route<'a>,
    terms: Terms,
    means: Option<Means>,
    manner: Manner,
    sent: Sent,
    model: &'a str,
}

impl Call<'_> {
    /// Makes it, and tells its answer in the client's terms. An answer that cannot be told so, of a service that
    /// only looks like a model, is told as it is: it was paid for.
    async fn whole(
        self,
        tell: impl FnOnce(&CallOutcome, &Answered) -> Option<Value>,
    ) -> Result<Response, Failure> {
        let answered = Answered::now(&self.sent.digest, self.model);
        let made = self.route.make(self.means, &self.terms, self.sent).await;
        let (outcome, known) = made?;
        let body = tell(&outcome, &answered);
        let body = body.map_or_else(|| outcome.body.clone(), |body| body.to_string().into());
        Ok(self.route.result_as(&outcome, known, self.manner, body))
    }

    /// Makes it, and tells its answer piece by piece.
    async fn streamed(self, writer: Writer, tokens_max: Option<u64>) -> Result<Response, Failure> {
        let answered = Answered::now(&self.sent.digest, self.model);
        let begun = self
            .route
            .begin(self.means, self.manner, &self.terms, self.sent);
        let begun = begun.await?;
        let events = Events::new(writer, answered, tokens_max);
        Ok(Feed::new(begun, events).into_response())
    }
}
