//! Takes numbers and strings from the front of a file. Never reads past the end.

use bytes::{Buf, Bytes};

use super::{GgufError, limit};

/// The rest of a file.
#[derive(Debug)]
pub(super) struct Cursor {
    whole: Bytes,
    rest: Bytes,
}

impl Cursor {
    pub(super) fn new(whole: Bytes) -> Self {
        let rest = whole.clone();
        Self { whole, rest }
    }

    /// How many bytes are left.
    pub(super) fn left(&self) -> u64 {
        u64::try_from(self.rest.len()).unwrap_or(u64::MAX)
    }

    /// The bytes from the next multiple of `alignment` on, counted from the file's start. A file may
    /// end before it.
    pub(super) fn aligned_rest(&self, alignment: u64) -> Bytes {
        let alignment = usize::try_from(alignment).unwrap_or(usize::MAX);
        let position = self.whole.len() - self.rest.len();
        let start = position
            .checked_next_multiple_of(alignment)
            .unwrap_or(usize::MAX);
        self.whole.slice(start.min(self.whole.len())..)
    }

    pub(super) fn take(&mut self, bytes: u64, what: &'static str) -> Result<Bytes, GgufError> {
        match usize::try_from(bytes) {
            Ok(bytes) if bytes <= self.rest.len() => Ok(self.rest.split_to(bytes)),
            Ok(_) | Err(_) => Err(GgufError::Truncated(what)),
        }
    }

    pub(super) fn u32(&mut self, what: &'static str) -> Result<u32, GgufError> {
        Ok(self.take(4, what)?.get_u32_le())
    }

    pub(super) fn u64(&mut self, what: &'static str) -> Result<u64, GgufError> {
        Ok(self.take(8, what)?.get_u64_le())
    }

    /// A string with its length before it.
    pub(super) fn string(&mut self, what: &'static str, max: u64) -> Result<Bytes, GgufError> {
        let length = self.u64(what)?;
        limit(what, length, max)?;
        self.take(length, what)
    }

    /// A string that names something.
    pub(super) fn name(&mut self, what: &'static str, max: u64) -> Result<String, GgufError> {
        let bytes = self.string(what, max)?;
        match str::from_utf8(&bytes) {
            Ok(text) if !text.is_empty() => Ok(text.to_owned()),
            Ok(_) | Err(_) => Err(GgufError::Name(what)),
        }
    }
}
