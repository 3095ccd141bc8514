//! Names: Rust identifiers to WIT identifiers and back.
//!
//! WIT names are kebab-case. The binding generator turns them into Rust names again, so a name is
//! accepted only if it survives the way there and back: what the author wrote is then what the
//! author's own code finds.

use syn::{Error, Ident, Result};

/// A snake_case identifier (function, parameter, field, module) as a WIT name.
///
/// A trailing underscore after a Rust keyword (`type_`) is dropped: the WIT name is `type`.
pub(crate) fn from_snake(ident: &Ident) -> Result<String> {
    let text = ident.to_string();
    if let Some(keyword) = text.strip_prefix("r#") {
        return Err(Error::new(
            ident.span(),
            format!("write `{keyword}_` instead of `{text}`: the WIT name will be `{keyword}`"),
        ));
    }
    let name = text
        .strip_suffix('_')
        .filter(|stem| is_rust_keyword(stem))
        .unwrap_or(&text);
    let fits = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.split('_').all(|word| {
            !word.is_empty()
                && word
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
        });
    if fits {
        return Ok(name.replace('_', "-"));
    }
    Err(Error::new(
        ident.span(),
        format!(
            "`{text}` has no WIT name: use words of ASCII lower-case letters and digits, joined by single underscores"
        ),
    ))
}

/// An UpperCamelCase identifier (type, enum case) as a WIT name.
pub(crate) fn from_camel(ident: &Ident) -> Result<String> {
    let text = ident.to_string();
    let fits = text.starts_with(|c: char| c.is_ascii_uppercase())
        && text.chars().all(|c| c.is_ascii_alphanumeric());
    if !fits {
        return Err(Error::new(
            ident.span(),
            format!("`{text}` has no WIT name: use UpperCamelCase of ASCII letters and digits"),
        ));
    }
    let name = split_camel(&text);
    let back = to_camel(&name);
    if back == text {
        return Ok(name);
    }
    Err(Error::new(
        ident.span(),
        format!("write `{back}`: the WIT name is `{name}`, which becomes `{back}` in Rust"),
    ))
}

/// A crate's name as a WIT package name.
pub(crate) fn from_package(name: &str) -> std::result::Result<String, String> {
    let wit = name.replace('_', "-").to_ascii_lowercase();
    let fits = wit.starts_with(|c: char| c.is_ascii_lowercase())
        && wit.split('-').all(|word| {
            !word.is_empty()
                && word
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
        });
    if fits {
        Ok(wit)
    } else {
        Err(format!(
            "the package name `{name}` has no WIT name: use lower-case words joined by single hyphens"
        ))
    }
}

/// The name as WIT source text: keywords take a `%`.
pub(crate) fn escape(name: &str) -> String {
    if WIT_KEYWORDS.contains(&name) {
        format!("%{name}")
    } else {
        name.to_owned()
    }
}

/// The module name that the binding generator gives to a WIT name.
pub(crate) fn to_rust_module(name: &str) -> String {
    let snake = name.replace('-', "_");
    if is_rust_keyword(&snake) {
        format!("{snake}_")
    } else {
        snake
    }
}

fn split_camel(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut name = String::with_capacity(text.len() + 4);
    for (index, &current) in chars.iter().enumerate() {
        let before = index.checked_sub(1).and_then(|i| chars.get(i));
        let after = chars.get(index + 1);
        let starts_word = current.is_ascii_uppercase()
            && before.is_some_and(|b| {
                !b.is_ascii_uppercase() || after.is_some_and(char::is_ascii_lowercase)
            });
        if starts_word {
            name.push('-');
        }
        name.push(current.to_ascii_lowercase());
    }
    name
}

pub(crate) fn to_camel(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for word in name.split('-') {
        let mut chars = word.chars();
        text.extend(chars.next().map(|c| c.to_ascii_uppercase()));
        text.extend(chars);
    }
    text
}

fn is_rust_keyword(word: &str) -> bool {
    RUST_KEYWORDS.contains(&word)
}

/// Words that the WIT grammar reserves (wit-parser's lexer).
const WIT_KEYWORDS: &[&str] = &[
    "as",
    "async",
    "bool",
    "borrow",
    "char",
    "constructor",
    "enum",
    "error-context",
    "export",
    "f32",
    "f64",
    "flags",
    "from",
    "func",
    "future",
    "import",
    "include",
    "interface",
    "list",
    "map",
    "option",
    "own",
    "package",
    "record",
    "resource",
    "result",
    "s16",
    "s32",
    "s64",
    "s8",
    "static",
    "stream",
    "string",
    "tuple",
    "type",
    "u16",
    "u32",
    "u64",
    "u8",
    "use",
    "variant",
    "with",
    "world",
];

/// Words that the binding generator escapes with a trailing underscore.
const RUST_KEYWORDS: &[&str] = &[
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate",
    "do", "dyn", "else", "enum", "extern", "false", "final", "fn", "for", "if", "impl", "in",
    "let", "loop", "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref",
    "return", "self", "static", "struct", "super", "trait", "true", "try", "type", "typeof",
    "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

#[cfg(test)]
mod tests {
    use super::*;
    use proc_macro2::Span;

    fn ident(text: &str) -> Ident {
        match text.strip_prefix("r#") {
            Some(raw) => Ident::new_raw(raw, Span::call_site()),
            None => Ident::new(text, Span::call_site()),
        }
    }

    #[test]
    fn snake_names_become_kebab_names() {
        for (rust, wit) in [
            ("identify", "identify"),
            ("is_text", "is-text"),
            ("utf8_length", "utf8-length"),
            ("top_5", "top-5"),
            ("type_", "type"),
        ] {
            assert_eq!(from_snake(&ident(rust)).unwrap(), wit);
        }
    }

    #[test]
    fn snake_names_without_a_wit_name_are_refused() {
        for rust in ["_x", "x_", "a__b", "aB", "größe", "r#type"] {
            assert!(from_snake(&ident(rust)).is_err(), "{rust}");
        }
        let error = from_snake(&ident("r#type")).unwrap_err().to_string();
        assert!(error.contains("write `type_`"), "{error}");
    }

    #[test]
    fn camel_names_go_there_and_back() {
        for (rust, wit) in [
            ("Verdict", "verdict"),
            ("FileType", "file-type"),
            ("Utf8Text", "utf8-text"),
            ("K1V2", "k1-v2"),
        ] {
            assert_eq!(from_camel(&ident(rust)).unwrap(), wit);
        }
        let error = from_camel(&ident("HTTPServer")).unwrap_err().to_string();
        assert!(error.contains("write `HttpServer`"), "{error}");
        assert!(from_camel(&ident("lower")).is_err());
    }

    #[test]
    fn keywords_are_escaped() {
        assert_eq!(escape("result"), "%result");
        assert_eq!(escape("results"), "results");
        assert_eq!(to_rust_module("match"), "match_");
        assert_eq!(to_rust_module("file-type"), "file_type");
    }

    #[test]
    fn package_names_are_checked() {
        assert_eq!(from_package("my_service"), Ok("my-service".to_owned()));
        assert!(from_package("9lives").is_err());
    }
}
