//! The host's whole suite once more with every service in a process of its own, and what only cells do.
#![expect(
    clippy::unwrap_used,
    reason = "helpers outside test functions; a failure is a failed test"
)]

#[path = "../host/main.rs"]
mod host;
mod levels;
mod process;
