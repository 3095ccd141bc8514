//! The host's key: made once, kept in a file that only its owner may read, never printed (M7).

use std::io::Write;
use std::path::{Path, PathBuf};

use rialto_channels::SigningKey;

/// Loads the key at `path`, or makes one from the system's randomness.
///
/// # Errors
/// [`KeyError`] when the file cannot be read or written, holds no key, or others may read it.
pub fn load_or_create(path: &Path) -> Result<SigningKey, KeyError> {
    if path.exists() {
        return load(path);
    }
    loop {
        let candidate: [u8; 32] = rand::random();
        if let Ok(key) = SigningKey::from_bytes(&candidate) {
            store(path, &candidate)?;
            return Ok(key);
        }
    }
}

/// Loads the key at `path`.
///
/// # Errors
/// As [`load_or_create`].
pub fn load(path: &Path) -> Result<SigningKey, KeyError> {
    SigningKey::from_bytes(&read_bytes(path)?).map_err(|_| KeyError::NotAKey {
        path: path.to_owned(),
    })
}

/// The key's bytes, for signers that want them so.
///
/// # Errors
/// As [`load_or_create`].
pub(crate) fn read_bytes(path: &Path) -> Result<[u8; 32], KeyError> {
    refuse_open_permissions(path)?;
    let text = std::fs::read_to_string(path).map_err(|source| KeyError::file(path, source))?;
    let mut bytes = [0_u8; 32];
    hex::decode_to_slice(text.trim().trim_start_matches("0x"), &mut bytes).map_err(|_| {
        KeyError::NotAKey {
            path: path.to_owned(),
        }
    })?;
    Ok(bytes)
}

/// Writes a key for its owner alone; an existing file is never replaced.
///
/// # Errors
/// [`KeyError::File`] when it cannot be written or exists.
pub fn store(path: &Path, key: &[u8; 32]) -> Result<(), KeyError> {
    let fail = |source| KeyError::file(path, source);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(fail)?;
    }
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).map_err(fail)?;
    file.write_all(hex::encode(key).as_bytes()).map_err(fail)?;
    file.sync_all().map_err(fail)?;
    // The file's own sync does not cover its name in the folder.
    match path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        Some(folder) => std::fs::File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(fail),
        None => Ok(()),
    }
}

#[cfg(unix)]
fn refuse_open_permissions(path: &Path) -> Result<(), KeyError> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(path)
        .map_err(|source| KeyError::file(path, source))?
        .permissions()
        .mode();
    if mode & 0o077 == 0 {
        Ok(())
    } else {
        Err(KeyError::Exposed {
            path: path.to_owned(),
            mode: mode & 0o777,
        })
    }
}

#[cfg(not(unix))]
fn refuse_open_permissions(_: &Path) -> Result<(), KeyError> {
    Ok(())
}

/// Why a key could not be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file system refused.
    #[error("cannot use the key file {}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file holds no key.
    #[error("{} holds no key: 64 hex digits are expected", path.display())]
    NotAKey {
        /// Which file.
        path: PathBuf,
    },
    /// The bytes are no private key of this curve.
    #[error("these bytes are no private key")]
    Invalid(#[source] rialto_channels::KeyError),
    /// Others can read the key.
    #[error("{} can be read by others (mode {mode:o}): run `chmod 600` on it", path.display())]
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

impl KeyError {
    fn file(path: &Path, source: std::io::Error) -> Self {
        Self::File {
            path: path.to_owned(),
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_kept_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys").join("host.key");
        let made = load_or_create(&path).unwrap();
        assert_eq!(made.address(), load_or_create(&path).unwrap().address());
        assert!(
            store(&path, &[1; 32]).is_err(),
            "a key must never be replaced"
        );
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
            assert!(matches!(load(&path), Err(KeyError::Exposed { .. })));
        }
    }
}
