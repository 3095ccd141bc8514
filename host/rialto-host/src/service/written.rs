//! The text of an answer that was taken piece by piece: what a call answers that takes all of it, and what
//! receipts hash.
//!
//! Such a text is JSON that ends when the answer does. Up to there it is none, so that no part of an answer has
//! the hash of a whole one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::ItemList;
use crate::error::CallError;

/// The text of either kind of answer.
#[derive(Debug, Clone)]
pub enum AnswerText {
    /// A stream's items.
    Items(ItemList),
    /// A response of `wasi:http`.
    Response(ResponseText),
}

impl AnswerText {
    /// Adds an item, or bytes of a body.
    pub fn push(&mut self, piece: &[u8]) {
        match self {
            Self::Items(items) => items.push(piece),
            Self::Response(response) => response.push(piece),
        }
    }

    /// How many pieces there are; a response's head is none.
    #[must_use]
    pub fn count(&self) -> u64 {
        match self {
            Self::Items(items) => items.count(),
            Self::Response(response) => response.pieces,
        }
    }

    /// The text of an answer that broke off.
    #[must_use]
    pub fn unfinished(self) -> Bytes {
        match self {
            Self::Items(items) => items.unfinished(),
            Self::Response(response) => response.unfinished().into(),
        }
    }

    /// The text of a whole answer.
    #[must_use]
    pub fn finish(self) -> Bytes {
        match self {
            Self::Items(items) => items.finish(),
            Self::Response(response) => response.finish(),
        }
    }
}

impl Default for AnswerText {
    fn default() -> Self {
        Self::Items(ItemList::default())
    }
}

/// A response of `wasi:http` as a JSON object of `status`, `headers` and the `body` in base64, in this order.
#[derive(Debug, Clone)]
pub struct ResponseText {
    text: String,
    /// Bytes that do not fill a group of base64 yet.
    rest: Vec<u8>,
    pieces: u64,
}

impl ResponseText {
    /// Begins with the head: a JSON object that has no `body`.
    #[must_use]
    pub fn new(head: &[u8]) -> Self {
        let head = String::from_utf8_lossy(head);
        let head = head.strip_suffix(HEAD_END).unwrap_or(&head);
        Self {
            text: format!("{head}{BODY_BEGIN}"),
            rest: Vec::new(),
            pieces: 0,
        }
    }

    /// Adds bytes of the body.
    pub fn push(&mut self, bytes: &[u8]) {
        self.pieces = self.pieces.saturating_add(1);
        self.rest.extend_from_slice(bytes);
        let filled = self.rest.len() - self.rest.len() % GROUP_BYTES;
        let rest = self.rest.split_off(filled);
        STANDARD.encode_string(&self.rest, &mut self.text);
        self.rest = rest;
    }

    /// The text of a whole response.
    #[must_use]
    pub fn finish(self) -> Bytes {
        let mut text = self.unfinished();
        text.push_str(BODY_END);
        text.into()
    }

    fn unfinished(mut self) -> String {
        STANDARD.encode_string(&self.rest, &mut self.text);
        self.text
    }

    /// The head and the body of such a text, whole or not; none if it is no such text.
    #[must_use]
    pub fn split(text: &[u8]) -> Option<(Bytes, Bytes)> {
        #[derive(Deserialize)]
        struct Whole {
            status: u16,
            headers: Value,
            body: String,
        }
        let whole = serde_json::from_slice(text).or_else(|_| {
            let text = [text, BODY_END.as_bytes()].concat();
            serde_json::from_slice(&text)
        });
        let Whole {
            status,
            headers,
            body,
        } = whole.ok()?;
        let head = json!({ "status": status, "headers": headers }).to_string();
        let body = STANDARD.decode(body).ok()?;
        Some((head.into(), body.into()))
    }
}

/// The length that a response's text will have, within its limit.
#[derive(Debug)]
pub(super) struct Written {
    head_bytes: u64,
    body_bytes: u64,
    bytes_max: u64,
}

impl Written {
    /// A text with a head of so many bytes and at most `bytes_max` in all.
    pub(super) fn new(head_bytes: usize, bytes_max: u64) -> Result<Self, CallError> {
        let written = Self {
            head_bytes: u64::try_from(head_bytes).unwrap_or(u64::MAX),
            body_bytes: 0,
            bytes_max,
        };
        written.check()?;
        Ok(written)
    }

    /// Counts bytes of the body.
    ///
    /// # Errors
    /// [`CallError::OutputTooLarge`].
    pub(super) fn push(&mut self, bytes: usize) -> Result<(), CallError> {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.body_bytes = self.body_bytes.saturating_add(bytes);
        self.check()
    }

    /// Whether any bytes of the body were counted.
    pub(super) const fn has_body(&self) -> bool {
        self.body_bytes > 0
    }

    /// The bytes of the whole text.
    pub(super) fn whole_bytes(&self) -> u64 {
        self.part_bytes().saturating_add(BODY_END.len() as u64)
    }

    /// The bytes of the text so far.
    pub(super) fn part_bytes(&self) -> u64 {
        let groups = self.body_bytes.div_ceil(GROUP_BYTES as u64);
        let around = BODY_BEGIN.len() - HEAD_END.len_utf8();
        self.head_bytes
            .saturating_add(around as u64)
            .saturating_add(groups.saturating_mul(GROUP_TEXT_BYTES))
    }

    fn check(&self) -> Result<(), CallError> {
        if self.whole_bytes() > self.bytes_max {
            let bytes_max = self.bytes_max;
            return Err(CallError::OutputTooLarge { bytes_max });
        }
        Ok(())
    }
}

const HEAD_END: char = '}';
const BODY_BEGIN: &str = ",\"body\":\"";
const BODY_END: &str = "\"}";
/// Bytes that base64 writes as one group of characters.
const GROUP_BYTES: usize = 3;
const GROUP_TEXT_BYTES: u64 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_in_pieces_reads_like_one_in_one() {
        let head = json!({ "status": 200, "headers": [["a", "}\"{"]] }).to_string();
        for pieces in [
            &[][..],
            &["a"],
            &["ab", "c"],
            &["a", "b", "c", "d"],
            &["abcd", "efghijk", "l"],
        ] {
            let body = pieces.concat();
            let mut text = ResponseText::new(head.as_bytes());
            let mut written = Written::new(head.len(), 1_000).unwrap();
            for piece in pieces {
                text.push(piece.as_bytes());
                written.push(piece.len()).unwrap();
            }
            let part = AnswerText::Response(text.clone());
            assert_eq!(part.count(), pieces.len() as u64);
            let part = part.unfinished();
            let whole = text.finish();
            let expected = json!({
                "status": 200, "headers": [["a", "}\"{"]], "body": STANDARD.encode(&body),
            });
            assert_eq!(whole, expected.to_string());
            assert_eq!(written.part_bytes(), part.len() as u64);
            assert_eq!(written.whole_bytes(), whole.len() as u64);
            assert!(serde_json::from_slice::<Value>(&part).is_err());
            for text in [whole, part] {
                let (found, bytes) = ResponseText::split(&text).unwrap();
                assert_eq!((found, bytes), (head.clone().into(), body.clone().into()));
            }
        }
        assert_eq!(ResponseText::split(b"[1,2]"), None);
    }

    #[test]
    fn the_limit_counts_the_text() {
        let mut written = Written::new(10, 23).unwrap();
        assert_eq!(written.whole_bytes(), 20);
        let too_large = CallError::OutputTooLarge { bytes_max: 23 };
        assert_eq!(written.push(1), Err(too_large));
    }
}
