//! BERT's normalisation: clean, space out Chinese characters, strip accents, lower-case.
//!
//! Character classes and decompositions come from the crates that Hugging Face's tokenizer uses, whose
//! Unicode versions are old: newer tables would classify newer characters differently and break the
//! equality.

use unicode_categories::UnicodeCategories;
use unicode_normalization_alignments::UnicodeNormalization;

/// The characters of `text` as the vocabulary spells them.
pub(crate) fn normalized(text: &str) -> impl Iterator<Item = char> {
    text.chars()
        .filter(|&c| !is_dropped(c))
        .flat_map(spaced)
        .nfd()
        .map(|(c, _)| c)
        .filter(|c| !c.is_mark_nonspacing())
        .flat_map(char::to_lowercase)
}

/// Control characters and the like; white space among them is kept.
fn is_dropped(c: char) -> bool {
    match c {
        '\t' | '\n' | '\r' => false,
        '\0' | '\u{fffd}' => true,
        _ => c.is_other(),
    }
}

/// White space becomes a plain space; a Chinese character becomes a word of its own.
fn spaced(c: char) -> impl Iterator<Item = char> {
    let (before, c, after) = if c.is_whitespace() {
        (None, ' ', None)
    } else if is_chinese(c) {
        (Some(' '), c, Some(' '))
    } else {
        (None, c, None)
    };
    before.into_iter().chain(Some(c)).chain(after)
}

/// The blocks of the reference, its gap from U+2B820 to U+2B91F included.
fn is_chinese(c: char) -> bool {
    matches!(
        u32::from(c),
        0x4E00..=0x9FFF
            | 0x3400..=0x4DBF
            | 0x20000..=0x2A6DF
            | 0x2A700..=0x2B73F
            | 0x2B740..=0x2B81F
            | 0x2B920..=0x2CEAF
            | 0xF900..=0xFAFF
            | 0x2F800..=0x2FA1F
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps() {
        for (text, expected) in [
            ("ÀÉÎ\u{f6}u\u{308}", "aeiou"),
            ("a\tb\nc\r\u{a0}d", "a b c  d"),
            ("x\u{7}y\u{200d}z", "xyz"),
            ("日本", " 日  本 "),
            ("İ", "i"),
            ("한", "\u{1112}\u{1161}\u{11ab}"),
        ] {
            assert_eq!(normalized(text).collect::<String>(), expected, "{text:?}");
        }
    }
}
