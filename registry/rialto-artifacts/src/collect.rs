//! Making room: the least recently used artifacts go, but never one that is pinned or in use.
//!
//! In use is what somebody holds, in any process, and what was used within the grace
//! period, because paths are handed out without holds, too. Not here: deciding what is pinned.

use std::{
    cmp::Reverse,
    fs::{self, File},
    io,
    time::SystemTime,
};

use rialto_registry::Digest;

use crate::{
    CollectError, PinOwner, Store,
    folder::{Folder, Lying, remove_unlocked, still_names, try_lock, unless_gone},
};

/// What [`Store::gc`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collected {
    /// The artifacts that went, the least recently used first.
    pub evicted: Vec<Entry>,
    /// Bytes of unfinished downloads that were given up.
    pub unfinished_bytes: u64,
    /// Bytes that the store uses now.
    pub bytes_used: u64,
    /// Artifacts that stay because they are pinned.
    pub pinned: usize,
    /// Artifacts that stay because they are in use, or were a moment ago.
    pub in_use: usize,
}

/// An artifact in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub digest: Digest,
    /// Its size.
    pub bytes: u64,
    /// When it was last used, to a minute or so.
    pub last_used: SystemTime,
    /// Who pins it.
    pub pins: Vec<PinOwner>,
}

impl Store {
    /// Evicts what is neither pinned nor in use, the least recently used first, until at most
    /// `bytes_max` bytes are used or nothing more can go. Blocks.
    ///
    /// # Errors
    /// [`CollectError`] if the folder cannot be read or changed; what went is gone.
    pub fn gc(&self, bytes_max: u64) -> Result<Collected, CollectError> {
        Ok(self.inner.folder.collect(bytes_max)?)
    }

    /// What is in the store, the most recently used first. Blocks.
    ///
    /// # Errors
    /// [`CollectError`] if the folder cannot be read.
    pub fn list(&self) -> Result<Vec<Entry>, CollectError> {
        let folder = &self.inner.folder;
        let mut entries = folder
            .artifacts()?
            .into_iter()
            .map(|lying| folder.entry(&lying))
            .collect::<io::Result<Vec<_>>>()?;
        entries.sort_by_key(|entry| Reverse((entry.last_used, entry.digest)));
        Ok(entries)
    }

    /// Bytes that the store uses, unfinished downloads included, as far as this process knows.
    #[must_use]
    pub fn bytes_used(&self) -> u64 {
        self.inner.folder.quota.used()
    }
}

impl Folder {
    /// Makes room for `bytes` more; says whether there is any chance that they fit now.
    pub(crate) fn make_room(&self, bytes: u64) -> io::Result<bool> {
        let Some(target) = self.quota.max().checked_sub(bytes) else {
            return Ok(false);
        };
        Ok(self.collect(target)?.bytes_used <= target)
    }

    fn collect(&self, bytes_max: u64) -> io::Result<Collected> {
        let _gate = self.gate(true)?;
        self.recount()?;
        let mut done = Collected::default();
        self.give_up_unfinished(bytes_max, &mut done)?;
        let mut artifacts = self.artifacts()?;
        artifacts.sort_by_key(|lying| (lying.last_used, lying.digest));
        for lying in &artifacts {
            if !self.owners(&lying.digest)?.is_empty() {
                done.pinned += 1;
            } else if self.is_fresh(lying.last_used) {
                done.in_use += 1;
            } else if self.quota.used() > bytes_max {
                if self.evict(lying)? {
                    done.evicted.push(self.entry(lying)?);
                } else {
                    done.in_use += 1;
                }
            }
        }
        done.bytes_used = self.quota.used();
        Ok(done)
    }

    /// Unfinished downloads go before anything that is whole.
    fn give_up_unfinished(&self, bytes_max: u64, done: &mut Collected) -> io::Result<()> {
        let mut unfinished = self.unfinished()?;
        unfinished.sort_by_key(|(_, _, changed)| *changed);
        for (path, bytes, _) in unfinished {
            let ours = path.file_name().is_none_or(|name| self.quota.is_open(name));
            if self.quota.used() > bytes_max && !ours && remove_unlocked(&path)? {
                self.quota.give_back(bytes);
                done.unfinished_bytes = done.unfinished_bytes.saturating_add(bytes);
            }
        }
        Ok(())
    }

    /// Removes an artifact unless somebody holds it. The gate is closed to pins meanwhile.
    fn evict(&self, lying: &Lying) -> io::Result<bool> {
        let path = self.path(&lying.digest);
        let Some(file) = unless_gone(File::open(&path))? else {
            return Ok(true);
        };
        if !try_lock(&file)? || !still_names(&path, &file)? {
            return Ok(false);
        }
        // Used since it was listed: by another process, or by another thread.
        if self.is_fresh(file.metadata()?.modified()?) {
            return Ok(false);
        }
        self.verified().remove(&lying.digest);
        unless_gone(fs::remove_file(&path))?;
        unless_gone(fs::remove_file(
            self.outlines.join(lying.digest.to_string()),
        ))?;
        self.quota.give_back(lying.bytes);
        tracing::info!(artifact.cid = %lying.digest, bytes = lying.bytes, "evicted an artifact");
        Ok(true)
    }

    /// Whether something last used then may still be in use. Times ahead of the clock by more than
    /// the grace period are mistakes, and protect nothing.
    fn is_fresh(&self, last_used: SystemTime) -> bool {
        match SystemTime::now().duration_since(last_used) {
            Ok(age) => age < self.use_grace,
            Err(ahead) => ahead.duration() < self.use_grace,
        }
    }

    fn entry(&self, lying: &Lying) -> io::Result<Entry> {
        Ok(Entry {
            digest: lying.digest,
            bytes: lying.bytes,
            last_used: lying.last_used,
            pins: self.owners(&lying.digest)?,
        })
    }
}
