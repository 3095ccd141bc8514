//! The development chain from outside: what JSON-RPC answers, and what survives a restart.
//!
//! Non-goals: the contracts and the client, which have their own tests.

#![expect(
    clippy::unwrap_used,
    reason = "a failed unwrap in a test's helper fails the test"
)]

mod http;
mod logs;
mod node;
mod persistence;
mod reads;
mod time;
mod transactions;
