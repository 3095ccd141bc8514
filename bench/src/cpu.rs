//! Processor time: of the calling thread, of this process, and of other processes' threads by name; and
//! their memory.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::time::{ClockId, clock_gettime};

/// Processor time that the calling thread has used.
pub(crate) fn own_thread() -> Duration {
    clock(ClockId::ThreadCPUTime)
}

/// Processor time that all of this process has used.
pub(crate) fn own_process() -> Duration {
    clock(ClockId::ProcessCPUTime)
}

fn clock(id: ClockId) -> Duration {
    let time = clock_gettime(id);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

/// Processor time that a process has used, its ended threads included; in steps of 10 ms.
///
/// # Errors
/// There is no such process.
pub(crate) fn of_process(process: u32) -> Result<Duration> {
    stat(&format!("/proc/{process}/stat")).map(|(_, time)| time)
}

/// Processor time of a process's living threads, summed up by their names; in steps of 10 ms.
///
/// # Errors
/// There is no such process.
pub(crate) fn of_threads(process: u32) -> Result<BTreeMap<String, Duration>> {
    let mut times = BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/{process}/task"))? {
        let path = entry?.path().join("stat");
        // A thread may end while we look.
        if let Ok((name, time)) = stat(&path.to_string_lossy()) {
            *times.entry(name).or_insert(Duration::ZERO) += time;
        }
    }
    Ok(times)
}

/// Processor time of a process and of its children that live; in steps of 10 ms.
///
/// # Errors
/// There is no such process.
pub(crate) fn of_family(process: u32) -> Result<Duration> {
    let mut time = of_process(process)?;
    let parent = process.to_string();
    for entry in fs::read_dir("/proc")? {
        let path = entry?.path().join("stat");
        // What is no process has none, and a process may end while we look.
        let Ok(text) = fs::read_to_string(&path) else {
            continue;
        };
        let Some((_, tail)) = text.rsplit_once(") ") else {
            continue;
        };
        if tail.split(' ').nth(PARENT) == Some(parent.as_str())
            && let Some((_, child)) = parse(&text)
        {
            time += child;
        }
    }
    Ok(time)
}

/// A name and the user and system time of `/proc/../stat`.
/// Memory of a process that lies in the machine's, in MiB.
///
/// # Errors
/// There is no such process.
pub(crate) fn resident_mib(process: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kibibytes: f64 = kibibytes.context("no VmRSS")?.trim().parse()?;
    Ok(kibibytes / 1024.0)
}

fn stat(path: &str) -> Result<(String, Duration)> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    parse(&text).with_context(|| format!("{path} is not as expected"))
}

fn parse(text: &str) -> Option<(String, Duration)> {
    let (head, tail) = text.rsplit_once(") ")?;
    let (_, name) = head.split_once('(')?;
    let mut ticks = tail.split(' ').skip(USER_TIME).take(2);
    let user: u64 = ticks.next()?.parse().ok()?;
    let system: u64 = ticks.next()?.parse().ok()?;
    Some((
        name.to_owned(),
        Duration::from_millis((user + system) * TICK_MS),
    ))
}

/// The place of the parent after the name.
const PARENT: usize = 1;
/// The place of the user time after the name: the 14th field of all.
const USER_TIME: usize = 11;
/// Linux counts these times in hundredths of a second on all architectures that we run on.
const TICK_MS: u64 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_whatever_the_name() {
        let text = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 1 0 9";
        let (name, time) = parse(text).unwrap();
        assert_eq!((name.as_str(), time), ("a) b (c", Duration::from_secs(2)));
        assert!(of_process(std::process::id()).is_ok());
        assert!(of_family(std::process::id()).is_ok());
        assert!(of_threads(std::process::id()).is_ok_and(|threads| !threads.is_empty()));
    }
}
