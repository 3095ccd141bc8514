//! Cuts text into the words that are encoded each by itself.
//!
//! Model makers give these rules as regular expressions; here each is a function, so that its running
//! time is plain to see: every character is looked at a fixed number of times.

use super::marks::MARKS;

/// The rule by which text is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// GPT-2's: contractions, letters, numbers, others, each with at most one space before it.
    Gpt2,
    /// SmolLM's: each digit alone, GPT-2's rule between them.
    SmolLm,
    /// Llama 3's: numbers in threes, line ends apart, any one character before letters.
    Llama3,
}

/// What a character counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Letter,
    Number,
    Space,
    Other,
}

impl Cut {
    pub(super) const NAMES: &str = "gpt-2, smollm, llama-bpe, llama3";

    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "gpt-2" => Self::Gpt2,
            "smollm" => Self::SmolLm,
            "llama-bpe" | "llama3" | "llama-v3" => Self::Llama3,
            _ => return None,
        })
    }

    /// Calls `each` with every word; together they are the text.
    pub(super) fn words(self, text: &str, mut each: impl FnMut(&str)) {
        match self {
            Self::Gpt2 => cut(text, gpt2, &mut each),
            Self::SmolLm => {
                for piece in text.split_inclusive(char::is_numeric) {
                    let digit = piece.chars().next_back().filter(|last| last.is_numeric());
                    let (before, digit) =
                        piece.split_at(piece.len() - digit.map_or(0, char::len_utf8));
                    cut(before, gpt2, &mut each);
                    if !digit.is_empty() {
                        each(digit);
                    }
                }
            }
            Self::Llama3 => cut(text, llama3, &mut each),
        }
    }
}

/// Cuts words off, each as long as `rule` says, until nothing is left.
fn cut(text: &str, rule: fn(&str) -> usize, each: &mut impl FnMut(&str)) {
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (word, after) = rest.split_at(rule(rest).max(first.len_utf8()));
        each(word);
        rest = after;
    }
}

fn gpt2(text: &str) -> usize {
    let contraction = CONTRACTIONS.iter().find(|end| text.starts_with(*end));
    if let Some(contraction) = contraction {
        return contraction.len();
    }
    let spaces = usize::from(text.starts_with(' '));
    let word = text.get(spaces..).unwrap_or_default();
    match word.chars().next().map(class) {
        Some(kind @ (Class::Letter | Class::Number | Class::Other)) => {
            spaces + run(word, |c| class(c) == kind)
        }
        Some(Class::Space) | None => space(text),
    }
}

fn llama3(text: &str) -> usize {
    let contraction = CONTRACTIONS.iter().find(|end| {
        text.get(..end.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(end))
    });
    if let Some(contraction) = contraction {
        return contraction.len();
    }
    let mut characters = text.chars();
    let Some(first) = characters.next() else {
        return 0;
    };
    let second = characters.next().map(class);
    let letters = |from: usize| {
        from + run(text.get(from..).unwrap_or_default(), |c| {
            class(c) == Class::Letter
        })
    };
    match class(first) {
        Class::Letter => letters(0),
        Class::Number => {
            let three = text
                .chars()
                .take(3)
                .take_while(|c| class(*c) == Class::Number);
            three.map(char::len_utf8).sum()
        }
        Class::Space | Class::Other if !line_end(first) && second == Some(Class::Letter) => {
            letters(first.len_utf8())
        }
        Class::Space if first != ' ' || second != Some(Class::Other) => {
            let spaces = run(text, char::is_whitespace);
            let last_line = text.get(..spaces).unwrap_or_default().rfind(line_end);
            last_line.map_or_else(|| space(text), |at| at + 1)
        }
        Class::Space | Class::Other => {
            let start = usize::from(first == ' ');
            let others = start
                + run(text.get(start..).unwrap_or_default(), |c| {
                    class(c) == Class::Other
                });
            others + run(text.get(others..).unwrap_or_default(), line_end)
        }
    }
}

/// A run of white space; without its last character if something follows, which that one belongs to.
fn space(text: &str) -> usize {
    let spaces = run(text, char::is_whitespace);
    let last = text.get(..spaces).unwrap_or_default().chars().next_back();
    if spaces == text.len() {
        return spaces;
    }
    spaces - last.map_or(0, char::len_utf8)
}

/// Bytes of the characters at the start that are of a kind.
fn run(text: &str, kind: impl Fn(char) -> bool) -> usize {
    text.find(|c| !kind(c)).unwrap_or(text.len())
}

const fn line_end(character: char) -> bool {
    matches!(character, '\r' | '\n')
}

fn class(character: char) -> Class {
    if character.is_whitespace() {
        Class::Space
    } else if character.is_numeric() {
        Class::Number
    } else if character.is_alphabetic() && !mark(character) {
        Class::Letter
    } else {
        Class::Other
    }
}

fn mark(character: char) -> bool {
    let code = u32::from(character);
    let at = MARKS.partition_point(|(_, last)| *last < code);
    !character.is_ascii() && MARKS.get(at).is_some_and(|(first, _)| *first <= code)
}

const CONTRACTIONS: [&str; 7] = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"];

#[cfg(test)]
mod tests {
    use super::*;

    fn check(cut: Cut, text: &str, expected: &[&str]) {
        let mut words = Vec::new();
        cut.words(text, |word| words.push(word.to_owned()));
        assert_eq!(words, expected, "{text:?}");
    }

    #[test]
    fn gpt2_keeps_a_space_with_the_word_after_it() {
        check(
            Cut::Gpt2,
            "I'm 12  years\n\nold. ",
            &["I", "'m", " 12", " ", " years", "\n", "\n", "old", ".", " "],
        );
        check(Cut::Gpt2, "a\u{301}b ½x", &["a", "\u{301}", "b", " ½", "x"]);
    }

    #[test]
    fn smollm_takes_digits_apart() {
        check(
            Cut::SmolLm,
            "in 1984  77x",
            &["in", " ", "1", "9", "8", "4", "  ", "7", "7", "x"],
        );
    }

    #[test]
    fn llama3_takes_numbers_in_threes_and_line_ends_apart() {
        check(
            Cut::Llama3,
            "12345 \n\n x?!\nIT'S",
            &["123", "45", " \n\n", " x", "?!\n", "IT", "'S"],
        );
        check(Cut::Llama3, "a  b\t(c", &["a", " ", " b", "\t", "(c"]);
    }
}
