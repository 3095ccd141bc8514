//! Calls by name: the node's wallet pays whoever answers.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Query, Request, State};
use axum::response::{IntoResponse, Response};
use futures_util::stream::BoxStream;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use rialto_channels::Amount;
use rialto_registry::router::{Abandon, Hedge};
use serde::Deserialize;

use super::{Local, no_wallet, refused};
use crate::client::mesh::{Ask, Each, MeshAnswer, MeshClient};
use crate::client::{Answer, Body, Ear, Leave, Part, hear};
use crate::problem::{ErrorCode, Problem};
use crate::x402::header::RIALTO_RECEIPT_ID;

/// How a call may be made.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Manner {
    /// The most that it may cost, in base units.
    price_max: Option<String>,
    /// How long it may take, in milliseconds.
    time_ms_max: Option<u64>,
    /// The one region that will do.
    region: Option<String>,
    /// Whether carrying it out twice does no harm.
    idempotent: bool,
    /// What may be left behind at providers that went silent, in base units.
    abandon_max: Option<String>,
    /// What a second provider may cost that is asked while the first is late, in base units.
    hedge_max: Option<String>,
}

/// Calls a method of a service at whichever provider is best.
pub(super) async fn call(
    State(local): State<Arc<Local>>,
    Path((service, method)): Path<(String, String)>,
    manner: Result<Query<Manner>, axum::extract::rejection::QueryRejection>,
    request: Request,
) -> Response {
    match answer(&local, service, method, manner, request).await {
        Ok(answer) => answer,
        Err(problem) => problem.into_response(),
    }
}

async fn answer(
    local: &Local,
    service: String,
    method: String,
    manner: Result<Query<Manner>, axum::extract::rejection::QueryRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let guest = local.access.guest(request.headers())?;
    let allowance = guest.allowance(&service)?;
    let client = local.client.as_ref().ok_or_else(no_wallet)?;
    let Query(manner) = manner.map_err(|error| bad(error.body_text()))?;
    let content_type = request.headers().get(header::CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or("application/json").to_owned();
    let (head, body) = request.into_parts();
    let body = local.bodies.read(&head.headers, body).await?;
    let ask = Ask {
        service: service
            .parse()
            .map_err(|error| bad(format!("`{service}` {error}")))?,
        method,
        body: Body {
            bytes: body.bytes.clone(),
            content_type,
        },
        idempotent: manner.idempotent,
        time_max: Duration::from_millis(manner.time_ms_max.unwrap_or(TIME_MS_MAX)),
        price_max: amount("price_max", manner.price_max)?,
        region: region(manner.region)?,
        abandon: match amount("abandon_max", manner.abandon_max)? {
            Some(most) => Abandon::UpTo(most),
            None => Abandon::Never,
        },
        hedge: match amount("hedge_max", manner.hedge_max)? {
            Some(extra_max) => Hedge::Allowed { extra_max },
            None => Hedge::Never,
        },
        allowance: Some(allowance),
        order: None,
        leave: None,
    };
    // A node alone has nobody else to ask.
    let is_alone = local.node.peer().is_none();
    let gateway = is_alone.then(|| local.bases.gateway());
    Ok(told(make(client, gateway, &ask, None).await?))
}

/// An answer, and who gave it.
pub(super) struct Made {
    pub(super) answer: Answer,
    /// None for this node's own.
    pub(super) provider: Option<String>,
    attempts: u32,
}

/// Makes a call at this gateway, or else at whichever provider is best.
pub(super) async fn make(
    client: &MeshClient,
    gateway: Option<&str>,
    ask: &Ask,
    each: Option<Each<'_>>,
) -> Result<Made, Problem> {
    if let Some(gateway) = gateway {
        let answer = client.call_at(gateway, ask, each).await;
        return Ok(Made {
            answer: answer.map_err(|error| refused::of_client(&error))?,
            provider: None,
            attempts: 1,
        });
    }
    let answered = match each {
        Some(each) => client.stream(ask, each).await,
        None => client.call(ask).await,
    };
    let MeshAnswer {
        answer,
        provider,
        attempts,
        ..
    } = answered.map_err(|error| refused::of_mesh(&error))?;
    Ok(Made {
        answer,
        provider: Some(provider.to_string()),
        attempts,
    })
}

/// As [`make`], part by part. Whoever drops it leaves.
pub(super) fn listen(
    client: MeshClient,
    gateway: Option<String>,
    ask: Ask,
) -> BoxStream<'static, Part<Box<Result<Made, Problem>>>> {
    let leave = Leave::new();
    let ask = Ask {
        leave: Some(leave.clone()),
        ..ask
    };
    hear(leave, |ear: Ear| async move {
        Box::new(make(&client, gateway.as_deref(), &ask, Some(&*ear)).await)
    })
}

fn told(made: Made) -> Response {
    let mut response = (StatusCode::OK, made.answer.body.clone()).into_response();
    let headers = response.headers_mut();
    let json = HeaderValue::from_static("application/json");
    headers.insert(header::CONTENT_TYPE, json);
    mark(headers, &made);
    response
}

/// Says who answered, and at what cost.
pub(super) fn mark(headers: &mut HeaderMap, made: &Made) {
    let receipt = made.answer.receipt.as_ref();
    let told = [
        (
            RIALTO_RECEIPT_ID,
            receipt.map(|signed| signed.receipt.id.to_string()),
        ),
        ("rialto-provider", made.provider.clone()),
        ("rialto-charged", Some(made.answer.charged.to_string())),
        ("rialto-attempts", Some(made.attempts.to_string())),
    ];
    for (name, value) in told {
        if let Some(value) = value.and_then(|value| value.parse().ok()) {
            headers.insert(name, value);
        }
    }
}

fn amount(name: &str, text: Option<String>) -> Result<Option<Amount>, Problem> {
    let parsed = text.map(|text| {
        let parsed = text.parse();
        parsed.map_err(|error| bad(format!("{name} `{text}`: {error}")))
    });
    parsed.transpose()
}

fn region(text: Option<String>) -> Result<Option<rialto_registry::router::Region>, Problem> {
    let parsed = text.map(|text| {
        let parsed = text.parse();
        parsed.map_err(|error| bad(format!("region `{text}` {error}")))
    });
    parsed.transpose()
}

fn bad(message: impl Into<String>) -> Problem {
    Problem::new(ErrorCode::ArgumentsInvalid, message)
}

const TIME_MS_MAX: u64 = 60_000;
