//! The network in one process: nodes on the memory transport, honest and hostile.
//!
//! Not here: real sockets, except where a relay needs addresses that look real.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod abuse;
mod artifacts;
mod churn;
mod find;
mod gossip;
mod hostile;
mod publish;
mod relayed;
mod streams;
mod swarms;
