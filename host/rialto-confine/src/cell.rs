//! What a cell gives up before the code of a stranger's component runs in it.
//!
//! The code is compiled and in memory by then, so that nothing needs to become executable any more. What
//! remains: memory up to a limit, threads, clocks, randomness, and the sockets that are open.

use std::io;

use rustix::process::Resource;

use crate::limits::limit;

/// What a cell may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CellLimits {
    /// Memory that can be written on top of what the process has, in bytes.
    pub memory_bytes: u64,
    /// The largest image of a component's memory, in bytes: such images are files without a name.
    pub image_bytes: u64,
}

/// Has the kernel end this process when the thread that started it ends: a host that is killed leaves no
/// cell behind. `parent` is the starter's process id, which may be gone already.
///
/// # Errors
/// The starter has ended, or the system refuses.
pub fn end_with_parent(parent: u32) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    let now = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
    // It may have ended before the kernel was told.
    if now.and_then(|pid| u32::try_from(pid).ok()) == Some(parent) {
        return Ok(());
    }
    Err(io::Error::other(
        "the process that started this one is gone",
    ))
}

/// Confines this process, and whichever threads it starts from now on; returns what took effect.
///
/// Threads that are running already keep some of what they have: call it before there are any.
///
/// # Errors
/// A limit that this system has cannot be set.
pub fn confine_cell(limits: CellLimits) -> io::Result<Vec<String>> {
    let mut done = Vec::new();
    limit(Resource::Core, 0)?;
    limit(Resource::Fsize, limits.image_bytes)?;
    limit(Resource::Nofile, FILES_MAX)?;
    done.push("no dumps".to_owned());
    done.extend(system(limits)?);
    Ok(done)
}

#[cfg(target_os = "linux")]
fn system(limits: CellLimits) -> io::Result<Vec<String>> {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};

    let mut done = Vec::new();
    // Unlike the address space, of which an engine for components reserves hundreds of gibibytes.
    let has = crate::limits::size("VmData").unwrap_or(DATA_GUESS);
    limit(Resource::Data, limits.memory_bytes.saturating_add(has))?;
    done.push(format!("memory {} MiB", limits.memory_bytes >> 20));
    // Neighbours of the same user can neither trace it nor read its memory.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    done.extend(crate::engine::sandbox(crate::Reach::Nothing)?);
    done.extend(crate::calls::allow_few()?);
    Ok(done)
}

#[cfg(not(target_os = "linux"))]
fn system(_: CellLimits) -> io::Result<Vec<String>> {
    Ok(Vec::new())
}

/// Its socket, three standard streams, the runtime's, and an image for each memory of the component.
const FILES_MAX: u64 = 256;
/// Where the system does not say what a process has.
#[cfg(target_os = "linux")]
const DATA_GUESS: u64 = 1 << 30;
