//! Answers to `exact` calls that are too large for the ledger: kept as files until they are old, so
//! that a payer whose transfer was made gets what it paid for, whatever came in between.
//!
//! An answer is durable before its transfer is made. Bounded by [`BYTES_MAX`]: the oldest go first.
//! In a fleet each replica keeps those that it gave. Not here: small answers (the ledger's), and
//! answers to calls that a channel paid for: a payer there loses at most the price of one call.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;

/// The answers. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Answers {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    bytes_max: u64,
    kept: Mutex<Kept>,
}

/// What lies in the folder.
#[derive(Debug, Default)]
struct Kept {
    /// Names and sizes, the oldest first.
    by_age: BTreeMap<(SystemTime, String), u64>,
    bytes: u64,
}

impl Answers {
    /// The answers in `folder`, which is made if it is missing.
    ///
    /// # Errors
    /// What the file system says; the operator's to solve.
    pub(crate) fn open(folder: PathBuf) -> io::Result<Self> {
        Self::open_with(folder, BYTES_MAX)
    }

    fn open_with(folder: PathBuf, bytes_max: u64) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        let mut kept = Kept::default();
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(HALFWAY) {
                fs::remove_file(entry.path())?;
                continue;
            }
            let metadata = entry.metadata()?;
            kept.add(metadata.modified()?, name, metadata.len());
        }
        Ok(Self {
            inner: Arc::new(Inner {
                folder,
                bytes_max,
                kept: Mutex::new(kept),
            }),
        })
    }

    /// Makes an answer durable, and drops the oldest that there is no room for. Blocks for a sync.
    ///
    /// # Errors
    /// What the file system says; then it is not kept.
    pub(crate) fn keep(&self, payment: &[u8; 32], body: &[u8]) -> io::Result<()> {
        let name = hex::encode(payment);
        let size = u64::try_from(body.len()).unwrap_or(u64::MAX);
        // Room first: while it is made no other answer is added.
        let mut kept = self.lock();
        // A call that could not be recorded is made again: its answer takes the place of the first.
        kept.forget(&name);
        while kept.bytes.saturating_add(size) > self.inner.bytes_max {
            let Some(oldest) = kept.take_oldest() else {
                break;
            };
            match fs::remove_file(self.path(&oldest)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                // Somebody cleared up already.
                Ok(()) | Err(_) => {}
            }
        }
        let halfway = self.path(&format!("{name}{HALFWAY}"));
        let mut file = File::create(&halfway)?;
        file.write_all(body)?;
        file.sync_all()?;
        fs::rename(&halfway, self.path(&name))?;
        File::open(&self.inner.folder)?.sync_all()?;
        kept.add(SystemTime::now(), name, size);
        Ok(())
    }

    /// The answer to a payment, if it is kept still.
    ///
    /// # Errors
    /// What the file system says.
    pub(crate) fn read(&self, payment: &[u8; 32]) -> io::Result<Option<Bytes>> {
        match fs::read(self.path(&hex::encode(payment))) {
            Ok(body) => Ok(Some(body.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        Path::new(&self.inner.folder).join(name)
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        let kept = self.inner.kept.lock();
        kept.unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn add(&mut self, at: SystemTime, name: String, size: u64) {
        self.bytes = self.bytes.saturating_add(size);
        self.by_age.insert((at, name), size);
    }

    fn forget(&mut self, name: &str) {
        let mut freed = 0_u64;
        self.by_age.retain(|(_, kept), size| {
            let stays = kept != name;
            if !stays {
                freed = freed.saturating_add(*size);
            }
            stays
        });
        self.bytes = self.bytes.saturating_sub(freed);
    }

    fn take_oldest(&mut self) -> Option<String> {
        let ((_, name), size) = self.by_age.pop_first()?;
        self.bytes = self.bytes.saturating_sub(size);
        Some(name)
    }
}

/// All answers together.
const BYTES_MAX: u64 = 1 << 30;
const HALFWAY: &str = ".new";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_answers_outlive_the_process_and_the_oldest_go_first() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Answers::open_with(folder.path().join("answers"), 100).unwrap();
        let answers = open();
        answers.keep(&[1; 32], &[7; 60]).unwrap();
        answers.keep(&[2; 32], &[8; 40]).unwrap();
        fs::write(folder.path().join("answers/aa.new"), b"torn").unwrap();
        drop(answers);
        let answers = open();
        assert_eq!(answers.read(&[1; 32]).unwrap().unwrap(), vec![7; 60]);
        answers.keep(&[3; 32], &[9; 50]).unwrap();
        assert_eq!(answers.read(&[1; 32]).unwrap(), None);
        assert_eq!(answers.read(&[2; 32]).unwrap().unwrap(), vec![8; 40]);
        assert_eq!(answers.read(&[3; 32]).unwrap().unwrap(), vec![9; 50]);
        assert_eq!(
            fs::read_dir(folder.path().join("answers")).unwrap().count(),
            2
        );
    }

    #[test]
    fn an_answer_made_again_counts_once_and_a_file_may_be_gone() {
        let folder = tempfile::tempdir().unwrap();
        let answers = Answers::open_with(folder.path().to_owned(), 100).unwrap();
        answers.keep(&[1; 32], &[7; 60]).unwrap();
        answers.keep(&[1; 32], &[8; 40]).unwrap();
        answers.keep(&[2; 32], &[9; 60]).unwrap();
        assert_eq!(answers.read(&[1; 32]).unwrap().unwrap(), vec![8; 40]);
        fs::remove_file(answers.path(&hex::encode([1; 32]))).unwrap();
        answers.keep(&[3; 32], &[1; 40]).unwrap();
        assert_eq!(answers.read(&[3; 32]).unwrap().unwrap(), vec![1; 40]);
    }
}
