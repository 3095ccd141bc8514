//! What can go wrong, by what the caller does next.
//!
//! Not here: what goes wrong between peers (`peers`) and with registries (`oci`); both have their own.

use std::{error::Error, fmt, io, path::PathBuf, sync::Arc, time::Duration};

use rialto_registry::Digest;

use crate::{OciError, PeersError, http::is_refused};

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

/// Why a pin cannot be set, taken back or read.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// The limit of pinned artifacts, or of one artifact's owners, is reached.
    #[error("too many pins; take back some with `rialto artifacts unpin`")]
    TooMany,
    /// The disk failed.
    #[error("cannot read or write the artifact store's pins")]
    Io(#[from] io::Error),
}

/// Why room cannot be made, or the store not be listed.
#[derive(Debug, thiserror::Error)]
#[error("cannot go through the artifact store")]
pub struct CollectError(#[from] io::Error);

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
        "the artifact store {} is full ({bytes_max} bytes), and what is in it is pinned or in use; \
         unpin what is not needed (`rialto artifacts ls`, `rialto artifacts unpin`) or \
         raise `store_bytes_max`",
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

/// Why an artifact cannot be fetched. Nothing of it is left behind but what the next fetch can go on
/// with.
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
    /// Fewer bytes came than were announced, or others than were asked for.
    #[error("{from} ended after {bytes} bytes")]
    Cut {
        /// The source.
        from: String,
        /// How many came.
        bytes: u64,
    },
    /// What a stranger's manifest names is no place on the internet.
    #[error(
        "{from} is on this machine or a private network, where a stranger's manifest may not send this node"
    )]
    NotForStrangers {
        /// The source.
        from: String,
    },
    /// The hub's address is none.
    #[error(
        "`{url}` is no address of a model hub; set HF_ENDPOINT to one that begins with https://"
    )]
    Hub {
        /// What is set.
        url: String,
    },
    /// The object store refuses or fails.
    #[error(
        "cannot get {address} from the object store; check AWS_ENDPOINT_URL and the credentials"
    )]
    Object {
        /// The object.
        address: String,
        /// Why.
        #[source]
        source: object_store::Error,
    },
    /// The OCI registry refuses or fails.
    #[error(transparent)]
    Oci(#[from] OciError),
    /// No peer gave it.
    #[error(transparent)]
    Peers(#[from] PeersError),
    /// Nothing says where to get it.
    #[error(
        "artifact {digest} is not in the store, names no source, and there are no peers to ask; \
         name a `source` or join a mesh"
    )]
    NoSource {
        /// The artifact.
        digest: Digest,
    },
    /// Every source failed.
    #[error(
        "artifact {digest} cannot be had from any of its sources:{}",
        Listed(attempts)
    )]
    AllFailed {
        /// The artifact.
        digest: Digest,
        /// Why, by source, in the order in which they were tried.
        attempts: Vec<FetchError>,
    },
    /// The fetch failed for which several waited.
    #[error(transparent)]
    Shared(Arc<FetchError>),
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

impl FetchError {
    /// Whether the same request may succeed in a moment.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Http { source, .. } => {
                !source.is_redirect() && !source.is_builder() && !is_refused(source)
            }
            Self::Status { status, .. } => matches!(status, 408 | 425 | 429 | 500..),
            Self::Cut { .. } => true,
            Self::Object { source, .. } => matches!(source, object_store::Error::Generic { .. }),
            Self::Oci(error) => error.is_passing(),
            Self::Shared(error) => error.is_passing(),
            Self::Read(_)
            | Self::Put { .. }
            | Self::NoPip { .. }
            | Self::Pip { .. }
            | Self::Wheel { .. }
            | Self::NotInWheel { .. }
            | Self::File { .. }
            | Self::NotForStrangers { .. }
            | Self::Hub { .. }
            | Self::Peers(_)
            | Self::NoSource { .. }
            | Self::AllFailed { .. }
            | Self::TimedOut { .. }
            | Self::DownloadTooLarge { .. }
            | Self::Local { .. } => false,
        }
    }

    /// Whether the source gave other bytes than those that were asked for.
    pub(crate) const fn is_wrong_bytes(&self) -> bool {
        matches!(
            self,
            Self::Put {
                source: PutError::WrongDigest { .. },
                ..
            }
        )
    }
}

/// Several errors, a line each, with their causes.
struct Listed<'a>(&'a [FetchError]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for attempt in self.0 {
            write!(f, "\n  - {attempt}")?;
            let mut cause = attempt.source();
            while let Some(error) = cause {
                write!(f, ": {error}")?;
                cause = error.source();
            }
        }
        Ok(())
    }
}
