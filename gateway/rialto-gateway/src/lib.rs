//! The HTTP door: services, x402 payments, OpenAPI and receipts; and a client that pays.
//!
//! A request becomes the node's own types here, and the node's answer becomes HTTP. Whether a
//! voucher is good, what a call costs and what a component may do is decided elsewhere.
//!
//! - [`x402`]: the payment protocol on the wire, strict in and plain out;
//! - [`router`] and [`serve`](serve()): the server; [`operator`](operator()): its operator's own;
//!   [`local`](local()): this machine's programs'; [`serve_tunnels`]: the server over libp2p;
//! - [`MeshMarket`]: other hosts' services for those of this one;
//! - [`client`]: [`client::PayingClient`], which pays one host, and [`client::mesh::MeshClient`], which
//!   chooses among many.
//!
//! Non-goals: TLS, accounts, sessions.

mod a2a;
mod arguments;
mod body;
pub mod client;
mod config;
mod demand;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod gateway;
mod lineage;
mod linger;
pub mod listing;
mod local;
mod market;
mod mcp;
mod moment;
mod openai;
pub mod openapi;
mod operator;
pub mod problem;
pub mod record;
mod requests;
mod routes;
mod serve;
#[cfg(any(test, feature = "fuzzing"))]
mod testing;
pub mod x402;

pub use config::Config;
pub use gateway::router;
pub use local::{Key, Keys, KeysError, LocalDoor, NodeDirectory, local};
pub use market::{MeshMarket, Purchase};
pub use operator::{all_metrics, operator};
pub use requests::Requests;
pub use routes::a2a::TaskJournal;
pub use serve::{serve, serve_tunnels};
