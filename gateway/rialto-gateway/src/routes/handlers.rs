//! Requests to services that are handlers of `wasi:http`, as they are: any method, any path.
//!
//! The same call as `handle` below `/services`, in another form: the request becomes its parameters and
//! its result the response, so payments, receipts and limits are the same. A receipt's hash of the request
//! is of those parameters as JSON, and that of the answer of the response as JSON.
//!
//! What a service writes goes out as it is when it is there before long, with what it cost in headers; what is
//! large or takes its time goes out while it is written (`bodies`).
//!
//! What a stranger's service says to browsers stays in its own world: pages are sandboxed, and headers
//! that would speak for the gateway (payments, cookies, other origins) are left out.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use rialto_node::{self as node, Arguments, Lineage, Terms};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::gateway::Gateway;
use crate::problem::{ErrorCode, Problem};
use crate::routes::bodies::{self, Closing};
use crate::routes::calls::{Asked, Route, Sent, manner_of};
use crate::routes::refusal::Refusal;
use crate::x402::payment::{Manner, Means, Presented};

/// What follows the service's name, if anything does.
#[derive(Debug, Deserialize)]
pub(crate) struct Target {
    service: String,
    #[serde(default)]
    path: String,
}

/// Any request.
pub(crate) async fn handle(
    State(gateway): State<Arc<Gateway>>,
    Path(target): Path<Target>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let route = Route::of_handler(&gateway, &parts.headers, &target.service);
    let answer = async {
        check_handler(&gateway, &target.service)?;
        let presented = route.presented(&parts.headers, &route.terms(0)?)?;
        let is_refund = |it: &Presented| matches!(it.means, Means::Refund(_));
        if !presented.as_ref().is_some_and(is_refund) {
            route.check_open()?;
        }
        let held = gateway.bodies.read(&parts.headers, body).await?;
        let json = arguments(&parts, &target.path, &held.bytes);
        let bytes = u64::try_from(json.len()).unwrap_or(u64::MAX);
        let terms = route.terms(bytes)?;
        let manner = manner_of(presented.as_ref());
        let means = route.means(presented, &terms)?;
        if let Some(Means::Refund(request)) = means {
            return route.refund(*request, &terms).await;
        }
        let sent = Sent {
            digest: Sha256::digest(&json).into(),
            arguments: Arguments::Json(json),
            bytes,
            lineage: Lineage::default(),
        };
        if parts.method == Method::HEAD {
            // Nobody would take the body.
            let (outcome, known) = route.make(means, &terms, sent).await?;
            let response = route.result(&outcome, known, manner);
            return written(response, &outcome.body);
        }
        route.response(means, manner, &terms, sent).await
    };
    answer.await.unwrap_or_else(unwrapped)
}

impl Route<'_> {
    /// Makes the call, whose response goes out while it is written.
    async fn response(
        &self,
        means: Option<Means>,
        manner: Manner,
        terms: &Terms,
        sent: Sent,
    ) -> Result<Response, Refusal> {
        let Asked {
            request,
            deposit,
            known,
        } = self.asked(means, terms, sent)?;
        let of = (terms, request.body_bytes);
        let responded = self.gateway.node.respond(request).await;
        let responded =
            responded.map_err(|error| self.unanswered(error, of, deposit.clone(), known))?;
        match responded {
            node::Response::Whole(outcome) => {
                let response = self.result(&outcome, known, manner);
                written(response, &outcome.body)
            }
            node::Response::Streams { head, body } => {
                let receipt = body.receipt();
                let closing = Closing {
                    teller: self.teller(),
                    manner,
                    known,
                };
                let is_paid = receipt.is_some();
                let response = bodies::response(body, receipt, closing);
                let head = serde_json::from_slice(&head)
                    .map_err(|error| Refusal::from(Problem::internal(&error)))?;
                headed(response, head, is_paid)
            }
        }
    }
}

fn check_handler(gateway: &Gateway, service: &str) -> Result<(), Refusal> {
    let view = gateway.node.service(service);
    let is_handler = |name: &str| name.starts_with("wasi:http/");
    if view.is_some_and(|view| !is_handler(&view.interface.name)) {
        return Err(Problem::new(
            ErrorCode::MethodUnknown,
            format!("`{service}` has functions and handles no requests"),
        )
        .hint(format!("call one below /services/{service}"))
        .into());
    }
    // Unknown services are refused where their terms are asked for.
    Ok(())
}

/// The parameters of `handle`. Keys in this order: receipts hash the text.
fn arguments(parts: &Parts, path: &str, body: &Bytes) -> Bytes {
    let query = parts.uri.query();
    let query = query.map_or_else(String::new, |query| format!("?{query}"));
    let headers: Vec<Value> = parts
        .headers
        .iter()
        .filter(|(name, _)| !is_ours(name) && !is_of_the_connection(name))
        .filter_map(|(name, value)| Some(json!([name.as_str(), value.to_str().ok()?])))
        .collect();
    let arguments = json!({
        "method": parts.method.as_str(),
        "path": format!("/{}{query}", original(parts, path)),
        "headers": headers,
        "body": STANDARD.encode(body),
    });
    Bytes::from(arguments.to_string())
}

/// The path as it was sent: what the router gives has its escapes undone.
fn original<'a>(parts: &'a Parts, path: &'a str) -> &'a str {
    let mut rest = parts.uri.path().splitn(4, '/');
    // "", "http", the service, and what follows.
    rest.nth(3).unwrap_or(path)
}

#[derive(Debug, Deserialize)]
struct Written {
    #[serde(flatten)]
    head: Head,
    body: String,
}

#[derive(Debug, Deserialize)]
struct Head {
    status: u16,
    headers: Vec<(String, String)>,
}

/// The guest's response, with what the gateway says of the payment.
fn written(response: Response, json: &[u8]) -> Result<Response, Refusal> {
    let is_paid = response
        .headers()
        .contains_key(crate::x402::header::RIALTO_RECEIPT);
    let unreadable = |error: &dyn std::fmt::Display| Refusal::from(Problem::internal(error));
    let written: Written = serde_json::from_slice(json).map_err(|error| unreadable(&error))?;
    let body = STANDARD.decode(&written.body);
    let body = body.map_err(|error| unreadable(&error))?;
    let response = response.map(|_| Body::from(body));
    headed(response, written.head, is_paid)
}

/// A response with the guest's head, as far as it speaks for itself.
fn headed(response: Response, head: Head, is_paid: bool) -> Result<Response, Refusal> {
    let (mut parts, body) = response.into_parts();
    parts.status = StatusCode::from_u16(head.status)
        .map_err(|error| Refusal::from(Problem::internal(&error)))?;
    parts.headers.remove(header::CONTENT_TYPE);
    take_over(&mut parts.headers, head.headers, is_paid);
    let sandbox = HeaderValue::from_static("sandbox allow-scripts allow-forms");
    parts
        .headers
        .append(header::CONTENT_SECURITY_POLICY, sandbox);
    Ok(Response::from_parts(parts, body))
}

fn take_over(into: &mut HeaderMap, headers: Vec<(String, String)>, is_paid: bool) {
    for (name, value) in headers {
        let (Ok(name), Ok(value)) = (
            HeaderName::try_from(name.as_str()),
            HeaderValue::try_from(value),
        ) else {
            continue;
        };
        // A paid answer is its payer's alone, whatever the service says.
        let is_private = is_paid && name == header::CACHE_CONTROL;
        if is_ours(&name) || is_of_the_connection(&name) || is_private {
            continue;
        }
        if name == header::CACHE_CONTROL {
            into.remove(&name);
        }
        into.append(name, value);
    }
}

/// A service's own failure is its response: with its status and without a charge.
fn unwrapped(refusal: Refusal) -> Response {
    if let Refusal::Problem(problem) = &refusal
        && let Some(json) = problem.service_error()
        && let Ok(response) = written(Response::default(), json.to_string().as_bytes())
    {
        return response;
    }
    refusal.into_response()
}

/// Headers of one connection, which nobody passes on (RFC 9110, 7.6.1), and lengths, which are counted anew.
fn is_of_the_connection(name: &HeaderName) -> bool {
    const NAMES: [&str; 10] = [
        "connection",
        "content-length",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    NAMES.contains(&name.as_str())
}

/// Headers by which the gateway speaks, and by which a browser takes one service for all of them.
fn is_ours(name: &HeaderName) -> bool {
    const NAMES: [&str; 6] = [
        "cookie",
        "set-cookie",
        "strict-transport-security",
        "clear-site-data",
        "service-worker-allowed",
        "x-content-type-options",
    ];
    let begins = |start: &str| name.as_str().starts_with(start);
    NAMES.contains(&name.as_str())
        || begins("payment-")
        || begins("x-payment")
        || begins("rialto-")
        || begins("access-control-")
}
