//! Calls by name: the node's wallet pays whoever answers.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Query, Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use rialto_channels::Amount;
use rialto_registry::router::{Abandon, Hedge};
use serde::Deserialize;

use super::{Local, no_wallet};
use crate::client::mesh::{Ask, MeshAnswer, MeshError};
use crate::client::{Body, ClientError};
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
    };
    match client.call(&ask).await {
        Ok(answered) => Ok(told(answered)),
        Err(error) => Err(refused(&error)),
    }
}

fn told(answered: MeshAnswer) -> Response {
    let MeshAnswer {
        answer,
        provider,
        attempts,
        ..
    } = answered;
    let receipt = answer.receipt.map(|signed| signed.receipt.id.to_string());
    let mut response = (StatusCode::OK, answer.body).into_response();
    let headers = response.headers_mut();
    let json = HeaderValue::from_static("application/json");
    headers.insert(header::CONTENT_TYPE, json);
    let told = [
        (RIALTO_RECEIPT_ID, receipt),
        ("rialto-provider", Some(provider.to_string())),
        ("rialto-charged", Some(answer.charged.to_string())),
        ("rialto-attempts", Some(attempts.to_string())),
    ];
    for (name, value) in told {
        if let Some(value) = value.and_then(|value| value.parse().ok()) {
            headers.insert(name, value);
        }
    }
    response
}

fn refused(error: &MeshError) -> Problem {
    let code = match error {
        MeshError::Nobody { .. } | MeshError::Directory(_) => ErrorCode::Unavailable,
        MeshError::Failed { source, .. } => failed(source),
        MeshError::Late { .. } => ErrorCode::ServiceTimeout,
        MeshError::Key(_) => ErrorCode::ArgumentsInvalid,
    };
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        message = format!("{message}: {error}");
        cause = error.source();
    }
    Problem::new(code, message)
}

/// What the last provider said: its word on the request itself is passed on, and of everything else it counts
/// as possible that the work was done.
fn failed(source: &ClientError) -> ErrorCode {
    if let ClientError::Refused { status, .. } = source {
        if *status == 422 {
            return ErrorCode::ServiceRefused;
        }
        if (400..429).contains(status) {
            return ErrorCode::ArgumentsInvalid;
        }
    }
    ErrorCode::PeerBrokeOff
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
