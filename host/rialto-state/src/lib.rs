//! Keeps services' keys and values on redb: a bucket for each service, and one for each of its payers.
//!
//! One thread writes: it takes all changes that wait, makes them in their order in one transaction, and shows
//! the result to readers before anybody is answered. So a swap and an increment are decided against what
//! every earlier change left, whoever else changes the same key meanwhile.
//!
//! A change is in the file when [`State::sync`] returns, which whoever answers for it must await first. Many
//! that wait share one sync, and a call that changes ten keys pays for one. What nobody waits for is synced
//! soon after. An error of the disk takes back everything since the last sync: the file is opened again as it
//! was then, and whoever waits for what is gone is told so.
//!
//! Non-goals: who may open which bucket, and what WebAssembly sees of it (`rialto-host`); sharing state between
//! machines.
#![deny(unsafe_code)]

mod error;
mod place;
mod state;
mod tables;
mod writer;

pub use error::{OpenError, StateError};
pub use place::{Folder, Place};
pub use state::{Start, State};
pub use tables::{Change, Changed, Entry};

use std::time::Duration;

/// Whose keys: a service's own, or those of one of its payers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bucket {
    /// The service's name; its versions share it.
    pub service: String,
    /// The payer; empty for the service's own bucket.
    pub payer: String,
}

/// What is kept at most, and how long it may wait for the disk.
#[derive(Debug, Clone)]
pub struct Config {
    /// Bytes of all buckets together, as [`ENTRY_BYTES`] counts them.
    pub bytes_max: u64,
    /// Payers of one service that have a bucket.
    pub payers_max: u64,
    /// Changes that wait for the writer; more are refused.
    pub queue_max: usize,
    /// Memory for pages of the file, in bytes.
    pub cache_bytes: usize,
    /// How long a change may be in no file that nobody waits for.
    pub sync_after: Duration,
    /// A file of so many bytes that holds less than a quarter of them is made smaller when it is opened.
    pub compact_bytes_min: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            bytes_max: 4 << 30,
            payers_max: 10_000,
            queue_max: 4_096,
            cache_bytes: 64 << 20,
            sync_after: Duration::from_secs(1),
            compact_bytes_min: 64 << 20,
        }
    }
}

/// What an entry counts besides the bytes of its key and its value: what the file needs to find it.
pub const ENTRY_BYTES: u64 = 64;
