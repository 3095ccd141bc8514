//! Strangers' words, cut short and without effect on the report that they stand in.

/// The first words of a text, at most so many, and at most so many bytes.
#[must_use]
pub fn first(text: &str, words_max: usize, bytes_max: usize) -> String {
    let mut first = String::new();
    for word in text.split_whitespace().take(words_max) {
        if !first.is_empty() {
            first.push(' ');
        }
        for character in word.chars() {
            if first.len() + character.len_utf8() > bytes_max {
                return first;
            }
            first.push(character);
        }
    }
    first
}

/// Words in one line of Markdown that mean nothing but themselves.
#[must_use]
pub fn plain(words: &str) -> String {
    let mut plain = String::new();
    for character in words.chars() {
        if character.is_control() {
            plain.push(' ');
            continue;
        }
        if "\\`*_[]<>#|!".contains(character) {
            plain.push('\\');
        }
        plain.push(character);
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters() {
        for (text, words_max, bytes_max, wanted) in [
            ("", 3, 9, ""),
            (" one\ttwo\nthree four", 3, 99, "one two three"),
            ("oneveryverylongword", 3, 6, "onever"),
            ("ab äöü", 3, 6, "ab ä"),
        ] {
            assert_eq!(first(text, words_max, bytes_max), wanted, "{text:?}");
        }
    }

    #[test]
    fn names_stay_names() {
        assert_eq!(plain("notes 2.txt"), "notes 2.txt");
        assert_eq!(plain("a|b\n# Owned"), "a\\|b \\# Owned");
    }
}
