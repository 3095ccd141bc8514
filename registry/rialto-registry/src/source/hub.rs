//! Files in repositories of model hubs: `hf://owner/name@revision/path`.
//!
//! Not here: which hub is asked; that is the operator's choice.

use std::{fmt, str::FromStr};

use crate::source::{SourceError, stays_inside};

/// One file of one revision of one repository of a model hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubFile {
    owner: String,
    name: String,
    revision: String,
    path: String,
}

impl HubFile {
    /// Who the repository belongs to.
    #[must_use]
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// The repository's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A commit, tag or branch; `main` where none was named.
    #[must_use]
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// The file's path in the repository, relative, with `/` between its parts.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl FromStr for HubFile {
    type Err = SourceError;

    /// Reads `hf://owner/name@revision/path` or `hf://owner/name/path`.
    fn from_str(text: &str) -> Result<Self, SourceError> {
        let wrong = || SourceError::Hub(text.to_owned());
        let rest = text.strip_prefix("hf://").ok_or_else(wrong)?;
        let (owner, rest) = rest.split_once('/').ok_or_else(wrong)?;
        let (repository, path) = rest.split_once('/').ok_or_else(wrong)?;
        let (name, revision) = repository.split_once('@').unwrap_or((repository, MAIN));
        let fits = [owner, name, revision].into_iter().all(is_word) && stays_inside(path);
        if !fits || path.len() > PATH_BYTES_MAX {
            return Err(wrong());
        }
        Ok(Self {
            owner: owner.to_owned(),
            name: name.to_owned(),
            revision: revision.to_owned(),
            path: path.to_owned(),
        })
    }
}

impl fmt::Display for HubFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            owner,
            name,
            revision,
            path,
        } = self;
        write!(f, "hf://{owner}/{name}@{revision}/{path}")
    }
}

/// What may stand in an address as it is, and is no step out of its folder.
fn is_word(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    text.len() <= WORD_BYTES_MAX && text.chars().all(inner) && stays_inside(text)
}

const MAIN: &str = "main";
const WORD_BYTES_MAX: usize = 100;
const PATH_BYTES_MAX: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_read_back() {
        let text = "hf://owner/model-1.0@abc123/onnx/model q4.onnx";
        let file: HubFile = text.parse().unwrap();
        assert_eq!(file.to_string(), text);
        assert_eq!((file.owner(), file.name()), ("owner", "model-1.0"));
        assert_eq!(
            (file.revision(), file.path()),
            ("abc123", "onnx/model q4.onnx")
        );
        let file: HubFile = "hf://owner/model/m.gguf".parse().unwrap();
        assert_eq!(file.revision(), "main");
    }

    #[test]
    fn what_names_no_file_is_refused() {
        for bad in [
            "",
            "owner/name/path",
            "hf://owner/name",
            "hf://owner/name/",
            "hf://owner/name@/m",
            "hf://../name/m",
            "hf://owner/../m",
            "hf://owner/name@../m",
            "hf://owner/name/../m",
            "hf://owner/name//m",
            "hf://own?er/name/m",
            "hf://owner/name/a\\b",
            "hf://owner/name/a\nb",
        ] {
            assert!(bad.parse::<HubFile>().is_err(), "{bad:?}");
        }
    }
}
