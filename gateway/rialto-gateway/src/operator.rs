//! What a host's operator may see and nobody else: its numbers, for Prometheus.
//!
//! Earnings are private. So this is a router of its own, to be served on a listener that strangers cannot
//! reach (loopback, unless its operator says otherwise), and no part of the public gateway.

mod text;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use rialto_node::Node;
use rialto_node::metrics::Metric;

use crate::problem::{ErrorCode, Problem};
use crate::requests::Requests;

/// The operator's door of a node, with what its gateway counts: [`Config::requests`](crate::Config) of
/// the gateway's configuration.
pub fn operator(node: Node, requests: Arc<Requests>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .fallback(any(unknown))
        .with_state((node, requests))
}

/// All numbers of a node and its gateway as they are now.
#[must_use]
pub fn all_metrics(node: &Node, requests: &Requests) -> Vec<Metric> {
    let mut metrics = node.metrics();
    metrics.insert(0, requests.metric());
    metrics
}

async fn metrics(
    State((node, requests)): State<(Node, Arc<Requests>)>,
    headers: HeaderMap,
) -> Response {
    let metrics = all_metrics(&node, &requests);
    let wants_open = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|accept| accept.to_str().ok())
        .any(|accept| accept.contains(OPEN_METRICS));
    let text = text::open_metrics(metrics);
    let Ok(text) = text else {
        return Problem::internal(&"the metrics cannot be written").into_response();
    };
    let (kind, text) = if wants_open {
        (
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            text,
        )
    } else {
        (
            "text/plain; version=0.0.4; charset=utf-8",
            text::plain(&text),
        )
    };
    let mut response = (StatusCode::OK, text).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn unknown() -> Problem {
    Problem::new(ErrorCode::RouteUnknown, "there is nothing at this path")
        .hint("GET /metrics; calls go to the public gateway")
}

const OPEN_METRICS: &str = "application/openmetrics-text";
