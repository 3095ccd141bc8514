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

/// Wei as the chain's own coin.
pub(crate) fn coins(wei: u128) -> String {
    let (whole, part) = (wei / WEI_PER_COIN, wei % WEI_PER_COIN / WEI_PER_MICRO);
    format!("{whole}.{part:06} of the chain's coin")
}

/// Asks a person one question.
pub(crate) fn ask(question: &str) -> anyhow::Result<String> {
    if !std::io::stdin().is_terminal() {
        anyhow::bail!("nobody can be asked: {question}");
    }
    write!(std::io::stderr().lock(), "{question}")?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(answer)
}

/// A moment of a chain's clock as people write it, in UTC.
pub(crate) fn moment(seconds: u64) -> String {
    let (day, second) = (seconds / DAY_SECS, seconds % DAY_SECS);
    let (year, month, day) = civil(day);
    let (hour, minute) = (second / 3600, second % 3600 / 60);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02} UTC")
}

/// The day of the year 0 to 9999 that is so many days after 1 January 1970.
fn civil(days: u64) -> (u64, u64, u64) {
    let mut days = days;
    let mut year = 1970;
    loop {
        let length = if is_leap(year) { 366 } else { 365 };
        if days < length || year >= 9999 {
            break;
        }
        days -= length;
        year += 1;
    }
    let february = if is_leap(year) { 29 } else { 28 };
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
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
const WEI_PER_COIN: u128 = 1_000_000_000_000_000_000;
const WEI_PER_MICRO: u128 = 1_000_000_000_000;
const DAY_SECS: u64 = 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_keeps_every_unit() {
        assert_eq!(money(Amount::new(0)), "0.000000 USDC");
        assert_eq!(money(Amount::new(101)), "0.000101 USDC");
        assert_eq!(money(Amount::new(12_345_678)), "12.345678 USDC");
    }

    #[test]
    fn moments_are_of_the_calendar() {
        assert_eq!(moment(0), "1970-01-01 00:00 UTC");
        assert_eq!(moment(951_782_399), "2000-02-28 23:59 UTC");
        assert_eq!(moment(951_782_400), "2000-02-29 00:00 UTC");
        assert_eq!(moment(1_709_251_199), "2024-02-29 23:59 UTC");
        assert_eq!(moment(1_795_305_600), "2026-11-22 00:00 UTC");
        assert!(moment(u64::MAX).starts_with("9999"));
    }
}
