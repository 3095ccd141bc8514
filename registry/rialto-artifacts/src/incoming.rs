//! An artifact on its way into the store: hashed and counted while it is written to a hidden file.
//!
//! Dropping it at any moment leaves nothing behind.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use rialto_registry::Digest;
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

use crate::{
    PutError,
    quota::{Quota, Room},
};

/// A partial artifact. Its methods block.
#[derive(Debug)]
pub(crate) struct Incoming {
    dir: PathBuf,
    file: NamedTempFile,
    hasher: Sha256,
    bytes: u64,
    bytes_max: u64,
    store_bytes_max: u64,
    room: Room,
}

impl Incoming {
    /// Starts an artifact of the store in `dir`, whose partial files live in `partial`.
    pub(crate) fn create(
        dir: &Path,
        partial: &Path,
        bytes_max: u64,
        store_bytes_max: u64,
        quota: &Arc<Quota>,
    ) -> Result<Self, PutError> {
        Ok(Self {
            dir: dir.to_owned(),
            file: NamedTempFile::new_in(partial)?,
            hasher: Sha256::new(),
            bytes: 0,
            bytes_max,
            store_bytes_max,
            room: quota.room(),
        })
    }

    /// Adds bytes and returns how many there are now.
    pub(crate) fn write(&mut self, chunk: &[u8]) -> Result<u64, PutError> {
        let length = u64::try_from(chunk.len()).unwrap_or(u64::MAX);
        if length > self.bytes_max - self.bytes {
            return Err(PutError::TooLarge {
                bytes_max: self.bytes_max,
            });
        }
        self.room.grow(length).map_err(|_| PutError::Full {
            dir: self.dir.clone(),
            bytes_max: self.store_bytes_max,
        })?;
        self.file.write_all(chunk)?;
        self.hasher.update(chunk);
        self.bytes += length;
        Ok(self.bytes)
    }

    /// Adds everything that `reader` has, telling `seen` the bytes so far: after each MiB or so, and
    /// at the end.
    pub(crate) fn copy(
        &mut self,
        mut reader: impl Read,
        mut seen: impl FnMut(u64),
    ) -> Result<(), PutError> {
        let mut buffer = vec![0; COPY_BYTES];
        let mut seen_bytes = 0;
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => {
                    seen(self.bytes);
                    return Ok(());
                }
                Ok(length) => {
                    let bytes = self.write(&buffer[..length])?;
                    if bytes - seen_bytes >= SEEN_EVERY_BYTES {
                        seen_bytes = bytes;
                        seen(bytes);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Compares the digest, syncs, and makes the artifact visible in one step.
    pub(crate) fn finish(self, expected: Option<&Digest>) -> Result<Digest, PutError> {
        let found = Digest::new(self.hasher.finalize().into());
        if let Some(&expected) = expected.filter(|expected| **expected != found) {
            return Err(PutError::WrongDigest { expected, found });
        }
        let path = self.dir.join(found.to_string());
        // Readable by every user of the machine, writable by none: the name is the content.
        self.file
            .as_file()
            .set_permissions(fs::Permissions::from_mode(0o444))?;
        self.file.as_file().sync_all()?;
        let was_there = path.exists();
        self.file.persist(&path).map_err(|error| error.error)?;
        File::open(&self.dir)?.sync_all()?;
        if !was_there {
            self.room.keep();
        }
        Ok(found)
    }
}

const COPY_BYTES: usize = 256 << 10;
const SEEN_EVERY_BYTES: u64 = 1 << 20;
