//! Errors, one type for each operation.

use std::{fmt, io, sync::Arc};

use rialto_channels::{B256, ChannelId};

/// Why a ledger cannot be opened. The operator's to solve.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder or a thread cannot be made.
    #[error("ledger cannot be set up: {}", advice(.0))]
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
    /// The files cannot be opened or read.
    #[error("ledger cannot be read")]
    Storage(#[source] Box<StorageError>),
    /// A file that holds acknowledged entries is damaged before its end.
    #[error(transparent)]
    Damaged(#[from] Damaged),
}

/// Acknowledged entries cannot be read back: bytes before the last whole ones are damaged, or a
/// file between others is gone. An unfinished end, as a power cut leaves it, is no damage.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "segment {segment:016x} of the ledger is damaged at byte {offset}: entries from {missing} on \
     are missing and later ones are there; stop, copy the ledger's folder, and restore these \
     segments from a copy of the disk or the channels' state from the payers' vouchers. Starting \
     without them forgets payments that were acknowledged"
)]
pub struct Damaged {
    /// Number of the segment, as in its file's name.
    pub segment: u64,
    /// Where in it.
    pub offset: u64,
    /// The first entry that is missing, in the order of acceptance.
    pub missing: u64,
}

/// What failed below the ledger. The operator's to solve; every entry that was acknowledged is
/// on the disk and is found by the next start.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// A file cannot be written, synced or read.
    #[error("cannot {doing}: {}", advice(source))]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// redb failed.
    #[error("the database file failed: {}", redb_advice(.0))]
    Redb(#[from] redb::Error),
}

impl StorageError {
    pub(crate) fn io(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, source }
    }
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
    /// What is to be taken back is no `exact` payment of this receiver, token and amount. Our bug;
    /// nothing was written.
    #[error("receipt {0} is of no payment outside channels that these figures describe")]
    NotExact(B256),
    /// The record's amounts leave `uint128` (M1). Our bug; nothing was written.
    #[error("recorded amounts overflow")]
    Overflow,
    /// A write or sync failed. Whether the entry is durable is unknown; the ledger takes no
    /// more. Stop the process.
    #[error("ledger cannot be written")]
    Storage(#[source] Arc<StorageError>),
    /// The writer ended before it answered. Stop the process.
    #[error("ledger's writer is gone")]
    Lost,
    /// The database of a shared ledger. Unknown after an outage; try again later.
    #[error(transparent)]
    Shared(#[from] Arc<crate::SharedError>),
}

/// Why a record cannot be read. The operator's to solve.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The files cannot be read.
    #[error("ledger cannot be read")]
    Storage(#[source] Box<StorageError>),
    /// The bytes of a record are none that this version writes.
    #[error("ledger holds a malformed {0}")]
    Malformed(&'static str),
    /// A write failed before, so what was acknowledged cannot be entered in the books. Nothing
    /// of it is lost: solve what the log says, and start again.
    #[error("ledger stopped after a failed write; its books are complete after the next start")]
    Stopped,
    /// The database of a shared ledger.
    #[error(transparent)]
    Shared(#[from] Box<crate::SharedError>),
}

impl From<crate::SharedError> for ReadError {
    fn from(error: crate::SharedError) -> Self {
        Self::Shared(Box::new(error))
    }
}

impl From<redb::Error> for OpenError {
    fn from(error: redb::Error) -> Self {
        Self::Storage(Box::new(error.into()))
    }
}

impl From<StorageError> for OpenError {
    fn from(error: StorageError) -> Self {
        Self::Storage(Box::new(error))
    }
}

impl From<redb::Error> for ReadError {
    fn from(error: redb::Error) -> Self {
        Self::Storage(Box::new(error.into()))
    }
}

/// The system's reason and what the operator can do about it.
fn advice(error: &io::Error) -> impl fmt::Display + use<> {
    let kind = error.kind();
    let advice = if matches!(
        kind,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    ) {
        "free space on the ledger's disk and start again"
    } else if kind == io::ErrorKind::ReadOnlyFilesystem {
        "mount the ledger's disk writable and start again"
    } else if kind == io::ErrorKind::PermissionDenied {
        "let this user write to the ledger's folder and start again"
    } else {
        "check the ledger's disk and start again"
    };
    format!("{error}; {advice}; every entry that was acknowledged is kept")
}

fn redb_advice(error: &redb::Error) -> String {
    if let redb::Error::Io(error) = error {
        return advice(error).to_string();
    }
    format!(
        "{error}; check the ledger's disk and start again; every entry that was acknowledged is kept"
    )
}

macro_rules! storage_errors {
    ($($error:ty),*) => {$(
        impl From<$error> for ReadError {
            fn from(error: $error) -> Self {
                redb::Error::from(error).into()
            }
        }
    )*};
}

storage_errors!(redb::StorageError, redb::TableError, redb::TransactionError);
