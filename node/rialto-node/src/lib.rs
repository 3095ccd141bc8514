//! Composition root: configuration, wiring and supervision.
//!
//! A [`Node`] wires the drivers (host, tensor engine, ledger, chain, artifacts) together and owns
//! their tasks. It makes no protocol decision: whether a voucher is good is asked of
//! `rialto-channels`, whether a component may run of `rialto-host`.

mod api;

pub use api::{
    CallError, CallOutcome, CallRequest, ChainInfo, ChannelPayment, ChannelView, Collected,
    Deposit, ExactPayment, Payment, PaymentError, PayeeTerms, RefundOutcome, RefundRequest,
    ServiceView, Terms,
};
pub use rialto_channels as channels;
pub use rialto_host::{Arguments, Interface};
