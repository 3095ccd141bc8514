//! The wallet's files: which wallet is in use, and the encrypted keys. All for their owner alone.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use alloy_primitives::Address;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::keystore::Keystore;

/// The wallet in use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum Selected {
    /// The plain key file.
    Plain,
    /// An encrypted key file.
    Keystore {
        /// Whose.
        address: Address,
    },
    /// A command that signs.
    Signer {
        /// For whom.
        address: Address,
        /// What the shell runs.
        command: String,
    },
}

/// Which wallet was chosen, if one was.
pub(super) fn selected(dir: &Path) -> Result<Option<Selected>> {
    let path = dir.join(SELECTED);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read {}", path.display()));
        }
    };
    toml::from_str(&text)
        .map(Some)
        .with_context(|| format!("{} is not a choice of a wallet", path.display()))
}

/// Chooses a wallet.
pub(super) fn select(dir: &Path, choice: &Selected) -> Result<()> {
    let text = toml::to_string(choice)?;
    let path = dir.join(SELECTED);
    let new = dir.join(format!("{SELECTED}.new"));
    std::fs::remove_file(&new).ok();
    write_private(&new, text.as_bytes())?;
    std::fs::rename(&new, &path).with_context(|| format!("cannot write {}", path.display()))
}

/// The encrypted keys, by address.
pub(super) fn keystores(dir: &Path) -> Result<Vec<Address>> {
    let folder = dir.join(KEYS);
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read {}", folder.display()));
        }
    };
    let mut addresses = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        let stem = name.to_str().and_then(|name| name.strip_suffix(".json"));
        addresses.extend(stem.and_then(|stem| stem.parse::<Address>().ok()));
    }
    addresses.sort();
    Ok(addresses)
}

pub(super) fn key_path(dir: &Path, address: Address) -> PathBuf {
    dir.join(KEYS)
        .join(format!("{}.json", address.to_checksum(None)))
}

/// Writes an encrypted key; an existing one is never replaced.
pub(super) fn store(dir: &Path, address: Address, keystore: &Keystore) -> Result<PathBuf> {
    let path = key_path(dir, address);
    if path.exists() {
        bail!("{} is a wallet here already", address.to_checksum(None));
    }
    write_private(&path, keystore.to_text()?.as_bytes())?;
    Ok(path)
}

/// Reads an encrypted key file of ours or of another wallet.
pub(super) fn read_keystore(path: &Path) -> Result<Keystore> {
    let text = read_bounded(path)?;
    Keystore::parse(&text).with_context(|| format!("cannot use the key file {}", path.display()))
}

pub(super) fn read_bounded(path: &Path) -> Result<String> {
    use std::io::Read as _;
    let file =
        std::fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut text = String::new();
    file.take(FILE_BYTES_MAX)
        .read_to_string(&mut text)
        .with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text)
}

/// A new file for its owner alone, durable when this returns.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    let fails = || format!("cannot write {}", path.display());
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).with_context(fails)?;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).with_context(fails)?;
    file.write_all(bytes).with_context(fails)?;
    file.sync_all().with_context(fails)?;
    std::fs::File::open(folder)
        .and_then(|folder| folder.sync_all())
        .with_context(fails)
}

const SELECTED: &str = "wallet.toml";
const KEYS: &str = "keys";
const FILE_BYTES_MAX: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_kept_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(selected(dir.path()).unwrap(), None);
        let address = Address::repeat_byte(7);
        let command = "sign --with \"my key\"".to_owned();
        for choice in [
            Selected::Keystore { address },
            Selected::Signer { address, command },
            Selected::Plain,
        ] {
            select(dir.path(), &choice).unwrap();
            assert_eq!(selected(dir.path()).unwrap(), Some(choice));
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(dir.path().join(SELECTED))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        std::fs::write(dir.path().join(SELECTED), "kind = \"other\"").unwrap();
        assert!(selected(dir.path()).is_err());
    }

    #[test]
    fn an_existing_key_is_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys").join("k.json");
        write_private(&path, b"one").unwrap();
        assert!(write_private(&path, b"two").is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
        assert!(keystores(dir.path()).unwrap().is_empty());
    }
}
