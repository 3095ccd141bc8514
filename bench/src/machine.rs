//! What was measured on, without saying where: no host name, no paths.

use std::fs;

use serde::Serialize;

/// A description of the machine.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Machine {
    /// The processor's own name.
    processor: String,
    /// Processors that this program may use.
    pub(crate) cores: usize,
    /// Main memory in GiB, rounded down.
    memory_gib: u64,
    /// The operating system's version, without what its builder added.
    kernel: String,
}

impl Machine {
    /// Asks the kernel; what it does not say stays empty.
    pub(crate) fn describe() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let memory_kib = field(&meminfo, "MemTotal")
            .trim_end_matches(" kB")
            .parse::<u64>();
        Self {
            processor: field(&cpuinfo, "model name").to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gib: memory_kib.unwrap_or_default() >> 20,
            kernel: format!("Linux {}", version(release.trim())),
        }
    }
}

fn version(release: &str) -> &str {
    let end = release.find(|c: char| c != '.' && !c.is_ascii_digit());
    release
        .get(..end.unwrap_or(release.len()))
        .unwrap_or(release)
}

fn field<'a>(text: &'a str, name: &str) -> &'a str {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim() == name)
        .map_or("", |(_, value)| value.trim())
}
