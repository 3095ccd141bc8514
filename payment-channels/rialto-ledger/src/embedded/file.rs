//! The ledger's file: made whole or not at all, opened by one process.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use redb::{Builder, Database, DatabaseError};

use super::tables;
use crate::error::OpenError;

/// Opens the ledger's file in `dir`, or makes both.
pub(crate) fn open(dir: &Path, builder: &Builder) -> Result<Database, OpenError> {
    fs::create_dir_all(dir)?;
    let path = dir.join(NAME);
    if !path.exists() {
        return create(dir, &path, builder);
    }
    let db = builder.open(&path).map_err(open_error)?;
    tables::prepare(&db)?;
    remove_draft(dir)?;
    Ok(db)
}

/// Makes the file under another name and gives it its own only once it is complete: a process
/// killed meanwhile leaves nothing that the next one would stumble over.
fn create(dir: &Path, path: &Path, builder: &Builder) -> Result<Database, OpenError> {
    let draft = dir.join(DRAFT_NAME);
    let db = match builder.create(&draft) {
        Err(DatabaseError::DatabaseAlreadyOpen) => return Err(OpenError::InUse),
        Err(_) => {
            // Left half-made; it never held anything.
            fs::remove_file(&draft)?;
            builder.create(&draft).map_err(open_error)?
        }
        Ok(db) => db,
    };
    tables::prepare(&db)?;
    // A link and not a renaming: it fails if another process was faster.
    match fs::hard_link(&draft, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(OpenError::InUse),
        other => other?,
    }
    remove_draft(dir)?;
    // The file's own sync does not cover its name in the folder.
    File::open(dir)?.sync_all()?;
    Ok(db)
}

fn remove_draft(dir: &Path) -> io::Result<()> {
    match fs::remove_file(dir.join(DRAFT_NAME)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

pub(crate) fn open_error(error: DatabaseError) -> OpenError {
    if matches!(error, DatabaseError::DatabaseAlreadyOpen) {
        return OpenError::InUse;
    }
    redb::Error::from(error).into()
}

const NAME: &str = "ledger.redb";
const DRAFT_NAME: &str = "ledger.redb.new";
