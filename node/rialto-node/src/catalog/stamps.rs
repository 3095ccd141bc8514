//! Which component a file holds, by the file's size and time: a start need not read a thousand components.
//!
//! A wrong stamp does no harm: before a component runs it is read and hashed, and one that is another than
//! was thought is refused.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rialto_registry::Digest;
use serde::{Deserialize, Serialize};

/// The stamps of all components, by their files.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Stamps(BTreeMap<PathBuf, Stamp>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    bytes: u64,
    inode: u64,
    modified_s: i64,
    modified_ns: i64,
    sha256: String,
}

impl Stamps {
    /// What an earlier process kept. A file that cannot be read costs time alone.
    pub(super) fn read(file: &Path) -> Self {
        let read = std::fs::read(file).and_then(|bytes| Ok(serde_json::from_slice(&bytes)?));
        match read {
            Ok(stamps) => stamps,
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(file = %file.display(), %error, "stamps of components not read");
                }
                Self::default()
            }
        }
    }

    /// Replaces the file. One that cannot be written costs time at the next start.
    pub(super) fn write(&self, file: &Path) {
        let halfway = file.with_extension("new");
        let written = serde_json::to_vec(self)
            .map_err(io::Error::from)
            .and_then(|bytes| std::fs::write(&halfway, bytes))
            .and_then(|()| std::fs::rename(&halfway, file));
        if let Err(error) = written {
            tracing::warn!(file = %file.display(), %error, "stamps of components not kept");
        }
    }

    /// The digest of a component that has not changed since it was kept.
    pub(super) fn digest(&self, component: &Path) -> Option<[u8; 32]> {
        let kept = self.0.get(component)?;
        let now = Stamp::of(component, kept.sha256.clone()).ok()?;
        let digest: Digest = kept.sha256.parse().ok()?;
        (now == *kept).then_some(*digest.as_bytes())
    }

    /// Keeps the digest of a component that was read.
    pub(super) fn keep(&mut self, component: PathBuf, digest: [u8; 32]) {
        if let Ok(stamp) = Stamp::of(&component, Digest::new(digest).to_string()) {
            self.0.insert(component, stamp);
        }
    }
}

impl Stamp {
    fn of(component: &Path, sha256: String) -> io::Result<Self> {
        let metadata = std::fs::metadata(component)?;
        Ok(Self {
            bytes: metadata.size(),
            inode: metadata.ino(),
            modified_s: metadata.mtime(),
            modified_ns: metadata.mtime_nsec(),
            sha256,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_that_changed_has_no_stamp() {
        let dir = tempfile::tempdir().unwrap();
        let (component, file) = (dir.path().join("c.wasm"), dir.path().join("stamps.json"));
        assert_eq!(Stamps::read(&file), Stamps::default());
        std::fs::write(&component, b"one").unwrap();
        let mut stamps = Stamps::default();
        stamps.keep(component.clone(), [7; 32]);
        stamps.write(&file);
        let read = Stamps::read(&file);
        assert_eq!(read.digest(&component), Some([7; 32]));
        assert_eq!(read.digest(&file), None);
        std::fs::write(&component, b"other").unwrap();
        assert_eq!(read.digest(&component), None);
        std::fs::write(&file, b"{ damaged").unwrap();
        assert_eq!(Stamps::read(&file), Stamps::default());
    }
}
