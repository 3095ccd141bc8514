//! The durable record of money: channel states, payments, receipts and totals. [`Ledger`] is one
//! machine's, on redb; [`SharedLedger`] is a fleet's, on PostgreSQL; what both do is [`Store`].
//!
//! On one machine, one operating-system thread writes. Entries wait in a bounded queue; everything
//! waiting is appended to a log and synced once (group commit), and only then are the callers
//! told. Another thread moves runs of entries from the log into redb's tables.
//! Waiting for the log is rule M4: a voucher is durable before its answer is complete. Rule M5, one
//! execution per payment id, is kept here too: a payment key is stored at most once.
//!
//! The books ([`Store::journal`], [`Store::trial_balance`]) follow from the entries and always
//! balance; [`audit()`] recomputes everything and names the first difference.
//!
//! A write or sync that fails poisons the ledger: nothing more is accepted, and the process
//! should exit. After a failed sync nobody knows what the disk holds, so it is never retried.
//!
//! In a fleet the database keeps the same rules over all replicas; see [`SharedLedger`].
//!
//! Non-goals: replicating storage, protocol decisions, and knowledge of the chain.

mod audit;
mod codec;
mod config;
mod embedded;
mod entry;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod head;
mod journal;
mod postgres;
mod store;

pub use audit::{
    Audit, Audited, ChainFacts, ChannelFact, Difference, Finding, ReceiverFact, SumDifference,
    audit,
};
pub use config::Config;
pub use embedded::{Ledger, Pending, Segment, Storage, Timing};
pub use entry::{Entry, ExactNonce, Movement, PaymentRecord, StoredAnswer, Totals};
pub use error::{CommitError, Damaged, EnqueueError, OpenError, ReadError, StorageError};
pub use journal::{
    Account, AccountBalance, Day, Flow, Flows, JournalLine, Posting, SumOverflow, TrialBalance,
    claimable,
};
pub use postgres::{
    Begun, Changed, Charged, DatabaseUrl, Duty, Execution, NotADatabaseUrl, Provider, SharedConfig,
    SharedError, SharedLedger, SharedOpenError,
};
pub use store::Store;
