//! Text as it becomes certain: whole characters, and nothing that may still turn out to be a stop
//! sequence.

use crate::tokenizer::{Stream, Tokenizer};

/// Text on its way out.
#[derive(Debug, Clone, Default)]
pub(super) struct Text {
    stream: Stream,
    /// The beginning of a stop sequence, perhaps.
    held: String,
}

impl Text {
    /// Adds a token, and puts what is certain into `out`. Returns whether a stop sequence is complete;
    /// what comes before it is in `out` then, and the rest is forgotten.
    pub(super) fn push(
        &mut self,
        tokenizer: &Tokenizer,
        token: u32,
        stops: &[String],
        out: &mut String,
    ) -> bool {
        self.held.push_str(&self.stream.push(tokenizer, token));
        let found = stops
            .iter()
            .filter_map(|stop| self.held.find(stop.as_str()));
        if let Some(at) = found.min() {
            out.push_str(self.held.get(..at).unwrap_or_default());
            *self = Self::default();
            return true;
        }
        let keep = stops.iter().map(|stop| begun(&self.held, stop)).max();
        let certain = self.held.len() - keep.unwrap_or(0);
        out.extend(self.held.drain(..certain));
        false
    }

    /// All that is held back, half a character as U+FFFD. Nothing is held afterwards.
    pub(super) fn rest(&mut self) -> String {
        let mut rest = std::mem::take(&mut self.held);
        rest.push_str(&std::mem::take(&mut self.stream).finish());
        rest
    }
}

/// The bytes at the end of `text` with which `stop` begins.
fn begun(text: &str, stop: &str) -> usize {
    let lengths = stop.char_indices().map(|(at, _)| at).skip(1);
    let begun = lengths.filter(|length| {
        let start = stop.as_bytes().get(..*length).unwrap_or_default();
        text.as_bytes().ends_with(start)
    });
    begun.max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_beginning_of_a_stop_sequence_is_held() {
        assert_eq!(begun("a\n", "\nUser:"), 1);
        assert_eq!(begun("a\nUse", "\nUser:"), 4);
        assert_eq!(begun("a\nUsed", "\nUser:"), 0);
        assert_eq!(begun("aaa", "aab"), 2);
        assert_eq!(begun("é", "ée"), 2);
        assert_eq!(begun("x", "x"), 0, "that is the whole of it");
    }
}
