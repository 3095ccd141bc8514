//! Tokens to text one by one, never splitting a character.

use super::Tokenizer;

/// Bytes that do not yet make a whole character.
#[derive(Debug, Clone, Default)]
pub struct Stream {
    pending: Vec<u8>,
}

impl Stream {
    /// The text that is complete with this token; often empty in the middle of a character. Bytes that
    /// can never become UTF-8 are given as U+FFFD at once, so at most three bytes wait.
    pub fn push(&mut self, tokenizer: &Tokenizer, token: u32) -> String {
        self.pending.extend_from_slice(tokenizer.bytes(token));
        let mut text = String::new();
        let mut waiting = 0;
        let mut chunks = self.pending.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            text.push_str(chunk.valid());
            // Only what is at the end can still be completed.
            if chunks.peek().is_none() && incomplete(chunk.invalid()) {
                waiting = chunk.invalid().len();
            } else if !chunk.invalid().is_empty() {
                text.push(char::REPLACEMENT_CHARACTER);
            }
        }
        let done = self.pending.len() - waiting;
        self.pending.drain(..done);
        text
    }

    /// What is left at the end: nothing, or U+FFFD for half a character.
    #[must_use]
    pub fn finish(self) -> String {
        String::from_utf8_lossy(&self.pending).into_owned()
    }
}

/// Whether more bytes could make a character of these.
fn incomplete(bytes: &[u8]) -> bool {
    str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use super::incomplete;

    #[test]
    fn a_started_character_waits_and_a_wrong_byte_does_not() {
        assert!(incomplete("é".as_bytes().split_last().unwrap().1));
        assert!(incomplete(&[0xF0, 0x9F]));
        assert!(!incomplete(&[0xFF]));
        assert!(!incomplete(&[0x80]));
    }
}
