//! A whole node against a chain that reorganises, falls silent and loses transactions.
//!
//! Not here: HTTP (the gateway's tests), and what the client alone does about faults
//! (`rialto-chain`'s).

#![expect(
    clippy::unwrap_used,
    reason = "a failed unwrap in a test's helper fails the test"
)]

mod ambient;
mod exact;
mod failures;
mod follows;
mod hires;
mod lifecycle;
mod loading;
mod mesh;
mod pending;
mod refunds;
mod reorgs;
mod responses;
mod silence;
mod state;
mod streams;
mod unpaid;
mod withdrawals;
mod world;
