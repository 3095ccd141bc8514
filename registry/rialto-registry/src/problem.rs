//! What is wrong with a manifest, all of it at once.
//!
//! Non-goals: positions in the text, which the decoder of the text knows.

use std::fmt;

/// One thing to correct in a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The field's path, for example `models[0].sha256`.
    pub field: String,
    /// What is wrong with it.
    pub found: String,
    /// What to write instead.
    pub write: String,
}

/// Every problem of one manifest, in the order of its fields. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestErrors(pub Vec<Problem>);

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}; write {}", self.field, self.found, self.write)
    }
}

impl fmt::Display for ManifestErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [one] => write!(f, "{one}"),
            all => {
                write!(f, "{} problems:", all.len())?;
                all.iter()
                    .try_for_each(|problem| write!(f, "\n  - {problem}"))
            }
        }
    }
}

impl std::error::Error for ManifestErrors {}

/// Collects problems while parsing goes on.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<Problem>);

impl Problems {
    pub(crate) fn add(
        &mut self,
        field: impl Into<String>,
        found: impl fmt::Display,
        write: impl Into<String>,
    ) {
        self.0.push(Problem {
            field: field.into(),
            found: found.to_string(),
            write: write.into(),
        });
    }

    /// Unwraps a result, noting its error as a problem of `field`.
    pub(crate) fn take<T, E: fmt::Display>(
        &mut self,
        field: &str,
        result: Result<T, E>,
        write: &str,
    ) -> Option<T> {
        result.map_err(|error| self.add(field, error, write)).ok()
    }

    pub(crate) fn into_errors(self) -> ManifestErrors {
        ManifestErrors(self.0)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Notes a missing value as a problem of `field`.
pub(crate) fn required<T>(
    field: &str,
    value: Option<T>,
    write: &str,
    problems: &mut Problems,
) -> Option<T> {
    if value.is_none() {
        problems.add(field, "is missing", write);
    }
    value
}

/// Puts the offending text before the reason.
pub(crate) fn quoted<T, E: std::fmt::Display>(
    text: &str,
    parsed: Result<T, E>,
) -> Result<T, String> {
    parsed.map_err(|error| format!("= {text:?}: {error}"))
}
