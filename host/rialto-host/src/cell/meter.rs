//! What a call in a cell is said to have used, bounded by what the host knows.
//!
//! The cell counts as the host would, but who has taken it over can have it say anything, and prices
//! follow. So nothing is believed beyond what the host or the kernel measured, or the call's limits allow.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use super::serving::Had;
use crate::hires::Spent;
use crate::service::Usage;
use crate::spec::Limits;

/// What the host and the kernel know of a call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    /// From its beginning to its end.
    pub(super) wall: Duration,
    /// The processor time of the whole cell meanwhile, where the system tells.
    pub(super) processor: Option<Duration>,
    /// Bytes of the arguments as received.
    pub(super) input_bytes: u64,
    /// Bytes of the result.
    pub(super) output_bytes: u64,
    /// What it had of the host.
    pub(super) had: Had,
    /// What it spent on other services.
    pub(super) hired: Spent,
    /// Whether it can do tensor operations by itself.
    pub(super) operations: bool,
}

/// The part of `said` that can be true.
pub(super) fn bounded(said: &Usage, known: &Known, limits: &Limits) -> Usage {
    let processor = known.processor.unwrap_or(Duration::MAX);
    // Operations run in the cell, models in the host; neither lasts longer than the call.
    let device = processor
        .saturating_add(known.had.device_time)
        .min(known.wall.max(known.had.device_time));
    let (runs, multiply_adds) = if known.operations {
        (limits.host_calls_max, limits.multiply_adds_max)
    } else {
        (known.had.runs, 0)
    };
    Usage {
        // The door is the host's.
        waited: Duration::ZERO,
        wall_time: known.wall,
        guest_time: said
            .guest_time
            .min(processor)
            .min(limits.cpu_max)
            .min(known.wall),
        host_time: said.host_time.min(device),
        memory_peak: said.memory_peak.min(limits.memory_bytes_max),
        table_peak: said.table_peak.min(limits.table_elements_max),
        host_calls: said.host_calls.min(limits.host_calls_max),
        host_bytes: said.host_bytes.min(limits.host_bytes_max),
        input_bytes: known.input_bytes,
        output_bytes: known.output_bytes,
        tensor_runs: said.tensor_runs.min(runs),
        device_time: said.device_time.min(device),
        multiply_adds: said.multiply_adds.min(multiply_adds),
        moved_bytes: said.moved_bytes.min(limits.host_bytes_max),
        // No language model is in reach of a cell.
        tokens_read: 0,
        tokens_written: 0,
        handles_peak: said.handles_peak.min(limits.handles_max.into()),
        tensor_bytes_peak: said.tensor_bytes_peak.min(limits.tensor_bytes_max),
        session_bytes_peak: 0,
        outbound_requests: said
            .outbound_requests
            .min(limits.outbound_requests_max.into()),
        outbound_bytes: said.outbound_bytes.min(limits.host_bytes_max),
        state_bytes: said.state_bytes.min(limits.host_bytes_max),
        log_lines: said.log_lines,
        hires: known.hired.calls,
        spent: known.hired.amount,
    }
}

/// The processor time of a process, where the system tells (Linux: its `stat`).
#[derive(Debug)]
pub(super) struct Clock(Option<File>);

impl Clock {
    pub(super) fn of(process: u32) -> Self {
        Self(File::open(format!("/proc/{process}/stat")).ok())
    }

    /// The time so far, to a hundredth of a second.
    pub(super) fn used(&self) -> Option<Duration> {
        let mut text = [0; STAT_BYTES];
        let bytes = self.0.as_ref()?.read_at(&mut text, 0).ok()?;
        let text = str::from_utf8(text.get(..bytes)?).ok()?;
        // The second field is the program's name in brackets, which may hold anything.
        let fields = text.get(text.rfind(')')? + 1..)?;
        let mut fields = fields.split_ascii_whitespace().skip(FIELDS_BEFORE);
        let mut ticks = || fields.next()?.parse::<u64>().ok();
        let ticks = ticks()?.checked_add(ticks()?)?;
        Some(Duration::from_millis(ticks.checked_mul(TICK_MS)?))
    }
}

/// The fields between the name and the two of the processor time (proc(5)).
const FIELDS_BEFORE: usize = 11;
/// The unit of these fields, whatever the kernel's own clock (`USER_HZ`).
const TICK_MS: u64 = 10;
/// What two readings may hide: each leaves out less than a unit in both fields.
pub(super) const UNCERTAIN: Duration = Duration::from_millis(2 * TICK_MS);
const STAT_BYTES: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_liar_gains_nothing_beyond_what_was_measured() {
        let limits = Limits::default();
        let said = Usage {
            waited: Duration::MAX,
            wall_time: Duration::MAX,
            handles_peak: u64::MAX,
            tensor_bytes_peak: u64::MAX,
            session_bytes_peak: u64::MAX,
            outbound_requests: u64::MAX,
            outbound_bytes: u64::MAX,
            state_bytes: u64::MAX,
            log_lines: u64::MAX,
            hires: 1,
            spent: 1,
            table_peak: u64::MAX,
            host_bytes: u64::MAX,
            guest_time: Duration::MAX,
            host_time: Duration::MAX,
            memory_peak: u64::MAX,
            host_calls: u64::MAX,
            input_bytes: u64::MAX,
            output_bytes: u64::MAX,
            tensor_runs: u64::MAX,
            device_time: Duration::MAX,
            multiply_adds: u64::MAX,
            moved_bytes: u64::MAX,
            tokens_read: u64::MAX,
            tokens_written: u64::MAX,
        };
        let known = Known {
            wall: Duration::from_millis(30),
            processor: Some(Duration::from_millis(10)),
            input_bytes: 5,
            output_bytes: 6,
            hired: Spent::default(),
            had: Had {
                runs: 1,
                device_time: Duration::from_millis(7),
            },
            operations: false,
        };
        let usage = bounded(&said, &known, &limits);
        assert_eq!(usage.guest_time, Duration::from_millis(10));
        assert_eq!(usage.device_time, Duration::from_millis(17));
        assert_eq!(usage.waited, Duration::ZERO);
        assert_eq!(usage.memory_peak, limits.memory_bytes_max);
        assert_eq!(usage.table_peak, limits.table_elements_max);
        assert_eq!(usage.host_bytes, limits.host_bytes_max);
        assert_eq!((usage.input_bytes, usage.output_bytes), (5, 6));
        assert_eq!((usage.tokens_read, usage.tokens_written), (0, 0));
        assert_eq!((usage.tensor_runs, usage.multiply_adds), (1, 0));
        assert_eq!((usage.hires, usage.spent), (0, 0));
        let honest = Usage {
            wall_time: known.wall,
            guest_time: Duration::from_millis(3),
            device_time: Duration::from_millis(2),
            input_bytes: 5,
            output_bytes: 6,
            ..Usage::default()
        };
        assert_eq!(bounded(&honest, &known, &limits), honest);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_kernel_tells_a_process_time() {
        let clock = Clock::of(std::process::id());
        let before = clock.used().unwrap();
        while clock.used().unwrap() < before + Duration::from_millis(20) {
            std::hint::spin_loop();
        }
        assert_eq!(Clock::of(u32::MAX).used(), None);
    }
}
