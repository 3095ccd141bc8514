//! The durable record of money on one machine: channel states, payments, receipts and totals, on
//! redb.
//!
//! One operating-system thread writes. Entries wait in a bounded queue; everything waiting is
//! written in one transaction and synced once (group commit), and only then are the callers told.
//! That is rule M4: a voucher is durable before its answer is complete. Rule M5, one execution
//! per payment id, is kept here too: a payment key is stored at most once.
//!
//! A write or sync that fails poisons the ledger: nothing more is accepted, and the process
//! should exit. After a failed sync nobody knows what the disk holds, so it is never retried.
//!
//! Non-goals: replication between machines, protocol decisions, and knowledge of the chain.

mod apply;
mod codec;
mod config;
mod entry;
mod error;
mod file;
mod handle;
mod read;
mod tables;
mod writer;

pub use config::Config;
pub use entry::{Entry, ExactNonce, Movement, PaymentRecord, StoredAnswer, Totals};
pub use error::{CommitError, EnqueueError, OpenError, ReadError};
pub use handle::{Ledger, Pending};
