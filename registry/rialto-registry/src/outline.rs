//! An artifact's outline: its size and the SHA-256 of each of its chunks, so that chunks that come
//! from several peers can be checked one by one, as they arrive.
//!
//! An outline is a claim of whoever gives it. Nothing but the artifact's own digest proves it.
//! Not here: reading artifacts, asking peers.

use crate::Digest;

/// Bytes of every chunk but the last.
pub const CHUNK_BYTES: u64 = 1 << 20;

/// The largest artifact that has an outline, in bytes.
pub const BYTES_MAX: u64 = 1 << 36;

/// The longest encoded outline, in bytes: what to accept at most before decoding.
pub const ENCODED_BYTES_MAX: usize = HEAD_BYTES + DIGEST_BYTES * CHUNKS_MAX;

/// Size and chunk digests, with one digest a chunk, always.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Outline {
    bytes: u64,
    chunks: Vec<Digest>,
}

impl Outline {
    /// Puts an outline together.
    ///
    /// # Errors
    /// [`OutlineError`] if the size is beyond [`BYTES_MAX`] or needs another number of chunks.
    pub fn new(bytes: u64, chunks: Vec<Digest>) -> Result<Self, OutlineError> {
        let expected = chunks_of(bytes)?;
        if chunks.len() != expected {
            return Err(OutlineError::Chunks {
                bytes,
                expected,
                found: chunks.len(),
            });
        }
        Ok(Self { bytes, chunks })
    }

    /// The artifact's size in bytes.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The chunks' digests, in order.
    #[must_use]
    pub fn chunks(&self) -> &[Digest] {
        &self.chunks
    }

    /// Where chunk `index` starts and how many bytes it has.
    #[must_use]
    pub fn place(&self, index: u32) -> Option<(u64, u64)> {
        let start = u64::from(index).checked_mul(CHUNK_BYTES)?;
        let left = self.bytes.checked_sub(start).filter(|left| *left > 0)?;
        Some((start, left.min(CHUNK_BYTES)))
    }

    /// Returns whether `bytes` are chunk `index`.
    #[must_use]
    pub fn fits(&self, index: u32, bytes: &[u8]) -> bool {
        let expected = usize::try_from(index)
            .ok()
            .and_then(|index| self.chunks.get(index));
        expected.is_some_and(|expected| Digest::of(bytes) == *expected)
    }

    /// As it travels and is kept: the size, 8 bytes big-endian, then 32 bytes a chunk.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut encoded = self.bytes.to_be_bytes().to_vec();
        for chunk in &self.chunks {
            encoded.extend_from_slice(chunk.as_bytes());
        }
        encoded
    }

    /// Reads what [`Outline::encode`] wrote, or a stranger.
    ///
    /// # Errors
    /// [`OutlineError`] if it is cut off, too long, or does not fit itself.
    pub fn decode(encoded: &[u8]) -> Result<Self, OutlineError> {
        let (head, rest) = encoded
            .split_first_chunk::<HEAD_BYTES>()
            .ok_or(OutlineError::Length(encoded.len()))?;
        let bytes = u64::from_be_bytes(*head);
        // Before anything is allocated by a stranger's word.
        chunks_of(bytes)?;
        let (chunks, over) = rest.as_chunks::<DIGEST_BYTES>();
        if !over.is_empty() || chunks.len() > CHUNKS_MAX {
            return Err(OutlineError::Length(encoded.len()));
        }
        Self::new(bytes, chunks.iter().copied().map(Digest::new).collect())
    }
}

/// Why something is no outline: the peer's fault who gave it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutlineError {
    /// The artifact would be too large.
    #[error("describes {0} bytes, more than {BYTES_MAX}")]
    TooLarge(u64),
    /// The size needs another number of chunks.
    #[error("has {found} chunks for {bytes} bytes instead of {expected}")]
    Chunks {
        /// The size.
        bytes: u64,
        /// The number that fits it.
        expected: usize,
        /// The number there.
        found: usize,
    },
    /// The encoding has a length that no outline has.
    #[error("has {0} bytes, which is no outline's length")]
    Length(usize),
}

fn chunks_of(bytes: u64) -> Result<usize, OutlineError> {
    usize::try_from(bytes.div_ceil(CHUNK_BYTES))
        .ok()
        .filter(|chunks| *chunks <= CHUNKS_MAX)
        .ok_or(OutlineError::TooLarge(bytes))
}

const HEAD_BYTES: usize = 8;
const DIGEST_BYTES: usize = 32;
/// [`BYTES_MAX`] in chunks.
const CHUNKS_MAX: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn digests(count: usize) -> Vec<Digest> {
        vec![Digest::of(b"chunk"); count]
    }

    #[test]
    fn chunks_follow_from_the_size() {
        for (bytes, chunks) in [
            (0, 0),
            (1, 1),
            (CHUNK_BYTES, 1),
            (CHUNK_BYTES + 1, 2),
            (BYTES_MAX, CHUNKS_MAX),
        ] {
            let outline = Outline::new(bytes, digests(chunks)).unwrap();
            assert!(outline.encode().len() <= ENCODED_BYTES_MAX);
            assert!(Outline::new(bytes, digests(chunks + 1)).is_err());
        }
        assert_eq!(
            Outline::new(BYTES_MAX + 1, digests(CHUNKS_MAX + 1)),
            Err(OutlineError::TooLarge(BYTES_MAX + 1))
        );
        let outline = Outline::new(CHUNK_BYTES + 5, digests(2)).unwrap();
        assert_eq!(outline.place(0), Some((0, CHUNK_BYTES)));
        assert_eq!(outline.place(1), Some((CHUNK_BYTES, 5)));
        assert_eq!(outline.place(2), None);
        assert!(outline.fits(0, b"chunk") && !outline.fits(0, b"other"));
        assert!(!outline.fits(2, b"chunk"));
    }

    #[test]
    fn damaged_encodings_are_refused() {
        let good = Outline::new(CHUNK_BYTES * 2, digests(2)).unwrap().encode();
        for cut in 0..good.len() {
            assert!(Outline::decode(&good[..cut]).is_err(), "{cut}");
        }
        let huge = u64::MAX.to_be_bytes();
        assert_eq!(
            Outline::decode(&huge),
            Err(OutlineError::TooLarge(u64::MAX))
        );
    }

    proptest! {
        #[test]
        fn what_decodes_encodes_the_same(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(outline) = Outline::decode(&bytes) {
                prop_assert_eq!(outline.encode(), bytes);
            }
        }

        #[test]
        fn outlines_read_back(bytes in 0..CHUNK_BYTES * 8) {
            let chunks = usize::try_from(bytes.div_ceil(CHUNK_BYTES)).unwrap();
            let outline = Outline::new(bytes, digests(chunks)).unwrap();
            prop_assert_eq!(Outline::decode(&outline.encode()), Ok(outline));
        }
    }
}
