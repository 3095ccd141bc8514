//! Words: runs of characters between white space; each punctuation mark is a word of its own.

use std::iter::Peekable;

use unicode_categories::UnicodeCategories;

/// The words of normalised characters, one at a time.
pub(crate) struct Words<I: Iterator<Item = char>>(Peekable<I>);

impl<I: Iterator<Item = char>> Words<I> {
    pub(crate) fn new(characters: I) -> Self {
        Self(characters.peekable())
    }
}

impl<I: Iterator<Item = char>> Iterator for Words<I> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        while self.0.next_if(|c| c.is_whitespace()).is_some() {}
        let first = self.0.next()?;
        let mut word = String::from(first);
        if !is_punctuation(first) {
            let ends = |c: &char| c.is_whitespace() || is_punctuation(*c);
            while let Some(next) = self.0.next_if(|c| !ends(c)) {
                word.push(next);
            }
        }
        Some(word)
    }
}

fn is_punctuation(c: char) -> bool {
    c.is_ascii_punctuation() || c.is_punctuation()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_at_spaces_and_marks() {
        let words: Vec<String> = Words::new("  don't stop。 a$b".chars()).collect();
        assert_eq!(words, ["don", "'", "t", "stop", "。", "a", "$", "b"]);
    }
}
