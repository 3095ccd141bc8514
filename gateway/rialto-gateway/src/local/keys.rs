//! The local door's keys: who may spend, how much a day, and on which services.
//!
//! A key is `rk_` and 256 random bits; what is kept is its SHA-256 alone. The file belongs to its owner
//! (0600), is replaced as a whole, and is read again when it was changed: commands change it while a node runs.
//!
//! Not here: what was spent ([`Allowances`](crate::client::Allowances)).

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use alloy_primitives::{Address, hex};
use rialto_channels::Amount;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::client::{StoreError, private, private_folder};

/// A key as it is kept: everything but the secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// What its owner calls it.
    pub name: String,
    /// SHA-256 of the secret, in hex.
    sha256: String,
    /// What it may spend in a day (by UTC), in token base units.
    budget: String,
    /// The services that it is for; none for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<Vec<String>>,
    /// When it was made, in seconds since the Unix epoch.
    pub created: u64,
}

/// Why keys cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The file or its folder cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A key of this name is there.
    #[error("there is a key `{0}`: revoke it first, or choose another name")]
    Exists(String),
    /// No key of this name is there.
    #[error("there is no key `{0}`: `rialto key list` shows those that are")]
    Unknown(String),
    /// A name that is none.
    #[error("`{0}` is no name for a key: 1 to 64 letters, digits, `-`, `_` and `.`")]
    Name(String),
    /// There are enough.
    #[error(
        "there are {KEYS_MAX} keys, as many as there may be: revoke one with `rialto key revoke`"
    )]
    Full,
}

/// The keys of a node's data folder.
#[derive(Debug)]
pub struct Keys {
    path: PathBuf,
    read: Mutex<Option<(Stamp, Arc<Known>)>>,
}

/// What a file's content is told by, without reading it.
type Stamp = Option<(SystemTime, u64, u64)>;

/// Keys by the hash of their secrets.
type Known = BTreeMap<String, Key>;

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    keys: Vec<Key>,
}

impl Key {
    /// What it may spend in a day, in token base units.
    #[must_use]
    pub fn budget(&self) -> Amount {
        // Read when the file was.
        self.budget.parse().unwrap_or(Amount::ZERO)
    }

    /// What its spending is counted under.
    #[must_use]
    pub fn id(&self) -> Address {
        let hash = hex::decode(&self.sha256).unwrap_or_default();
        let mut id = [0; 20];
        for (to, from) in id.iter_mut().zip(hash) {
            *to = from;
        }
        Address::from(id)
    }

    /// Whether it is for this service.
    #[must_use]
    pub fn is_for(&self, service: &str) -> bool {
        let models = self.models.as_ref();
        models.is_none_or(|models| models.iter().any(|model| model == service))
    }
}

impl Keys {
    /// The folder of keys and what was spent with them, in a data folder.
    #[must_use]
    pub fn folder(data_dir: &Path) -> PathBuf {
        data_dir.join("door")
    }

    /// The keys of a data folder.
    #[must_use]
    pub fn of(data_dir: &Path) -> Self {
        Self {
            path: Self::folder(data_dir).join("keys.json"),
            read: Mutex::default(),
        }
    }

    /// Whether a text looks like one of our keys.
    #[must_use]
    pub fn look_like(text: &str) -> bool {
        text.starts_with(PREFIX)
    }

    /// The key with this secret, if there is one.
    ///
    /// # Errors
    /// [`StoreError`] when the keys cannot be read: nobody is let in then.
    pub fn find(&self, secret: &str) -> Result<Option<Key>, StoreError> {
        Ok(self.known()?.get(&digest(secret)).cloned())
    }

    /// All keys, in the order in which they were made.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn all(&self) -> Result<Vec<Key>, StoreError> {
        Ok(self.load()?.keys)
    }

    /// Makes a key, and gives its secret, which is kept nowhere.
    ///
    /// # Errors
    /// [`KeysError`].
    pub fn issue(
        &self,
        name: &str,
        budget: Amount,
        models: Option<Vec<String>>,
    ) -> Result<(Key, String), KeysError> {
        let is_plain = |letter: u8| letter.is_ascii_alphanumeric() || b"-_.".contains(&letter);
        if !(1..=NAME_BYTES_MAX).contains(&name.len()) || !name.bytes().all(is_plain) {
            return Err(KeysError::Name(name.chars().take(NAME_BYTES_MAX).collect()));
        }
        let _lock = self.lock()?;
        let mut record = self.load()?;
        if record.keys.iter().any(|key| key.name == name) {
            return Err(KeysError::Exists(name.to_owned()));
        }
        if record.keys.len() >= KEYS_MAX {
            return Err(KeysError::Full);
        }
        let random: [u8; 32] = rand::random();
        let secret = format!("{PREFIX}{}", hex::encode(random));
        let created = SystemTime::now().duration_since(UNIX_EPOCH);
        let key = Key {
            name: name.to_owned(),
            sha256: digest(&secret),
            budget: budget.to_string(),
            models,
            created: created.map_or(0, |since| since.as_secs()),
        };
        record.keys.push(key.clone());
        self.write(&record)?;
        Ok((key, secret))
    }

    /// Gives a key another budget.
    ///
    /// # Errors
    /// [`KeysError`].
    pub fn set_budget(&self, name: &str, budget: Amount) -> Result<Key, KeysError> {
        let _lock = self.lock()?;
        let mut record = self.load()?;
        let key = record.keys.iter_mut().find(|key| key.name == name);
        let key = key.ok_or_else(|| KeysError::Unknown(name.to_owned()))?;
        key.budget = budget.to_string();
        let changed = key.clone();
        self.write(&record)?;
        Ok(changed)
    }

    /// Takes a key back: from now on it opens nothing.
    ///
    /// # Errors
    /// [`KeysError`].
    pub fn revoke(&self, name: &str) -> Result<Key, KeysError> {
        let _lock = self.lock()?;
        let mut record = self.load()?;
        let at = record.keys.iter().position(|key| key.name == name);
        let at = at.ok_or_else(|| KeysError::Unknown(name.to_owned()))?;
        let key = record.keys.remove(at);
        self.write(&record)?;
        Ok(key)
    }

    /// What is known now; read again only if the file is another one.
    fn known(&self) -> Result<Arc<Known>, StoreError> {
        let stamp = self.stamp()?;
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, known)) = read.as_ref()
            && *of == stamp
        {
            return Ok(Arc::clone(known));
        }
        let keys = self.load()?.keys.into_iter();
        let known: Known = keys.map(|key| (key.sha256.clone(), key)).collect();
        let known = Arc::new(known);
        // Of a file that was replaced since it was looked at, the newer content is read twice.
        *read = Some((stamp, Arc::clone(&known)));
        Ok(known)
    }

    fn stamp(&self) -> Result<Stamp, StoreError> {
        match fs::metadata(&self.path) {
            Ok(found) => Ok(Some((
                found.modified().unwrap_or(UNIX_EPOCH),
                found.len(),
                number(&found),
            ))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(self.at(source)),
        }
    }

    fn load(&self) -> Result<Record, StoreError> {
        let wrong = |problem: String| StoreError::Keys {
            path: self.path.clone(),
            problem,
        };
        let json = match fs::read(&self.path) {
            Ok(json) => json,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Record::default()),
            Err(source) => return Err(self.at(source)),
        };
        let record: Record =
            serde_json::from_slice(&json).map_err(|error| wrong(error.to_string()))?;
        for key in &record.keys {
            if key.budget.parse::<Amount>().is_err() {
                return Err(wrong(format!("the budget of `{}` is no amount", key.name)));
            }
        }
        Ok(record)
    }

    /// Replaces the file; durable when this returns.
    fn write(&self, record: &Record) -> Result<(), StoreError> {
        let fails = |source| self.at(source);
        let json = serde_json::to_vec_pretty(record).map_err(|error| fails(error.into()))?;
        let new = self.path.with_extension("json.new");
        let file = private().create(true).truncate(true).open(&new);
        let mut file = file.map_err(fails)?;
        file.write_all(&json).map_err(fails)?;
        file.sync_all().map_err(fails)?;
        fs::rename(&new, &self.path).map_err(fails)?;
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let folder = File::open(folder).and_then(|folder| folder.sync_all());
        folder.map_err(fails)
    }

    /// One change at a time, over all programs.
    fn lock(&self) -> Result<File, StoreError> {
        private_folder(self.path.parent().unwrap_or(Path::new(".")))?;
        let path = self.path.with_extension("lock");
        let file = private().create(true).truncate(false).open(&path);
        let file = file.map_err(|source| self.at(source))?;
        file.lock().map_err(|source| self.at(source))?;
        Ok(file)
    }

    fn at(&self, source: io::Error) -> StoreError {
        StoreError::Io {
            path: self.path.clone(),
            source,
        }
    }
}

/// What a file system calls a file: another one after it was replaced.
#[cfg(unix)]
fn number(found: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(found)
}

#[cfg(not(unix))]
fn number(_: &Metadata) -> u64 {
    0
}

fn digest(secret: &str) -> String {
    hex::encode(Sha256::digest(secret.as_bytes()))
}

const PREFIX: &str = "rk_";
const KEYS_MAX: usize = 1_000;
const NAME_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_opens_until_it_is_revoked_and_its_secret_is_kept_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let (node, command) = (Keys::of(dir.path()), Keys::of(dir.path()));
        assert_eq!(node.find("rk_00").unwrap(), None);
        let budget = Amount::new(500_000);
        let models = Some(vec!["chat".to_owned()]);
        let (key, secret) = command.issue("phone", budget, models).unwrap();
        assert!(Keys::look_like(&secret) && secret.len() == 67);
        // A node that runs sees it at once.
        let found = node.find(&secret).unwrap().unwrap();
        assert_eq!((&found, found.budget()), (&key, budget));
        assert!(found.is_for("chat") && !found.is_for("embed"));
        let file = fs::read_to_string(&node.path).unwrap();
        assert!(!file.contains(&secret[3..]), "the secret is in {file}");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode(&node.path), 0o600);
            assert_eq!(mode(node.path.parent().unwrap()), 0o700);
        }
        let (other, _) = command.issue("tablet", Amount::new(1), None).unwrap();
        assert_ne!(other.id(), key.id());
        command.set_budget("phone", Amount::new(7)).unwrap();
        let found = node.find(&secret).unwrap().unwrap();
        assert_eq!((found.budget(), found.id()), (Amount::new(7), key.id()));
        command.revoke("phone").unwrap();
        assert_eq!(node.find(&secret).unwrap(), None);
        assert_eq!(command.all().unwrap(), [other]);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keys::of(dir.path());
        keys.issue("a", Amount::new(1), None).unwrap();
        let again = keys.issue("a", Amount::new(1), None);
        assert!(matches!(again, Err(KeysError::Exists(_))));
        for name in ["", "a b", "a/b", "ä", &"x".repeat(65)] {
            let refused = keys.issue(name, Amount::new(1), None);
            assert!(matches!(refused, Err(KeysError::Name(_))), "{name}");
        }
        assert!(matches!(keys.revoke("b"), Err(KeysError::Unknown(_))));
        fs::write(&keys.path, "{").unwrap();
        assert!(keys.find("rk_1").is_err(), "nobody is let in");
    }

    #[test]
    fn there_are_so_many_and_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keys::of(dir.path());
        let (key, _) = keys.issue("a", Amount::new(1), None).unwrap();
        let record = Record {
            keys: vec![key; KEYS_MAX],
        };
        keys.write(&record).unwrap();
        let refused = keys.issue("b", Amount::new(1), None);
        assert!(matches!(refused, Err(KeysError::Full)));
    }
}
