//! This host as a facilitator: `/verify`, `/settle`, `/supported` and `/discovery/resources`, for
//! other servers that speak x402.
//!
//! A payment that is no good is an answer like any other (200, `isValid` or `success` false), as
//! the published facilitators have it; 400 is for requests that are none, 429 and 503 for a
//! facilitator that cannot now.
//!
//! Not here: whether a payment is good, and for whom this host works (the node's).

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use rialto_node::{ChannelOnChain, Facilitation, FacilitatorError, Verified};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::gateway::Gateway;
use crate::problem::{ErrorCode, Problem};
use crate::routes::catalog;
use crate::x402::offer::checksummed;
use crate::x402::payment::{Asked, FacilitatorRequest, PaymentHeaderError};
use crate::x402::{VERSION, version1};

/// `GET /facilitator/supported`.
pub(crate) async fn supported(State(gateway): State<Arc<Gateway>>) -> Result<Json<Value>, Problem> {
    enabled(&gateway)?;
    let network = gateway.network();
    let kind = |version: u64, scheme: &str, network: &str| json!({"x402Version": version, "scheme": scheme, "network": network});
    let mut kinds = vec![
        kind(VERSION, "batch-settlement", &network.to_string()),
        kind(VERSION, "exact", &network.to_string()),
    ];
    if let Some(name) = version1::network_name(network) {
        kinds.push(kind(version1::VERSION, "exact", name));
    }
    Ok(Json(json!({
        "kinds": kinds,
        "extensions": [],
        "signers": {"eip155:*": [checksummed(gateway.node.host_address())]},
    })))
}

/// `POST /facilitator/verify`.
pub(crate) async fn verify(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let answer = async {
        let asked = read(&gateway, request).await?;
        let Asked { request, .. } = match asked.parse() {
            Ok(asked) => asked,
            Err(error) => {
                let (status, code, message) = unreadable(&error);
                return Ok(invalid(status, code, &message, None));
            }
        };
        let verified = gateway.node.facilitate_verify(&request).await;
        Ok(match verified {
            Ok(verified) => Json(valid(&verified)).into_response(),
            Err(error) => {
                let failure = Failure::new(&error);
                let payer = failure.payer.as_deref();
                let answer = invalid(failure.status, failure.code, &failure.message, payer);
                failure.with_retry(answer)
            }
        })
    };
    answer.await.unwrap_or_else(Problem::into_response)
}

/// `POST /facilitator/settle`.
pub(crate) async fn settle(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let answer = async {
        let asked = read(&gateway, request).await?;
        let name = asked.network_name();
        let Asked {
            request,
            network_name,
        } = match asked.parse() {
            Ok(asked) => asked,
            Err(error) => {
                let (status, code, message) = unreadable(&error);
                return Ok(failed(status, code, &message, None, &name));
            }
        };
        Ok(match gateway.node.facilitate_settle(request).await {
            Ok(done) => Json(settled(&done, &network_name)).into_response(),
            Err(error) => {
                let failure = Failure::new(&error);
                let payer = failure.payer.as_deref();
                let answer = failed(
                    failure.status,
                    failure.code,
                    &failure.message,
                    payer,
                    &network_name,
                );
                failure.with_retry(answer)
            }
        })
    };
    answer.await.unwrap_or_else(Problem::into_response)
}

/// What part of the list is asked for.
#[derive(Debug, Deserialize)]
pub(crate) struct Page {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    limit: Option<usize>,
    #[serde(default)]
    offset: usize,
}

/// `GET /discovery/resources`: what this host sells, a page at a time.
pub(crate) async fn resources(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(page) = page.map_err(|error| {
        Problem::new(ErrorCode::ArgumentsInvalid, error.body_text())
            .hint("`type`, `limit` and `offset` choose a part of the list")
    })?;
    let of_type = page.kind.as_deref().is_none_or(|kind| kind == "http");
    let listed = if of_type {
        catalog::listed(&gateway, &headers)?
    } else {
        Vec::new()
    };
    let limit = page.limit.unwrap_or(PAGE_USUAL).clamp(1, PAGE_MAX);
    let items: Vec<Value> = listed
        .iter()
        .skip(page.offset)
        .take(limit)
        .map(|listed| {
            json!({
                "resource": listed.resource.url,
                "type": "http",
                "x402Version": VERSION,
                "method": "POST",
                "accepts": listed.accepts,
                "lastUpdated": gateway.started,
                "metadata": {
                    "description": listed.resource.description,
                    "service": listed.service,
                    "method": listed.method,
                },
            })
        })
        .collect();
    Ok(Json(json!({
        "x402Version": VERSION,
        "items": items,
        "pagination": {"limit": limit, "offset": page.offset, "total": listed.len()},
    })))
}

fn enabled(gateway: &Gateway) -> Result<(), Problem> {
    if gateway.node.is_facilitator() {
        return Ok(());
    }
    Err(
        Problem::new(ErrorCode::RouteUnknown, "this host is no facilitator")
            .hint("its operator may make it one: `[facilitator] enabled = true`"),
    )
}

async fn read(gateway: &Gateway, request: Request) -> Result<FacilitatorRequest, Problem> {
    enabled(gateway)?;
    let (parts, body) = request.into_parts();
    let held = gateway.bodies.read(&parts.headers, body).await?;
    if held.bytes.len() > BODY_BYTES_MAX {
        let message = format!("a facilitator's request has at most {BODY_BYTES_MAX} bytes");
        return Err(Problem::new(ErrorCode::BodyTooLarge, message)
            .hint("claim fewer channels in one request"));
    }
    serde_json::from_slice(&held.bytes).map_err(|error| {
        Problem::new(
            ErrorCode::BodyMalformed,
            format!("the body cannot be read: {error}"),
        )
        .hint("send JSON: {x402Version, paymentPayload, paymentRequirements}")
    })
}

/// A request that is none is the caller's mistake; a payment in a form that is not taken is a
/// verdict.
fn unreadable(error: &PaymentHeaderError) -> (StatusCode, &'static str, String) {
    match error {
        PaymentHeaderError::Unacceptable { code, message } => {
            (StatusCode::OK, code, message.clone())
        }
        PaymentHeaderError::Header(_) | PaymentHeaderError::Malformed { .. } => (
            StatusCode::BAD_REQUEST,
            "invalid_payload",
            error.to_string(),
        ),
    }
}

/// An error of the node's as HTTP.
struct Failure {
    status: StatusCode,
    code: &'static str,
    message: String,
    payer: Option<String>,
    retry_after_seconds: Option<u64>,
}

impl Failure {
    fn new(error: &FacilitatorError) -> Self {
        let message = error.to_string();
        let (status, code, payer, retry_after_seconds) = match error {
            FacilitatorError::Refused { code, payer, .. } => {
                (StatusCode::OK, *code, payer.map(checksummed), None)
            }
            FacilitatorError::Limited {
                retry_after_seconds,
            } => (
                StatusCode::TOO_MANY_REQUESTS,
                "facilitator_busy",
                None,
                Some(*retry_after_seconds),
            ),
            FacilitatorError::Unavailable { source, .. } => {
                tracing::error!(error = %source, "{message}");
                (
                    StatusCode::SERVICE_UNAVAILABLE,
                    "facilitator_unavailable",
                    None,
                    Some(RETRY_AFTER_SECONDS),
                )
            }
        };
        Self {
            status,
            code,
            message,
            payer,
            retry_after_seconds,
        }
    }

    fn with_retry(&self, mut answer: Response) -> Response {
        if let Some(seconds) = self.retry_after_seconds {
            answer
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        answer
    }
}

fn valid(verified: &Verified) -> Value {
    let mut value = json!({"isValid": true, "payer": checksummed(verified.payer)});
    if let Some(channel) = &verified.channel {
        value["extra"] = json!(channel_state(channel));
    }
    value
}

fn invalid(status: StatusCode, code: &str, message: &str, payer: Option<&str>) -> Response {
    let mut value = json!({
        "isValid": false,
        "invalidReason": code,
        "invalidMessage": message,
    });
    if let Some(payer) = payer {
        value["payer"] = json!(payer);
    }
    (status, Json(value)).into_response()
}

fn settled(done: &Facilitation, network: &str) -> Value {
    let mut value = json!({
        "success": true,
        "transaction": done.transaction.to_string(),
        "network": network,
    });
    if let Some(payer) = done.payer {
        value["payer"] = json!(checksummed(payer));
    }
    if let Some(amount) = done.amount {
        value["amount"] = json!(amount.to_string());
    }
    if let Some(channel) = &done.channel {
        value["extra"] = json!({"channelState": channel_state(channel)});
    }
    value
}

fn failed(
    status: StatusCode,
    code: &str,
    message: &str,
    payer: Option<&str>,
    network: &str,
) -> Response {
    let mut value = json!({
        "success": false,
        "errorReason": code,
        "errorMessage": message,
        "transaction": "",
        "network": network,
    });
    if let Some(payer) = payer {
        value["payer"] = json!(payer);
    }
    (status, Json(value)).into_response()
}

fn channel_state(channel: &ChannelOnChain) -> Map<String, Value> {
    let view = &channel.view;
    let requested_at = view.withdrawal.as_ref().map_or(0, |withdrawal| {
        let delay = channel.config.withdraw_delay;
        withdrawal.finalizes_at.get().saturating_sub(delay)
    });
    let mut state = Map::new();
    let mut add = |name: &str, value: Value| {
        state.insert(name.to_owned(), value);
    };
    add("channelId", json!(channel.id.to_string()));
    add("balance", json!(view.balance.to_string()));
    add("totalClaimed", json!(view.claimed.to_string()));
    add("withdrawRequestedAt", json!(requested_at));
    add("refundNonce", json!(view.refund_nonce.to_string()));
    state
}

/// A hundred claims take about 90 KiB.
const BODY_BYTES_MAX: usize = 256 * 1024;
const RETRY_AFTER_SECONDS: u64 = 2;
const PAGE_USUAL: usize = 20;
const PAGE_MAX: usize = 100;
