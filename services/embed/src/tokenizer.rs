//! Text to the model's input, equal to Hugging Face's `tokenizers` with the model's `tokenizer.json`.
//!
//! Not that crate itself: it builds a hash map of 30,522 pieces when it loads, which costs
//! milliseconds, and a service starts afresh for every call. Here the vocabulary is a sorted static
//! table that the build generates; a fresh instance touches only the pages that it looks at. Every
//! step works on iterators and stops once the model's 256 pieces are full.

mod normalize;
mod vocabulary;
mod words;

use words::Words;

/// Pieces that the model reads, marks included: sentence-transformers' `max_seq_length`.
pub const PIECES_MAX: usize = 256;

/// The pieces of `text`, between the model's start and end marks; at most [`PIECES_MAX`].
#[must_use]
pub fn encode(text: &str) -> Vec<i64> {
    let mut pieces = Pieces(vec![vocabulary::START]);
    let mut rest = text;
    while !rest.is_empty() && !pieces.full() {
        let (before, special, after) = split_special(rest);
        for word in Words::new(normalize::normalized(before)) {
            if pieces.full() {
                break;
            }
            pieces.push_word(&word);
        }
        if let Some(id) = special
            && !pieces.full()
        {
            pieces.0.push(id);
        }
        rest = after;
    }
    let Pieces(mut ids) = pieces;
    ids.truncate(PIECES_MAX - 1);
    ids.push(vocabulary::END);
    ids.into_iter().map(i64::from).collect()
}

/// Splits at the first special token that is spelled out in the text: the reference recognises them
/// before it normalises.
fn split_special(text: &str) -> (&str, Option<u16>, &str) {
    for (at, _) in text.match_indices('[') {
        let (before, candidate) = text.split_at(at);
        for (token, id) in vocabulary::SPECIAL {
            if let Some(after) = candidate.strip_prefix(token) {
                return (before, Some(id), after);
            }
        }
    }
    (text, None, "")
}

struct Pieces(Vec<u16>);

impl Pieces {
    /// Whether all further pieces would be cut off: one place is the end mark's.
    fn full(&self) -> bool {
        self.0.len() >= PIECES_MAX - 1
    }

    /// The longest known piece first, again and again; a word that cannot be made up of known pieces,
    /// or has more than 100 characters, is unknown as a whole.
    fn push_word(&mut self, word: &str) {
        let mark = self.0.len();
        let mut known = word.chars().count() <= WORD_CHARS_MAX;
        let mut rest = word.as_bytes();
        let mut table = vocabulary::STARTS;
        while known && !rest.is_empty() {
            if let Some((id, after)) = table.longest(rest) {
                self.0.push(id);
                rest = after;
                table = vocabulary::CONTINUATIONS;
            } else {
                known = false;
            }
        }
        if !known {
            self.0.truncate(mark);
            self.0.push(vocabulary::UNKNOWN);
        }
    }
}

/// `max_input_chars_per_word` of the tokenizer; the build checks it.
const WORD_CHARS_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected values are from Hugging Face `tokenizers`; `services/reference/check_tokens.py`
    /// compares many more.
    #[test]
    fn equals_the_reference() {
        for (text, expected) in [
            ("", &[101_i64, 102][..]),
            ("Hello, World!", &[101, 7592, 1010, 2088, 999, 102]),
            ("Ångström café", &[101, 17076, 15687, 7668, 102]),
            (
                "unaffable [MASK] [mask]",
                &[101, 14477, 20961, 3468, 103, 1031, 7308, 1033, 102],
            ),
            ("東京tower", &[101, 1879, 1755, 3578, 102]),
            (
                "a\u{0}b\u{ad}c\u{200b}d \u{fffd}e",
                &[101, 5925, 2094, 1041, 102],
            ),
        ] {
            assert_eq!(encode(text), expected, "{text:?}");
        }
    }

    #[test]
    fn long_texts_are_cut() {
        let ids = encode(&"word ".repeat(1000));
        assert_eq!(ids.len(), PIECES_MAX);
        assert_eq!(ids.first(), Some(&101));
        assert_eq!(ids.last(), Some(&102));
        let pieces = encode(&"unaffableunaffable ".repeat(300));
        assert_eq!(pieces.len(), PIECES_MAX);
        assert_eq!(encode(&"[MASK]".repeat(300)).len(), PIECES_MAX);
    }

    #[test]
    fn long_words_are_unknown() {
        assert_eq!(encode(&"a".repeat(101)), [101, 100, 102]);
        assert_ne!(encode(&"a".repeat(100)), [101, 100, 102]);
    }
}
