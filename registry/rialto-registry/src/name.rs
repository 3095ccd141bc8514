//! Names of services, models and methods.
//!
//! Non-goals: who owns a name. Names are plain words that stay intact in a URL path, a file name and
//! a shell.

use std::{fmt, str::FromStr, sync::Arc};

/// A service's or a model's name: a lowercase letter, then up to 62 lowercase letters, digits and
/// hyphens. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

impl Name {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An exported function's name in WIT form: words of lowercase letters and digits, joined by single
/// hyphens. Cheap to clone.
///
/// Parsing also accepts the form that HTTP paths and JSON use, with `_` for `-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MethodName(Arc<str>);

impl MethodName {
    /// The name as WIT writes it, for example `embed-all`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as HTTP paths and JSON write it, for example `embed_all`.
    #[must_use]
    pub fn to_snake_case(&self) -> String {
        self.0.replace('-', "_")
    }
}

/// Why a text is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing at all.
    #[error("is empty")]
    Empty,
    /// Longer than 63 characters.
    #[error("has {0} characters, more than {NAME_LENGTH_MAX}")]
    TooLong(usize),
    /// The first character is no lowercase letter.
    #[error("starts with {0:?} instead of a lowercase letter")]
    Start(char),
    /// A character outside lowercase letters, digits and hyphens.
    #[error("contains {0:?}")]
    Character(char),
    /// A method's name ends in a hyphen, or has two in a row, or a word that starts with a digit.
    #[error("has a word that is empty or starts with a digit")]
    Word,
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        check_characters(text)?;
        Ok(Self(text.into()))
    }
}

impl FromStr for MethodName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let text = text.replace('_', "-");
        check_characters(&text)?;
        let starts_with_letter =
            |word: &str| word.chars().next().is_some_and(|c| c.is_ascii_lowercase());
        if !text.split('-').all(starts_with_letter) {
            return Err(NameError::Word);
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for MethodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn check_characters(text: &str) -> Result<(), NameError> {
    let first = text.chars().next().ok_or(NameError::Empty)?;
    if !first.is_ascii_lowercase() {
        return Err(NameError::Start(first));
    }
    let allowed = |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '-';
    if let Some(other) = text.chars().find(|c| !allowed(c)) {
        return Err(NameError::Character(other));
    }
    let length = text.len();
    if length > NAME_LENGTH_MAX {
        return Err(NameError::TooLong(length));
    }
    Ok(())
}

/// The longest name, in characters: the limit of a DNS label (RFC 1035, section 2.3.4).
const NAME_LENGTH_MAX: usize = 63;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names() {
        let check = |text: &str, expected: Result<(), NameError>| {
            assert_eq!(text.parse::<Name>().map(|_| ()), expected, "{text:?}");
        };
        check("filetype", Ok(()));
        check("a", Ok(()));
        check("a-1", Ok(()));
        check(&"a".repeat(63), Ok(()));
        check("", Err(NameError::Empty));
        check(&"a".repeat(64), Err(NameError::TooLong(64)));
        check("1a", Err(NameError::Start('1')));
        check("-a", Err(NameError::Start('-')));
        check("File", Err(NameError::Start('F')));
        check("a/b", Err(NameError::Character('/')));
        check("a..b", Err(NameError::Character('.')));
        check("a_b", Err(NameError::Character('_')));
        check("aé", Err(NameError::Character('é')));
    }

    #[test]
    fn methods() {
        let check = |text: &str, expected: Result<&str, NameError>| {
            let parsed = text.parse::<MethodName>();
            assert_eq!(
                parsed.as_ref().map(MethodName::as_str),
                expected.as_ref().copied(),
                "{text:?}"
            );
        };
        check("identify", Ok("identify"));
        check("embed_all", Ok("embed-all"));
        check("embed-all", Ok("embed-all"));
        check("embed-", Err(NameError::Word));
        check("embed--all", Err(NameError::Word));
        check("embed-2", Err(NameError::Word));
        check("embed all", Err(NameError::Character(' ')));
        assert_eq!("a-b".parse::<MethodName>().unwrap().to_snake_case(), "a_b");
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,80}") {
            let _ = text.parse::<Name>();
            let _ = text.parse::<MethodName>();
        }
    }
}
