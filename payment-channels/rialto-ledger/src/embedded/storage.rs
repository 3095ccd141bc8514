//! Where the ledger's files are: a folder, or a model of a disk that fails on purpose.
//!
//! Non-goals: the files' contents.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use redb::{Builder, Database};

use super::file;
use crate::error::OpenError;

/// A place for one database and numbered segments of the write-ahead file.
pub trait Storage: fmt::Debug + Send + Sync + 'static {
    /// Opens the database, or makes an empty one.
    ///
    /// # Errors
    /// [`OpenError`]; the operator's to solve.
    fn database(&self, builder: &Builder) -> Result<Database, OpenError>;

    /// Numbers of the segments that were made and not removed, in no particular order.
    ///
    /// # Errors
    /// The system's.
    fn segments(&self) -> io::Result<Vec<u64>>;

    /// Makes a segment that starts with `start` and is `len` bytes long, zeros otherwise. When
    /// this returns, it and its place on the disk are durable; if it fails or the power is cut,
    /// there is no such segment.
    ///
    /// # Errors
    /// The system's, a full disk above all.
    fn create_segment(&self, number: u64, start: &[u8], len: u64) -> io::Result<Box<dyn Segment>>;

    /// All bytes of a segment.
    ///
    /// # Errors
    /// The system's.
    fn read_segment(&self, number: u64) -> io::Result<Vec<u8>>;

    /// Removes a segment. Need not be durable: one that comes back is removed again.
    ///
    /// # Errors
    /// The system's.
    fn remove_segment(&self, number: u64) -> io::Result<()>;
}

/// One segment, open for writing.
pub trait Segment: fmt::Debug + Send {
    /// Writes at `offset`, within the segment's length.
    ///
    /// # Errors
    /// The system's.
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes everything written so far durable.
    ///
    /// # Errors
    /// The system's; nobody knows then what the disk holds.
    fn sync(&self) -> io::Result<()>;
}

/// A folder of files.
#[derive(Debug)]
pub(super) struct Folder {
    dir: PathBuf,
}

impl Folder {
    /// The folder `dir`, which is made if it is missing.
    pub(super) fn new(dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        Ok(Self {
            dir: dir.to_owned(),
        })
    }

    fn path(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{PREFIX}{number:016x}"))
    }

    fn fill(draft: &Path, start: &[u8], len: u64) -> io::Result<File> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(draft)?;
        // Real zeros and not a hole: later syncs then write data alone, and need no more space.
        let zeros = vec![0; ZEROS];
        let mut at = 0;
        while at < len {
            let bytes = usize::try_from(len - at).map_or(ZEROS, |rest| rest.min(ZEROS));
            file.write_all_at(zeros.get(..bytes).unwrap_or(&zeros), at)?;
            at += u64::try_from(bytes).unwrap_or(len);
        }
        file.write_all_at(start, 0)?;
        file.sync_all()?;
        Ok(file)
    }
}

impl Storage for Folder {
    fn database(&self, builder: &Builder) -> Result<Database, OpenError> {
        file::open(&self.dir, builder)
    }

    fn segments(&self) -> io::Result<Vec<u64>> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(number) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else {
                continue;
            };
            if number.ends_with(DRAFT) {
                // Left half-made by a process that was killed; it never held anything.
                fs::remove_file(entry.path())?;
            } else if let Ok(number) = u64::from_str_radix(number, 16) {
                numbers.push(number);
            }
        }
        Ok(numbers)
    }

    fn create_segment(&self, number: u64, start: &[u8], len: u64) -> io::Result<Box<dyn Segment>> {
        let path = self.path(number);
        let draft = self.dir.join(format!("{PREFIX}{number:016x}{DRAFT}"));
        let made = Self::fill(&draft, start, len).and_then(|file| {
            fs::rename(&draft, &path)?;
            File::open(&self.dir)?.sync_all()?;
            Ok(file)
        });
        if made.is_err() {
            // Gives the space back; what is left of it otherwise, the next start removes.
            let _ = fs::remove_file(&draft);
        }
        Ok(Box::new(FileSegment(made?)))
    }

    fn read_segment(&self, number: u64) -> io::Result<Vec<u8>> {
        fs::read(self.path(number))
    }

    fn remove_segment(&self, number: u64) -> io::Result<()> {
        fs::remove_file(self.path(number))
    }
}

#[derive(Debug)]
struct FileSegment(File);

impl Segment for FileSegment {
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

const PREFIX: &str = "wal-";
const DRAFT: &str = ".new";
const ZEROS: usize = 256 << 10;
