//! The append-only block log: one checksummed record a step, synced before the step is answered.
//!
//! File: `RIALTOC1`, the genesis hash, then records of a 4-byte length, an 8-byte checksum (the
//! head of the payload's Keccak digest) and the payload. A record that the end of the file cuts
//! short, or a last record whose checksum is wrong, is what a crash leaves behind: it was never
//! answered, and is cut off. A wrong checksum before that is damage, and an error.
//! Non-goals: compaction; the log of a development chain is replayed from its beginning.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use alloy::primitives::{B256, keccak256};

/// Why the log of a data folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The file system refused.
    #[error("block log {path}")]
    Io {
        /// The log file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another process has the same data folder open.
    #[error("block log {path} is in use by another process")]
    InUse {
        /// The log file.
        path: PathBuf,
    },
    /// The file is not a block log of this version.
    #[error("{path} is not a block log that this version can read")]
    NotALog {
        /// The file.
        path: PathBuf,
    },
    /// The log was begun with other genesis contracts, accounts or chain id.
    #[error(
        "block log {path} belongs to another genesis ({found}, now {expected}); use another data folder"
    )]
    OtherGenesis {
        /// The log file.
        path: PathBuf,
        /// The genesis hash in the file.
        found: B256,
        /// The genesis hash of this configuration.
        expected: B256,
    },
    /// A record in the middle is damaged.
    #[error("block log {path} is damaged at byte {offset}")]
    Damaged {
        /// The log file.
        path: PathBuf,
        /// Where the damaged record begins.
        offset: u64,
    },
}

/// An open log, locked against other processes, positioned at its end.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    file: File,
    end: u64,
    /// Set once a write failed and could not be taken back: nothing more may be appended.
    broken: bool,
}

impl Log {
    /// Opens or begins the log and returns the payloads that it holds, in order.
    pub(super) fn open(path: &Path, genesis: B256) -> Result<(Self, Vec<Vec<u8>>), LogError> {
        let io_error = |source| LogError::Io {
            path: path.to_owned(),
            source,
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(io_error)?;
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => LogError::InUse {
                path: path.to_owned(),
            },
            TryLockError::Error(source) => io_error(source),
        })?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(io_error)?;
        if bytes.len() < HEADER_LEN {
            // A crash while the header was written leaves a piece of it, and no record.
            begin(&mut file, genesis).map_err(io_error)?;
            sync_folder(path).map_err(io_error)?;
            bytes.clear();
        } else {
            check_header(path, &bytes, genesis)?;
        }
        let (records, end) = scan(path, &bytes)?;
        if end < bytes.len() {
            tracing::warn!(
                bytes = bytes.len() - end,
                "cut an unfinished block off the log"
            );
        }
        let end = end.max(HEADER_LEN) as u64;
        file.set_len(end).map_err(io_error)?;
        file.seek(SeekFrom::Start(end)).map_err(io_error)?;
        let log = Self {
            path: path.to_owned(),
            file,
            end,
            broken: false,
        };
        Ok((log, records))
    }

    /// The log's length; [`truncate`](Self::truncate) goes back to it.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Appends a record and waits until it is on disk. On an error the record is not in the log.
    pub(super) fn append(&mut self, payload: &[u8]) -> io::Result<()> {
        if self.broken {
            return Err(io::Error::other("an earlier write failed"));
        }
        let length = u32::try_from(payload.len())
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "record too large"))?;
        let mut record = Vec::with_capacity(RECORD_HEAD_LEN + payload.len());
        record.extend(length.to_le_bytes());
        record.extend(checksum(payload));
        record.extend(payload);
        let written = self
            .file
            .write_all(&record)
            .and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            self.broken = self.rewind(self.end).is_err();
            return Err(error);
        }
        self.end += record.len() as u64;
        Ok(())
    }

    /// Forgets every record after `end`.
    pub(super) fn truncate(&mut self, end: u64) -> io::Result<()> {
        let result = self.rewind(end);
        match result {
            Ok(()) => self.end = end,
            Err(_) => self.broken = true,
        }
        result
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn rewind(&mut self, end: u64) -> io::Result<()> {
        self.file.set_len(end)?;
        self.file.seek(SeekFrom::Start(end))?;
        self.file.sync_data()
    }
}

fn begin(file: &mut File, genesis: B256) -> io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(MAGIC)?;
    file.write_all(genesis.as_slice())?;
    file.sync_all()
}

/// Makes the new file's name durable, too.
fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

fn check_header(path: &Path, bytes: &[u8], expected: B256) -> Result<(), LogError> {
    if !bytes.starts_with(MAGIC) {
        return Err(LogError::NotALog {
            path: path.to_owned(),
        });
    }
    let found = B256::from_slice(&bytes[MAGIC.len()..HEADER_LEN]);
    if found != expected {
        return Err(LogError::OtherGenesis {
            path: path.to_owned(),
            found,
            expected,
        });
    }
    Ok(())
}

/// The whole records, and where the last of them ends.
pub(super) fn scan(path: &Path, bytes: &[u8]) -> Result<(Vec<Vec<u8>>, usize), LogError> {
    let mut records = Vec::new();
    let mut offset = HEADER_LEN.min(bytes.len());
    loop {
        let rest = &bytes[offset..];
        let Some((length, rest)) = rest.split_first_chunk::<4>() else {
            return Ok((records, offset));
        };
        let Some((sum, rest)) = rest.split_first_chunk::<8>() else {
            return Ok((records, offset));
        };
        let length = u32::from_le_bytes(*length) as usize;
        let Some(payload) = rest.get(..length) else {
            return Ok((records, offset));
        };
        if checksum(payload) != *sum {
            if rest.len() == length {
                return Ok((records, offset));
            }
            return Err(LogError::Damaged {
                path: path.to_owned(),
                offset: offset as u64,
            });
        }
        records.push(payload.to_vec());
        offset += RECORD_HEAD_LEN + length;
    }
}

fn checksum(payload: &[u8]) -> [u8; 8] {
    let digest = keccak256(payload).0;
    let mut sum = [0; 8];
    sum.copy_from_slice(&digest[..8]);
    sum
}

const MAGIC: &[u8; 8] = b"RIALTOC1";
const HEADER_LEN: usize = MAGIC.len() + 32;
const RECORD_HEAD_LEN: usize = 4 + 8;

#[cfg(test)]
mod tests {
    use super::*;

    const GENESIS: B256 = B256::repeat_byte(3);

    fn written(records: &[&[u8]]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let (mut log, old) = Log::open(&path, GENESIS).unwrap();
        assert!(old.is_empty());
        for record in records {
            log.append(record).unwrap();
        }
        (folder, path)
    }

    #[test]
    fn every_cut_leaves_whole_records() {
        let (_folder, path) = written(&[b"first", b"second"]);
        let whole = std::fs::read(&path).unwrap();
        let second_at = HEADER_LEN + RECORD_HEAD_LEN + 5;
        for cut in 0..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let (log, records) = Log::open(&path, GENESIS).unwrap();
            let expected = usize::from(cut >= second_at);
            assert_eq!(records.len(), expected, "cut at {cut}");
            let length = std::fs::metadata(&path).unwrap().len();
            assert_eq!(length, log.end());
        }
    }

    #[test]
    fn a_bad_last_record_is_cut_and_can_be_written_again() {
        let (_folder, path) = written(&[b"first", b"second"]);
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let (mut log, records) = Log::open(&path, GENESIS).unwrap();
        assert_eq!(records, [b"first"]);
        log.append(b"third").unwrap();
        drop(log);
        let (_log, records) = Log::open(&path, GENESIS).unwrap();
        assert_eq!(records, [b"first", b"third"]);
    }

    #[test]
    fn damage_in_the_middle_is_an_error() {
        let (_folder, path) = written(&[b"first", b"second"]);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[HEADER_LEN + RECORD_HEAD_LEN] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let error = Log::open(&path, GENESIS).unwrap_err();
        assert!(matches!(error, LogError::Damaged { offset: 40, .. }));
    }

    #[test]
    fn foreign_files_and_second_users_are_refused() {
        let (_folder, path) = written(&[b"first"]);
        let (_log, _) = Log::open(&path, GENESIS).unwrap();
        assert!(matches!(
            Log::open(&path, GENESIS).unwrap_err(),
            LogError::InUse { .. }
        ));
        drop(_log);
        assert!(matches!(
            Log::open(&path, B256::ZERO).unwrap_err(),
            LogError::OtherGenesis { .. }
        ));
        std::fs::write(&path, [b'x'; 64]).unwrap();
        assert!(matches!(
            Log::open(&path, GENESIS).unwrap_err(),
            LogError::NotALog { .. }
        ));
    }
}
