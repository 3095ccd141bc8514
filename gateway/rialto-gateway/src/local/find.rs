//! What the mesh has: searching it, and who offers a service.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, Query, State};
use http::{HeaderMap, StatusCode};
use rialto_channels::Amount;
use rialto_node::{FoundService, Node, SearchError};
use rialto_registry::index;
use rialto_registry::reputation::Outcome as Rating;
use rialto_registry::{PeerId, SignedOffer};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Local, meaning, no_wallet};
use crate::client::mesh::{ProviderRecord, ProvidersRecord};
use crate::client::public::may_be_public;
use crate::problem::{ErrorCode, Problem};

/// How programs of this machine reach gateways.
#[derive(Debug, Clone)]
pub(super) struct Bases {
    door: String,
    gateway: String,
}

impl Bases {
    pub(super) fn new(door: &str, gateway: &str) -> Self {
        Self {
            door: door.trim_end_matches('/').to_owned(),
            gateway: gateway.trim_end_matches('/').to_owned(),
        }
    }

    /// This node's own gateway.
    pub(super) fn gateway(&self) -> &str {
        &self.gateway
    }

    /// Where an offer's gateway is: its own URL if it has one, else by libp2p.
    pub(super) fn record(&self, node: &Node, offer: &SignedOffer) -> ProviderRecord {
        let own = node.peer() == Some(offer.peer());
        let private = node.counts_private_addresses();
        let mut said = offer.offer().gateways.iter();
        let said = said.find(|url| private || may_be_public(url));
        let base = match (own, said) {
            (true, _) => self.gateway.clone(),
            (false, Some(url)) => url.trim_end_matches('/').to_owned(),
            (false, None) => format!("{}/peers/{}", self.door, offer.peer()),
        };
        let relayed = said.is_none() && !own && is_relayed(offer);
        let strangers = said.is_some() && !own && !private;
        let reputation = node.reputation(offer.peer());
        ProviderRecord::new(offer, base, relayed, strangers, reputation)
    }
}

/// Whether all addresses of an offer lead through relays.
fn is_relayed(offer: &SignedOffer) -> bool {
    let addresses = &offer.offer().addresses;
    !addresses.is_empty() && addresses.iter().all(|it| it.contains("/p2p-circuit"))
}

/// Hears what came of a call that a program of this machine made itself.
pub(super) async fn rate(
    State(local): State<Arc<Local>>,
    Path(peer): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<StatusCode, Problem> {
    let body = body.map_err(|error| {
        let code = match error.status() {
            StatusCode::PAYLOAD_TOO_LARGE => ErrorCode::BodyTooLarge,
            _ => ErrorCode::BodyMalformed,
        };
        Problem::new(code, format!("no rating: {}", error.body_text())).hint(RATING_HINT)
    })?;
    let peer: PeerId = peer.parse().map_err(|_| {
        Problem::new(ErrorCode::IdMalformed, format!("`{peer}` is no peer's id"))
            .hint("GET /providers/NAME lists them")
    })?;
    let rating: Rating = serde_json::from_slice(&body).map_err(|error| {
        Problem::new(ErrorCode::BodyMalformed, format!("no rating: {error}")).hint(RATING_HINT)
    })?;
    local.node.rate(peer, rating);
    Ok(StatusCode::NO_CONTENT)
}

/// What is searched for.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Wanted {
    text: String,
    interface: Option<String>,
    tag: Option<String>,
    method: Option<String>,
    price_max: Option<String>,
    region: Option<String>,
    hardware: Option<String>,
    /// Whether services that mean the same count as well, whatever their words are.
    meaning: bool,
    limit: Option<usize>,
}

/// Searches what the node knows.
pub(super) async fn search(
    State(local): State<Arc<Local>>,
    headers: HeaderMap,
    wanted: Result<Query<Wanted>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(wanted) = wanted.map_err(|error| bad(error.body_text()))?;
    let by_meaning = wanted.meaning;
    let mut query = query(wanted)?;
    if by_meaning && !query.text.trim().is_empty() {
        let allowance = local.access.guest(&headers)?.allowance(meaning::SERVICE)?;
        let client = local.client.as_ref().ok_or_else(no_wallet)?;
        let meant = meaning::of(&local.node, client, &query.text, allowance).await?;
        query.semantic = Some(meant);
    }
    let found = local.node.search(&query).map_err(|error| alone(&error))?;
    let services: Vec<Value> = found.iter().map(found_json).collect();
    Ok(Json(json!({ "services": services })))
}

/// Lists who offers a service now.
pub(super) async fn providers(
    State(local): State<Arc<Local>>,
    Path(service): Path<String>,
) -> Result<Json<ProvidersRecord>, Problem> {
    let name = service
        .parse()
        .map_err(|error| bad(format!("`{service}` {error}")))?;
    let offers = local.node.providers(&name).await;
    let offers = offers.map_err(|error| alone(&error))?;
    let records = offers
        .iter()
        .map(|offer| local.bases.record(&local.node, offer));
    let rpc = local.node.chain().rpc_url.clone();
    Ok(Json(ProvidersRecord {
        rpc: Some(rpc).filter(|url| !url.is_empty()),
        providers: records.collect(),
    }))
}

fn query(wanted: Wanted) -> Result<index::Query, Problem> {
    let price = wanted.price_max.map(|text| {
        let parsed = text.parse::<Amount>();
        parsed.map_err(|error| bad(format!("price_max `{text}`: {error}")))
    });
    let method = wanted.method.map(|text| {
        let parsed = text.parse();
        parsed.map_err(|error| bad(format!("method `{text}` {error}")))
    });
    Ok(index::Query {
        text: wanted.text,
        interface: wanted.interface,
        tag: wanted.tag,
        method: method.transpose()?,
        price_max: price.transpose()?,
        region: wanted.region,
        hardware: wanted.hardware,
        limit: wanted.limit.unwrap_or(index::Query::default().limit),
        ..index::Query::default()
    })
}

fn found_json(found: &FoundService) -> Value {
    let prices = found
        .listed
        .iter()
        .flat_map(|listed| listed.prices.values());
    let cheapest = prices
        .filter_map(|price| price.parse::<Amount>().ok())
        .min();
    let providers: Vec<Value> = found
        .listed
        .iter()
        .map(|listed| {
            json!({
                "peer": listed.peer.to_string(),
                "prices": listed.prices,
                "region": listed.region,
                "hardware": listed.hardware,
                "load": listed.load,
            })
        })
        .collect();
    json!({
        "service": found.service.as_str(),
        "version": found.version,
        "description": found.description,
        "publisher": found.publisher,
        "tags": found.tags,
        "deprecated": found.deprecated,
        "verified": found.verified,
        "resembles": found.resembles.as_ref().map(rialto_registry::Name::as_str),
        "matched": found.fields,
        "nearness": found.nearness,
        "price_min": cheapest.map(|price| price.to_string()),
        "providers": providers,
    })
}

fn bad(message: impl Into<String>) -> Problem {
    Problem::new(ErrorCode::ArgumentsInvalid, message)
}

fn alone(error: &SearchError) -> Problem {
    Problem::new(ErrorCode::Unavailable, error.to_string())
}

/// The longest rating is a word.
pub(super) const RATING_BYTES_MAX: usize = 64;
const RATING_HINT: &str = r#"one of "in-time", "late", "failed", "bad-receipt", as JSON"#;
