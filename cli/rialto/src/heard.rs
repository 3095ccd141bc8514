//! Answers that come item by item, as they come: texts one after the other, anything else on lines of its
//! own; with `--json` one JSON a line.

use std::io::Write as _;

use rialto_gateway::client::Heard;
use serde_json::{Value, json};

use crate::{call, show};

/// Shows what is heard.
#[derive(Debug)]
pub(crate) struct Listener {
    json: bool,
    /// Something was shown.
    shown: bool,
    /// The last thing was a text, whose line goes on.
    in_line: bool,
}

impl Listener {
    pub(crate) fn new(json: bool) -> Self {
        Self {
            json,
            shown: false,
            in_line: false,
        }
    }

    /// Whether anything came item by item.
    pub(crate) fn has_shown(&self) -> bool {
        self.shown
    }

    /// Shows the next part.
    pub(crate) fn hear(&mut self, part: Heard<'_>) {
        match part {
            Heard::Anew => {
                self.end();
                show::note("the answer broke off and begins anew; what came before is void");
            }
            Heard::Item(item) => {
                self.shown = true;
                let value = serde_json::from_slice(item);
                let value = value.unwrap_or_else(|_| json!(String::from_utf8_lossy(item)));
                self.show(&value, item);
            }
        }
    }

    fn show(&mut self, value: &Value, item: &[u8]) {
        match value {
            value if self.json => show::json(&json!({ "item": value })),
            Value::String(text) => {
                let mut out = std::io::stdout().lock();
                write!(out, "{}", printable(text)).ok();
                out.flush().ok();
                self.in_line = true;
            }
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_) => {
                self.end();
                show::line(call::readable(item));
            }
        }
    }

    /// Ends a line that goes on.
    pub(crate) fn end(&mut self) {
        if std::mem::take(&mut self.in_line) {
            show::line("");
        }
    }
}

/// A stranger chose the text: what would move a terminal's cursor or change its colours is written out.
fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() && !matches!(letter, '\n' | '\t') {
            shown.extend(letter.escape_unicode());
        } else {
            shown.push(letter);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_told_nothing_but_text() {
        assert_eq!(printable("a\tb\nä"), "a\tb\nä");
        assert_eq!(printable("\u{1b}[31mred\r"), "\\u{1b}[31mred\\u{d}");
    }
}
