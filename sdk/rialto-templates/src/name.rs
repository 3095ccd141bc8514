//! A new service's name: what the manifest, WIT, cargo and npm all accept.

use std::str::FromStr;

/// A service's name that can also name a package: at most 63 letters, words of lowercase letters and
/// digits that each start with a letter, joined by single hyphens, and no keyword.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectName(String);

impl ProjectName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ProjectName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > LENGTH_MAX {
            return Err(NameError::TooLong);
        }
        let is_word = |word: &str| {
            word.starts_with(|first: char| first.is_ascii_lowercase())
                && word
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        };
        if !text.split('-').all(is_word) {
            return Err(NameError::Words(text.to_owned()));
        }
        if KEYWORDS.contains(&text) {
            return Err(NameError::Keyword(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

/// Why a text cannot name a new service. The user acts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It is too long.
    #[error("a service's name has at most {LENGTH_MAX} letters")]
    TooLong,
    /// It is not made of words.
    #[error(
        "`{0}` cannot name a service: write lowercase words that start with a letter, joined by hyphens, such as `word-count`"
    )]
    Words(String),
    /// A language's own word.
    #[error("`{0}` is a word of a language that services are written in: choose another name")]
    Keyword(String),
}

/// As the manifest has it.
const LENGTH_MAX: usize = 63;

/// Words of WIT and Rust that no package can be called.
const KEYWORDS: &[&str] = &[
    "abstract",
    "as",
    "async",
    "await",
    "become",
    "bool",
    "borrow",
    "box",
    "break",
    "char",
    "const",
    "constructor",
    "continue",
    "core",
    "crate",
    "do",
    "dyn",
    "else",
    "enum",
    "export",
    "extern",
    "f32",
    "f64",
    "false",
    "final",
    "flags",
    "fn",
    "for",
    "from",
    "func",
    "future",
    "gen",
    "if",
    "impl",
    "import",
    "in",
    "include",
    "interface",
    "let",
    "list",
    "loop",
    "macro",
    "map",
    "match",
    "mod",
    "move",
    "mut",
    "option",
    "override",
    "own",
    "package",
    "priv",
    "pub",
    "record",
    "ref",
    "resource",
    "result",
    "return",
    "s16",
    "s32",
    "s64",
    "s8",
    "self",
    "static",
    "stream",
    "string",
    "struct",
    "super",
    "test",
    "trait",
    "true",
    "try",
    "tuple",
    "type",
    "typeof",
    "u16",
    "u32",
    "u64",
    "u8",
    "union",
    "unsafe",
    "unsized",
    "use",
    "variant",
    "virtual",
    "where",
    "while",
    "with",
    "world",
    "yield",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_words_joined_by_hyphens() {
        let check = |text: &str| text.parse::<ProjectName>().map(|name| name.0);
        for good in ["a", "word-count", "mp3-to-text", &"a".repeat(63)] {
            assert_eq!(check(good).as_deref(), Ok(good));
        }
        for bad in [
            "", "-", "a-", "a--b", "1st", "take-2", "Word", "a_b", "a b", "ä",
        ] {
            assert_eq!(check(bad), Err(NameError::Words(bad.to_owned())));
        }
        assert_eq!(check(&"a".repeat(64)), Err(NameError::TooLong));
        assert_eq!(
            check("record"),
            Err(NameError::Keyword("record".to_owned()))
        );
    }
}
