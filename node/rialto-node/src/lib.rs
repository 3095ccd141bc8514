//! Composition root: configuration, wiring and supervision.
//!
//! A [`Node`] wires the drivers (host, tensor engine, ledger, chain, artifacts) together and owns
//! their tasks. It makes no protocol decision: whether a voucher is good is asked of
//! `rialto-channels`, whether a component may run of `rialto-host`.

mod accounts;
mod answers;
mod api;
mod artifacts;
mod book;
mod calls;
mod catalog;
mod cells;
mod chain_setup;
mod clock;
mod collect;
mod computers;
pub mod config;
mod consent;
mod deposits;
mod digest;
mod engines;
mod exact;
mod exposure;
mod facilitator;
mod failures;
mod fleet;
mod hires;
pub mod keys;
mod languages;
mod lifecycle;
mod manifest;
mod market;
mod mesh;
mod meters;
pub mod metrics;
mod models;
mod money;
mod node;
mod outbound;
mod pending;
mod progress;
mod promises;
mod receipts;
mod redeposit;
mod refunds;
mod reject;
mod resolve;
mod royalties;
mod settings;
mod settlements;
mod shelf;
mod standard;
mod start;
mod state;
mod streams;
pub mod trace;
mod turns;
mod watch;

pub use accounts::{Accounts, AccountsError, ChannelAccount, Moved, ProviderAccount};
pub use api::{
    AnyConsent, CallError, CallOutcome, CallRequest, ChainInfo, ChannelPayment, ChannelView,
    Closed, Collected, Deposit, DepositAuthorization, DepositMethods, ExactPayment, Lineage,
    PayeeTerms, Payment, PaymentError, Permit2Authorization, RefundOutcome, RefundRequest,
    Released, ServiceView, Terms, TokenPermit,
};
pub use artifacts::{Artifacts, ArtifactsError};
pub use catalog::{
    CatalogError, ChangeError, Changed, FetchAllError, ServiceError, ServiceStanding, Standing,
    fetch_artifacts,
};
pub use cells::serve_cell;
pub use chain_setup::ChainStartError;
pub use computers::{Computer, ComputerState, survey_computers};
pub use config::{
    ChainChoice, Config, ConfigError, Gateway as GatewayChoice, LedgerChoice, LogFormat,
    Mesh as MeshChoice, Observability, PayerTerms, Payers, SecretSource, ServiceSettings,
};
pub use engines::{Found, Program, State, serve_engine_worker, survey};
pub use facilitator::{
    Action, ChannelOnChain, Facilitated, Facilitation, FacilitatorError, Verified, Wanted,
};
pub use manifest::{ManifestFileError, read_manifest};
pub use market::{Asking, Bought, BoughtItems, BoughtStream, Form, Market, Order, Tender};
pub use mesh::{
    AgentCalls, DialError, Duplex, FoundService, ListedProvider, MeshError, OnChain, PublishError,
    Publishing, RateError, Said, SearchError, TakeError, ToPublish, ToRate, Tunnel, TunnelProtocol,
    Tunnels, Unread, agent_metadata,
};
pub use models::ModelLoadError;
pub use node::Node;
pub use progress::{Progress, Step};
pub use rialto_artifacts::{Collected as CollectedArtifacts, Entry as ArtifactEntry};
pub use rialto_chain::client::{SignedClaims, SignedRefund};
pub use rialto_host::{
    ArgumentError, Arguments, BOUNDS as HISTOGRAM_BOUNDS, CallError as ServiceCallError, DoorLoad,
    HireError, Histogram, HistogramView, Interface, Isolation, ItemList, Limit, Method, Param,
    Part, is_public,
};
pub use rialto_ledger::{Audited, Finding};
pub use settings::SettingsError;
pub use shelf::PendingError;
pub use start::StartError;
pub use streams::{CallStream, Response, StreamEnd, StreamPart};
