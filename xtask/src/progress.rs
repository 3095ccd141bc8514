//! What the person at the terminal sees: spinners and bars there, quiet lines anywhere else.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};

/// Says one line about what is going on, on the error stream.
pub(crate) fn say(line: impl AsRef<str>) {
    eprintln!("{}", line.as_ref());
}

/// Says that a new part of the task begins.
pub(crate) fn heading(line: impl AsRef<str>) {
    eprintln!("\n== {}", line.as_ref());
}

/// Prints a task's result, on the output stream.
pub(crate) fn print(text: impl AsRef<str>) -> Result<()> {
    writeln!(io::stdout(), "{}", text.as_ref()).context("write to standard output")
}

/// One piece of work under way; says how it ended when it is told, or that it stopped.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    what: String,
    since: Instant,
}

impl Progress {
    /// Starts a spinner, or a bar where the size in bytes is known.
    pub(crate) fn start(what: impl Into<String>, bytes: Option<u64>) -> Self {
        let what = what.into();
        let bar = if !io::stderr().is_terminal() {
            say(format!("   {what} ..."));
            ProgressBar::hidden()
        } else if let Some(bytes) = bytes {
            ProgressBar::new(bytes).with_style(style(BAR))
        } else {
            ProgressBar::new_spinner().with_style(style(SPINNER))
        };
        bar.set_message(what.clone());
        bar.enable_steady_tick(Duration::from_millis(120));
        Self {
            bar,
            what,
            since: Instant::now(),
        }
    }

    /// Shows how many bytes are there so far.
    pub(crate) fn reached(&self, bytes: u64) {
        self.bar.set_position(bytes);
    }

    /// Says that the work is done and how long it took.
    pub(crate) fn done(self) {
        self.bar.finish_and_clear();
        say(format!(
            "   {} done in {}",
            self.what,
            seconds(self.since.elapsed())
        ));
    }

    /// Clears the line; the caller says what went wrong.
    pub(crate) fn failed(self) {
        self.bar.finish_and_clear();
    }
}

/// Writes a duration for a person: `0.4 s`, `12 s`, `3 min 05 s`.
pub(crate) fn seconds(elapsed: Duration) -> String {
    let whole = elapsed.as_secs();
    if whole >= 60 {
        format!("{} min {:02} s", whole / 60, whole % 60)
    } else if whole >= 10 {
        format!("{whole} s")
    } else {
        format!("{:.1} s", elapsed.as_secs_f64())
    }
}

/// Writes a number of bytes for a person, in powers of 1,000.
pub(crate) fn megabytes(bytes: u64) -> String {
    format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000)
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
        .progress_chars("=> ")
}

const SPINNER: &str = "   {spinner} {msg} [{elapsed_precise}]";
const BAR: &str = "   {spinner} {msg} [{bar:30}] {bytes}/{total_bytes} [{elapsed_precise}]";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_valid() {
        for template in [SPINNER, BAR] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }

    #[test]
    fn durations_are_written_for_people() {
        let check = |millis, expected: &str| {
            assert_eq!(seconds(Duration::from_millis(millis)), expected);
        };
        check(420, "0.4 s");
        check(12_900, "12 s");
        check(185_000, "3 min 05 s");
    }

    #[test]
    fn sizes_are_written_for_people() {
        assert_eq!(megabytes(16_244_594), "16.2 MB");
    }
}
