//! Resource limits of this process.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Lowers a limit, for good.
pub(crate) fn limit(resource: Resource, value: u64) -> io::Result<()> {
    let most = getrlimit(resource).maximum.unwrap_or(u64::MAX);
    let value = Some(value.min(most));
    let limit = Rlimit {
        current: value,
        maximum: value,
    };
    setrlimit(resource, limit).map_err(io::Error::from)
}

/// A size in this process's status, in bytes, such as `VmSize`: all address space, or `VmData`: private
/// memory that can be written.
pub(crate) fn size(name: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let mut lines = text.lines();
    let line = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1 << 10)
}
