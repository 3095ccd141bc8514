//! Composition root: configuration, wiring and supervision.
//!
//! A [`Node`] wires the drivers (host, tensor engine, ledger, chain, artifacts) together and owns
//! their tasks. It makes no protocol decision: whether a voucher is good is asked of
//! `rialto-channels`, whether a component may run of `rialto-host`.

mod api;
mod book;
mod calls;
mod catalog;
mod chain_setup;
mod clock;
mod collect;
pub mod config;
mod deposits;
mod digest;
mod exact;
pub mod keys;
mod manifest;
mod models;
mod node;
mod progress;
mod receipts;
mod refunds;
mod reject;
mod start;
mod turns;

pub use api::{
    CallError, CallOutcome, CallRequest, ChainInfo, ChannelPayment, ChannelView, Collected,
    Deposit, ExactPayment, PayeeTerms, Payment, PaymentError, RefundOutcome, RefundRequest,
    ServiceView, Terms,
};
pub use catalog::{CatalogError, FetchAllError, ServiceError, fetch_artifacts};
pub use chain_setup::ChainStartError;
pub use config::{ChainChoice, Config, ConfigError};
pub use manifest::{ManifestFileError, read_manifest};
pub use models::ModelLoadError;
pub use node::Node;
pub use progress::{Progress, Step};
pub use rialto_host::{
    ArgumentError, Arguments, CallError as ServiceCallError, Interface, Method, Param, Part,
};
pub use start::StartError;
