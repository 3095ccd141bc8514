//! The EVM side of the payment channels: contract bindings, a client for any EVM chain, and a
//! development chain in the process.
//!
//! Non-goals: protocol decisions. When to claim, what to charge and whom to serve is decided by
//! `rialto-channels` and the node; this crate carries it out and reports what the chain says.

#![forbid(unsafe_code)]

pub mod client;
pub mod contracts;
pub mod devchain;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod install;
