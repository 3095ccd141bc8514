//! The door of this machine's own programs: what spends this node's connections or its wallet's money.
//!
//! Served on the loopback alone unless the operator says otherwise, apart from the gateway that strangers
//! reach:
//!
//! - `GET /search?text=…` searches the mesh;
//! - `GET /providers/{service}` lists who offers a service, with their signed offers;
//! - `POST /call/{service}/{method}` calls whoever is best, pays from the node's wallet, and goes to another
//!   where one fails;
//! - `/peers/{peer}/…` is another host's gateway, reached through libp2p.

mod calls;
mod find;
mod peers;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{any, get, post};
use rialto_node::Node;
use rialto_registry::Name;
use tower_http::catch_panic::CatchPanicLayer;

use crate::Config;
use crate::body::Budget;
use crate::client::mesh::{Directory, DirectoryError, Finding, MeshClient};
use crate::gateway::panicked;
use crate::problem::{ErrorCode, Problem};
use find::Bases;
use peers::Peers;

/// What the local door needs.
#[derive(Debug)]
pub(crate) struct Local {
    node: Node,
    bases: Bases,
    peers: Peers,
    client: Option<MeshClient>,
    bodies: Budget,
}

/// The local door of a node. `door` and `gateway` are the URLs by which programs of this machine reach the door
/// and the node's own gateway; `client` pays for calls, where the node has a wallet.
pub fn local(
    node: Node,
    door: &str,
    gateway: &str,
    client: Option<MeshClient>,
    config: &Config,
) -> Router {
    let state = Arc::new(Local {
        bases: Bases::new(door, gateway),
        peers: Peers::new(node.clone()),
        node,
        client,
        bodies: Budget::new(config),
    });
    Router::new()
        .route("/search", get(find::search))
        .route("/providers/{service}", get(find::providers))
        .route("/call/{service}/{method}", post(calls::call))
        .route("/peers/{peer}", any(peers::forward))
        .route("/peers/{peer}/", any(peers::forward))
        .route("/peers/{peer}/{*path}", any(peers::forward))
        .fallback(any(unknown))
        .with_state(state)
        .layer(DefaultBodyLimit::disable()) // `Budget` limits what is really read
        .layer(CatchPanicLayer::custom(|_| panicked()))
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
}

async fn unknown() -> Problem {
    Problem::new(ErrorCode::RouteUnknown, "there is nothing at this path").hint(
        "this is the door of this machine's programs: /search, /providers/NAME, /call/NAME/METHOD, /peers/PEER/…",
    )
}
