//! How things look: colour where a terminal reads, plain where a script does.

use std::io::{IsTerminal, Write};

use comfy_table::{ContentArrangement, Table, presets};
use rialto_channels::Amount;

/// Prints a line to standard output; a closed pipe is no error of ours.
pub(crate) fn line(text: impl AsRef<str>) {
    writeln!(std::io::stdout().lock(), "{}", text.as_ref()).ok();
}

/// Prints a line to standard error, for everything that is not the answer.
pub(crate) fn note(text: impl AsRef<str>) {
    writeln!(std::io::stderr().lock(), "{}", text.as_ref()).ok();
}

/// Prints one JSON value on a line of its own.
pub(crate) fn json(value: &serde_json::Value) {
    line(value.to_string());
}

pub(crate) fn bold(text: &str) -> String {
    paint(text, "1")
}

pub(crate) fn dim(text: &str) -> String {
    paint(text, "2")
}

pub(crate) fn green(text: &str) -> String {
    paint(text, "32")
}

pub(crate) fn cyan(text: &str) -> String {
    paint(text, "36")
}

fn paint(text: &str, code: &str) -> String {
    let plain = std::env::var_os("NO_COLOR").is_some() || !std::io::stdout().is_terminal();
    if plain {
        text.to_owned()
    } else {
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// A table with these headings.
pub(crate) fn table(headings: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_HORIZONTAL_ONLY)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(headings.iter().copied());
    table
}

/// An amount of the six-decimal token as money: `0.000100 USDC`.
pub(crate) fn money(amount: Amount) -> String {
    let units = amount.get();
    format!(
        "{}.{:06} USDC",
        units / UNITS_PER_TOKEN,
        units % UNITS_PER_TOKEN
    )
}

/// The beginning of a long hexadecimal name.
pub(crate) fn short(hex: &str) -> String {
    if hex.len() <= 14 {
        hex.to_owned()
    } else {
        format!("{}…", hex.get(..12).unwrap_or(hex))
    }
}

const UNITS_PER_TOKEN: u128 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_keeps_every_unit() {
        assert_eq!(money(Amount::new(0)), "0.000000 USDC");
        assert_eq!(money(Amount::new(101)), "0.000101 USDC");
        assert_eq!(money(Amount::new(12_345_678)), "12.345678 USDC");
    }
}
