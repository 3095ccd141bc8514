//! The hash of an artifact whose chunks come in any order.
//!
//! It goes on beside the writing, from one chunk to the next that is there, so that nobody waits for it when the
//! last one has come; so does the syncing. What is hashed is what the file has, not what came.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    sync::mpsc::{self, Receiver, Sender},
    thread::{self, JoinHandle},
};

use rialto_registry::{Digest, Outline};
use sha2::{Digest as _, Sha256};

/// A hash under way. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Hashing {
    written: Sender<u32>,
    hashed: JoinHandle<io::Result<Option<Digest>>>,
}

impl Hashing {
    /// Begins on a thread of its own, which ends with this.
    pub(super) fn begin(file: File, outline: Outline) -> io::Result<Self> {
        let (written, indices) = mpsc::channel();
        let hashed = thread::Builder::new()
            .name("artifact hash".to_owned())
            .spawn(move || hash(&file, &outline, &indices))?;
        Ok(Self { written, hashed })
    }

    /// A chunk is in the file, and stays as it is.
    pub(super) fn written(&self, index: u32) {
        // One that failed says so at the end.
        let _ = self.written.send(index);
    }

    /// The hash of the whole, once it is known; none where chunks are missing. Blocks.
    pub(super) fn end(self) -> io::Result<Option<Digest>> {
        drop(self.written);
        let ended = self.hashed.join();
        ended.unwrap_or_else(|_| Err(io::Error::other("hashing panicked")))
    }
}

fn hash(file: &File, outline: &Outline, written: &Receiver<u32>) -> io::Result<Option<Digest>> {
    let mut is_there = vec![false; outline.chunks().len()];
    let (mut hasher, mut chunk) = (Sha256::new(), Vec::new());
    let mut next = 0;
    while let Some((start, length)) = outline.place(next) {
        while !there(&is_there, next) {
            let Ok(index) = written.recv() else {
                return Ok(None);
            };
            let slot = usize::try_from(index)
                .ok()
                .and_then(|at| is_there.get_mut(at));
            if let Some(slot) = slot {
                *slot = true;
            }
        }
        chunk.resize(usize::try_from(length).unwrap_or(0), 0);
        file.read_exact_at(&mut chunk, start)?;
        hasher.update(&chunk);
        next += 1;
        if next.is_multiple_of(CHUNKS_UNSYNCED_MAX) {
            file.sync_data()?;
        }
    }
    Ok(Some(Digest::new(hasher.finalize().into())))
}

/// How much is on its way to the disk at most: what is left to the end is waited for by whoever wants the artifact,
/// and by all others who sync something on the same disk.
const CHUNKS_UNSYNCED_MAX: u32 = 8;

fn there(is_there: &[bool], index: u32) -> bool {
    let index = usize::try_from(index).ok();
    index.and_then(|at| is_there.get(at)).is_some_and(|it| *it)
}
