//! The door of this machine's own programs: what spends this node's connections or its wallet's money.
//!
//! Served on the loopback alone unless the operator says otherwise, apart from the gateway that strangers
//! reach:
//!
//! - `GET /search?text=…` searches the mesh;
//! - `GET /providers/{service}` lists who offers a service, with their signed offers;
//! - `POST /call/{service}/{method}` calls whoever is best, pays from the node's wallet, and goes to another
//!   where one fails;
//! - `POST /ratings/{peer}` hears what came of a call that a program made and paid itself;
//! - `/v1/…` is OpenAI's API for programs that know nothing of payment, and `/mcp` the mesh's services as tools for
//!   agents that do not either;
//! - `/peers/{peer}/…` is another host's gateway, reached through libp2p.
//!
//! What is paid for here has a budget a day; where others than this machine reach the door, it also wants a key
//! of its own.

mod access;
mod calls;
mod find;
mod keys;
mod mcp;
mod meaning;
mod peers;
mod plain;
mod refused;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Uri, header};
use rialto_node::{FoundService, Node, SearchError};
use rialto_registry::reputation::Outcome as Rating;
use rialto_registry::{Name, PeerId, index};
use tower_http::catch_panic::CatchPanicLayer;

use crate::Config;
use crate::body::Budget;
use crate::client::mesh::{Directory, DirectoryError, Finding, MeshClient};
use crate::gateway::panicked;
use crate::problem::{ErrorCode, Problem, with_causes};
use crate::serve::Caller;
use access::Access;
use find::Bases;
use peers::Peers;

pub use keys::{Key, Keys, KeysError};

/// What the local door needs.
#[derive(Debug)]
pub(crate) struct Local {
    node: Node,
    bases: Bases,
    peers: Peers,
    client: Option<MeshClient>,
    access: Access,
    bodies: Budget,
    /// When this door was opened, in seconds since the Unix epoch.
    started_secs: u64,
}

/// Where a local door is, and who pays for what is asked there.
#[derive(Debug)]
pub struct LocalDoor<'a> {
    /// The URL by which programs of this machine reach it.
    pub url: &'a str,
    /// The URL by which they reach the node's own gateway.
    pub gateway: &'a str,
    /// Pays for calls, where the node has a wallet.
    pub client: Option<MeshClient>,
    /// Whether a key is needed for what spends: others than this machine reach the door.
    pub needs_key: bool,
}

/// The local door of a node. Its budget is the node's configuration; keys, and what was spent, are in the node's
/// data folder.
pub fn local(node: Node, door: LocalDoor<'_>, config: &Config) -> Router {
    let settings = node.config();
    let needs_key = door.needs_key || settings.local.needs_key;
    let access = Access::new(&settings.data_dir, settings.local.day_max, needs_key);
    let guard = Guard {
        door: authority(door.url),
        needs_key: access.needs_key,
    };
    let state = Arc::new(Local {
        bases: Bases::new(door.url, door.gateway),
        peers: Peers::new(node.clone()),
        node,
        client: door.client,
        access,
        bodies: Budget::new(config),
        started_secs: plain::now_secs(),
    });
    let rating = post(find::rate).layer(DefaultBodyLimit::max(find::RATING_BYTES_MAX));
    Router::new()
        .route("/search", get(find::search))
        .route("/providers/{service}", get(find::providers))
        .route("/call/{service}/{method}", post(calls::call))
        .route("/ratings/{peer}", rating)
        .route("/peers/{peer}", any(peers::forward))
        .route("/peers/{peer}/", any(peers::forward))
        .route("/peers/{peer}/{*path}", any(peers::forward))
        .route("/mcp", mcp::route())
        .merge(plain::routes())
        .fallback(any(unknown))
        .with_state(state)
        .layer(middleware::from_fn_with_state(guard, no_pages))
        .layer(DefaultBodyLimit::disable()) // `Budget` limits what is really read
        .layer(CatchPanicLayer::custom(|_| panicked()))
}

/// Lets programs in and pages of browsers not: what is behind this door spends money, and a page that somebody
/// visits may ask a door of this machine for anything. Pages say where they come from (`Origin`,
/// `Sec-Fetch-Site`); one that has a name of its own for this machine asks for another host. Other machines get in
/// where a key is needed, which no page has, by whatever name, and nowhere else.
async fn no_pages(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let is_page = headers.contains_key(header::ORIGIN) || headers.contains_key("sec-fetch-site");
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let host = host.or_else(|| request.uri().authority().map(Authority::as_str));
    let is_named = host.is_none_or(|host| guard.door.as_deref() == Some(host) || is_loopback(host));
    let is_here = is_named && guard.is_own(request.extensions().get()) && !is_forwarded(headers);
    let path = request.uri().path();
    let has_key = (guard.needs_key || is_forwarded(headers))
        && (path == "/mcp" || path.starts_with("/v1/") || path.starts_with("/call/"));
    if is_page || !(is_here || has_key) {
        return Problem::new(
            ErrorCode::RouteUnknown,
            "this door is for programs, not for pages",
        )
        .hint("call it from a program of this machine, by its address")
        .into_response();
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let sandbox = HeaderValue::from_static("sandbox; default-src 'none'");
    headers.insert(header::CONTENT_SECURITY_POLICY, sandbox);
    let nosniff = HeaderValue::from_static("nosniff");
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    response
}

/// What tells programs from pages.
#[derive(Debug, Clone)]
struct Guard {
    door: Option<String>,
    needs_key: bool,
}

impl Guard {
    /// Whether a connection comes from this machine.
    fn is_own(&self, caller: Option<&Caller>) -> bool {
        let own = self.door.as_deref().map(name_of);
        caller.is_none_or(|Caller(address)| {
            let address = address.to_canonical();
            address.is_loopback() || own == Some(address.to_string().as_str())
        })
    }
}

/// Whether something stands in between that lets others through. Not all that do say so: then the operator does
/// (`[local] needs_key`).
pub(super) fn is_forwarded(headers: &HeaderMap) -> bool {
    let says = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];
    says.into_iter().any(|name| headers.contains_key(name))
}

/// The host and port of a door's URL.
fn authority(door: &str) -> Option<String> {
    let uri: Uri = door.parse().ok()?;
    uri.authority().map(ToString::to_string)
}

fn is_loopback(host: &str) -> bool {
    ["127.0.0.1", "localhost", "[::1]"].contains(&name_of(host))
}

/// A host without its port.
fn name_of(host: &str) -> &str {
    host.rsplit_once(':').map_or(host, |(name, _)| name)
}

/// Providers as this node itself finds them.
#[derive(Debug, Clone)]
pub struct NodeDirectory {
    node: Node,
    bases: Bases,
}

impl NodeDirectory {
    /// The directory of a node with these doors.
    #[must_use]
    pub fn new(node: Node, door: &str, gateway: &str) -> Self {
        Self {
            bases: Bases::new(door, gateway),
            node,
        }
    }
}

impl Directory for NodeDirectory {
    fn providers<'a>(&'a self, service: &'a Name) -> Finding<'a> {
        Box::pin(async move {
            let offers = self.node.providers(service).await;
            let offers = offers.map_err(|error| DirectoryError(Box::new(error)))?;
            let records = offers
                .iter()
                .map(|offer| self.bases.record(&self.node, offer));
            Ok(records.filter_map(|record| record.checked()).collect())
        })
    }

    fn ended(&self, provider: PeerId, rating: Rating) {
        self.node.rate(provider, rating);
    }
}

impl Local {
    /// What the mesh offers that a program may be told of: of publishers who are who they say, and to be had. A node
    /// that takes no part in the mesh knows its own services alone, which are not among these.
    fn offered(&self, query: &index::Query) -> Result<Vec<FoundService>, Problem> {
        let mut found = match self.node.search(query) {
            Ok(found) => found,
            Err(SearchError::Alone) => Vec::new(),
            Err(error @ SearchError::Chain(_)) => {
                let message = format!(
                    "what others offer cannot be looked up: {}",
                    with_causes(&error)
                );
                return Err(Problem::new(ErrorCode::Unavailable, message));
            }
        };
        found.retain(|it| it.verified && it.resembles.is_none() && !it.listed.is_empty());
        Ok(found)
    }
}

fn no_wallet() -> Problem {
    let message = "this node has no wallet that is open";
    Problem::new(ErrorCode::Unavailable, message)
        .hint("start it with --password-file, or pay yourself: rialto call --mesh")
}

async fn unknown() -> Problem {
    Problem::new(ErrorCode::RouteUnknown, "there is nothing at this path").hint(
        "this is the door of this machine's programs: /v1, /mcp, /search, /providers/NAME, /call/NAME/METHOD, /ratings/PEER, /peers/PEER/…",
    )
}
