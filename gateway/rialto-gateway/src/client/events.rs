//! Server-sent events (WHATWG HTML, 9.2), read as they come and bounded in size.
//!
//! Not here: what the events mean, and connecting again.

/// One event.
#[derive(Debug, PartialEq, Eq)]
pub struct Event {
    /// Its name; `message` if it has none.
    pub name: String,
    /// Its data: lines are parted by line feeds.
    pub data: Vec<u8>,
}

/// Takes bytes and gives events.
#[derive(Debug, Default)]
pub struct Parser {
    line: Vec<u8>,
    name: Vec<u8>,
    data: Option<Vec<u8>>,
    /// The last byte was a carriage return: a line feed after it ends no line of its own.
    after_return: bool,
    /// The first line was read, which may begin with a mark of its encoding.
    begun: bool,
}

/// A line or an event is longer than may be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a line or an event is too long")]
pub struct TooLong;

impl Parser {
    /// Reads on. Lines and events may have `bytes_max` bytes.
    ///
    /// # Errors
    /// [`TooLong`].
    pub fn feed(&mut self, chunk: &[u8], bytes_max: u64) -> Result<Vec<Event>, TooLong> {
        let mut events = Vec::new();
        for &byte in chunk {
            let ends = match byte {
                b'\n' if self.after_return => {
                    self.after_return = false;
                    continue;
                }
                b'\n' | b'\r' => true,
                _ => false,
            };
            self.after_return = byte == b'\r';
            if ends {
                events.extend(self.end_line());
            } else {
                self.line.push(byte);
            }
            let held = self.data.as_ref().map_or(0, Vec::len);
            let held = held.saturating_add(self.line.len());
            if u64::try_from(held).is_ok_and(|held| held > bytes_max) {
                return Err(TooLong);
            }
        }
        Ok(events)
    }

    fn end_line(&mut self) -> Option<Event> {
        let mut line = std::mem::take(&mut self.line);
        if !self.begun {
            self.begun = true;
            if let Some(rest) = line.strip_prefix(b"\xef\xbb\xbf") {
                line = rest.to_vec();
            }
        }
        if line.is_empty() {
            return self.end_event();
        }
        let colon = line.iter().position(|&byte| byte == b':');
        let (field, value) = match colon {
            Some(at) => (
                line.get(..at).unwrap_or(&[]),
                line.get(at.saturating_add(1)..).unwrap_or(&[]),
            ),
            None => (line.as_slice(), [].as_slice()),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"event" => self.name = value.to_vec(),
            b"data" => match &mut self.data {
                Some(data) => {
                    data.push(b'\n');
                    data.extend_from_slice(value);
                }
                None => self.data = Some(value.to_vec()),
            },
            // Comments have an empty name; others are not for us.
            _ => {}
        }
        None
    }

    fn end_event(&mut self) -> Option<Event> {
        let name = std::mem::take(&mut self.name);
        let data = self.data.take()?;
        let name = if name.is_empty() {
            "message".to_owned()
        } else {
            String::from_utf8_lossy(&name).into_owned()
        };
        Some(Event { name, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(&str, &str)]) {
        let expected: Vec<Event> = expected
            .iter()
            .map(|(name, data)| Event {
                name: (*name).to_owned(),
                data: data.as_bytes().to_vec(),
            })
            .collect();
        // Whole, and byte by byte: chunks end anywhere.
        let whole = Parser::default().feed(text.as_bytes(), 1_000).unwrap();
        assert_eq!(whole, expected, "{text:?}");
        let mut parser = Parser::default();
        let mut events = Vec::new();
        for byte in text.as_bytes() {
            events.extend(parser.feed(&[*byte], 1_000).unwrap());
        }
        assert_eq!(events, expected, "{text:?}");
    }

    #[test]
    fn events_are_read_as_browsers_read_them() {
        check("data: a\n\n", &[("message", "a")]);
        check("event: item\ndata: {\"a\":1}\n\n", &[("item", "{\"a\":1}")]);
        check(
            "\u{feff}data:a\r\n\r\ndata:b\r\r",
            &[("message", "a"), ("message", "b")],
        );
        check(": at work\n\nevent: x\n\ndata\n\n", &[("message", "")]);
        check(
            "data: a\ndata:  b\nid: 7\nretry: 1\n\n",
            &[("message", "a\n b")],
        );
        check("data: cut off\n", &[]);
    }

    #[test]
    fn what_is_too_long_is_not_kept() {
        let mut parser = Parser::default();
        assert_eq!(parser.feed(b"data: 123", 9), Ok(Vec::new()));
        assert_eq!(parser.feed(b"4", 9), Err(TooLong));
        let mut parser = Parser::default();
        assert_eq!(parser.feed(b"data: 12345\n", 12), Ok(Vec::new()));
        assert_eq!(parser.feed(b"data: 12345", 12), Err(TooLong));
    }
}
