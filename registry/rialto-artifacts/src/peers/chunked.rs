//! A partial artifact that is filled in any order, and its journal, from which it is resumed.
//!
//! The journal is the outline and then the number of each chunk that was written. It is a hint: what it
//! says is there is checked against the outline before it counts, so neither a crash nor a bad disk can
//! do more than cost a chunk. Not here: where chunks come from.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use rialto_registry::{Digest, Outline, outline};

use super::hashing::Hashing;
use crate::{
    PutError,
    folder::{Folder, unless_gone},
    landing::Landing,
    quota::Room,
};

/// An artifact of which some chunks are here. Its methods block.
#[derive(Debug)]
pub(super) struct Chunked {
    folder: Arc<Folder>,
    digest: Digest,
    outline: Outline,
    have: Vec<bool>,
    bytes: u64,
    hashing: Hashing,
    journal: Option<File>,
    journal_path: PathBuf,
    landing: Landing,
    room: Room,
}

impl Chunked {
    /// Goes on with what an earlier fetch by the same outline left, or starts anew.
    pub(super) fn open(
        folder: &Arc<Folder>,
        digest: &Digest,
        outline: &Outline,
    ) -> Result<Self, PutError> {
        let bytes_max = folder.artifact_bytes_max;
        if outline.bytes() > bytes_max {
            return Err(PutError::TooLarge { bytes_max });
        }
        let landing = Landing::resumable(folder, &format!("{digest}.chunks"))?;
        let there = landing.file().metadata()?.len();
        let mut room = match landing.name() {
            Some(name) => folder.quota.reopen(name, there),
            None => folder.quota.room(),
        };
        room.shrink(outline.bytes());
        folder.make_room_for(&mut room, outline.bytes().saturating_sub(there))?;
        // Opened anew: a copy of the descriptor would hold the lock on when this is dropped.
        let hashing = Hashing::begin(File::open(landing.path())?, outline.clone())?;
        let mut chunked = Self {
            folder: Arc::clone(folder),
            digest: *digest,
            outline: outline.clone(),
            have: vec![false; outline.chunks().len()],
            bytes: 0,
            hashing,
            journal: None,
            journal_path: folder.partial.join(format!("{digest}.journal")),
            landing,
            room,
        };
        if chunked.landing.name().is_some() {
            let noted = chunked.noted(there)?;
            chunked.begin_journal()?;
            chunked.take_over(&noted)?;
            chunked.stay();
        } else {
            chunked.landing.file().set_len(outline.bytes())?;
        }
        Ok(chunked)
    }

    /// Which chunks an earlier fetch noted, if it went by this outline and its file is whole.
    fn noted(&self, there: u64) -> io::Result<Vec<u32>> {
        let Some(file) = unless_gone(File::open(&self.journal_path))? else {
            return Ok(Vec::new());
        };
        let mut text = Vec::new();
        let limit = outline::ENCODED_BYTES_MAX.saturating_mul(2);
        file.take(u64::try_from(limit).unwrap_or(u64::MAX))
            .read_to_end(&mut text)?;
        let Some(noted) = text.strip_prefix(self.outline.encode().as_slice()) else {
            return Ok(Vec::new());
        };
        if there != self.outline.bytes() {
            return Ok(Vec::new());
        }
        let (numbers, _cut_off) = noted.as_chunks::<4>();
        Ok(numbers.iter().map(|it| u32::from_be_bytes(*it)).collect())
    }

    fn begin_journal(&mut self) -> io::Result<()> {
        let mut journal = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&self.journal_path)?;
        journal.write_all(&self.outline.encode())?;
        self.journal = Some(journal);
        self.landing.file().set_len(self.outline.bytes())
    }

    /// Counts the noted chunks whose bytes fit.
    fn take_over(&mut self, noted: &[u32]) -> io::Result<()> {
        for &index in noted {
            let Some((start, length)) = self.outline.place(index) else {
                continue;
            };
            let mut chunk = vec![0; usize::try_from(length).unwrap_or(0)];
            self.landing.file().read_exact_at(&mut chunk, start)?;
            if !self.has(index) && self.outline.fits(index, &chunk) {
                self.note(index, length)?;
            }
        }
        Ok(())
    }

    fn note(&mut self, index: u32, length: u64) -> io::Result<()> {
        if let Some(journal) = &mut self.journal {
            journal.write_all(&index.to_be_bytes())?;
        }
        if let Some(have) = usize::try_from(index)
            .ok()
            .and_then(|at| self.have.get_mut(at))
        {
            *have = true;
        }
        self.bytes = self.bytes.saturating_add(length);
        self.hashing.written(index);
        Ok(())
    }

    fn has(&self, index: u32) -> bool {
        let index = usize::try_from(index).ok();
        index
            .and_then(|at| self.have.get(at))
            .is_some_and(|have| *have)
    }

    /// The file's room is taken whole and stays so with the file.
    fn stay(&mut self) {
        let stays = self.landing.set_stays(true);
        self.room.stays = if stays { self.room.bytes() } else { 0 };
    }

    /// The chunks that are not here, in order.
    pub(super) fn missing(&self) -> Vec<u32> {
        (0..)
            .zip(&self.have)
            .filter_map(|(index, have)| (!have).then_some(index))
            .collect()
    }

    /// Bytes that are here.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Writes a chunk at its place, unless it does not fit; says whether it did.
    pub(super) fn write(&mut self, index: u32, chunk: &[u8]) -> io::Result<bool> {
        let Some((start, length)) = self.outline.place(index) else {
            return Ok(false);
        };
        if u64::try_from(chunk.len()).ok() != Some(length) {
            return Ok(false);
        }
        self.landing.file().write_all_at(chunk, start)?;
        if !self.has(index) {
            self.note(index, length)?;
        }
        Ok(true)
    }

    /// Hashes the whole: right, and it is in the store; wrong, and it is gone.
    pub(super) fn finish(mut self) -> Result<bool, PutError> {
        self.landing.set_stays(false);
        self.room.stays = 0;
        let Self {
            folder,
            digest,
            landing,
            room,
            journal,
            journal_path,
            hashing,
            ..
        } = self;
        let found = hashing.end()?;
        drop(journal);
        remove(&journal_path);
        if found != Some(digest) {
            return Ok(false);
        }
        let path = folder.path(&digest);
        room.settle(|| landing.place(&folder.dir, &path))?;
        folder.note_verified(digest);
        Ok(true)
    }
}

fn remove(path: &Path) {
    if let Err(error) = unless_gone(fs::remove_file(path)) {
        tracing::warn!(path = %path.display(), %error, "cannot remove a journal");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn folder(dir: &Path) -> Arc<Folder> {
        Arc::new(Folder::open(dir, 1 << 30, 1 << 30, Duration::ZERO).unwrap())
    }

    fn artifact() -> (Vec<Vec<u8>>, Digest, Outline) {
        let size = usize::try_from(outline::CHUNK_BYTES).unwrap();
        let chunks = vec![vec![1; size], vec![2; size], vec![3; 7]];
        let whole = chunks.concat();
        let digests = chunks.iter().map(|it| Digest::of(it)).collect();
        let bytes = u64::try_from(whole.len()).unwrap();
        let outline = Outline::new(bytes, digests).unwrap();
        (chunks, Digest::of(&whole), outline)
    }

    #[test]
    fn what_is_written_is_found_again_and_checked() {
        let dir = tempfile::tempdir().unwrap();
        let (chunks, digest, outline) = artifact();
        let here = folder(dir.path());
        let mut chunked = Chunked::open(&here, &digest, &outline).unwrap();
        assert_eq!(chunked.missing(), [0, 1, 2]);
        assert!(chunked.write(2, &chunks[2]).unwrap());
        assert!(chunked.write(0, &chunks[0]).unwrap());
        assert!(!chunked.write(3, b"beyond").unwrap());
        assert!(!chunked.write(1, b"short").unwrap());
        // Somebody else writes to a file of their own meanwhile.
        let other = Chunked::open(&here, &digest, &outline).unwrap();
        assert_eq!(other.missing(), [0, 1, 2]);
        drop(other);
        drop(chunked);
        assert_eq!(here.quota.used(), outline.bytes());

        // Another process, later, after the disk has lost a bit.
        let here = folder(dir.path());
        assert_eq!(here.quota.used(), outline.bytes());
        let file = OpenOptions::new()
            .write(true)
            .open(here.partial.join(format!("{digest}.chunks")))
            .unwrap();
        file.write_all_at(b"x", 5).unwrap();
        drop(file);
        let mut chunked = Chunked::open(&here, &digest, &outline).unwrap();
        assert_eq!(chunked.missing(), [0, 1]);
        assert_eq!(chunked.bytes(), 7);
        for index in 0..2 {
            let at = usize::try_from(index).unwrap();
            chunked.write(index, &chunks[at]).unwrap();
        }
        assert!(chunked.finish().unwrap());
        assert_eq!(fs::read(here.path(&digest)).unwrap(), chunks.concat());
        assert_eq!(fs::read_dir(&here.partial).unwrap().count(), 0);
        assert_eq!(here.quota.used(), outline.bytes());
    }

    #[test]
    fn a_wrong_whole_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (chunks, _, outline) = artifact();
        let here = folder(dir.path());
        let digest = Digest::of(b"something else");
        let mut chunked = Chunked::open(&here, &digest, &outline).unwrap();
        for (index, chunk) in (0..).zip(&chunks) {
            chunked.write(index, chunk).unwrap();
        }
        assert!(!chunked.finish().unwrap());
        assert!(!here.path(&digest).exists());
        assert_eq!(fs::read_dir(&here.partial).unwrap().count(), 0);
        assert_eq!(here.quota.used(), 0);
    }

    #[test]
    fn another_outline_starts_anew() {
        let dir = tempfile::tempdir().unwrap();
        let (chunks, digest, outline) = artifact();
        let here = folder(dir.path());
        let mut chunked = Chunked::open(&here, &digest, &outline).unwrap();
        chunked.write(0, &chunks[0]).unwrap();
        drop(chunked);
        let other = Outline::new(5, vec![Digest::of(b"12345")]).unwrap();
        let chunked = Chunked::open(&here, &digest, &other).unwrap();
        assert_eq!(chunked.missing(), [0]);
        assert_eq!(here.quota.used(), 5);
        drop(chunked);
        let chunked = Chunked::open(&here, &digest, &outline).unwrap();
        assert_eq!(chunked.missing(), [0, 1, 2]);
    }
}
