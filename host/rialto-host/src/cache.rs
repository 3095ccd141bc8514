//! Compiled components on disk, so that a restart does not compile again.
//!
//! Compiled code is machine code that this process runs: loading it from anywhere but our own folder
//! would hand the host to whoever wrote the file. The folder is private to the user (mode 0700); each
//! file carries a keyed digest over its name and content, with a key that never leaves the folder, so a
//! damaged, renamed or foreign file is noticed, removed and compiled again. A file is named by the
//! component's sha256 and the engine's version and settings, and appears atomically.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use wasmtime::Engine;
use wasmtime::component::Component;

/// First bytes of a cache file; the digit is the layout's version.
const MAGIC: &[u8; 8] = b"RIALTOC1";
const DIGEST_BYTES: usize = 32;
const HEADER_BYTES: usize = MAGIC.len() + DIGEST_BYTES;
const KEY_FILE: &str = "key";
const SUFFIX: &str = ".compiled";
/// What describes a component without its code: read by the version of this crate that wrote it alone.
const DESCRIPTION_SUFFIX: &str = ".described";

/// The folder of compiled components.
#[derive(Debug)]
pub(crate) struct Cache {
    dir: PathBuf,
    key: [u8; 32],
    bytes_max: u64,
    /// Tells apart temporary files of this process.
    writes: AtomicU64,
    hits: AtomicU64,
    misses: AtomicU64,
    /// As of the last look at the folder.
    bytes: AtomicU64,
}

impl Cache {
    /// Opens the folder, creating it if needed, and makes it private.
    pub(crate) fn open(dir: &Path, bytes_max: u64) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let metadata = fs::symlink_metadata(dir)?;
        if !metadata.is_dir() {
            return Err(io::Error::other(format!(
                "{} is not a folder",
                dir.display()
            )));
        }
        if metadata.permissions().mode() & 0o077 != 0 {
            fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
        }
        let key = read_or_create_key(dir)?;
        // The key file is ours or we could not have created or read it with mode 0600; a folder that
        // belongs to someone else could be refilled behind our back.
        if fs::metadata(dir.join(KEY_FILE))?.uid() != metadata.uid() {
            return Err(io::Error::other(format!(
                "{} belongs to another user",
                dir.display()
            )));
        }
        let cache = Self {
            dir: dir.to_owned(),
            key,
            bytes_max,
            writes: AtomicU64::new(0),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        };
        cache.evict()?;
        Ok(cache)
    }

    /// Loads the compiled form of `component`, or compiles and stores it; gives its image, too. Blocks.
    ///
    /// # Errors
    /// Only when the component does not compile: a cache that cannot be read or written is a warning.
    pub(crate) fn load_or_compile(
        &self,
        engine: &Engine,
        component: &[u8],
        digest: &[u8; 32],
    ) -> wasmtime::Result<(Component, Vec<u8>)> {
        let name = file_name(engine, digest);
        if let Some(image) = self.read(&name) {
            match load_trusted(engine, &image) {
                Ok(component) => {
                    self.hits.fetch_add(1, Ordering::Relaxed);
                    return Ok((component, image));
                }
                Err(error) => {
                    tracing::warn!(file = %name, %error, "compiled component refused; compiling");
                }
            }
        }
        self.misses.fetch_add(1, Ordering::Relaxed);
        let compiled = Component::from_binary(engine, component)?;
        let image = compiled.serialize()?;
        if let Err(error) = self.write(&name, &image) {
            tracing::warn!(file = %name, %error, "compiled component not stored");
        }
        Ok((compiled, image))
    }

    /// What [`describe`](Self::describe) kept of the component with this digest. Blocks for one small file.
    pub(crate) fn description(&self, digest: &[u8; 32]) -> Option<Vec<u8>> {
        let name = description_name(digest);
        self.dir.join(&name).exists().then_some(())?;
        self.read(&name)
    }

    /// Keeps what describes the component with this digest. A cache that cannot be written is a warning.
    pub(crate) fn describe(&self, digest: &[u8; 32], description: &[u8]) {
        let name = description_name(digest);
        if self.dir.join(&name).exists() {
            return;
        }
        if let Err(error) = self.write(&name, description) {
            tracing::warn!(file = %name, %error, "description of a component not stored");
        }
    }

    /// The content of a sound file. An unsound one is removed.
    fn read(&self, name: &str) -> Option<Vec<u8>> {
        let path = self.dir.join(name);
        let mut content = Vec::new();
        let file = OpenOptions::new().read(true).write(true).open(&path).ok()?;
        (&file)
            .take(self.bytes_max)
            .read_to_end(&mut content)
            .ok()?;
        let sound = content
            .split_at_checked(HEADER_BYTES)
            .filter(|(header, payload)| {
                header.starts_with(MAGIC) && self.digest(name, payload) == header[MAGIC.len()..]
            })
            .is_some();
        if !sound {
            tracing::warn!(file = %name, "compiled component is damaged; compiling again");
            drop(fs::remove_file(&path));
            return None;
        }
        // Marks the file as used, for eviction. Failing to is harmless.
        drop(file.set_modified(SystemTime::now()));
        content.drain(..HEADER_BYTES);
        Some(content)
    }

    fn write(&self, name: &str, compiled: &[u8]) -> io::Result<()> {
        let number = self.writes.fetch_add(1, Ordering::Relaxed);
        let temporary = self
            .dir
            .join(format!("{name}.{}.{number}.tmp", std::process::id()));
        let mut file = create_private(&temporary)?;
        let written = file
            .write_all(MAGIC)
            .and_then(|()| file.write_all(self.digest(name, compiled).as_bytes()))
            .and_then(|()| file.write_all(compiled))
            .and_then(|()| fs::rename(&temporary, self.dir.join(name)));
        if written.is_err() {
            drop(fs::remove_file(&temporary));
            return written;
        }
        self.evict()
    }

    /// How many components were found here, how many were not, and the bytes of all that are.
    pub(crate) fn load(&self) -> (u64, u64, u64) {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (get(&self.hits), get(&self.misses), get(&self.bytes))
    }

    /// Removes the files unused for longest until the rest fits.
    fn evict(&self) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.ends_with(SUFFIX) || name.ends_with(DESCRIPTION_SUFFIX) {
                let metadata = entry.metadata()?;
                files.push((metadata.modified()?, metadata.len(), entry.path()));
            }
        }
        files.sort();
        let mut total: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, bytes, path) in files {
            if total <= self.bytes_max {
                break;
            }
            fs::remove_file(path)?;
            total = total.saturating_sub(bytes);
        }
        self.bytes.store(total, Ordering::Relaxed);
        Ok(())
    }

    fn digest(&self, name: &str, compiled: &[u8]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(&(name.len() as u64).to_le_bytes());
        hasher.update(name.as_bytes());
        hasher.update(compiled);
        hasher.finalize()
    }
}

/// Makes a component of the image that a cell's host has sent: its own cache's, over the socket that the
/// process was started with, before there was anybody else.
pub(crate) fn of_host(engine: &Engine, image: &[u8]) -> wasmtime::Result<Component> {
    load_trusted(engine, image)
}

/// Makes a component of code that [`Cache::read`] vouches for, here or in a cell's host.
#[expect(
    unsafe_code,
    reason = "the one place that loads machine code; see SAFETY"
)]
fn load_trusted(engine: &Engine, compiled: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: `deserialize` requires bytes made by `Component::serialize`. These were written by
    // `Cache::write` from exactly that, into a folder that only this user can write, and their keyed
    // digest was checked on the copy passed here, so no later change of the file matters. The engine
    // itself checks version and settings and returns an error if they differ.
    unsafe { Component::deserialize(engine, compiled) }
}

fn description_name(digest: &[u8; 32]) -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!("{}-{version}{DESCRIPTION_SUFFIX}", hex::encode(digest))
}

fn file_name(engine: &Engine, digest: &[u8; 32]) -> String {
    let mut settings = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut settings);
    format!("{}-{:016x}{SUFFIX}", hex::encode(digest), settings.finish())
}

fn read_or_create_key(dir: &Path) -> io::Result<[u8; 32]> {
    let path = dir.join(KEY_FILE);
    match create_private(&path) {
        Ok(mut file) => {
            let key: [u8; 32] = rand::random();
            file.write_all(&key)?;
            file.sync_all()?;
            Ok(key)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let key = fs::read(&path)?;
            <[u8; 32]>::try_from(key).or_else(|_| {
                // Cut short by a crash: everything it signed is worthless.
                fs::remove_file(&path)?;
                read_or_create_key(dir)
            })
        }
        Err(error) => Err(error),
    }
}

fn create_private(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(dir: &Path, bytes_max: u64) -> Cache {
        Cache::open(dir, bytes_max).unwrap()
    }

    #[test]
    fn what_was_written_is_read_and_the_folder_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("cache");
        let written = cache(&folder, 1 << 20);
        written.write("a.compiled", b"code").unwrap();
        // Another process on the same folder reads it with the same key.
        let again = cache(&folder, 1 << 20);
        assert_eq!(again.read("a.compiled").unwrap(), b"code");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder), 0o700);
        assert_eq!(mode(&folder.join(KEY_FILE)), 0o600);
        assert_eq!(mode(&folder.join("a.compiled")), 0o600);
    }

    #[test]
    fn every_flipped_byte_renamed_or_foreign_file_is_refused_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let ours = cache(dir.path(), 1 << 20);
        ours.write("a.compiled", b"code").unwrap();
        let path = dir.path().join("a.compiled");
        let sound = fs::read(&path).unwrap();
        for at in 0..sound.len() {
            let mut bad = sound.clone();
            bad[at] ^= 1;
            fs::write(&path, &bad).unwrap();
            assert_eq!(ours.read("a.compiled"), None, "byte {at}");
            assert!(!path.exists());
        }
        fs::write(&path, &sound[..sound.len() - 1]).unwrap();
        assert_eq!(ours.read("a.compiled"), None, "cut short");
        fs::write(dir.path().join("b.compiled"), &sound).unwrap();
        assert_eq!(ours.read("b.compiled"), None, "renamed");
        let elsewhere = tempfile::tempdir().unwrap();
        let foreign = cache(elsewhere.path(), 1 << 20);
        fs::write(elsewhere.path().join("a.compiled"), &sound).unwrap();
        assert_eq!(foreign.read("a.compiled"), None, "foreign key");
    }

    #[test]
    fn the_oldest_files_go_first() {
        let dir = tempfile::tempdir().unwrap();
        let small = cache(dir.path(), 250);
        for (age, name) in [(30, "a.compiled"), (20, "b.compiled"), (10, "c.compiled")] {
            small.write(name, &[0; 60]).unwrap();
            let file = File::options()
                .write(true)
                .open(dir.path().join(name))
                .unwrap();
            let then = SystemTime::now() - std::time::Duration::from_secs(age);
            file.set_modified(then).unwrap();
        }
        small.evict().unwrap();
        assert!(!dir.path().join("a.compiled").exists());
        assert!(dir.path().join("c.compiled").exists());
    }
}
