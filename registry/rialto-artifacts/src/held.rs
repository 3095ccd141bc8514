//! Holding an artifact in use, so that nobody evicts it: not this process, and no other that shares
//! the folder.
//!
//! A hold is a shared lock on the artifact's file: the kernel gives it back when the process ends,
//! however it ends. Not here: pins, which outlive processes.

use std::{
    fs::File,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rialto_registry::Digest;

use crate::{
    ReadError, Store,
    folder::{still_names, try_lock_shared, unless_gone},
};

/// An artifact in use. Drop it when it is no longer needed.
#[derive(Debug)]
pub struct Held {
    digest: Digest,
    path: PathBuf,
    _locked: File,
}

impl Held {
    /// The artifact.
    #[must_use]
    pub const fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Where it is, for as long as this lives.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Store {
    /// Holds an artifact in use, if it is here. Blocks as [`Store::get`] does. Takes a file
    /// descriptor.
    ///
    /// # Errors
    /// [`ReadError`] if the file is there but cannot be read.
    pub fn hold(&self, digest: &Digest) -> Result<Option<Held>, ReadError> {
        let failed = |source| ReadError {
            digest: *digest,
            source,
        };
        let Some(path) = self.get(digest)? else {
            return Ok(None);
        };
        let Some(file) = unless_gone(File::open(&path)).map_err(failed)? else {
            return Ok(None);
        };
        // Locked by somebody else alone: it is being evicted.
        let held =
            try_lock_shared(&file).map_err(failed)? && still_names(&path, &file).map_err(failed)?;
        Ok(held.then_some(Held {
            digest: *digest,
            path,
            _locked: file,
        }))
    }
}

/// Notes that an artifact was used now: its file's modification time says so, because that survives
/// restarts, is seen by all processes, needs no index that could be damaged, and, unlike the access
/// time, is written even where file systems are mounted without access times. The bytes never change,
/// so it has nothing else to say.
pub(crate) fn note_use(file: &File, use_grace: Duration) {
    let now = SystemTime::now();
    let recent = file
        .metadata()
        .and_then(|metadata| metadata.modified())
        .ok()
        .and_then(|at| now.duration_since(at).ok())
        .is_some_and(|age| age < NOTE_EVERY.min(use_grace / 2));
    if recent {
        return;
    }
    if let Err(error) = file.set_modified(now) {
        // Another user's file: it is evicted earlier than it should be, and nothing worse.
        tracing::debug!(%error, "cannot note an artifact's use");
    }
}

/// How exact the time of the last use is at least.
const NOTE_EVERY: Duration = Duration::from_secs(60);
