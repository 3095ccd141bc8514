//! One task at a time changes the cache's shared parts.

use std::fs::{self, File, TryLockError};

use anyhow::{Context, Result};

use crate::paths::Paths;
use crate::progress;

/// Holds the cache's lock until it is dropped; the system releases it if the process dies.
#[derive(Debug)]
pub(crate) struct Lock(
    #[expect(dead_code, reason = "held open: closing it releases the lock")] File,
);

/// Waits for the cache's lock, saying so if another task has it.
pub(crate) fn hold(paths: &Paths) -> Result<Lock> {
    fs::create_dir_all(&paths.cache)
        .with_context(|| format!("create {}", paths.cache.display()))?;
    let place = paths.cache.join("xtask.lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&place)
        .with_context(|| format!("open {}", place.display()))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            progress::say("waiting for another `cargo xtask` to finish with the cache");
            file.lock()
                .with_context(|| format!("lock {}", place.display()))?;
        }
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("lock {}", place.display()));
        }
    }
    let leftovers = paths.scratch_root();
    if leftovers.exists() {
        // Of a task that was killed: whoever holds the lock is alone.
        fs::remove_dir_all(&leftovers)
            .with_context(|| format!("remove {}", leftovers.display()))?;
    }
    Ok(Lock(file))
}
