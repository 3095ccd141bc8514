//! Messages as lines: one JSON each, on standard input and output.

use std::io::{self, BufRead, Read as _, Write as _};
use std::thread;

use anyhow::{Context as _, Result};
use serde_json::Value;
use tokio::sync::mpsc;

/// The longest message: a call takes no more.
pub(super) const BYTES_MAX: u64 = 24 << 20;

/// What was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A message.
    Whole(Vec<u8>),
    /// A line beyond [`BYTES_MAX`], which was thrown away.
    TooLong,
}

/// Reads standard input on a thread of its own, which lasts as long as the program: nobody can interrupt it.
pub(super) fn read() -> Result<mpsc::Receiver<Line>> {
    let (sender, lines) = mpsc::channel(1);
    let reading = thread::Builder::new().name("standard input".to_owned());
    reading
        .spawn(move || {
            let mut input = io::stdin().lock();
            while let Ok(Some(line)) = next(&mut input, BYTES_MAX) {
                if sender.blocking_send(line).is_err() {
                    return;
                }
            }
        })
        .context("cannot read standard input")?;
    Ok(lines)
}

/// The next line that is not empty; none at the end.
fn next(input: &mut impl BufRead, bytes_max: u64) -> io::Result<Option<Line>> {
    loop {
        let mut line = Vec::new();
        let mut part = input.take(bytes_max.saturating_add(1));
        if part.read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        let is_whole = line.ends_with(b"\n");
        if !is_whole && line.len() as u64 > bytes_max {
            skip(input)?;
            return Ok(Some(Line::TooLong));
        }
        if !line.trim_ascii().is_empty() {
            return Ok(Some(Line::Whole(line)));
        }
    }
}

/// Skips the rest of a line without keeping it.
fn skip(input: &mut impl BufRead) -> io::Result<()> {
    loop {
        let (used, is_over) = {
            let buffer = input.fill_buf()?;
            match buffer.iter().position(|byte| *byte == b'\n') {
                Some(at) => (at + 1, true),
                None => (buffer.len(), buffer.is_empty()),
            }
        };
        input.consume(used);
        if is_over {
            return Ok(());
        }
    }
}

/// Writes a message whole. An agent that is gone is seen at the input's end.
pub(super) fn write(message: &Value) {
    let mut out = io::stdout().lock();
    writeln!(out, "{message}").ok();
    out.flush().ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_messages_and_long_ones_are_skipped() {
        let text = b"{}\n\n  \n0123456789abc\nlast";
        let mut input = io::BufReader::with_capacity(3, &text[..]);
        let mut read = || next(&mut input, 8).unwrap();
        assert_eq!(read(), Some(Line::Whole(b"{}\n".to_vec())));
        assert_eq!(read(), Some(Line::TooLong));
        assert_eq!(read(), Some(Line::Whole(b"last".to_vec())));
        assert_eq!(read(), None);
    }
}
