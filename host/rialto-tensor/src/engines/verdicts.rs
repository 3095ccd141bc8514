//! What was found out about a file and a set of engines, so that a restart costs no second look.
//!
//! One small file each, named after everything that the verdict depends on. A verdict that cannot be
//! written or read is found out again.

use std::{
    collections::HashMap,
    fs,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

/// Verdicts by key.
#[derive(Debug)]
pub(super) struct Verdicts {
    folder: Option<PathBuf>,
    memory: Mutex<HashMap<String, String>>,
}

impl Verdicts {
    pub(super) fn new(folder: Option<PathBuf>) -> Self {
        Self {
            folder,
            memory: Mutex::default(),
        }
    }

    /// A name for these circumstances and this file.
    pub(super) fn key(circumstances: &[&str], file: &[u8]) -> String {
        let mut hasher = blake3::Hasher::new_derive_key("rialto 2026 model verdict v1");
        for part in circumstances {
            hasher.update(part.as_bytes());
            hasher.update(&[0]);
        }
        hasher.update(blake3::hash(file).as_bytes());
        hasher.finalize().to_hex().to_string()
    }

    pub(super) fn get(&self, key: &str) -> Option<String> {
        if let Some(verdict) = self.memory().get(key) {
            return Some(verdict.clone());
        }
        let verdict = fs::read_to_string(self.folder.as_ref()?.join(key)).ok()?;
        // The last line break is written last.
        let verdict = verdict.strip_suffix('\n')?.to_owned();
        self.remember(key, &verdict);
        Some(verdict)
    }

    pub(super) fn put(&self, key: &str, verdict: &str) {
        let verdict = verdict.replace('\n', " ");
        self.remember(key, &verdict);
        let Some(folder) = &self.folder else {
            return;
        };
        let written =
            fs::create_dir_all(folder).and_then(|()| fs::write(folder.join(key), verdict + "\n"));
        if let Err(error) = written {
            tracing::warn!(folder = %folder.display(), %error, "a verdict is not kept");
        }
    }

    fn remember(&self, key: &str, verdict: &str) {
        let mut memory = self.memory();
        if memory.len() >= REMEMBERED_MAX {
            memory.clear();
        }
        memory.insert(key.to_owned(), verdict.to_owned());
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, HashMap<String, String>> {
        // No step under this lock leaves the record half-changed.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const REMEMBERED_MAX: usize = 4_096;
