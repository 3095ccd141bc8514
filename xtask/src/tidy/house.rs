//! What the checkout must have as a whole: its documents, its lints, its decisions in order.

use super::{Finding, Source};

/// Checks the checkout as a whole.
pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    let mut findings = documents(sources);
    findings.extend(readme(sources));
    findings.extend(crate_lints(sources));
    findings.extend(clippy_bans(sources));
    findings.extend(decisions(sources));
    findings
}

fn text<'a>(sources: &'a [Source], path: &str) -> Option<&'a str> {
    sources
        .iter()
        .find(|source| source.path == path)?
        .text
        .as_deref()
}

fn documents(sources: &[Source]) -> Vec<Finding> {
    DOCUMENTS
        .iter()
        .filter(|path| text(sources, path).is_none_or(|text| text.trim().is_empty()))
        .map(|path| Finding::new(*path, "missing or empty: every checkout carries it"))
        .collect()
}

/// The README's two commands are the ones that work.
fn readme(sources: &[Source]) -> Vec<Finding> {
    let Some(readme) = text(sources, "README.md") else {
        return Vec::new();
    };
    ["cargo xtask up", "cargo xtask test"]
        .iter()
        .filter(|command| !readme.contains(*command))
        .map(|command| Finding::new("README.md", format!("does not mention `{command}`")))
        .collect()
}

/// Every crate takes the workspace's lints.
fn crate_lints(sources: &[Source]) -> Vec<Finding> {
    sources
        .iter()
        .filter(|source| source.path == "Cargo.toml" || source.path.ends_with("/Cargo.toml"))
        .filter(|source| {
            source.text.as_deref().is_some_and(|text| {
                let mut lines = text
                    .lines()
                    .map(str::trim)
                    .skip_while(|line| *line != "[lints]");
                text.contains("[package]") && lines.nth(1) != Some("workspace = true")
            })
        })
        .map(|source| Finding::new(&source.path, "add `[lints]` with `workspace = true`"))
        .collect()
}

/// A crate's `clippy.toml` replaces the root's, so it repeats it.
fn clippy_bans(sources: &[Source]) -> Vec<Finding> {
    let Some(root) = text(sources, "clippy.toml") else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    for source in sources
        .iter()
        .filter(|source| source.path.ends_with("/clippy.toml"))
    {
        let own = source.text.as_deref().unwrap_or_default();
        for line in root
            .lines()
            .map(str::trim)
            .filter(|line| line.contains('='))
        {
            if !own.lines().any(|other| other.trim() == line) {
                let advice = format!("replaces the root's file: repeat `{line}` here");
                findings.push(Finding::new(&source.path, advice));
            }
        }
    }
    findings
}

/// Decisions are numbered from 001 without gaps or doubles.
fn decisions(sources: &[Source]) -> Vec<Finding> {
    let mut files: Vec<&str> = sources
        .iter()
        .filter(|source| source.path.ends_with(".md"))
        .filter_map(|source| source.path.strip_prefix("docs/adr/"))
        .filter(|name| !name.contains('/') && *name != "README.md")
        .collect();
    files.sort_unstable();
    files
        .iter()
        .enumerate()
        .map(|(index, name)| (name, format!("{:03}-", index + 1)))
        .filter(|(name, number)| !name.starts_with(number.as_str()))
        .map(|(name, number)| {
            let advice = format!("decisions are numbered in order: this would be `{number}..`");
            Finding::new(format!("docs/adr/{name}"), advice)
        })
        .collect()
}

const DOCUMENTS: &[&str] = &[
    "LICENSE",
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "GLOSSARY.md",
    "SECURITY.md",
    "docs/dependencies.md",
    "Cargo.lock",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn complete() -> Vec<Source> {
        DOCUMENTS
            .iter()
            .map(|path| Source::of(path, "`cargo xtask up` and `cargo xtask test`"))
            .collect()
    }

    fn with(path: &str, text: &str) -> Vec<String> {
        let mut sources = complete();
        sources.retain(|source| source.path != path);
        sources.push(Source::of(path, text));
        check(&sources).iter().map(ToString::to_string).collect()
    }

    fn refuses(path: &str, text: &str, why: &str) {
        let found = with(path, text);
        assert!(
            found.len() == 1 && found[0].contains(why),
            "{path}: {found:?}"
        );
    }

    #[test]
    fn a_complete_house_is_accepted() {
        assert!(check(&complete()).is_empty());
    }

    #[test]
    fn documents_are_there_and_say_something() {
        refuses("LICENSE", " \n", "missing or empty");
        refuses(
            "README.md",
            "Run `cargo xtask up`.",
            "does not mention `cargo xtask test`",
        );
    }

    #[test]
    fn every_crate_takes_the_workspaces_lints() {
        refuses("a/Cargo.toml", "[package]\nname = \"a\"\n", "add `[lints]`");
        let good = "[package]\nname = \"a\"\n\n[lints]\nworkspace = true\n";
        assert_eq!(with("a/Cargo.toml", good), Vec::<String>::new());
        assert_eq!(with("Cargo.toml", "[workspace]\n"), Vec::<String>::new());
    }

    #[test]
    fn a_crates_clippy_file_repeats_the_roots() {
        let mut sources = complete();
        sources.push(Source::of("clippy.toml", "# Why.\none = true\ntwo = 2\n"));
        sources.push(Source::of("a/clippy.toml", "two = 2\nthree = 3\n"));
        let found: Vec<_> = check(&sources).iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            ["a/clippy.toml: replaces the root's file: repeat `one = true` here"]
        );
    }

    #[test]
    fn decisions_are_numbered_in_order() {
        assert_eq!(with("docs/adr/001-first.md", ""), Vec::<String>::new());
        refuses("docs/adr/002-second.md", "", "this would be `001-..`");
    }
}
