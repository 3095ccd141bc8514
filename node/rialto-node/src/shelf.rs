//! A few things that must outlive the process, one small file each, in a folder of their own.
//!
//! A file is written and synced before [`Shelf::keep`] returns, and replaced as a whole: a torn
//! one must not spoil the others, and one written halfway was never kept. Who reads does not wait
//! for the disk.
//! Not here: many things, or many changes a second (the ledger's), and how many there may be.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// What is kept, by the name of its file.
#[derive(Debug)]
pub(crate) struct Shelf<T> {
    folder: PathBuf,
    items: Mutex<BTreeMap<String, T>>,
    /// One after the other, so that two forms of one item do not overtake each other.
    writing: Mutex<()>,
}

/// Why what was begun cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum PendingError {
    /// The file system refused.
    #[error("cannot use {}", path.display())]
    Io {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file is none of ours, or damaged.
    #[error("{} is damaged: look up its transactions on the chain, then remove it", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

impl<T: Clone + Serialize + DeserializeOwned> Shelf<T> {
    /// Reads what an earlier process left in `folder`, which is made if it is missing.
    ///
    /// # Errors
    /// [`PendingError`]; the operator's to solve.
    pub(crate) fn open(folder: PathBuf) -> Result<Self, PendingError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| PendingError::Io { path, source }
        };
        fs::create_dir_all(&folder).map_err(failed(&folder))?;
        let mut items = BTreeMap::new();
        for entry in fs::read_dir(&folder).map_err(failed(&folder))? {
            let path = entry.map_err(failed(&folder))?.path();
            let Some(file) = path.file_name().and_then(|name| name.to_str()) else {
                continue;
            };
            let Some(name) = file.strip_suffix(SUFFIX) else {
                // Written halfway when the process ended: nothing was sent yet.
                fs::remove_file(&path).map_err(failed(&path))?;
                continue;
            };
            let bytes = fs::read(&path).map_err(failed(&path))?;
            let item = serde_json::from_slice(&bytes).map_err(|source| PendingError::Damaged {
                path: path.clone(),
                source,
            })?;
            items.insert(name.to_owned(), item);
        }
        Ok(Self {
            folder,
            items: Mutex::new(items),
            writing: Mutex::default(),
        })
    }

    /// Gives every item the name that it has now: an older version may have called it otherwise.
    ///
    /// # Errors
    /// [`PendingError::Io`]; what was not renamed keeps its old name.
    pub(crate) fn rename(&self, name_of: impl Fn(&T) -> String) -> Result<(), PendingError> {
        let items = self.items().clone();
        for (old, item) in items {
            let name = name_of(&item);
            if name != old {
                self.keep(name, item)?;
                self.forget(&old);
            }
        }
        Ok(())
    }

    /// Makes an item durable; one of the same name is replaced. Blocks for a sync.
    ///
    /// # Errors
    /// [`PendingError::Io`]; then it is as it was.
    pub(crate) fn keep(&self, name: String, item: T) -> Result<(), PendingError> {
        let path = self.path(&name);
        let failed = |source| PendingError::Io {
            path: path.clone(),
            source,
        };
        let bytes = serde_json::to_vec(&item).map_err(|error| failed(error.into()))?;
        let _in_order = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        replace(&path, &bytes).map_err(failed)?;
        self.items().insert(name, item);
        Ok(())
    }

    /// Forgets an item that is over. That it is gone need not be durable: what is over is found to
    /// be over once more.
    pub(crate) fn forget(&self, name: &str) {
        let _in_order = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.items().remove(name).is_none() {
            return;
        }
        let path = self.path(name);
        if let Err(error) = fs::remove_file(&path) {
            tracing::warn!(%error, path = %path.display(), "cannot be removed; it is looked into again after a restart");
        }
    }

    /// Whether there is an item of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        let items = self.items();
        !items.is_empty() && items.contains_key(name)
    }

    /// The item of this name.
    pub(crate) fn get(&self, name: &str) -> Option<T> {
        self.items().get(name).cloned()
    }

    /// All items, by name.
    pub(crate) fn all(&self) -> Vec<T> {
        self.items().values().cloned().collect()
    }

    /// The items whose names begin so.
    pub(crate) fn beginning(&self, prefix: &str) -> Vec<T> {
        let items = self.items();
        let from = items.range(prefix.to_owned()..);
        let own = from.take_while(|(name, _)| name.starts_with(prefix));
        own.map(|(_, item)| item.clone()).collect()
    }

    /// Works on all items at once; nothing changes meanwhile.
    pub(crate) fn items(&self) -> MutexGuard<'_, BTreeMap<String, T>> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}{SUFFIX}"))
    }
}

/// Replaces a file as a whole, durably; nobody sees half of it. Not by two at once. Blocks for a sync.
///
/// # Errors
/// When the file system refuses; then the file is as it was.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let halfway = path.with_extension("new");
    write_synced(&halfway, bytes)?;
    fs::rename(&halfway, path)?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Amounts as decimal text: JSON numbers lose large ones.
pub(crate) mod decimal {
    use rialto_channels::Amount;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(amount: &Amount, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(amount)
    }

    pub(crate) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<Amount, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

const SUFFIX: &str = ".json";

#[cfg(test)]
mod tests {
    use super::*;

    fn open(folder: &tempfile::TempDir) -> Result<Shelf<u8>, PendingError> {
        Shelf::open(folder.path().join("shelf"))
    }

    #[test]
    fn what_is_kept_outlives_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = open(&folder).unwrap();
        for (name, item) in [("a-1", 1), ("a-2", 2), ("b-1", 3), ("a-2", 4)] {
            shelf.keep(name.to_owned(), item).unwrap();
        }
        drop(shelf);
        // What a crash leaves of an item that was not kept yet.
        fs::write(folder.path().join("shelf/a-3.new"), b"{").unwrap();
        let shelf = open(&folder).unwrap();
        assert_eq!(shelf.all(), [1, 4, 3]);
        assert_eq!(shelf.beginning("a-"), [1, 4]);
        shelf.forget("a-1");
        shelf.forget("a-1");
        assert!(!shelf.has("a-1") && shelf.has("b-1"));
        drop(shelf);
        assert_eq!(open(&folder).unwrap().all(), [4, 3]);
        let files = fs::read_dir(folder.path().join("shelf")).unwrap();
        assert_eq!(files.count(), 2);
    }

    #[test]
    fn a_damaged_item_is_an_error_that_names_its_file() {
        let folder = tempfile::tempdir().unwrap();
        drop(open(&folder).unwrap());
        fs::write(folder.path().join("shelf/refund-aa.json"), b"{").unwrap();
        let error = open(&folder).unwrap_err();
        assert!(error.to_string().contains("refund-aa.json"), "{error}");
    }
}
