//! Rules on single files: names, module documentation, length, and words that must not be there.

use super::{Finding, Source};

/// Checks every file.
pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        findings.extend(check_name(&source.path));
        let Some(text) = &source.text else { continue };
        findings.extend(check_words(&source.path, text));
        if source.path.ends_with(".rs") {
            findings.extend(check_module_docs(&source.path, text));
            findings.extend(check_length(&source.path, text));
            findings.extend(check_attributes(&source.path, text));
        }
    }
    findings
}

/// Refuses names that say nothing about what is inside.
fn check_name(path: &str) -> Option<Finding> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let (stem, extension) = name.split_once('.').unwrap_or((name, ""));
    if !matches!(extension, "rs" | "sol" | "mjs" | "js" | "ts" | "py") {
        return None;
    }
    if name == "mod.rs" {
        let advice = "name the module's file after the module, beside its folder";
        return Some(Finding::new(path, advice));
    }
    BANNED_NAMES.contains(&stem).then(|| {
        Finding::new(
            path,
            format!("`{stem}` says nothing: name the file after what it holds"),
        )
    })
}

/// Asks for a first line that says what the module is for.
fn check_module_docs(path: &str, text: &str) -> Option<Finding> {
    let documented = text
        .lines()
        .find(|line| !line.trim().is_empty() && !line.starts_with("#!"));
    if documented.is_some_and(|line| line.starts_with("//!")) {
        return None;
    }
    // The module that declares it says what it tests.
    if path.ends_with("/tests.rs") || path.contains("/src/tests/") || path.contains("/tests/ui/") {
        return None;
    }
    Some(Finding::new(
        path,
        "open with `//!`: what the module is for, and what it leaves to others",
    ))
}

/// Asks a long file to say why.
fn check_length(path: &str, text: &str) -> Option<Finding> {
    let lines = text.lines().count();
    let header = text.lines().take_while(|line| line.starts_with("//!"));
    let mut reasons = header.filter(|line| line.starts_with(LENGTH_REASON));
    (lines > LINES_MAX && reasons.next().is_none()).then(|| {
        Finding::new(
            path,
            format!("{lines} lines: split it, or say why not in its header, `{LENGTH_REASON} ..`"),
        )
    })
}

/// Refuses silenced lints and skipped tests.
fn check_attributes(path: &str, text: &str) -> Vec<Finding> {
    lines_with(path, text, |line| {
        let line = line.trim_start();
        // What a macro writes into others' code cannot know which lints are there to expect.
        let generated = path.starts_with(MACROS) && line.contains("reason = ");
        if generated {
            return None;
        }
        if line.starts_with("#[allow(") || line.starts_with("#![allow(") {
            return Some(
                "mend it, or use `#[expect(.., reason = ..)]`, which ends when its cause does",
            );
        }
        if line.starts_with("#[ignore") {
            return Some("no ignored tests: make it run, or remove it");
        }
        None
    })
}

/// Refuses folders of one machine and hosts of package registries.
fn check_words(path: &str, text: &str) -> Vec<Finding> {
    let lock_file = path.ends_with(".lock");
    lines_with(path, text, |line| {
        if machine_folders()
            .iter()
            .any(|folder| mentions_folder(line, folder))
        {
            return Some("a folder of one machine: nobody else has it");
        }
        if !lock_file
            && registry_hosts()
                .iter()
                .any(|host| line.contains(host.as_str()))
        {
            return Some("a package registry's host: name the package, and let the client find it");
        }
        None
    })
}

/// Returns whether a line has an absolute path below a folder; `crate::work/` is none.
fn mentions_folder(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| {
            c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '}' | '~' | '>')
        })
    })
}

fn lines_with(path: &str, text: &str, rule: impl Fn(&str) -> Option<&'static str>) -> Vec<Finding> {
    text.lines()
        .enumerate()
        .filter_map(|(index, line)| {
            rule(line).map(|advice| Finding::new(format!("{path}:{}", index + 1), advice))
        })
        .collect()
}

/// Composed, so that this file does not break its own rule.
fn machine_folders() -> [String; 4] {
    ["work", "root", "home", "Users"].map(|folder| format!("/{folder}/"))
}

/// Composed, so that this file does not break its own rule.
fn registry_hosts() -> Vec<String> {
    [
        ["pypi", "org"],
        ["pythonhosted", "org"],
        ["registry.npmjs", "org"],
        ["registry.yarnpkg", "com"],
        ["index.crates", "io"],
        ["static.crates", "io"],
        ["deb.debian", "org"],
        ["static.rust-lang", "org"],
    ]
    .map(|parts| parts.join("."))
    .into()
}

const BANNED_NAMES: &[&str] = &[
    "common", "helper", "helpers", "manager", "misc", "shared", "stuff", "util", "utils",
];

/// The crate that writes code into others' crates.
const MACROS: &str = "sdk/rialto-sdk-macros/src/";

const LINES_MAX: usize = 800;

/// How a long file's header says why it is long.
const LENGTH_REASON: &str = "//! Long because";

#[cfg(test)]
mod tests {
    use super::*;

    fn advice(path: &str, text: &str) -> Vec<String> {
        check(&[Source::of(path, text)])
            .into_iter()
            .map(|finding| finding.to_string())
            .collect()
    }

    fn accepts(path: &str, text: &str) {
        assert_eq!(advice(path, text), Vec::<String>::new());
    }

    fn refuses(path: &str, text: &str, why: &str) {
        let found = advice(path, text);
        assert!(
            found.len() == 1 && found[0].contains(why),
            "{path}: {found:?}"
        );
    }

    #[test]
    fn files_are_named_after_what_they_hold() {
        accepts("a/src/voucher.rs", "//! Vouchers.\n");
        refuses("a/src/utils.rs", "//! Things.\n", "`utils` says nothing");
        refuses("a/src/x/mod.rs", "//! X.\n", "beside its folder");
        refuses("testing/helpers.mjs", "", "`helpers` says nothing");
        accepts("docs/common.md", "");
    }

    #[test]
    fn modules_say_what_they_are_for() {
        refuses("a/src/x.rs", "use std::fs;\n", "open with `//!`");
        refuses("a/src/x.rs", "", "open with `//!`");
        accepts("a/src/x.rs", "\n//! X.\n");
        accepts("a/src/x/tests.rs", "use super::*;\n");
        refuses("a/tests/payment.rs", "use x;\n", "open with `//!`");
    }

    #[test]
    fn long_files_say_why() {
        let body = "fn f() {}\n".repeat(LINES_MAX);
        refuses("a/src/x.rs", &format!("//! X.\n{body}"), "801 lines");
        accepts(
            "a/src/x.rs",
            &format!("//! X.\n//! Long because one table.\n{body}"),
        );
    }

    #[test]
    fn lints_are_mended_or_expected() {
        refuses(
            "a/src/x.rs",
            "//! X.\n    #[allow(unused)]\n",
            "x.rs:2: mend it",
        );
        refuses(
            "a/src/x.rs",
            "//! X.\n#[ignore = \"slow\"]\n",
            "no ignored tests",
        );
        let generated = "//! X.\n#[allow(unused, reason = \"generated\")]\n";
        refuses("a/src/x.rs", generated, "mend it");
        accepts(&format!("{MACROS}x.rs"), generated);
        accepts("a/src/x.rs", "//! X.\n#[expect(unused, reason = \"y\")]\n");
    }

    #[test]
    fn nothing_names_one_machine() {
        for folder in machine_folders() {
            refuses(
                "README.md",
                &format!("cd {folder}me"),
                "README.md:1: a folder of one machine",
            );
            refuses(
                "README.md",
                &format!("\"{folder}me\""),
                "a folder of one machine",
            );
            accepts("README.md", &format!("see docs{folder}me"));
        }
    }

    #[test]
    fn nothing_names_a_registrys_host() {
        for host in registry_hosts() {
            refuses("a.md", &format!("https://{host}/x"), "registry's host");
            accepts("Cargo.lock", &host);
        }
        accepts("a.md", "published on crates.io and docs.rs");
    }

    #[test]
    fn binary_files_have_only_their_names_checked() {
        let binary = Source {
            path: "a/x.png".into(),
            text: None,
        };
        assert!(check(&[binary]).is_empty());
    }
}
