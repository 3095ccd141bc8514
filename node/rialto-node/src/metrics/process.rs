//! What the operating system says of this process, by the names that Prometheus' clients have in common.
//!
//! Linux alone says it as files; elsewhere these metrics are absent, as the convention has it.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use super::{Kind, Metric, Point, Value};

/// The process' own metrics.
pub(super) fn metrics(started: SystemTime) -> Vec<Metric> {
    let status = fs::read_to_string("/proc/self/status").ok();
    let status = status.as_deref().unwrap_or("");
    let kib = |field: &str| Some(Value::Whole(number(status, field)?.checked_mul(1024)?));
    let limits = fs::read_to_string("/proc/self/limits").ok();
    let fds_max = limits.as_deref().and_then(fds_max).map(Value::Whole);
    // The folder's own descriptor is among them while it is read.
    let fds = fs::read_dir("/proc/self/fd").ok();
    let fds = fds.and_then(|fds| u64::try_from(fds.count().saturating_sub(1)).ok());
    let began = started.duration_since(UNIX_EPOCH).ok();
    let began = began.map(|since| Value::Seconds(since.as_secs_f64()));
    let found = [
        of(
            "process.cpu",
            "s",
            "Processor time of all threads.",
            cpu_seconds(),
        ),
        of(
            "process.resident_memory",
            "By",
            "Memory that is resident.",
            kib("VmRSS:"),
        ),
        of(
            "process.virtual_memory",
            "By",
            "Addresses that are in use; most of them are reserved for instances and empty.",
            kib("VmSize:"),
        ),
        of(
            "process.open_fds",
            "{file}",
            "Open file descriptors.",
            fds.map(Value::Whole),
        ),
        of(
            "process.max_fds",
            "{file}",
            "How many may be open.",
            fds_max,
        ),
        of(
            "process.threads",
            "{thread}",
            "Threads.",
            number(status, "Threads:").map(Value::Whole),
        ),
        of(
            "process.start_time",
            "s",
            "When the node began, in seconds since the Unix epoch.",
            began,
        ),
    ];
    found.into_iter().flatten().collect()
}

/// A metric without labels, if the system says it. Time that was used is a counter.
fn of(
    name: &'static str,
    unit: &'static str,
    help: &'static str,
    value: Option<Value>,
) -> Option<Metric> {
    let is_used = name == "process.cpu";
    Some(Metric {
        name,
        help,
        unit,
        kind: if is_used { Kind::Counter } else { Kind::Gauge },
        points: vec![Point {
            labels: Vec::new(),
            value: value?,
        }],
    })
}

/// Processor time of all threads: `utime` and `stime` of `/proc/self/stat`, in ticks of which Linux has
/// told programs for decades that there are a hundred a second (`USER_HZ`).
fn cpu_seconds() -> Option<Value> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let ticks = cpu_ticks(&stat)?;
    Some(Value::Seconds(
        std::time::Duration::from_millis(ticks.checked_mul(10)?).as_secs_f64(),
    ))
}

fn cpu_ticks(stat: &str) -> Option<u64> {
    // The second field is the program's name in parentheses, which may have spaces.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    user.checked_add(system)
}

/// The first number after a field's name.
fn number(text: &str, field: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse().ok()
}

fn fds_max(limits: &str) -> Option<u64> {
    number(limits, "Max open files")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_where_linux_has_them() {
        let stat = "12 (a b) c) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20";
        assert_eq!(cpu_ticks(stat), Some(300));
        let status = "Name:\trialto\nVmSize:\t  9 kB\nVmRSS:\t    5 kB\nThreads:\t7\n";
        assert_eq!(number(status, "VmRSS:"), Some(5));
        assert_eq!(number(status, "Threads:"), Some(7));
        let limits =
            "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024   4096  files\n";
        assert_eq!(fds_max(limits), Some(1024));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_them_all() {
        let metrics = metrics(SystemTime::now());
        assert_eq!(metrics.len(), 7, "{metrics:?}");
        for metric in metrics {
            let [point] = &metric.points[..] else {
                panic!("{}", metric.name);
            };
            match point.value {
                Value::Whole(value) => assert!(value > 0, "{}", metric.name),
                Value::Seconds(value) => assert!(value >= 0.0, "{}", metric.name),
                Value::Histogram(_) => panic!("{}", metric.name),
            }
        }
    }
}
