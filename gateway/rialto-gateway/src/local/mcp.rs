//! `/mcp` at the local door: this node's services and those of the mesh as tools, for agents that know nothing of
//! payment. The node's wallet pays, within a budget.
//!
//! What somebody else's service takes and answers is what its publisher signed. Who answers is chosen anew for each
//! call.

use std::sync::Arc;

use axum::extract::{Query, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, post};
use futures_util::stream::StreamExt as _;
use rialto_channels::Amount;
use rialto_channels::price::MethodPrice;
use rialto_node::FoundService;
use rialto_registry::index;
use rialto_registry::signed_manifest::MethodText;
use rialto_registry::{Name, SignedManifest};
use serde_json::{Value, json};

use super::access::Guest;
use super::calls::{Made, listen, make};
use super::plain::TIME_MAX;
use super::{Local, no_wallet, refused};
use crate::client::mesh::{Ask, MeshClient};
use crate::client::{Body, Part};
use crate::listing::PriceRecord;
use crate::mcp::{
    self, Answered, Payer, Texts, Told, ToolCall, Toolbox, Tools, Words, best, described, failed,
    in_object, is_object, name_of, no_tool, parts, told,
};
use crate::problem::{ErrorCode, Problem, with_causes};
use crate::record::ReceiptRecord;
use crate::routes::mcp::Wanted;

pub(super) fn route() -> MethodRouter<Arc<Local>> {
    post(answer).fallback(async || mcp::other())
}

async fn answer(
    State(local): State<Arc<Local>>,
    Query(wanted): Query<Wanted>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let guest = match local.access.guest(&parts.headers) {
        Ok(guest) => guest,
        Err(problem) => return problem.into_response(),
    };
    let held = match local.bodies.read(&parts.headers, body).await {
        Ok(held) => held,
        Err(problem) => return problem.into_response(),
    };
    let door = Door {
        local: &local,
        guest,
    };
    let wanted = wanted.tools.as_deref();
    mcp::answer(&door, &parts.headers, wanted, &held.bytes).await
}

/// What somebody at the door may use.
struct Door<'a> {
    local: &'a Local,
    guest: Guest,
}

/// Where a tool is called, and how its answer is told.
struct Place {
    is_here: bool,
    streams: bool,
    answers_object: bool,
}

impl Toolbox for Door<'_> {
    const INSTRUCTIONS: &'static str = "The tools are methods of AI services: those that are listed run here, and \
         rialto__search finds those of others as well, by words. Calls are paid from this node's wallet, within a \
         budget a day. rialto__describe says what a tool takes and costs, and rialto__call calls one that is not \
         listed.";
    const PAYER: Payer = Payer::Node;

    fn listed(&self) -> Tools {
        Tools::of(&self.local.node, Self::PAYER).retain(|service| self.guest.may_use(service))
    }

    fn search(&self, query: &str, limit: usize) -> Result<Vec<Value>, Problem> {
        let words = Words::of(query);
        let mut found = self.listed().found(&words);
        found.extend(self.found_elsewhere(query, &words)?);
        Ok(best(found, limit))
    }

    async fn describe(&self, name: &str) -> Result<Value, Problem> {
        let tools = Tools::around(name, &self.local.node, Self::PAYER);
        if let Some(tool) = tools.get(name) {
            return Ok(tools.describe(tool));
        }
        let found = self.elsewhere(name).await?;
        let (published, method) = found.ok_or_else(|| no_tool(name))?;
        let token = &self.local.node.payee().token_name;
        Ok(describe(&published, &method, token))
    }

    async fn call(&self, call: ToolCall<'_>) -> Option<Answered> {
        let made = async {
            let Some((service, method)) = parts(call.name) else {
                return Ok(None);
            };
            let Some(place) = self.place(call.name).await? else {
                return Ok(None);
            };
            let client = self.local.client.clone().ok_or_else(no_wallet)?;
            let ask = self.ask(service, method, call.arguments)?;
            self.make(client, ask, place, call.wants_items)
                .await
                .map(Some)
        };
        made.await
            .unwrap_or_else(|problem| Some(Answered::Whole(failed(problem))))
    }
}

impl Door<'_> {
    /// Methods of services that others offer.
    fn found_elsewhere(&self, query: &str, words: &Words) -> Result<Vec<(u32, Value)>, Problem> {
        let query = index::Query {
            text: query.to_owned(),
            limit: index::HITS_MAX,
            ..index::Query::default()
        };
        let found = self.local.offered(&query)?.into_iter();
        let found = found.filter(|it| {
            let name = it.service.as_str();
            self.local.node.service(name).is_none() && self.guest.may_use(name)
        });
        Ok(found.flat_map(|it| tools_of(&it, words)).collect())
    }

    /// A method that this node does not run, as its publisher described it.
    async fn elsewhere(&self, name: &str) -> Result<Option<(SignedManifest, MethodText)>, Problem> {
        let Some((service, method)) = parts(name) else {
            return Ok(None);
        };
        let node = &self.local.node;
        let Ok(service) = service.parse::<Name>() else {
            return Ok(None);
        };
        if node.peer().is_none() || node.service(service.as_str()).is_some() {
            return Ok(None);
        }
        let published = node.published(&service).await.map_err(|error| {
            let why = with_causes(&error);
            let message = format!("what `{service}` offers cannot be looked up: {why}");
            Problem::new(ErrorCode::Unavailable, message)
        })?;
        Ok(published.and_then(|published| {
            let mut methods = published.methods().iter();
            let method = methods.find(|it| it.name == method)?.clone();
            Some((published, method))
        }))
    }

    async fn place(&self, name: &str) -> Result<Option<Place>, Problem> {
        let tools = Tools::around(name, &self.local.node, Self::PAYER);
        if let Some(tool) = tools.get(name) {
            return Ok(Some(Place {
                is_here: true,
                streams: tool.method.streams,
                answers_object: tool.answers_object(),
            }));
        }
        let found = self.elsewhere(name).await?;
        Ok(found.map(|(_, method)| Place {
            is_here: false,
            // Whoever answers says.
            streams: true,
            answers_object: is_object(&method.output),
        }))
    }

    fn ask(&self, service: &str, method: &str, arguments: &str) -> Result<Ask, Problem> {
        let bad = |error| {
            let message = format!("`{service}` {error}");
            Problem::new(ErrorCode::ArgumentsInvalid, message)
        };
        let body = Body::text(arguments.to_owned());
        let name = service.parse().map_err(bad)?;
        Ok(Ask {
            allowance: Some(self.guest.allowance(service)?),
            ..Ask::once(name, method, body, TIME_MAX)
        })
    }

    async fn make(
        &self,
        client: MeshClient,
        ask: Ask,
        place: Place,
        wants_items: bool,
    ) -> Result<Answered, Problem> {
        let gateway = place.is_here.then(|| self.local.bases.gateway().to_owned());
        let is_object = place.answers_object;
        if !(wants_items && place.streams) {
            let made = make(&client, gateway.as_deref(), &ask, None).await?;
            return Ok(Answered::Whole(result(&made, is_object)));
        }
        let heard = listen(client, gateway, ask).map(move |part| match part {
            Part::Item(item) => Told::Item(item),
            Part::Anew => {
                let message = "the provider lost its answer and began another one";
                let problem = Problem::new(ErrorCode::PeerBrokeOff, message).hint("call it again");
                Told::Result(failed(problem))
            }
            Part::Ended(made) => Told::Result(match *made {
                Ok(made) => result(&made, is_object),
                Err(problem) => failed(problem),
            }),
        });
        Ok(Answered::Stream(heard.boxed()))
    }
}

/// Summaries of the methods of a service that others offer, with how well each fits.
fn tools_of(found: &FoundService, words: &Words) -> Vec<(u32, Value)> {
    let service = found.service.as_str();
    let tools = found.methods.iter().filter_map(|(method, docs)| {
        let prices = found.listed.iter().filter_map(|it| it.prices.get(method));
        let prices = prices.filter_map(|price| price.parse::<Amount>().ok());
        let least = prices.min()?;
        let texts = Texts {
            names: vec![service, method],
            description: &found.description,
            docs: vec![docs],
            params: found.tags.iter().map(String::as_str).collect(),
        };
        // The index knows more of it than these texts.
        let score = words.score(&texts).unwrap_or(1);
        let texts = [docs.as_str(), &found.description];
        let description = texts.iter().find_map(|text| text.trim().lines().next());
        let summary = json!({
            "name": name_of(service, method),
            "description": description.unwrap_or(service),
            "service": found.description,
            "price": format!("from {least}"),
            "providers": found.listed.len(),
        });
        Some((score, summary))
    });
    tools.collect()
}

fn describe(published: &SignedManifest, method: &MethodText, token: &str) -> Value {
    let service = published.name().as_str();
    let manifest = published.manifest();
    let mut prices = manifest.prices().iter();
    let price = prices.find(|(name, _)| name.to_snake_case() == method.name);
    // No money can be taken for what the price list does not name.
    let price = PriceRecord::new(&price.map_or_else(MethodPrice::default, |(_, price)| *price));
    let docs = match method.docs.trim() {
        "" => manifest.description(),
        docs => docs,
    };
    let cost = Payer::Node.cost(&price.summary, token);
    let text = format!("{docs}\n\n{cost}");
    let mut described = described(
        (service, &method.name),
        &text,
        method.input.clone(),
        in_object(&method.output),
    );
    described["_meta"] = json!({
        "rialto/price": price,
        "rialto/publisher": published.publisher(),
        "rialto/version": published.version(),
    });
    described
}

/// What came of a call that was paid here.
fn result(made: &Made, is_object: bool) -> Value {
    let answer = &made.answer;
    let mut meta = json!({ "rialto/charged": answer.charged.to_string() });
    if let Some(receipt) = &answer.receipt {
        meta["rialto/receipt"] = json!(ReceiptRecord::from(receipt));
    }
    if let Some(provider) = &made.provider {
        meta["rialto/provider"] = provider.as_str().into();
    }
    if let Some(why) = &answer.broke_off {
        let cause = refused::of_client(why);
        let message = format!("the answer broke off, and what came is charged: {why}");
        let mut result = failed(Problem::new(cause.code(), message));
        for (key, value) in meta.as_object_mut().into_iter().flatten() {
            result["_meta"][key] = value.take();
        }
        return result;
    }
    let mut result = told(&answer.body, is_object, meta);
    if let (Some(fault), Some(content)) = (&answer.receipt_fault, result["content"].as_array_mut())
    {
        let text = format!("the host broke its word: {fault}");
        content.push(json!({ "type": "text", "text": text }));
    }
    result
}
