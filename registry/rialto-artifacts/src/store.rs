//! The folder of verified artifacts.
//!
//! Several processes may share one folder: files appear by atomic rename and never change.
//! Non-goals: eviction; a full store refuses and says so.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use rialto_registry::Digest;
use sha2::{Digest as _, Sha256};

use crate::{OpenError, PutError, ReadError, fetch::Flights, incoming::Incoming, quota::Quota};

/// How a store behaves.
#[derive(Debug, Clone)]
pub struct Config {
    /// The folder; created where it is missing.
    pub dir: PathBuf,
    /// The most bytes of one artifact, and of one download.
    pub artifact_bytes_max: u64,
    /// The most bytes of all artifacts together.
    pub store_bytes_max: u64,
    /// The longest one fetch may take.
    pub fetch_time_max: Duration,
    /// The Python interpreter whose pip downloads wheels.
    pub python: PathBuf,
}

impl Config {
    /// A store in `dir`: artifacts to 2 GiB, 32 GiB in all, a quarter of an hour a fetch, `python3`
    /// from the path.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            artifact_bytes_max: 2 << 30,
            store_bytes_max: 32 << 30,
            fetch_time_max: Duration::from_secs(900),
            python: PathBuf::from("python3"),
        }
    }
}

/// A content-addressed store. Cheap to clone; clones are the same store.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) config: Config,
    pub(crate) partial: PathBuf,
    pub(crate) quota: Arc<Quota>,
    pub(crate) flights: Flights,
    pub(crate) http: reqwest::Client,
    /// What this process has verified or written itself.
    verified: Mutex<HashSet<Digest>>,
}

impl Store {
    /// Opens the store, creating its folder where it is missing. Blocks for a listing of the folder.
    ///
    /// # Errors
    /// [`OpenError`] says which folder cannot be used, and why.
    pub fn open(config: Config) -> Result<Self, OpenError> {
        let partial = config.dir.join(PARTIAL);
        let folder = |source| OpenError::Folder {
            dir: config.dir.clone(),
            source,
        };
        fs::create_dir_all(&partial).map_err(folder)?;
        sweep(&partial).map_err(folder)?;
        let used = bytes_used(&config.dir).map_err(folder)?;
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIME_MAX)
            .read_timeout(READ_TIME_MAX)
            .build()
            .map_err(OpenError::Client)?;
        let quota = Quota::new(used, config.store_bytes_max);
        Ok(Self {
            inner: Arc::new(Inner {
                config,
                partial,
                quota,
                flights: Flights::default(),
                http,
                verified: Mutex::default(),
            }),
        })
    }

    /// Where an artifact is, if it is here.
    ///
    /// The first time a process asks for an artifact, its bytes are hashed again (blocking); a file
    /// whose bytes do not fit its name is deleted and reported as absent.
    ///
    /// # Errors
    /// [`ReadError`] if the file is there but cannot be read.
    pub fn get(&self, digest: &Digest) -> Result<Option<PathBuf>, ReadError> {
        let path = self.inner.path(digest);
        let failed = |source| ReadError {
            digest: *digest,
            source,
        };
        if self.inner.verified().contains(digest) && path.exists() {
            return Ok(Some(path));
        }
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let (found, bytes) = hash(file).map_err(failed)?;
        if found == *digest {
            self.inner.verified().insert(found);
            return Ok(Some(path));
        }
        tracing::warn!(artifact.cid = %digest, %found, "deleting a damaged artifact");
        fs::remove_file(&path).map_err(failed)?;
        self.inner.quota.give_back(bytes);
        Ok(None)
    }

    /// The bytes of an artifact, if it is here. Blocks.
    ///
    /// # Errors
    /// [`ReadError`] if the file is there but cannot be read.
    pub fn read(&self, digest: &Digest) -> Result<Option<Vec<u8>>, ReadError> {
        let Some(path) = self.get(digest)? else {
            return Ok(None);
        };
        fs::read(path).map(Some).map_err(|source| ReadError {
            digest: *digest,
            source,
        })
    }

    /// Stores `bytes` and names them. Blocks.
    ///
    /// # Errors
    /// [`PutError`]; nothing is left behind.
    pub fn put_bytes(&self, bytes: &[u8]) -> Result<Digest, PutError> {
        let mut incoming = self.inner.incoming()?;
        incoming.write(bytes)?;
        self.inner.admit(incoming, None)
    }

    /// Stores a copy of a file and names it. Blocks.
    ///
    /// # Errors
    /// [`PutError`]; nothing is left behind.
    pub fn put_file(&self, path: &Path) -> Result<Digest, PutError> {
        let mut incoming = self.inner.incoming()?;
        incoming.copy(File::open(path)?, |_| {})?;
        self.inner.admit(incoming, None)
    }
}

impl Inner {
    pub(crate) fn path(&self, digest: &Digest) -> PathBuf {
        self.config.dir.join(digest.to_string())
    }

    pub(crate) fn incoming(&self) -> Result<Incoming, PutError> {
        let Config {
            dir,
            artifact_bytes_max,
            store_bytes_max,
            ..
        } = &self.config;
        Incoming::create(
            dir,
            &self.partial,
            *artifact_bytes_max,
            *store_bytes_max,
            &self.quota,
        )
    }

    /// Makes a complete artifact visible.
    pub(crate) fn admit(
        &self,
        incoming: Incoming,
        expected: Option<&Digest>,
    ) -> Result<Digest, PutError> {
        let digest = incoming.finish(expected)?;
        self.verified().insert(digest);
        Ok(digest)
    }

    fn verified(&self) -> MutexGuard<'_, HashSet<Digest>> {
        // A set of digests stays sound whatever a panicking thread did to it.
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hash(mut file: File) -> io::Result<(Digest, u64)> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    let mut bytes = 0;
    loop {
        let length = file.read(&mut buffer)?;
        if length == 0 {
            return Ok((Digest::new(hasher.finalize().into()), bytes));
        }
        hasher.update(&buffer[..length]);
        bytes += u64::try_from(length).unwrap_or(u64::MAX);
    }
}

fn bytes_used(dir: &Path) -> io::Result<u64> {
    let mut bytes: u64 = 0;
    for entry in fs::read_dir(dir)? {
        let metadata = entry?.metadata()?;
        if metadata.is_file() {
            bytes = bytes.saturating_add(metadata.len());
        }
    }
    Ok(bytes)
}

/// Removes what killed processes left. Young files are spared: their process may be at work.
fn sweep(partial: &Path) -> io::Result<()> {
    for entry in fs::read_dir(partial)? {
        let entry = entry?;
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        let age = metadata
            .modified()
            .ok()
            .and_then(|at| SystemTime::now().duration_since(at).ok());
        if age.is_some_and(|age| age > ABANDONED_AFTER) {
            let path = entry.path();
            let removed = if metadata.is_dir() {
                fs::remove_dir_all(&path)
            } else {
                fs::remove_file(&path)
            };
            if let Err(error) = removed {
                tracing::warn!(path = %path.display(), %error, "cannot remove an abandoned download");
            }
        }
    }
    Ok(())
}

const PARTIAL: &str = ".partial";
const ABANDONED_AFTER: Duration = Duration::from_secs(24 * 3600);
const CONNECT_TIME_MAX: Duration = Duration::from_secs(30);
const READ_TIME_MAX: Duration = Duration::from_secs(60);
