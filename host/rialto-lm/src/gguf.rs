//! Reads GGUF files, versions 2 and 3, as bytes from strangers.
//!
//! Every count and length is checked against a limit and against the bytes that are left before
//! anything is allocated for it, so a file costs a small multiple of its own size at most. Arrays and
//! tensors stay slices of the file.
//!
//! Non-goals: big-endian files, files in several parts, writing.

mod cursor;
mod element;
mod error;
mod table;
mod value;

use std::collections::BTreeMap;

use bytes::Bytes;

pub use element::Element;
pub use error::GgufError;
pub use table::Tensor;
pub use value::{Array, Scalar, Value};

use cursor::Cursor;

/// What a file may contain at most.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The file, in bytes.
    pub file_bytes_max: u64,
    /// Metadata entries.
    pub metadata_max: u64,
    /// One key, in bytes.
    pub key_bytes_max: u64,
    /// One string, in bytes.
    pub string_bytes_max: u64,
    /// The items of one array.
    pub array_items_max: u64,
    /// Tensors.
    pub tensors_max: u64,
    /// The extent of one axis.
    pub extent_max: u64,
    /// The alignment of the tensor data, in bytes.
    pub alignment_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            file_bytes_max: 16 << 30,
            metadata_max: 4096,
            key_bytes_max: 256,
            string_bytes_max: 1 << 20,
            array_items_max: 1 << 21,
            tensors_max: 16_384,
            extent_max: 1 << 22,
            alignment_max: 1 << 16,
        }
    }
}

/// A parsed file. Cheap to clone in its large parts, which are slices of the file.
#[derive(Debug, Clone)]
pub struct File {
    metadata: BTreeMap<String, Value>,
    tensors: BTreeMap<String, Tensor>,
}

impl File {
    /// Parses a file.
    ///
    /// # Errors
    /// [`GgufError`] for every file that breaks the format or a limit.
    pub fn parse(bytes: &Bytes, limits: &Limits) -> Result<Self, GgufError> {
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        limit("the file, in bytes", size, limits.file_bytes_max)?;
        let mut cursor = Cursor::new(bytes.clone());
        if cursor.take(4, "magic")?.as_ref() != MAGIC {
            return Err(GgufError::NotGguf);
        }
        let version = cursor.u32("version")?;
        if !(2..=3).contains(&version) {
            return Err(GgufError::Version(version));
        }
        let tensors = cursor.u64("tensor count")?;
        limit("tensors", tensors, limits.tensors_max)?;
        let entries = cursor.u64("metadata count")?;
        limit("metadata entries", entries, limits.metadata_max)?;
        let mut metadata = BTreeMap::new();
        for _ in 0..entries {
            let (key, value) = value::entry(&mut cursor, limits)?;
            if metadata.contains_key(&key) {
                return Err(GgufError::Repeated(key));
            }
            metadata.insert(key, value);
        }
        let alignment = alignment(&metadata, limits)?;
        let tensors = table::tensors(&mut cursor, tensors, alignment, limits)?;
        Ok(Self { metadata, tensors })
    }

    /// The metadata, by key.
    #[must_use]
    pub const fn metadata(&self) -> &BTreeMap<String, Value> {
        &self.metadata
    }

    /// The tensors, by name.
    #[must_use]
    pub const fn tensors(&self) -> &BTreeMap<String, Tensor> {
        &self.tensors
    }

    /// An unsigned number, whatever width it is stored in.
    #[must_use]
    pub fn unsigned(&self, key: &str) -> Option<u64> {
        self.metadata.get(key)?.unsigned()
    }

    /// A floating-point number, as f32.
    #[must_use]
    pub fn float(&self, key: &str) -> Option<f32> {
        self.metadata.get(key)?.float()
    }

    /// A truth value.
    #[must_use]
    pub fn boolean(&self, key: &str) -> Option<bool> {
        self.metadata.get(key)?.boolean()
    }

    /// A string that is UTF-8.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        self.metadata.get(key)?.text()
    }

    /// An array.
    #[must_use]
    pub fn array(&self, key: &str) -> Option<&Array> {
        self.metadata.get(key)?.array()
    }
}

fn alignment(metadata: &BTreeMap<String, Value>, limits: &Limits) -> Result<u64, GgufError> {
    let Some(value) = metadata.get(ALIGNMENT) else {
        return Ok(ALIGNMENT_DEFAULT);
    };
    let alignment = value.unsigned().unwrap_or(0);
    if alignment.is_power_of_two() && alignment <= limits.alignment_max {
        return Ok(alignment);
    }
    Err(GgufError::Alignment)
}

fn limit(what: &'static str, found: u64, max: u64) -> Result<(), GgufError> {
    if found > max {
        return Err(GgufError::TooLarge { what, found, max });
    }
    Ok(())
}

const MAGIC: &[u8] = b"GGUF";
const ALIGNMENT: &str = "general.alignment";
const ALIGNMENT_DEFAULT: u64 = 32;
