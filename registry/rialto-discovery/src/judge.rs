//! The two things this crate asks of others: whether a record is good, and for an artifact's bytes.
//!
//! Not here: what a record means. To this crate it is bytes with keys, a publisher and an end.

use bytes::Bytes;
use rialto_registry::Digest;

use crate::{Address, Key, PeerKey};

/// Seconds since the Unix epoch, by this machine's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixSeconds(pub u64);

/// Whose record it is: one subject has one record at a time, the one with the highest `seq`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject(pub [u8; 32]);

impl Subject {
    /// The subject that a text names, for instance a service's name and its provider's peer.
    #[must_use]
    pub fn of(text: &str) -> Self {
        Self(*Digest::of(text.as_bytes()).as_bytes())
    }
}

/// What a good record says about itself, as far as this crate has to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// The keys under which it may be registered; at most [`KEYS_MAX`] count. It may also be registered
    /// under its publisher's own key.
    pub keys: Vec<Key>,
    /// The peer that signed it.
    pub publisher: PeerKey,
    /// Whose record it is.
    pub subject: Subject,
    /// Grows with each new record of the subject.
    pub seq: u64,
    /// When it ends.
    pub expires: UnixSeconds,
    /// Where the publisher says it is reached; at most [`ADDRESSES_MAX`] count.
    pub addresses: Vec<Address>,
}

impl Judged {
    /// Returns whether the record may stand under `key`.
    #[must_use]
    pub fn belongs_to(&self, key: &Key) -> bool {
        self.keys.iter().take(KEYS_MAX).any(|own| own == key) || *key == Key::peer(self.publisher)
    }

    /// All keys it stands under, its publisher's own last.
    pub(crate) fn all_keys(&self) -> Vec<Key> {
        let own = Key::peer(self.publisher);
        let keys = self.keys.iter().copied();
        let mut keys: Vec<Key> = keys.filter(|key| *key != own).collect();
        keys.push(own);
        keys
    }
}

/// Why a record is not good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It cannot be read, or breaks a limit: the sender's fault.
    #[error("the record is malformed")]
    Malformed,
    /// Its signature is not its publisher's: the sender's fault.
    #[error("the record's signature is wrong")]
    Forged,
    /// It has ended, or begins too far in the future: perhaps only a clock's fault.
    #[error("the record has expired, or a clock is wrong")]
    Expired,
    /// A newer one of the subject is known.
    #[error("a newer record of the same subject is known")]
    Stale,
    /// What it claims is not so, for instance a name that belongs to somebody else.
    #[error("the record claims what is not its publisher's")]
    NotEntitled,
    /// It cannot be judged now, for instance because the chain does not answer: nobody's fault.
    #[error("the record cannot be judged now")]
    Unavailable,
}

/// Judges records. The node implements it with the registry's types.
pub trait Judge: Send + Sync + 'static {
    /// Judges a record that `from` sent, who need not be its publisher. Called from tasks that other work shares: it may compute for
    /// some hundred microseconds and must not wait for anything.
    ///
    /// # Errors
    /// Why the record is not good.
    fn judge(&self, record: &[u8], from: PeerKey, now: UnixSeconds) -> Result<Judged, Refusal>;
}

/// An artifact in parts: its length, and the SHA-256 of every chunk of [`CHUNK_BYTES`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outline {
    /// The artifact's length in bytes.
    pub size: u64,
    /// The chunks' digests in order; the last chunk may be shorter.
    pub chunks: Vec<Digest>,
}

impl Outline {
    /// Returns whether there are as many chunks as the size asks for, and no more than are allowed.
    #[must_use]
    pub fn is_consistent(&self) -> bool {
        self.chunks.len() <= CHUNKS_MAX
            && u64::try_from(self.chunks.len()) == Ok(self.size.div_ceil(CHUNK_BYTES as u64))
    }

    /// The length of a chunk, if there is one of that index.
    #[must_use]
    pub fn chunk_bytes(&self, index: u32) -> Option<usize> {
        let start = u64::from(index).checked_mul(CHUNK_BYTES as u64)?;
        let left = self.size.checked_sub(start).filter(|left| *left > 0)?;
        usize::try_from(left.min(CHUNK_BYTES as u64)).ok()
    }
}

/// Where artifacts' bytes come from when a peer asks. The node implements it with its store.
pub trait Blobs: Send + Sync + 'static {
    /// The outline of an artifact that is here. May block: it is called on a thread of its own.
    fn outline(&self, digest: &Digest) -> Option<Outline>;

    /// One chunk of an artifact that is here. May block: it is called on a thread of its own.
    fn chunk(&self, digest: &Digest, index: u32) -> Option<Bytes>;
}

/// Serves no artifacts.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoBlobs;

impl Blobs for NoBlobs {
    fn outline(&self, _digest: &Digest) -> Option<Outline> {
        None
    }

    fn chunk(&self, _digest: &Digest, _index: u32) -> Option<Bytes> {
        None
    }
}

/// The largest record that travels, in bytes.
pub const RECORD_BYTES_MAX: usize = 4096;
/// How many keys of a record count.
pub const KEYS_MAX: usize = 32;
/// How many addresses of a peer count.
pub const ADDRESSES_MAX: usize = 8;
/// The length of an artifact's chunks but the last, in bytes.
pub const CHUNK_BYTES: usize = 1 << 20;
/// How many chunks an artifact may have: 64 GiB.
pub const CHUNKS_MAX: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outline_has_the_chunks_its_size_asks_for() {
        let chunk = Digest::of(b"");
        for (size, chunks, good) in [
            (0, 0, true),
            (1, 1, true),
            (CHUNK_BYTES as u64, 1, true),
            (CHUNK_BYTES as u64 + 1, 1, false),
            (CHUNK_BYTES as u64 + 1, 2, true),
            (5, 2, false),
            (u64::MAX, CHUNKS_MAX + 1, false),
        ] {
            let outline = Outline {
                size,
                chunks: vec![chunk; chunks],
            };
            assert_eq!(outline.is_consistent(), good, "{size} in {chunks}");
        }
        let outline = Outline {
            size: CHUNK_BYTES as u64 + 3,
            chunks: vec![chunk; 2],
        };
        assert_eq!(outline.chunk_bytes(0), Some(CHUNK_BYTES));
        assert_eq!(outline.chunk_bytes(1), Some(3));
        assert_eq!(outline.chunk_bytes(2), None);
        assert_eq!(outline.chunk_bytes(u32::MAX), None);
    }
}
