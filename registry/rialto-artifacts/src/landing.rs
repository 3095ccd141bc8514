//! The hidden file that an artifact is written to on its way into the store.
//!
//! Either a temporary one, which vanishes with whoever writes it, or one with the artifact's digest in
//! its name, which stays when a download breaks off and is found again by the next. Not here: what is
//! written, and room for it.

use std::{
    ffi::OsStr,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

use crate::{
    folder::{Folder, still_names, try_lock, unless_gone},
    quota::Placed,
};

/// A file under way.
#[derive(Debug)]
pub(crate) enum Landing {
    /// Vanishes when dropped.
    Temporary(NamedTempFile),
    /// Stays when dropped, if it says so. Locked: nobody else writes it.
    Resumable(Resumable),
}

/// A file that can be found again.
#[derive(Debug)]
pub(crate) struct Resumable {
    file: File,
    path: PathBuf,
    /// Whether the file stays if this is dropped.
    pub(crate) stays: bool,
}

impl Landing {
    pub(crate) fn temporary(folder: &Folder) -> io::Result<Self> {
        NamedTempFile::new_in(&folder.partial).map(Self::Temporary)
    }

    /// The resumable file `name`; a temporary one if somebody else is writing that.
    pub(crate) fn resumable(folder: &Folder, name: &str) -> io::Result<Self> {
        let path = folder.partial.join(name);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)?;
        // Renamed or removed since it was opened: whoever had it has finished.
        if !try_lock(&file)? || !still_names(&path, &file)? {
            return Self::temporary(folder);
        }
        Ok(Self::Resumable(Resumable {
            file,
            path,
            stays: true,
        }))
    }

    pub(crate) fn file(&self) -> &File {
        match self {
            Self::Temporary(file) => file.as_file(),
            Self::Resumable(resumable) => &resumable.file,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Temporary(file) => file.path(),
            Self::Resumable(resumable) => &resumable.path,
        }
    }

    /// The name by which it is found again.
    pub(crate) fn name(&self) -> Option<&OsStr> {
        match self {
            Self::Temporary(_) => None,
            Self::Resumable(resumable) => resumable.path.file_name(),
        }
    }

    /// Says whether the file stays if this is dropped; a temporary one never does.
    pub(crate) fn set_stays(&mut self, stays: bool) -> bool {
        match self {
            Self::Temporary(_) => false,
            Self::Resumable(resumable) => {
                resumable.stays = stays;
                stays
            }
        }
    }

    /// Makes the complete file read-only and durable, and gives it its name in one step.
    pub(crate) fn place(self, dir: &Path, to: &Path) -> io::Result<Placed> {
        // Readable by every user of the machine, writable by none: the name is the content.
        self.file()
            .set_permissions(fs::Permissions::from_mode(0o444))?;
        self.file().sync_all()?;
        let placed = if to.exists() {
            Placed::Again
        } else {
            Placed::Anew
        };
        match self {
            Self::Temporary(file) => {
                file.persist(to).map_err(|error| error.error)?;
            }
            Self::Resumable(mut resumable) => {
                fs::rename(&resumable.path, to)?;
                resumable.stays = true;
            }
        }
        Folder::sync(dir)?;
        Ok(placed)
    }
}

impl Drop for Resumable {
    fn drop(&mut self) {
        if self.stays {
            return;
        }
        if let Err(error) = unless_gone(fs::remove_file(&self.path)) {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove a partial file");
        }
    }
}
