//! Errors, one type for each operation.

use std::{io, sync::Arc};

use rialto_channels::ChannelId;

/// Why a ledger cannot be opened. The operator's to solve.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder or the writer's thread cannot be made.
    #[error("ledger cannot be set up")]
    Io(#[from] io::Error),
    /// Another process holds the ledger.
    #[error("ledger is in use by another process")]
    InUse,
    /// The file was written by another version of this program.
    #[error("ledger has format {found}, and this program knows {supported}")]
    UnknownFormat {
        /// Found in the file.
        found: u64,
        /// Known here.
        supported: u64,
    },
    /// The file is a database, but not a ledger.
    #[error("file is not a ledger")]
    NotALedger,
    /// redb cannot open or read the file.
    #[error("ledger cannot be read")]
    Storage(#[source] Box<redb::Error>),
}

/// Why an entry is not even queued. Nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnqueueError {
    /// The queue is full: the disk is slower than the load. Refuse the call.
    #[error("ledger's queue is full")]
    QueueFull,
    /// A write failed before, or the writer is gone. Stop the process.
    #[error("ledger takes no more entries")]
    Stopped,
}

/// Why an entry is not durable.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CommitError {
    /// It was not queued.
    #[error(transparent)]
    Refused(#[from] EnqueueError),
    /// The payment key or the receipt's id is stored already (M5); nothing of the entry was
    /// written.
    #[error("payment was executed before")]
    DuplicatePayment,
    /// The authorization was used before; nothing was written.
    #[error("authorization was used before")]
    NonceUsed,
    /// The channel's stored state is newer and does not hold this charge: two writers, or a
    /// state that was not restored. Our bug; nothing was written.
    #[error("channel {0} has a newer stored state without this charge")]
    Conflict(ChannelId),
    /// The record's amounts leave `uint128` (M1). Our bug; nothing was written.
    #[error("recorded amounts overflow")]
    Overflow,
    /// A write or sync failed. Whether the entry is durable is unknown; the ledger takes no
    /// more. Stop the process.
    #[error("ledger cannot be written")]
    Storage(#[source] Arc<redb::Error>),
    /// The writer ended before it answered. Stop the process.
    #[error("ledger's writer is gone")]
    Lost,
}

/// Why a record cannot be read. The operator's to solve.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// redb cannot read.
    #[error("ledger cannot be read")]
    Storage(#[source] Box<redb::Error>),
    /// The bytes of a record are none that this version writes.
    #[error("ledger holds a malformed {0}")]
    Malformed(&'static str),
}

macro_rules! storage_errors {
    ($($error:ty),*) => {$(
        impl From<$error> for ReadError {
            fn from(error: $error) -> Self {
                Self::Storage(Box::new(error.into()))
            }
        }
    )*};
}

storage_errors!(redb::StorageError, redb::TableError, redb::TransactionError);
