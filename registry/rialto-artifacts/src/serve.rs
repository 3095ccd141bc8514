//! What peers ask of a store: an artifact's outline, and its chunks.
//!
//! An outline is worked out once and kept beside the store, 32 bytes a MiB, until the artifact goes.
//! What strangers ask for counts as no use: they must not be able to keep an artifact from being
//! evicted. Not here: how many may ask at once.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::FileExt,
};

use bytes::Bytes;
use rialto_registry::{Digest, Outline, outline};

use crate::{ReadError, Store, folder::unless_gone};

impl Store {
    /// An artifact's outline, if it is here. Blocks: the first time for reading it whole.
    ///
    /// # Errors
    /// [`ReadError`] if the file is there but cannot be read, or is too large to have an outline.
    pub fn outline(&self, digest: &Digest) -> Result<Option<Outline>, ReadError> {
        let failed = |source| ReadError {
            digest: *digest,
            source,
        };
        let Some((_, file)) = self.open_verified(digest)? else {
            return Ok(None);
        };
        let bytes = file.metadata().map_err(failed)?.len();
        if let Some(kept) = self.kept_outline(digest, bytes).map_err(failed)? {
            return Ok(Some(kept));
        }
        let outline = work_out(&file, bytes).map_err(failed)?;
        self.keep_outline(digest, &outline);
        Ok(Some(outline))
    }

    /// One chunk of an artifact; `None` if the artifact is not here or has no such chunk. Blocks.
    ///
    /// # Errors
    /// [`ReadError`] if the file is there but cannot be read.
    pub fn chunk(&self, digest: &Digest, index: u32) -> Result<Option<Bytes>, ReadError> {
        let failed = |source| ReadError {
            digest: *digest,
            source,
        };
        let Some((_, file)) = self.open_verified(digest)? else {
            return Ok(None);
        };
        let bytes = file.metadata().map_err(failed)?.len();
        let start = u64::from(index).saturating_mul(outline::CHUNK_BYTES);
        let length = bytes.saturating_sub(start).min(outline::CHUNK_BYTES);
        if length == 0 {
            return Ok(None);
        }
        let mut chunk = vec![0; usize::try_from(length).unwrap_or(0)];
        file.read_exact_at(&mut chunk, start).map_err(failed)?;
        Ok(Some(chunk.into()))
    }

    /// Keeps an outline that the whole has proven. Without it, it is worked out again.
    pub(crate) fn keep_outline(&self, digest: &Digest, outline: &Outline) {
        let folder = &self.inner.folder;
        let write = || -> io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(&folder.partial)?;
            file.write_all(&outline.encode())?;
            file.persist(folder.outlines.join(digest.to_string()))
                .map_err(|error| error.error)?;
            Ok(())
        };
        if let Err(error) = write() {
            tracing::warn!(artifact.cid = %digest, %error, "cannot keep an outline");
        }
    }

    /// The outline that was kept, unless it is damaged.
    fn kept_outline(&self, digest: &Digest, bytes: u64) -> io::Result<Option<Outline>> {
        let path = self.inner.folder.outlines.join(digest.to_string());
        let Some(file) = unless_gone(File::open(&path))? else {
            return Ok(None);
        };
        let limit = u64::try_from(outline::ENCODED_BYTES_MAX).unwrap_or(u64::MAX);
        let mut encoded = Vec::new();
        file.take(limit.saturating_add(1))
            .read_to_end(&mut encoded)?;
        let kept = Outline::decode(&encoded).ok();
        let kept = kept.filter(|outline| outline.bytes() == bytes);
        if kept.is_none() {
            unless_gone(fs::remove_file(&path))?;
        }
        Ok(kept)
    }
}

fn work_out(file: &File, bytes: u64) -> io::Result<Outline> {
    let mut chunks = Vec::new();
    let mut start = 0;
    let mut buffer = vec![0; usize::try_from(outline::CHUNK_BYTES).unwrap_or(0)];
    while start < bytes {
        let length = (bytes - start).min(outline::CHUNK_BYTES);
        let chunk = buffer
            .get_mut(..usize::try_from(length).unwrap_or(0))
            .unwrap_or_default();
        file.read_exact_at(chunk, start)?;
        chunks.push(Digest::of(chunk));
        start += length;
    }
    Outline::new(bytes, chunks).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    #[test]
    fn outlines_and_chunks_are_served() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(Config::new(dir.path())).unwrap();
        let size = usize::try_from(outline::CHUNK_BYTES).unwrap();
        let body: Vec<u8> = (0..size + 10)
            .map(|i| u8::try_from(i % 251).unwrap())
            .collect();
        let digest = store.put_bytes(&body).unwrap();
        let outline = store.outline(&digest).unwrap().unwrap();
        assert_eq!(outline.chunks().len(), 2);
        let kept = dir.path().join(".outlines").join(digest.to_string());
        for damage in [&b"nonsense"[..], &outline.encode()[..40], b""] {
            fs::write(&kept, damage).unwrap();
            assert_eq!(store.outline(&digest).unwrap().as_ref(), Some(&outline));
            assert_eq!(fs::read(&kept).unwrap(), outline.encode());
        }
        let chunks: Vec<Bytes> = (0..2)
            .map(|index| store.chunk(&digest, index).unwrap().unwrap())
            .collect();
        assert!(
            (0..)
                .zip(&chunks)
                .all(|(index, chunk)| outline.fits(index, chunk))
        );
        assert_eq!(chunks.concat(), body);
        for index in [2, u32::MAX] {
            assert_eq!(store.chunk(&digest, index).unwrap(), None);
        }
        let absent = Digest::of(b"absent");
        assert_eq!(store.outline(&absent).unwrap(), None);
        assert_eq!(store.chunk(&absent, 0).unwrap(), None);
        let empty = store.put_bytes(b"").unwrap();
        assert_eq!(store.outline(&empty).unwrap().unwrap().bytes(), 0);
        assert_eq!(store.chunk(&empty, 0).unwrap(), None);
    }

    #[test]
    fn strangers_keep_nothing_from_being_evicted() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(Config::new(dir.path())).unwrap();
        let digest = store.put_bytes(b"model").unwrap();
        let path = dir.path().join(digest.to_string());
        let long_ago = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000);
        File::open(&path).unwrap().set_modified(long_ago).unwrap();
        store.outline(&digest).unwrap().unwrap();
        store.chunk(&digest, 0).unwrap().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), long_ago);
        assert_eq!(store.gc(0).unwrap().evicted.len(), 1);
        assert_eq!(
            fs::read_dir(dir.path().join(".outlines")).unwrap().count(),
            0
        );
    }
}
