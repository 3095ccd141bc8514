//! The router: which path does what, and what every answer has in common.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use http::{HeaderName, HeaderValue, Method, header as http_header};
use rialto_node::Node;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{Any, CorsLayer};
use tower_http::set_header::SetResponseHeaderLayer;
use tracing::Instrument as _;
use tracing::field::Empty;

use crate::Config;
use crate::body::Budget;
use crate::moment;
use crate::problem::{ErrorCode, Problem};
use crate::requests::Requests;
use crate::routes::{a2a, calls, catalog, facilitator, handlers, mcp, openai, page, records};
use crate::x402::Network;
use crate::x402::header;
use crate::x402::offer_receipt::SignedOffers;

/// What every route needs.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) node: Node,
    pub(crate) bodies: Budget,
    pub(crate) signed_offers: SignedOffers,
    /// Tasks of A2A.
    pub(crate) tasks: a2a::Tasks,
    /// When this gateway began, as RFC 3339 has it.
    pub(crate) started: String,
    /// The same in seconds since the Unix epoch.
    pub(crate) started_secs: u64,
    pub_url: Option<String>,
}

impl Gateway {
    pub(crate) fn network(&self) -> Network {
        Network(self.node.payee().chain_id)
    }

    /// The URL that the operator says this host is reached by.
    pub(crate) fn public_url(&self) -> Option<&str> {
        self.pub_url.as_deref()
    }

    /// The URL that a client reaches this host by.
    pub(crate) fn base_url(&self, headers: &http::HeaderMap) -> String {
        if let Some(url) = &self.pub_url {
            return url.clone();
        }
        let host = headers
            .get(http_header::HOST)
            .and_then(|host| host.to_str().ok())
            .filter(|host| is_authority(host))
            .unwrap_or("localhost");
        format!("http://{host}")
    }
}

/// The HTTP door of a node.
///
/// Goes on with the tasks of [`Config::task_journal`], for which it has to be called within a runtime.
///
/// The router works with any server; [`serve`](crate::serve()) also bounds connections and times.
pub fn router(node: Node, config: &Config) -> Router {
    let now = SystemTime::now();
    let gateway = Arc::new(Gateway {
        node,
        bodies: Budget::new(config),
        signed_offers: SignedOffers::default(),
        tasks: a2a::Tasks::new(config),
        started: moment::rfc3339(now),
        started_secs: now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
        pub_url: config.public_url.clone(),
    });
    if config.task_journal.is_some() {
        tokio::spawn(a2a::resume(Arc::clone(&gateway)));
    }
    Router::new()
        .route("/", get(page::index))
        .route("/page.css", get(page::style))
        .route("/page.js", get(page::script))
        .route("/services", get(catalog::services))
        .route("/services/{service}", get(catalog::service))
        .route(
            "/services/{service}/{method}",
            get(calls::probe).post(calls::call).fallback(wrong_method),
        )
        .route("/http/{service}", any(handlers::handle))
        .route("/http/{service}/", any(handlers::handle))
        .route("/http/{service}/{*path}", any(handlers::handle))
        .route("/v1/models", get(openai::models))
        .route("/v1/models/{model}", get(openai::model))
        .route("/v1/embeddings", post(openai::embed))
        .route("/v1/chat/completions", post(openai::complete))
        .route("/v1/responses", post(openai::respond))
        .route("/mcp", post(mcp::post).fallback(mcp::other))
        .merge(agents())
        .route("/openapi.json", get(catalog::openapi))
        .route("/.well-known/x402", get(catalog::manifest))
        // Some auditors look for the manifest below the resource that they were given.
        .route(
            "/services/{service}/{method}/.well-known/x402",
            get(catalog::manifest),
        )
        .route("/discovery/resources", get(facilitator::resources))
        .route("/facilitator/supported", get(facilitator::supported))
        .route("/facilitator/verify", post(facilitator::verify))
        .route("/facilitator/settle", post(facilitator::settle))
        .route(
            "/facilitator/discovery/resources",
            get(facilitator::resources),
        )
        .route("/manifests/{service}", get(catalog::signed_manifest))
        .route("/node", get(catalog::node))
        .route("/health", get(catalog::health))
        .route("/receipts/{id}", get(records::receipt))
        .route("/receipts/{id}/below", get(records::below))
        .route("/channels/{id}", get(records::channel))
        .fallback(any(unknown_route))
        .method_not_allowed_fallback(wrong_method)
        .with_state(gateway)
        .layer(DefaultBodyLimit::disable()) // `Budget` limits what is really read
        .layer(CatchPanicLayer::custom(|_| panicked()))
        .layer(middleware::from_fn_with_state(
            Arc::clone(&config.requests),
            traced,
        ))
        .layer(SetResponseHeaderLayer::if_not_present(
            http_header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ))
        .layer(cors())
}

/// Services as agents, and the files by which agents are found.
fn agents() -> Router<Arc<Gateway>> {
    Router::new()
        .route("/.well-known/agent-card.json", get(a2a::card))
        .route("/a2a", any(a2a::host))
        .route("/a2a/", any(a2a::host))
        .route("/a2a/{*path}", any(a2a::below))
        .route(
            "/.well-known/agent-registration.json",
            get(a2a::registrations),
        )
        .route("/registrations/{service}", get(a2a::registration))
}

/// One span and one count for each request. Headers are never recorded, but for the name of the caller's
/// trace: they carry payments.
async fn traced(State(requests): State<Arc<Requests>>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let span = tracing::info_span!(
        "gateway.request",
        http.method = %request.method(),
        http.route = route.as_ref().map_or("", MatchedPath::as_str),
        service = Empty,
        method = Empty,
        status = Empty,
        traceparent = Empty,
    );
    if !span.is_disabled()
        && let Some(caller) = request.headers().get(TRACEPARENT)
        && let Ok(caller) = caller.to_str()
    {
        span.record("traceparent", caller);
    }
    async move {
        let response = next.run(request).await;
        tracing::Span::current().record("status", response.status().as_u16());
        let route = route.as_ref().map_or("", MatchedPath::as_str);
        requests.answered(route, response.status(), began.elapsed());
        tracing::debug!("answered");
        response
    }
    .instrument(span)
    .await
}

/// Pages of any origin may call and pay: what pays is a signature, and there are no cookies.
fn cors() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::OPTIONS])
        .allow_headers(Any)
        .expose_headers([
            HeaderName::from_static(header::PAYMENT_REQUIRED),
            HeaderName::from_static(header::PAYMENT_RESPONSE),
            HeaderName::from_static(header::X_PAYMENT_RESPONSE),
            HeaderName::from_static(header::RIALTO_RECEIPT),
            HeaderName::from_static(header::RIALTO_RECEIPT_ID),
            HeaderName::from_static(header::RIALTO_REPLAYED),
            http_header::RETRY_AFTER,
        ])
        .max_age(Duration::from_secs(3600))
}

/// W3C Trace Context.
const TRACEPARENT: &str = "traceparent";

async fn unknown_route() -> Problem {
    Problem::new(ErrorCode::RouteUnknown, "there is nothing at this path")
        .hint("GET /services lists what this host runs, /openapi.json how to call it")
}

async fn wrong_method() -> Problem {
    Problem::new(
        ErrorCode::MethodNotAllowed,
        "this path does not take this HTTP method",
    )
    .hint("GET /openapi.json says which methods each path takes")
}

pub(crate) fn panicked() -> Response {
    Problem::internal(&"a handler panicked").into_response()
}

/// A host and perhaps a port: nothing that could turn a URL into another one.
fn is_authority(host: &str) -> bool {
    !host.is_empty()
        && host.len() <= 255
        && host
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_header_cannot_smuggle_a_path() {
        for good in ["127.0.0.1:8402", "[::1]:80", "rialto.example"] {
            assert!(is_authority(good), "{good}");
        }
        for bad in ["", "a/b", "a@b", "a b", "a?b", "a#b", "ä", &"x".repeat(256)] {
            assert!(!is_authority(bad), "{bad}");
        }
    }
}
