//! The folder of verified artifacts, as its users see it.
//!
//! Several processes may share one folder: files appear by atomic rename and never change.
//! Not here: fetching, evicting, pinning.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::{Arc, MutexGuard, PoisonError},
};

use rialto_registry::Digest;

use crate::{
    Config, Marks, OpenError, PutError, ReadError,
    fetch::Flights,
    folder::{Folder, hash, still_names, try_lock_shared, unless_gone},
    held::note_use,
    http::{IsPublic, Web},
    incoming::Incoming,
};

/// A content-addressed store. Cheap to clone; clones are the same store.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) config: Config,
    pub(crate) folder: Arc<Folder>,
    pub(crate) flights: Arc<Flights>,
    pub(crate) web: Web,
    pub(crate) marks: Arc<Marks>,
}

impl Store {
    /// Opens the store, creating its folder where it is missing. Blocks for a listing of the folder.
    ///
    /// # Errors
    /// [`OpenError`] says which folder cannot be used, and why.
    pub fn open(config: Config) -> Result<Self, OpenError> {
        let folder = Folder::open(
            &config.dir,
            config.artifact_bytes_max,
            config.store_bytes_max,
            config.use_grace,
        )
        .map_err(|source| OpenError::Folder {
            dir: config.dir.clone(),
            source,
        })?;
        let web = Web::open().map_err(OpenError::Client)?;
        Ok(Self {
            inner: Arc::new(Inner {
                config,
                folder: Arc::new(folder),
                flights: Arc::default(),
                web,
                marks: Arc::default(),
            }),
        })
    }

    /// The same store, for what a stranger's manifest names: it fetches from public addresses only, reads
    /// no file of this machine, and shows nobody's credentials.
    ///
    /// # Errors
    /// [`OpenError::Client`].
    pub fn for_strangers(&self, is_public: IsPublic) -> Result<Self, OpenError> {
        let inner = &self.inner;
        Ok(Self {
            inner: Arc::new(Inner {
                config: inner.config.for_strangers(),
                folder: Arc::clone(&inner.folder),
                flights: Arc::clone(&inner.flights),
                web: Web::public(is_public).map_err(OpenError::Client)?,
                marks: Arc::clone(&inner.marks),
            }),
        })
    }

    /// Where an artifact is, if it is here. This counts as a use of it.
    ///
    /// The first time a process asks for an artifact, its bytes are hashed again (blocking); a file
    /// whose bytes do not fit its name is deleted and reported as absent. The file is safe from
    /// eviction for [`Config::use_grace`]; who needs it longer takes a [hold](Store::hold).
    ///
    /// # Errors
    /// [`ReadError`] if the file is there but cannot be read.
    pub fn get(&self, digest: &Digest) -> Result<Option<PathBuf>, ReadError> {
        let failed = |source| ReadError {
            digest: *digest,
            source,
        };
        let Some((path, file)) = self.open_verified(digest)? else {
            return Ok(None);
        };
        // Locked by somebody else alone: it is being evicted. From here on it is fresh.
        let here =
            try_lock_shared(&file).map_err(failed)? && still_names(&path, &file).map_err(failed)?;
        if here {
            note_use(&file, self.inner.folder.use_grace);
        }
        Ok(here.then_some(path))
    }

    /// An artifact's file, hashed if this process has not done so yet. No use of it.
    pub(crate) fn open_verified(
        &self,
        digest: &Digest,
    ) -> Result<Option<(PathBuf, File)>, ReadError> {
        let folder = &self.inner.folder;
        let path = folder.path(digest);
        let failed = |source| ReadError {
            digest: *digest,
            source,
        };
        let Some(file) = unless_gone(File::open(&path)).map_err(failed)? else {
            return Ok(None);
        };
        if folder.verified().contains(digest) {
            return Ok(Some((path, file)));
        }
        let _one_at_a_time = one_at_a_time(folder);
        if folder.verified().contains(digest) {
            return Ok(Some((path, file)));
        }
        let (found, bytes) = hash(&file).map_err(failed)?;
        if found == *digest {
            folder.note_verified(found);
            return Ok(Some((path, file)));
        }
        tracing::warn!(artifact.cid = %digest, %found, "deleting a damaged artifact");
        unless_gone(fs::remove_file(&path)).map_err(failed)?;
        folder.quota.give_back(bytes);
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
        unless_gone(fs::read(path)).map_err(|source| ReadError {
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
        incoming.finish(None)
    }

    /// Stores a copy of a file and names it. Blocks.
    ///
    /// # Errors
    /// [`PutError`]; nothing is left behind.
    pub fn put_file(&self, path: &Path) -> Result<Digest, PutError> {
        let mut incoming = self.inner.incoming()?;
        incoming.copy(File::open(path)?, |_| {})?;
        incoming.finish(None)
    }

    /// Who gave wrong bytes of late.
    #[must_use]
    pub fn marks(&self) -> &Marks {
        &self.inner.marks
    }
}

impl Inner {
    pub(crate) fn incoming(&self) -> Result<Incoming, PutError> {
        Incoming::create(&self.folder)
    }
}

fn one_at_a_time(folder: &Folder) -> MutexGuard<'_, ()> {
    folder
        .verifying
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}
