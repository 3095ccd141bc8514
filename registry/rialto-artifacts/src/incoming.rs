//! An artifact on its way into the store from one end to the other: hashed and counted while it is
//! written to a hidden file.
//!
//! Dropping it at any moment leaves nothing behind, except what a later download can go on with.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek, Write},
    sync::Arc,
};

use rialto_registry::Digest;
use sha2::{Digest as _, Sha256};

use crate::{PutError, folder::Folder, landing::Landing, quota::Room};

/// A partial artifact. Its methods block.
#[derive(Debug)]
pub(crate) struct Incoming {
    folder: Arc<Folder>,
    hasher: Sha256,
    bytes: u64,
    /// How many of the bytes were there before this download.
    resumed: u64,
    // The file before its room: what is counted is there.
    landing: Landing,
    room: Room,
}

impl Incoming {
    /// Starts an artifact that nobody can go on with.
    pub(crate) fn create(folder: &Arc<Folder>) -> Result<Self, PutError> {
        Ok(Self {
            folder: Arc::clone(folder),
            hasher: Sha256::new(),
            bytes: 0,
            resumed: 0,
            landing: Landing::temporary(folder)?,
            room: folder.quota.room(),
        })
    }

    /// Goes on with what an earlier download of `digest` left, or starts anew.
    pub(crate) fn resume(folder: &Arc<Folder>, digest: &Digest) -> Result<Self, PutError> {
        let landing = Landing::resumable(folder, &format!("{digest}.part"))?;
        let bytes = landing.file().metadata()?.len();
        let room = match landing.name() {
            Some(name) => folder.quota.reopen(name, bytes),
            None => folder.quota.room(),
        };
        let mut incoming = Self {
            folder: Arc::clone(folder),
            hasher: Sha256::new(),
            bytes: 0,
            resumed: 0,
            landing,
            room,
        };
        if bytes > folder.artifact_bytes_max {
            incoming.restart()?;
            return Ok(incoming);
        }
        incoming.read_again()?;
        incoming.mark_stays();
        Ok(incoming)
    }

    /// Hashes what is there and leaves the file at its end.
    fn read_again(&mut self) -> io::Result<()> {
        let mut reader = BufReader::with_capacity(COPY_BYTES, self.landing.file());
        reader.rewind()?;
        let copied = io::copy(&mut reader, &mut self.hasher)?;
        self.bytes = copied;
        self.resumed = copied;
        Ok(())
    }

    /// Bytes so far.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether some of the bytes are another download's.
    pub(crate) const fn is_resumed(&self) -> bool {
        self.resumed > 0
    }

    /// Whether the bytes so far are all of `digest`.
    pub(crate) fn is_complete(&self, digest: &Digest) -> bool {
        self.bytes > 0 && Digest::new(self.hasher.clone().finalize().into()) == *digest
    }

    /// Throws away what is there and starts at the first byte.
    pub(crate) fn restart(&mut self) -> io::Result<()> {
        let mut file = self.landing.file();
        file.set_len(0)?;
        file.rewind()?;
        self.hasher = Sha256::new();
        self.bytes = 0;
        self.resumed = 0;
        self.room.empty();
        self.mark_stays();
        Ok(())
    }

    /// Makes sure of room for an artifact of `bytes_total`, before a byte of it is asked for.
    pub(crate) fn expect(&mut self, bytes_total: u64) -> Result<(), PutError> {
        self.check_size(bytes_total)?;
        let more = bytes_total.saturating_sub(self.room.bytes());
        self.grow(more)
    }

    /// Adds bytes and returns how many there are now.
    pub(crate) fn write(&mut self, chunk: &[u8]) -> Result<u64, PutError> {
        let length = u64::try_from(chunk.len()).unwrap_or(u64::MAX);
        let bytes = self.bytes.saturating_add(length);
        self.check_size(bytes)?;
        self.grow(bytes.saturating_sub(self.room.bytes()))?;
        self.landing.file().write_all(chunk)?;
        self.hasher.update(chunk);
        self.bytes = bytes;
        self.mark_stays();
        Ok(self.bytes)
    }

    fn check_size(&self, bytes: u64) -> Result<(), PutError> {
        let bytes_max = self.folder.artifact_bytes_max;
        if bytes > bytes_max {
            return Err(PutError::TooLarge { bytes_max });
        }
        Ok(())
    }

    fn grow(&mut self, bytes: u64) -> Result<(), PutError> {
        self.folder.make_room_for(&mut self.room, bytes)
    }

    /// A few bytes are sooner fetched again than kept.
    fn mark_stays(&mut self) {
        let stays = self.landing.set_stays(self.bytes >= RESUME_BYTES_MIN);
        self.room.stays = if stays { self.bytes } else { 0 };
    }

    /// Gives up what is there, because it is wrong.
    pub(crate) fn discard(mut self) {
        self.landing.set_stays(false);
        self.room.stays = 0;
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
    pub(crate) fn finish(mut self, expected: Option<&Digest>) -> Result<Digest, PutError> {
        let found = Digest::new(self.hasher.clone().finalize().into());
        if let Some(&expected) = expected.filter(|expected| **expected != found) {
            self.discard();
            return Err(PutError::WrongDigest { expected, found });
        }
        self.room.stays = 0;
        self.landing.set_stays(false);
        let Self {
            folder,
            landing,
            mut room,
            bytes,
            ..
        } = self;
        room.shrink(bytes);
        let path = folder.path(&found);
        room.settle(|| landing.place(&folder.dir, &path))?;
        folder.note_verified(found);
        Ok(found)
    }
}

impl Folder {
    /// Takes `bytes` more of room, evicting what may go where there is none.
    pub(crate) fn make_room_for(&self, room: &mut Room, bytes: u64) -> Result<(), PutError> {
        if room.grow(bytes).is_ok() {
            return Ok(());
        }
        let fits = self.make_room(bytes)? && room.grow(bytes).is_ok();
        fits.then_some(()).ok_or_else(|| PutError::Full {
            dir: self.dir.clone(),
            bytes_max: self.quota.max(),
        })
    }
}

/// A copy of a local file, for sources that are one.
pub(crate) fn open_plain(path: &std::path::Path) -> io::Result<(File, u64)> {
    // A pipe or a device would block or never end.
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    Ok((File::open(path)?, metadata.len()))
}

const COPY_BYTES: usize = 256 << 10;
const SEEN_EVERY_BYTES: u64 = 1 << 20;
/// Downloads that broke off with fewer bytes are forgotten.
const RESUME_BYTES_MIN: u64 = 256 << 10;
