//! What came of a target's run: the table that ends `cargo xtask fuzz`, and what to do next.

use std::path::PathBuf;
use std::time::Duration;

use crate::progress;

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// No input broke a property.
    Held,
    /// This one did.
    Broke {
        /// Where libFuzzer kept it.
        input: PathBuf,
    },
}

impl Outcome {
    pub(super) fn is_broken(&self) -> bool {
        matches!(self, Self::Broke { .. })
    }
}

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    target: &'static str,
    elapsed: Duration,
    executions: u64,
    pub(super) outcome: Outcome,
    seeds: PathBuf,
}

impl Row {
    /// Reads libFuzzer's own count from what it printed.
    pub(super) fn new(
        target: &'static str,
        elapsed: Duration,
        log: &str,
        outcome: Outcome,
        seeds: PathBuf,
    ) -> Self {
        Self {
            target,
            elapsed,
            executions: executions(log),
            outcome,
            seeds,
        }
    }

    /// What to do with an input that broke a property.
    pub(super) fn advice(&self) -> String {
        let Outcome::Broke { input } = &self.outcome else {
            return String::new();
        };
        format!(
            "{}: copy {} to {}/regression-WHAT, mend the decoder until `cargo xtask test tests` \
             passes, and commit both",
            self.target,
            input.display(),
            self.seeds.display()
        )
    }
}

/// The inputs that were run: the last count that libFuzzer printed, at the end or while it ran.
fn executions(log: &str) -> u64 {
    let number = |text: &str| {
        let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    };
    log.lines()
        .rev()
        .find_map(|line| {
            let last = line.strip_prefix("stat::number_of_executed_units:");
            let running = || line.strip_prefix('#');
            last.or_else(running).and_then(|text| number(text.trim()))
        })
        .unwrap_or(0)
}

/// Targets, times, executions and results, lined up.
pub(super) fn table(rows: &[Row]) -> String {
    let width = rows.iter().map(|row| row.target.len()).max().unwrap_or(0);
    let lines: Vec<String> = rows
        .iter()
        .map(|row| {
            let rate = u128::from(row.executions) * 1_000 / row.elapsed.as_millis().max(1);
            let result = match &row.outcome {
                Outcome::Held => "ok".to_owned(),
                Outcome::Broke { input } => format!("BROKE on {}", input.display()),
            };
            format!(
                "{:<width$}  {:>13}  {:>12} runs  {rate:>8}/s  {result}",
                row.target,
                progress::seconds(row.elapsed),
                row.executions,
            )
        })
        .collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
#2\tINITED cov: 3 ft: 4 corp: 1/1b exec/s: 0 rss: 30Mb
#1024\tpulse  cov: 9 ft: 12 corp: 4/9b lim: 4 exec/s: 512 rss: 31Mb
";

    #[test]
    fn executions_are_the_last_that_were_printed() {
        assert_eq!(executions(""), 0);
        assert_eq!(executions(LOG), 1024);
        let ended =
            format!("{LOG}stat::number_of_executed_units: 4096\nstat::new_units_added: 7\n");
        assert_eq!(executions(&ended), 4096);
    }

    #[test]
    fn the_table_lines_up_and_a_broken_target_says_what_to_do() {
        let row = |target, outcome| {
            Row::new(
                target,
                Duration::from_secs(2),
                LOG,
                outcome,
                "fuzz/seeds/x".into(),
            )
        };
        let broke = Outcome::Broke {
            input: "found/crash-1".into(),
        };
        let rows = [row("voucher", Outcome::Held), row("form", broke)];
        let expected = "\
voucher          2.0 s          1024 runs       512/s  ok
form             2.0 s          1024 runs       512/s  BROKE on found/crash-1";
        assert_eq!(table(&rows), expected);
        assert!(rows[1].outcome.is_broken() && !rows[0].outcome.is_broken());
        let advice = rows[1].advice();
        assert!(
            advice.contains("copy found/crash-1 to fuzz/seeds/x/regression-WHAT"),
            "{advice}"
        );
    }
}
