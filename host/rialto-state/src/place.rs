//! Where the state's file is: a folder, or a model of a disk that fails on purpose.

use std::fmt;
use std::fs;
use std::io;
use std::path::PathBuf;

use redb::{Builder, Database};

use crate::error::OpenError;

/// A place for one database, which may be opened again after it failed.
pub trait Place: fmt::Debug + Send + Sync + 'static {
    /// Opens the database, or makes an empty one.
    ///
    /// # Errors
    /// [`OpenError`]; the operator's to solve.
    fn open(&self, builder: &mut Builder) -> Result<Database, OpenError>;

    /// How large the file is; none where that is nobody's concern.
    ///
    /// # Errors
    /// The file cannot be asked.
    fn file_bytes(&self) -> io::Result<Option<u64>> {
        Ok(None)
    }
}

/// A folder, which is made if it is missing.
#[derive(Debug)]
pub struct Folder(pub PathBuf);

impl Place for Folder {
    fn open(&self, builder: &mut Builder) -> Result<Database, OpenError> {
        fs::create_dir_all(&self.0)?;
        let file = self.0.join(NAME);
        let opened = builder.create(file);
        opened.map_err(|error| OpenError::Database(error.to_string()))
    }

    fn file_bytes(&self) -> io::Result<Option<u64>> {
        Ok(Some(fs::metadata(self.0.join(NAME))?.len()))
    }
}

const NAME: &str = "state.redb";
