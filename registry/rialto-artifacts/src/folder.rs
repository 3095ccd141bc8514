//! The folder on disk: what lies where, and the locks by which processes share it.
//!
//! ```text
//! <64 hex digits>      an artifact: read-only, complete; its modification time is its last use
//! .partial/            downloads under way; `<digest>.part` and `<digest>.chunks` can be resumed
//! .pins/<digest>/      one empty file an owner
//! .outlines/<digest>   what was worked out once about an artifact's chunks
//! .lock                held by who evicts (alone) and by who pins (with others)
//! ```
//!
//! Locks are the kernel's advisory ones, so that a process that dies holds none. Not here: who is
//! evicted when.

use std::{
    collections::HashSet,
    ffi::OsStr,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use rialto_registry::Digest;
use sha2::{Digest as _, Sha256};

use crate::quota::Quota;

/// One store's folder.
#[derive(Debug)]
pub(crate) struct Folder {
    pub(crate) dir: PathBuf,
    pub(crate) partial: PathBuf,
    pub(crate) pins: PathBuf,
    pub(crate) outlines: PathBuf,
    pub(crate) artifact_bytes_max: u64,
    pub(crate) use_grace: Duration,
    pub(crate) quota: Arc<Quota>,
    /// What this process has verified or written itself.
    verified: Mutex<HashSet<Digest>>,
    /// Held while one artifact is hashed: many may ask for the same at once.
    pub(crate) verifying: Mutex<()>,
}

/// An artifact that lies in the folder.
#[derive(Debug, Clone)]
pub(crate) struct Lying {
    pub(crate) digest: Digest,
    pub(crate) bytes: u64,
    pub(crate) last_used: SystemTime,
}

impl Folder {
    /// Creates what is missing and removes what killed processes left long ago.
    pub(crate) fn open(
        dir: &Path,
        artifact_bytes_max: u64,
        store_bytes_max: u64,
        use_grace: Duration,
    ) -> io::Result<Self> {
        let [partial, pins, outlines] =
            [".partial", ".pins", ".outlines"].map(|name| dir.join(name));
        for dir in [&partial, &pins, &outlines] {
            fs::create_dir_all(dir)?;
        }
        sweep(&partial)?;
        let folder = Self {
            dir: dir.to_owned(),
            partial,
            pins,
            outlines,
            artifact_bytes_max,
            use_grace,
            quota: Quota::new(0, store_bytes_max),
            verified: Mutex::default(),
            verifying: Mutex::default(),
        };
        folder.recount()?;
        Ok(folder)
    }

    pub(crate) fn path(&self, digest: &Digest) -> PathBuf {
        self.dir.join(digest.to_string())
    }

    /// What is known to be good in this process.
    pub(crate) fn verified(&self) -> MutexGuard<'_, HashSet<Digest>> {
        // A set of digests stays sound whatever a panicking thread did to it.
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn note_verified(&self, digest: Digest) {
        let mut verified = self.verified();
        if verified.len() >= VERIFIED_MAX {
            // Forgetting costs another hash and nothing else.
            verified.clear();
        }
        verified.insert(digest);
    }

    /// The artifacts that lie here, in no order.
    pub(crate) fn artifacts(&self) -> io::Result<Vec<Lying>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(digest) = name.to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            // Gone since it was listed: another process evicts, too.
            let Some(metadata) = unless_gone(entry.metadata())? else {
                continue;
            };
            if metadata.is_file() {
                found.push(Lying {
                    digest,
                    bytes: metadata.len(),
                    last_used: metadata.modified()?,
                });
            }
        }
        Ok(found)
    }

    /// Unfinished downloads that can be resumed: their path, bytes and last change.
    pub(crate) fn unfinished(&self) -> io::Result<Vec<(PathBuf, u64, SystemTime)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.partial)? {
            let entry = entry?;
            let path = entry.path();
            if !is_resumable(&path) {
                continue;
            }
            if let Some(metadata) = unless_gone(entry.metadata())? {
                found.push((path, metadata.len(), metadata.modified()?));
            }
        }
        Ok(found)
    }

    /// Counts again what lies here.
    pub(crate) fn recount(&self) -> io::Result<()> {
        self.quota.recount(|open| {
            let artifacts = self.artifacts()?.into_iter().map(|it| it.bytes);
            let unfinished = self.unfinished()?;
            let others = unfinished.into_iter().filter_map(|(path, bytes, _)| {
                let ours = path.file_name().is_some_and(|name| open.contains(name));
                (!ours).then_some(bytes)
            });
            Ok(artifacts.chain(others).fold(0, u64::saturating_add))
        })
    }

    /// The lock on evicting; whoever pins holds it together with others who pin.
    pub(crate) fn gate(&self, evicts: bool) -> io::Result<File> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(self.dir.join(".lock"))?;
        let locked = if evicts {
            file.lock()
        } else {
            file.lock_shared()
        };
        match locked {
            // Without locks only threads and processes that evict and pin in the same instant can
            // surprise each other.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(file),
            Err(error) => Err(error),
            Ok(()) => Ok(file),
        }
    }

    /// Makes a rename or a new file in `dir` survive a crash.
    pub(crate) fn sync(dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }
}

/// Takes a lock for itself; none if somebody else has it. A file system without locks gives it.
pub(crate) fn try_lock(file: &File) -> io::Result<bool> {
    granted(file.try_lock())
}

/// Takes a lock together with others; none if somebody has it for itself.
pub(crate) fn try_lock_shared(file: &File) -> io::Result<bool> {
    granted(file.try_lock_shared())
}

fn granted(locked: Result<(), TryLockError>) -> io::Result<bool> {
    match locked {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Whether `path` still names the open `file`: a lock on a file that was renamed or removed
/// meanwhile protects nothing.
pub(crate) fn still_names(path: &Path, file: &File) -> io::Result<bool> {
    let Some(named) = unless_gone(fs::metadata(path))? else {
        return Ok(false);
    };
    let open = file.metadata()?;
    Ok((named.dev(), named.ino()) == (open.dev(), open.ino()))
}

/// Turns "not found" into `None`.
pub(crate) fn unless_gone<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The digest and the number of the bytes that `reader` has.
pub(crate) fn hash(mut reader: impl Read) -> io::Result<(Digest, u64)> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    let mut bytes = 0;
    loop {
        let length = match reader.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            length => length?,
        };
        if length == 0 {
            return Ok((Digest::new(hasher.finalize().into()), bytes));
        }
        hasher.update(&buffer[..length]);
        bytes += u64::try_from(length).unwrap_or(u64::MAX);
    }
}

fn is_resumable(path: &Path) -> bool {
    let ending = path.extension().and_then(OsStr::to_str);
    matches!(ending, Some("part" | "chunks"))
}

/// Removes what killed processes left. Young files are spared, and those that somebody has locked.
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
        if age.is_none_or(|age| age <= ABANDONED_AFTER) {
            continue;
        }
        let path = entry.path();
        let removed = if metadata.is_dir() {
            fs::remove_dir_all(&path)
        } else {
            remove_unlocked(&path).map(|_| ())
        };
        if let Err(error) = removed {
            tracing::warn!(path = %path.display(), %error, "cannot remove an abandoned download");
        }
    }
    Ok(())
}

/// Removes a file unless somebody has it locked; says whether it is gone.
pub(crate) fn remove_unlocked(path: &Path) -> io::Result<bool> {
    let Some(file) = unless_gone(File::open(path))? else {
        return Ok(true);
    };
    if !try_lock(&file)? {
        return Ok(false);
    }
    unless_gone(fs::remove_file(path)).map(|_| true)
}

const ABANDONED_AFTER: Duration = Duration::from_secs(24 * 3600);
const VERIFIED_MAX: usize = 100_000;
