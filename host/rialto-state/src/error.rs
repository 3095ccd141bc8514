//! What can go wrong; each variant says who acts.

use std::io;

/// Why the state cannot be opened. The operator acts.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder or the file cannot be used.
    #[error("the state's file cannot be used")]
    Io(#[from] io::Error),
    /// The file is none of redb's, is damaged, or another process has it.
    #[error("the state's file cannot be opened: {0}")]
    Database(String),
    /// A later version of this program wrote the file.
    #[error(
        "the state has format {found}, and this version knows {known}: use the version that wrote it"
    )]
    Format {
        /// What the file says.
        found: u64,
        /// What this version writes.
        known: u64,
    },
    /// The thread that writes cannot be started.
    #[error("the thread that writes state cannot be started")]
    Thread(#[source] io::Error),
}

/// Why something was not read or not changed. Nothing of a refused change is kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// The bucket would hold more than its quota. The guest or its author acts.
    #[error("the bucket would hold {bytes} bytes, and its quota is {bytes_max}")]
    Quota {
        /// What it would hold.
        bytes: u64,
        /// What it may hold.
        bytes_max: u64,
    },
    /// All buckets together would hold more than the host keeps. The operator acts.
    #[error("the host keeps no more state: all services together have {bytes_max} bytes")]
    Full {
        /// What all buckets may hold.
        bytes_max: u64,
    },
    /// So many payers have a bucket already. The service's author acts.
    #[error("the service has a bucket for each of {payers_max} payers, and none for more")]
    Payers {
        /// How many may.
        payers_max: u64,
    },
    /// An increment of what is no number. The guest acts.
    #[error("the value is no decimal number")]
    NotANumber,
    /// An increment beyond the interface's numbers. The guest acts.
    #[error("the sum is out of range")]
    OutOfRange,
    /// An answer larger than asked for. The guest acts.
    #[error("the values have more than {bytes_max} bytes")]
    TooLarge {
        /// What was allowed.
        bytes_max: u64,
    },
    /// Too many changes wait. Come again.
    #[error("too many changes wait to be written")]
    Busy,
    /// The disk refuses, most likely because it is full. The operator acts.
    #[error("the state cannot be written or read, look at the disk of the data folder: {0}")]
    Storage(String),
    /// What was changed is not in the file, and is gone. The caller tries again.
    #[error("the state could not be made durable, and changes since are lost: {0}")]
    Lost(String),
}

impl StateError {
    pub(crate) fn storage(error: impl Into<redb::Error>) -> Self {
        Self::Storage(error.into().to_string())
    }
}
