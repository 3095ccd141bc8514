//! Pins: artifacts that stay until whoever wants them says otherwise.
//!
//! A pin is an empty file, `.pins/<digest>/<owner>`: appears at once or not at all, survives crashes,
//! and belongs to all processes that share the folder. Several owners may pin one artifact; it stays
//! while one of them does. Not here: holding an artifact while it is read; that is a hold.

use std::{
    collections::BTreeMap,
    fmt,
    fs::{self, File},
    io,
    str::FromStr,
};

use rialto_registry::Digest;

use crate::{
    PinError, Store,
    folder::{Folder, unless_gone},
};

/// Who wants an artifact to stay, or why: 1 to 64 letters, digits, `.`, `_` and `-`, with a letter or
/// digit first. For example `operator` or `service.filetype`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PinOwner(String);

/// Why a text names no owner.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} cannot own a pin; use 1 to 64 letters, digits, `.`, `_` and `-`, with a letter or digit first"
)]
pub struct PinOwnerError(String);

impl PinOwner {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PinOwner {
    type Err = PinOwnerError;

    fn from_str(text: &str) -> Result<Self, PinOwnerError> {
        let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let fits = (1..=64).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(inner);
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(PinOwnerError(text.to_owned()))
        }
    }
}

impl fmt::Display for PinOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Store {
    /// Pins an artifact for `owner`, durably, and says whether it is here. One that is not here yet is
    /// kept once it comes. Pinning twice is pinning once. Blocks.
    ///
    /// # Errors
    /// [`PinError`]; nothing is pinned.
    pub fn pin(&self, digest: &Digest, owner: &PinOwner) -> Result<bool, PinError> {
        self.inner.folder.pin(digest, owner)
    }

    /// Takes back `owner`'s pin and says whether there was one. Blocks.
    ///
    /// # Errors
    /// [`PinError::Io`] if the folder cannot be written.
    pub fn unpin(&self, digest: &Digest, owner: &PinOwner) -> Result<bool, PinError> {
        Ok(self.inner.folder.unpin(digest, owner)?)
    }

    /// What is pinned, and by whom. Blocks.
    ///
    /// # Errors
    /// [`PinError::Io`] if the folder cannot be read.
    pub fn pins(&self) -> Result<BTreeMap<Digest, Vec<PinOwner>>, PinError> {
        Ok(self.inner.folder.all_pins()?)
    }
}

impl Folder {
    fn pin(&self, digest: &Digest, owner: &PinOwner) -> Result<bool, PinError> {
        // Whoever evicts now is waited for: either the artifact is gone and this says so, or it stays.
        let _gate = self.gate(false)?;
        let dir = self.pins.join(digest.to_string());
        let path = dir.join(owner.as_str());
        if !path.exists() {
            let pinned = fs::read_dir(&self.pins)?.count();
            if pinned >= PINNED_MAX || self.owners(digest)?.len() >= OWNERS_MAX {
                return Err(PinError::TooMany);
            }
            fs::create_dir_all(&dir)?;
            File::create(&path)?.sync_all()?;
            Self::sync(&dir)?;
            Self::sync(&self.pins)?;
        }
        Ok(self.path(digest).exists())
    }

    fn unpin(&self, digest: &Digest, owner: &PinOwner) -> io::Result<bool> {
        let _gate = self.gate(true)?;
        let dir = self.pins.join(digest.to_string());
        if unless_gone(fs::remove_file(dir.join(owner.as_str())))?.is_none() {
            return Ok(false);
        }
        Self::sync(&dir)?;
        if self.owners(digest)?.is_empty() {
            fs::remove_dir(&dir)?;
        }
        Ok(true)
    }

    /// Who pins `digest`, in order.
    pub(crate) fn owners(&self, digest: &Digest) -> io::Result<Vec<PinOwner>> {
        let dir = self.pins.join(digest.to_string());
        let Some(entries) = unless_gone(fs::read_dir(dir))? else {
            return Ok(Vec::new());
        };
        let mut owners = Vec::new();
        for entry in entries.take(OWNERS_MAX) {
            let owner = entry?.file_name().to_str().and_then(|it| it.parse().ok());
            owners.extend(owner);
        }
        owners.sort();
        Ok(owners)
    }

    pub(crate) fn all_pins(&self) -> io::Result<BTreeMap<Digest, Vec<PinOwner>>> {
        let mut pins = BTreeMap::new();
        for entry in fs::read_dir(&self.pins)? {
            let name = entry?.file_name();
            let Some(digest) = name.to_str().and_then(|it| it.parse().ok()) else {
                continue;
            };
            let owners = self.owners(&digest)?;
            if !owners.is_empty() {
                pins.insert(digest, owners);
            }
        }
        Ok(pins)
    }
}

/// The most artifacts that can be pinned.
const PINNED_MAX: usize = 10_000;
/// The most owners of one artifact's pins.
pub(crate) const OWNERS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    fn owner(text: &str) -> PinOwner {
        text.parse().unwrap()
    }

    #[test]
    fn pins_are_durable_and_counted_by_owner() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Store::open(Config::new(dir.path())).unwrap();
        let store = open();
        let digest = store.put_bytes(b"model").unwrap();
        let absent = Digest::of(b"not here yet");
        assert!(store.pin(&digest, &owner("operator")).unwrap());
        assert!(store.pin(&digest, &owner("operator")).unwrap());
        assert!(store.pin(&digest, &owner("service.a")).unwrap());
        assert!(!store.pin(&absent, &owner("operator")).unwrap());
        // Another process, or this one after a crash.
        let store = open();
        let pins = store.pins().unwrap();
        assert_eq!(pins.len(), 2);
        assert_eq!(pins[&digest], [owner("operator"), owner("service.a")]);
        assert!(store.unpin(&digest, &owner("operator")).unwrap());
        assert!(!store.unpin(&digest, &owner("operator")).unwrap());
        assert!(!store.unpin(&digest, &owner("nobody")).unwrap());
        assert_eq!(store.pins().unwrap()[&digest], [owner("service.a")]);
        assert!(store.unpin(&digest, &owner("service.a")).unwrap());
        assert!(store.unpin(&absent, &owner("operator")).unwrap());
        assert!(open().pins().unwrap().is_empty());
        assert!(store.get(&digest).unwrap().is_some());
    }

    #[test]
    fn owners_are_limited_in_number_and_form() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(Config::new(dir.path())).unwrap();
        let digest = Digest::of(b"model");
        for i in 0..OWNERS_MAX {
            store.pin(&digest, &owner(&format!("o{i}"))).unwrap();
        }
        let error = store.pin(&digest, &owner("more")).unwrap_err();
        assert!(matches!(error, PinError::TooMany), "{error:?}");
        store.pin(&digest, &owner("o1")).unwrap();
        let long = "a".repeat(65);
        for bad in ["", ".", "..", "a/b", "-a", "a b", "ü", &long] {
            assert!(bad.parse::<PinOwner>().is_err(), "{bad:?}");
        }
    }
}
