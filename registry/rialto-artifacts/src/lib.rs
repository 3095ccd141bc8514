//! Content-addressed artifacts: store, fetch and verify.
//!
//! An artifact is a file named by the SHA-256 of its bytes. [`Store`] keeps them in one flat folder,
//! `<dir>/<64 hex digits>`, so that any tool can look one up; a file appears under its name only
//! complete, synced and verified, by an atomic rename. [`Store::fetch`] gets a missing artifact from
//! a [`Source`](rialto_registry::Source): a file inside a Python wheel, a local file, or an address.
//!
//! Where the bytes come from never matters for safety: the digest decides what is accepted.
//!
//! Non-goals: deciding which artifacts are wanted, evicting them, and serving them to peers.

mod error;
mod fetch;
mod incoming;
mod pip;
mod progress;
mod quota;
mod store;
mod wheel;

pub use error::{FetchError, OpenError, PutError, ReadError};
pub use progress::{Progress, ProgressFn, silent};
pub use store::{Config, Store};

#[cfg(test)]
mod tests;
