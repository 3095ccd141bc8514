//! Tests use the dependencies that users run, built once.
//!
//! A crate that only tests need may turn on features of one that everybody needs; cargo then builds
//! that one twice, and all that stand on it: the tensor engine alone takes ten minutes.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::Finding;
use crate::paths::Paths;
use crate::process;

/// The feature sets that each package is built with; one has two where build scripts use it too.
type Builds = BTreeMap<String, BTreeSet<String>>;

/// Reads what the host's workspace is built with, without tests and with them.
pub(super) fn read(paths: &Paths) -> Result<(Builds, Builds)> {
    Ok((
        tree(paths, "normal,build")?,
        tree(paths, "normal,build,dev")?,
    ))
}

fn tree(paths: &Paths, edges: &str) -> Result<Builds> {
    let mut command = process::cargo(paths);
    command.args(["tree", "--workspace", "--edges", edges]);
    command.args(["--prefix", "none", "--format", "{p}|{f}"]);
    process::output(&mut command).map(|text| parse(&text))
}

fn parse(text: &str) -> Builds {
    let mut builds = Builds::new();
    for line in text.lines() {
        // A package that was shown before is marked at the end of its line.
        let line = line.trim_end_matches(" (*)");
        if let Some((package, features)) = line.split_once('|') {
            let package = package.split(" (").next().unwrap_or(package);
            builds
                .entry(package.to_owned())
                .or_default()
                .insert(features.to_owned());
        }
    }
    builds
}

/// Finds the packages that tests would have built again.
pub(super) fn check((users, tests): &(Builds, Builds)) -> Vec<Finding> {
    users
        .iter()
        .filter_map(|(package, features)| {
            let extra = tests.get(package)?.difference(features).next()?;
            let users = features.iter().next().map_or("", String::as_str);
            Some(Finding::new(
                "testing/rialto-testkit/Cargo.toml",
                format!(
                    "`{package}` is built twice, for users with features `{users}` and for tests with \
                     `{extra}`: make what asks for more a dependency here, so that one build serves all"
                ),
            ))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const USERS: &str = "bits v1.0.0|std\nours v0.1.0 (/somewhere)|\nbits v1.0.0|std (*)\n";

    #[test]
    fn one_build_is_accepted() {
        let tests = format!("{USERS}props v1.0.0|default\n");
        assert!(check(&(parse(USERS), parse(&tests))).is_empty());
    }

    #[test]
    fn a_second_build_is_found() {
        let tests = USERS.replace("|std", "|default,std");
        let found = check(&(parse(USERS), parse(&tests)));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0]
                .to_string()
                .contains("`bits v1.0.0` is built twice"),
            "{found:?}"
        );
    }
}
