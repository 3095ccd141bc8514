//! The ledger of one machine: a write-ahead file in front of redb.
//!
//! One thread decides on entries in order, appends what it accepts to the log in groups, syncs
//! once, and answers. Another moves finished runs of entries into redb's tables, which are what
//! everything older is looked up in, and removes the part of the log that they cover. Reads see
//! both. After a crash the tables get what the log has and they lack.
//!
//! Non-goals: several processes on one folder; that is what a database server is for.

mod apply;
mod books;
mod checkpoint;
mod decide;
mod file;
mod filter;
mod generation;
mod handle;
mod heads;
mod log;
mod logged;
mod lookup;
mod open;
mod read;
mod state;
mod storage;
mod tables;
mod upgrade;
mod writer;

pub use handle::{Ledger, Pending};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use log::fuzz_log;
pub use state::Timing;
pub use storage::{Segment, Storage};
