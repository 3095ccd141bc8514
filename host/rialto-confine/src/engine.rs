//! What an engine's worker gives up before it looks at a stranger's file.
//!
//! The environment, the working folder and the open files were settled by whoever started it. Here it
//! limits itself for good: memory, open files, written bytes, dumps; on Linux also new privileges and,
//! where the kernel knows Landlock, every file and every connection. Only threads that are started
//! later are covered by the last two, so this runs before there are any.
//!
//! A limit that this system does not have is left out, and not in the list that comes back.

use std::io;

use rustix::process::Resource;

use crate::limits::{limit, size};

/// What is kept in reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Nothing: the engine has all that it needs.
    Nothing,
    /// Files and devices, and memory as the device's driver wants it: it opens both when it likes.
    Devices,
}

/// Limits this process to `memory_bytes` on top of what it has, and so on; returns what took effect.
///
/// # Errors
/// A limit that this system has cannot be set.
pub fn confine(memory_bytes: u64, reach: Reach) -> io::Result<Vec<String>> {
    let mut done = Vec::new();
    limit(Resource::Core, 0)?;
    limit(Resource::Fsize, 0)?;
    if reach == Reach::Nothing {
        limit(Resource::Nofile, FILES_MAX)?;
        let has = size("VmSize").unwrap_or(ADDRESS_SPACE_GUESS);
        limit(Resource::As, memory_bytes.saturating_add(has))?;
        done.push(format!("memory {} MiB", memory_bytes >> 20));
    }
    done.push("no dumps, no written files".to_owned());
    done.extend(sandbox(reach)?);
    Ok(done)
}

#[cfg(target_os = "linux")]
pub(crate) fn sandbox(reach: Reach) -> io::Result<Vec<String>> {
    use landlock::{
        ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset,
        RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope,
    };
    let failed = |error: landlock::RulesetError| io::Error::other(error);
    if reach == Reach::Devices {
        return Ok(Vec::new());
    }
    let newest = ABI::V6;
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(newest))
        .and_then(|rules| rules.handle_access(AccessNet::from_all(newest)))
        .and_then(|rules| rules.scope(Scope::from_all(newest)))
        .and_then(|rules| rules.create())
        .map_err(failed)?;
    // How many processors there are: engines ask when they make their threads.
    for folder in ["/proc/cpuinfo", "/sys/devices/system/cpu"] {
        if let Ok(place) = PathFd::new(folder) {
            let access = AccessFs::ReadFile | AccessFs::ReadDir;
            rules = rules
                .add_rule(PathBeneath::new(place, access))
                .map_err(failed)?;
        }
    }
    let status = rules.restrict_self().map_err(failed)?;
    let mut done = Vec::new();
    if status.no_new_privs {
        done.push("no new privileges".to_owned());
    }
    match status.ruleset {
        RulesetStatus::FullyEnforced => done.push("no files, no connections".to_owned()),
        RulesetStatus::PartiallyEnforced => {
            done.push("no files, as far as this kernel can".to_owned());
        }
        RulesetStatus::NotEnforced => {}
    }
    Ok(done)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn sandbox(_: Reach) -> io::Result<Vec<String>> {
    Ok(Vec::new())
}

/// A worker has its socket, three standard streams and what its engine keeps open.
const FILES_MAX: u64 = 64;
/// Where the system does not say what a process has.
const ADDRESS_SPACE_GUESS: u64 = 4 << 30;
