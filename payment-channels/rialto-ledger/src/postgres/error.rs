//! Errors of the shared ledger, by what the caller does next.

use rialto_channels::payee::RestoreError;

/// Why the shared ledger did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum SharedError {
    /// The database cannot be reached or does not answer in time. Nothing is known to be written:
    /// refuse the call, try again later.
    #[error("the shared ledger's database is unavailable")]
    Unavailable(#[source] Box<sqlx::Error>),
    /// This replica knows that the database is away and did not ask.
    #[error("the shared ledger's database is away")]
    Down,
    /// Other transactions were in the way too often; nothing was written. Try again later.
    #[error("the shared ledger is contended: {tries} tries were in vain")]
    Contended {
        /// How often it was tried.
        tries: u32,
        /// The last conflict.
        #[source]
        source: Box<sqlx::Error>,
    },
    /// The database refuses what this version asks. The operator's to solve, or our bug.
    #[error("the shared ledger's database refuses a statement")]
    Refused(#[source] Box<sqlx::Error>),
    /// The bytes of a record are none that this version writes.
    #[error("the shared ledger holds a malformed {0}")]
    Malformed(&'static str),
    /// A channel's record contradicts itself.
    #[error("the shared ledger holds a channel that contradicts itself")]
    Restore(#[from] RestoreError),
    /// The channel has no record.
    #[error("the shared ledger does not know this channel")]
    UnknownChannel,
}

/// Why a shared ledger cannot be opened. The operator's to solve.
#[derive(Debug, thiserror::Error)]
pub enum SharedOpenError {
    /// The address names no database.
    #[error("{0} is not a database's address: write postgres://user@host:port/name")]
    Url(String),
    /// The database.
    #[error(
        "the shared ledger cannot be opened: does the database run, and may this user make tables in it?"
    )]
    Database(#[source] SharedError),
    /// The tables were made by another version of this program.
    #[error(
        "the shared ledger has format {found}, and this program knows up to {supported}: run the newer version on every replica"
    )]
    UnknownFormat {
        /// Found in the database.
        found: String,
        /// Known here.
        supported: u32,
    },
    /// The tables are another provider's.
    #[error(
        "the shared ledger belongs to {found}, and this replica is {own}: give every replica the same host key, chain and contract, or each provider its own database"
    )]
    OtherProvider {
        /// Whose it is.
        found: String,
        /// Who asks.
        own: String,
    },
}

impl From<SharedError> for SharedOpenError {
    fn from(error: SharedError) -> Self {
        Self::Database(error)
    }
}
