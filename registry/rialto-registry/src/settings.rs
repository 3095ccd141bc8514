//! What the operator may set: settings with the publisher's defaults, and secrets by name.
//!
//! Non-goals: values of secrets, which no manifest holds, and where an operator keeps them.

use std::collections::{BTreeMap, BTreeSet};

use crate::problem::Problems;

/// Settings by their names, with the publisher's values.
pub(crate) fn config(
    raw: BTreeMap<String, String>,
    problems: &mut Problems,
) -> BTreeMap<String, String> {
    if raw.len() > SETTINGS_MAX {
        let found = format!("has {} entries, more than {SETTINGS_MAX}", raw.len());
        problems.add("config", found, "fewer settings");
    }
    for (name, value) in &raw {
        let field = format!("config.{}", shown(name));
        if !is_setting_name(name) {
            problems.add(&field, "is no name", WRITE_NAME);
        }
        if value.len() > VALUE_BYTES_MAX {
            let found = format!("has {} bytes, more than {VALUE_BYTES_MAX}", value.len());
            problems.add(&field, found, "a shorter text");
        }
    }
    raw
}

/// The names of secrets, none of which is a setting, too.
pub(crate) fn secrets(
    raw: Vec<String>,
    config: &BTreeMap<String, String>,
    problems: &mut Problems,
) -> BTreeSet<String> {
    if raw.len() > SECRETS_MAX {
        let found = format!("has {} entries, more than {SECRETS_MAX}", raw.len());
        problems.add("grants.secrets", found, "fewer secrets");
    }
    let mut secrets = BTreeSet::new();
    for (i, name) in raw.into_iter().enumerate() {
        let field = format!("grants.secrets[{i}]");
        if !is_setting_name(&name) {
            problems.add(
                &field,
                format!("= {:?} is no name", shown(&name)),
                WRITE_NAME,
            );
        } else if config.contains_key(&name) {
            let found = format!("= {name:?} is in [config], too, where everybody can read it");
            problems.add(&field, found, "each name once");
        } else if !secrets.insert(name) {
            problems.add(&field, "is listed twice", "each name once");
        }
    }
    secrets
}

/// Whether settings and secrets may be called so.
fn is_setting_name(name: &str) -> bool {
    let letters = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.chars().all(letters)
}

fn shown(name: &str) -> String {
    name.chars().take(NAME_BYTES_MAX).collect()
}

/// The most settings of one service.
const SETTINGS_MAX: usize = 64;
/// The most secrets of one service.
const SECRETS_MAX: usize = 32;
/// The longest name, in bytes.
const NAME_BYTES_MAX: usize = 64;
/// The longest value in a manifest, in bytes.
const VALUE_BYTES_MAX: usize = 4_096;

const WRITE_NAME: &str = "up to 64 letters, digits, `-`, `_` and `.`";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        for name in ["a", "API_KEY", "api-key", "a.b", "0"] {
            assert!(is_setting_name(name), "{name}");
        }
        for name in ["", "a b", "a\n", "ä", "a/b", "a=b", &"x".repeat(65)] {
            assert!(!is_setting_name(name), "{name}");
        }
    }

    #[test]
    fn every_problem_is_named() {
        let mut problems = Problems::default();
        let raw = BTreeMap::from([
            ("good".to_owned(), "x".repeat(VALUE_BYTES_MAX)),
            ("long".to_owned(), "x".repeat(VALUE_BYTES_MAX + 1)),
            ("no name".to_owned(), String::new()),
        ]);
        let config = config(raw, &mut problems);
        let names = ["good", "key", "key", "no name"].map(str::to_owned);
        let secrets = secrets(names.to_vec(), &config, &mut problems);
        assert_eq!(secrets, BTreeSet::from(["key".to_owned()]));
        let fields: Vec<String> = problems
            .into_errors()
            .0
            .into_iter()
            .map(|it| it.field)
            .collect();
        assert_eq!(
            fields,
            [
                "config.long",
                "config.no name",
                "grants.secrets[0]",
                "grants.secrets[2]",
                "grants.secrets[3]"
            ]
        );
    }
}
