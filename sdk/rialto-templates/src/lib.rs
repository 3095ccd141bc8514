//! What a new service starts from, in each language: a small, complete project with a test of its own.
//!
//! Every project measures a text: one method with a record as its argument, a record as its result and a
//! text as its error, one import from the host, a manifest with prices, and a build of one command. The
//! interface is the same in all of them, so that they can be compared.
//!
//! Not here: writing files and running tools.

use std::fmt;
use std::str::FromStr;

mod files;
mod name;

pub use name::{NameError, ProjectName};

/// A language that services are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Language {
    /// Rust, by `rialto-sdk`.
    Rust,
    /// JavaScript, by componentize-qjs.
    JavaScript,
    /// Python, by componentize-py.
    Python,
}

impl Language {
    /// Every language, the one with the smallest services first.
    pub const ALL: [Self; 3] = [Self::Rust, Self::JavaScript, Self::Python];

    /// The name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::JavaScript => "javascript",
            Self::Python => "python",
        }
    }

    /// What its author types to go from a fresh project to a service in `dist`, in order.
    #[must_use]
    pub const fn steps(self) -> &'static [&'static str] {
        match self {
            Self::Rust => &[
                "rustup target add wasm32-wasip2",
                "cargo test",
                "sh build.sh",
            ],
            Self::JavaScript => &["npm ci", "npm test", "npm run build"],
            Self::Python => &[
                "python3 -m venv .venv && .venv/bin/pip install --require-hashes -r requirements.txt",
                ".venv/bin/python -m unittest",
                ".venv/bin/python build.py",
            ],
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Language {
    type Err = UnknownLanguage;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|language| language.name() == text)
            .ok_or_else(|| UnknownLanguage(text.to_owned()))
    }
}

/// There is no template for this language. The user acts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no template for `{0}`; there are rust, javascript and python")]
pub struct UnknownLanguage(String);

/// Where a Rust service gets `rialto-sdk` from; the other languages need none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sdk {
    /// Rialto's repository.
    Repository,
    /// A folder: `sdk/rialto-sdk` of a checkout.
    Folder(String),
}

impl Sdk {
    /// As a dependency's table in `Cargo.toml`. Rust quotes strings as TOML does, but for rare controls.
    fn dependency(&self) -> String {
        match self {
            Self::Repository => format!("git = {:?}", env!("CARGO_PKG_REPOSITORY")),
            Self::Folder(folder) => format!("path = {folder:?}"),
        }
    }
}

/// One file of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectFile {
    /// Where it lies in the project's folder, with `/` between folders.
    pub path: &'static str,
    /// What it holds.
    pub text: String,
}

/// The files of a new project.
#[must_use]
pub fn project(language: Language, name: &ProjectName, sdk: &Sdk) -> Vec<ProjectFile> {
    let fill = |text: &str| {
        text.replace("{{name}}", name.as_str())
            .replace("{{crate}}", &name.as_str().replace('-', "_"))
            .replace("{{sdk}}", &sdk.dependency())
            .replace("{{grants}}", files::grants(language))
    };
    files::of(language)
        .map(|(path, text)| ProjectFile {
            path,
            text: fill(text),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(language: Language) -> Vec<ProjectFile> {
        let name = "word-count".parse().unwrap();
        project(language, &name, &Sdk::Repository)
    }

    fn text<'a>(files: &'a [ProjectFile], path: &str) -> &'a str {
        let found = files.iter().find(|file| file.path == path);
        &found.unwrap_or_else(|| panic!("no {path}")).text
    }

    #[test]
    fn every_project_is_complete_and_filled_in() {
        for language in Language::ALL {
            assert_eq!(language.name().parse(), Ok(language));
            let files = files(language);
            for file in &files {
                assert!(!file.text.contains("{{"), "{language}: {}", file.path);
                assert!(file.text.ends_with('\n'), "{language}: {}", file.path);
            }
            assert!(text(&files, "service.toml").contains("name = \"word-count\"\n"));
            let readme = text(&files, "README.md");
            for step in language.steps() {
                assert!(readme.contains(step), "{language}: {step}");
            }
            assert!(readme.contains("rialto up --services dist"));
            assert!(text(&files, ".gitignore").starts_with("dist/\n"));
        }
        assert!("cobol".parse::<Language>().is_err());
    }

    #[test]
    fn paths_are_there_once_and_stay_in_the_project() {
        for language in Language::ALL {
            let mut paths: Vec<_> = files(language).iter().map(|file| file.path).collect();
            assert!(
                paths
                    .iter()
                    .all(|path| !path.starts_with('/') && !path.contains(".."))
            );
            let count = paths.len();
            paths.sort_unstable();
            paths.dedup();
            assert_eq!(paths.len(), count, "{language}");
        }
    }

    #[test]
    fn a_folder_can_stand_for_the_sdk() {
        let name = "word-count".parse().unwrap();
        let sdk = Sdk::Folder("/a \"b\"/sdk".to_owned());
        let files = project(Language::Rust, &name, &sdk);
        let manifest = text(&files, "Cargo.toml");
        assert!(manifest.contains(r#"rialto-sdk = { path = "/a \"b\"/sdk" }"#));
    }

    #[test]
    fn the_interface_imports_only_what_it_needs() {
        for language in [Language::JavaScript, Language::Python] {
            let files = files(language);
            let world = text(&files, "wit/world.wit");
            assert!(world.starts_with("package rialto-service:word-count@0.1.0;"));
            let imports = world.lines().filter(|line| line.contains("import "));
            assert_eq!(imports.count(), 1);
            assert!(text(&files, "wit/deps/rialto-service/service.wit").contains("interface log"));
        }
    }
}
