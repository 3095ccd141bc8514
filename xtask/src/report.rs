//! The table that ends `cargo xtask test`: each step, its time and its result.

use std::fmt;
use std::time::Duration;

use crate::progress;

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It did what it should.
    Passed,
    /// It could not be done here, and that is no fault of the checkout; says why.
    Skipped(String),
    /// It went wrong.
    Failed,
    /// An earlier step went wrong.
    NotReached,
}

/// Steps and how they ended, in order.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<(&'static str, Option<Duration>, Outcome)>,
}

impl Report {
    /// Adds a step that ran.
    pub(crate) fn ran(&mut self, step: &'static str, elapsed: Duration, outcome: Outcome) {
        self.rows.push((step, Some(elapsed), outcome));
    }

    /// Adds a step that an earlier failure kept from running.
    pub(crate) fn not_reached(&mut self, step: &'static str) {
        self.rows.push((step, None, Outcome::NotReached));
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self
            .rows
            .iter()
            .map(|(step, ..)| step.len())
            .max()
            .unwrap_or(0);
        let total: Duration = self
            .rows
            .iter()
            .filter_map(|(_, elapsed, _)| *elapsed)
            .sum();
        for (step, elapsed, outcome) in &self.rows {
            let time = elapsed.map_or_else(String::new, progress::seconds);
            writeln!(f, "{step:<width$}  {time:>13}  {outcome}")?;
        }
        write!(f, "{:<width$}  {:>13}", "total", progress::seconds(total))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed => f.write_str("ok"),
            Self::Skipped(why) => write!(f, "skipped: {why}"),
            Self::Failed => f.write_str("FAILED"),
            Self::NotReached => f.write_str("not reached"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_lines_up_and_adds_up() {
        let mut report = Report::default();
        report.ran("format", Duration::from_millis(1_200), Outcome::Passed);
        report.ran("tests", Duration::from_secs(61), Outcome::Failed);
        report.not_reached("docs");
        let expected = "\
format          1.2 s  ok
tests      1 min 01 s  FAILED
docs                   not reached
total      1 min 02 s";
        assert_eq!(report.to_string(), expected);
    }
}
