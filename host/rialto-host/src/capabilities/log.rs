//! `rialto:service/log` and standard output: lines for the host operator, bounded per call.
//!
//! Lines are written as tracing events with target `rialto_host::guest`. What a guest writes is its
//! author's doing: operators who must keep users' input out of logs filter that target.

use std::sync::{Arc, Mutex, PoisonError};

use tracing::Level;
use wasmtime::component::{HasSelf, Linker};

use super::bindings::service::rialto::service::log;
use crate::settings::Redactor;
use crate::state::CallState;

/// Bytes of a line that are kept.
const LINE_BYTES_MAX: usize = 1_024;

/// Defines the interface.
pub(crate) fn link(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    log::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)
}

impl log::Host for CallState {
    fn write(&mut self, level: log::Level, message: String) -> wasmtime::Result<()> {
        self.charge_host_call(message.len() as u64)?;
        let level = match level {
            log::Level::Debug => Level::DEBUG,
            log::Level::Info => Level::INFO,
            log::Level::Warn => Level::WARN,
            log::Level::Error => Level::ERROR,
        };
        for line in message.lines() {
            self.lines.push(level, line);
        }
        Ok(())
    }
}

/// The lines of one call. Clones share them: WASI's streams own one.
#[derive(Debug, Clone)]
pub(crate) struct Lines {
    inner: Arc<Mutex<Buffer>>,
}

#[derive(Debug)]
struct Buffer {
    lines: Vec<(Level, String)>,
    lines_max: usize,
    dropped: u64,
    /// A line of standard output whose end has not come yet.
    open: Vec<u8>,
    redactor: Arc<Redactor>,
}

impl Lines {
    /// Lines without the secrets that `redactor` knows.
    pub(crate) fn new(lines_max: u32, redactor: Arc<Redactor>) -> Self {
        Self {
            inner: Arc::new(Mutex::new(Buffer {
                lines: Vec::new(),
                lines_max: usize::try_from(lines_max).unwrap_or(usize::MAX),
                dropped: 0,
                open: Vec::new(),
                redactor,
            })),
        }
    }

    /// Adds a line, cut to its maximum, or counts it as dropped.
    pub(crate) fn push(&self, level: Level, line: &str) {
        self.lock().push(level, line.as_bytes());
    }

    /// Adds bytes of standard output or standard error.
    pub(crate) fn write(&self, bytes: &[u8]) {
        let mut buffer = self.lock();
        // A secret that begins in the part that is kept is seen whole.
        let bytes_max = LINE_BYTES_MAX.saturating_add(buffer.redactor.longest());
        for &byte in bytes {
            if byte == b'\n' {
                buffer.close_line();
            } else if buffer.open.len() < bytes_max {
                buffer.open.push(byte);
            }
        }
    }

    /// Lines so far, those that were dropped included.
    pub(crate) fn count(&self) -> u64 {
        let buffer = self.lock();
        buffer.dropped.saturating_add(buffer.lines.len() as u64)
    }

    /// Hands all lines over. Gives how many were dropped.
    pub(crate) fn emit(&self, sink: &dyn Sink, service: &str, call_id: &str) -> u64 {
        let mut buffer = self.lock();
        if !buffer.open.is_empty() {
            buffer.close_line();
        }
        let lines = std::mem::take(&mut buffer.lines);
        if !lines.is_empty() || buffer.dropped > 0 {
            sink.take(service, call_id, lines, buffer.dropped);
        }
        buffer.dropped
    }

    #[cfg(test)]
    fn contents(&self) -> (Vec<String>, u64) {
        let buffer = self.lock();
        let lines = buffer.lines.iter().map(|(_, line)| line.clone()).collect();
        (lines, buffer.dropped)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Buffer> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Buffer {
    fn close_line(&mut self) {
        let line = std::mem::take(&mut self.open);
        self.push(Level::INFO, &line);
    }

    fn push(&mut self, level: Level, line: &[u8]) {
        if self.lines.len() >= self.lines_max {
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        let end = self.redactor.cut(line, LINE_BYTES_MAX);
        let kept = self.redactor.bytes(line.get(..end).unwrap_or(line));
        // Control characters could forge lines or drive a terminal.
        let text = String::from_utf8_lossy(&kept)
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        self.lines.push((level, text));
    }
}

/// Who gets the lines of a call at its end.
pub(crate) trait Sink: Send + Sync {
    /// Takes them, and the number of those that there was no room for.
    fn take(&self, service: &str, call_id: &str, lines: Vec<(Level, String)>, dropped: u64);
}

/// The operator's log.
pub(crate) struct Journal;

impl Sink for Journal {
    fn take(&self, service: &str, call_id: &str, lines: Vec<(Level, String)>, dropped: u64) {
        for (level, line) in lines {
            emit_line(level, service, call_id, &line);
        }
        if dropped > 0 {
            tracing::warn!(target: "rialto_host::guest", service, call_id, dropped, "lines dropped");
        }
    }
}

/// Hands lines that somebody else collected to the operator's log, cut and cleaned again.
pub(crate) fn forward(
    (service, call_id): (&str, &str),
    redactor: &Arc<Redactor>,
    lines: Vec<(Level, String)>,
    dropped: u64,
) {
    let lines_max = u32::try_from(lines.len()).unwrap_or(u32::MAX);
    let clean = Lines::new(lines_max, Arc::clone(redactor));
    for (level, line) in lines {
        clean.push(level, &line);
    }
    clean.lock().dropped = dropped;
    clean.emit(&Journal, service, call_id);
}

fn emit_line(level: Level, service: &str, call_id: &str, line: &str) {
    match level {
        Level::ERROR => tracing::error!(target: "rialto_host::guest", service, call_id, "{line}"),
        Level::WARN => tracing::warn!(target: "rialto_host::guest", service, call_id, "{line}"),
        Level::INFO => tracing::info!(target: "rialto_host::guest", service, call_id, "{line}"),
        _ => tracing::debug!(target: "rialto_host::guest", service, call_id, "{line}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded_cut_and_cleaned() {
        let lines = Lines::new(3, Arc::default());
        lines.push(Level::INFO, "plain");
        lines.push(Level::INFO, "\u{1b}[31mred\r");
        lines.push(Level::INFO, &"x".repeat(5_000));
        lines.push(Level::INFO, "one too many");
        let (kept, dropped) = lines.contents();
        assert_eq!(kept[0], "plain");
        assert_eq!(kept[1], " [31mred ");
        assert_eq!(kept[2].len(), LINE_BYTES_MAX);
        assert_eq!((kept.len(), dropped), (3, 1));
    }

    #[test]
    fn standard_output_is_split_into_lines() {
        let lines = Lines::new(8, Arc::default());
        lines.write(b"one\ntw");
        lines.write(b"o\nthree");
        assert_eq!(lines.contents().0, ["one", "two"]);
        lines.emit(&Journal, "service", "call");
        assert_eq!(lines.contents().0, Vec::<String>::new());
    }
}
