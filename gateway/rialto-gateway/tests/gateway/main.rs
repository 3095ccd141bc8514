//! The gateway on a whole node: real chain, real components, real sockets.
#![expect(
    clippy::unwrap_used,
    reason = "helpers outside test functions; a failure is a failed test"
)]

mod a2a;
mod calls;
mod devices;
mod documents;
mod doors;
mod exact;
mod exposure;
mod facilitated;
mod failures;
mod foreign;
mod forged;
mod frames;
mod handlers;
mod liars;
mod lost;
mod mcp;
mod mesh;
mod metrics;
mod money;
mod openai;
mod overload;
mod payer;
mod payers;
mod quotes;
mod readers;
mod royalty;
mod slow;
mod state;
mod strangers;
mod streams;
mod tasks;
