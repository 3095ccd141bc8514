//! The house's own rules, as checks: each finding says what to do.
//!
//! [`layers`] reads dependencies from `cargo metadata`; [`features`] from `cargo tree`; [`files`] reads every tracked file;
//! [`house`] asks for what must be there. What clippy checks is not checked here.

mod features;
mod files;
mod house;
mod layers;
mod links;

use std::fmt;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::paths::Paths;
use crate::{guests, process, progress};

/// One rule that one place breaks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    /// A path in the checkout, with a line after a colon where there is one.
    place: String,
    /// What is wrong and what to do.
    advice: String,
}

impl Finding {
    fn new(place: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            advice: advice.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.advice)
    }
}

/// A file of the checkout, tracked or about to be.
#[derive(Debug)]
pub(crate) struct Source {
    /// Its path from the checkout's root, with forward slashes.
    path: String,
    /// Its text; nothing if it is binary.
    text: Option<String>,
}

/// Checks everything and lists every finding at once.
///
/// # Errors
/// There are findings, or the checkout cannot be read.
pub(crate) fn run(paths: &Paths) -> Result<()> {
    let sources = sources(paths)?;
    let mut findings = Vec::new();
    findings.extend(layers::check(&layers::read(paths)?));
    findings.extend(features::check(&features::read(paths)?));
    findings.extend(files::check(&sources));
    findings.extend(links::check(&sources));
    findings.extend(house::check(&sources));
    findings.extend(services(paths, &sources)?);
    findings.sort();
    for finding in &findings {
        progress::say(finding.to_string());
    }
    match findings.len() {
        0 => {
            progress::say(format!(
                "   tidy: {} files, nothing to complain about",
                sources.len()
            ));
            Ok(())
        }
        1 => bail!("tidy: one finding, above"),
        count => bail!("tidy: {count} findings, above"),
    }
}

/// Lists what git tracks or would track; files deleted but not yet committed are left out.
fn sources(paths: &Paths) -> Result<Vec<Source>> {
    let mut command = Command::new("git");
    command
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(&paths.root);
    let listed = process::output(&mut command)?;
    let mut sources = Vec::new();
    for path in listed.split('\0').filter(|path| !path.is_empty()) {
        let place = paths.root.join(path);
        if !place.is_file() {
            continue;
        }
        let bytes = fs::read(&place).with_context(|| format!("read {}", place.display()))?;
        sources.push(Source {
            path: path.to_owned(),
            text: String::from_utf8(bytes).ok(),
        });
    }
    Ok(sources)
}

/// Every service has its manifest.
fn services(paths: &Paths, sources: &[Source]) -> Result<Vec<Finding>> {
    let has = |path: &str| sources.iter().any(|source| source.path == path);
    if !has("services/Cargo.toml") {
        return Ok(Vec::new());
    }
    let found = guests::discover(paths)?;
    Ok(found
        .iter()
        .map(|service| format!("services/{}/service.toml", service.name()))
        .filter(|manifest| !has(manifest))
        .map(|manifest| {
            Finding::new(
                manifest,
                "missing: a service's manifest says what it is granted",
            )
        })
        .collect())
}

#[cfg(test)]
impl Source {
    /// A file for the rules' tests.
    fn of(path: &str, text: &str) -> Self {
        Self {
            path: path.to_owned(),
            text: Some(text.to_owned()),
        }
    }
}
