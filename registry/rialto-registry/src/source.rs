//! Where an artifact's bytes can be had. A source is only a hint: the digest decides what is accepted.
//!
//! Non-goals: fetching.

mod hub;
mod object;
mod oci;

use std::{fmt, path::PathBuf, str::FromStr};

pub use hub::HubFile;
pub use object::ObjectAddress;
pub use oci::{OciReference, OciVersion};

/// Where to fetch an artifact from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// One file inside a Python wheel.
    Wheel(WheelSource),
    /// A file on this machine.
    File(PathBuf),
    /// An `http` or `https` address.
    Url(String),
    /// A layer of a manifest in an OCI registry.
    Oci(OciReference),
    /// An object of an S3-compatible store.
    Object(ObjectAddress),
    /// A file of a model hub.
    Hub(HubFile),
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
        if !stays_inside(path) {
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
    /// Parses an address as a manifest may have it: `http`, `https`, `s3`, `hf` or `oci`.
    ///
    /// # Errors
    /// [`SourceError`] names what does not fit; [`SourceError::Scheme`] is for any other scheme.
    pub fn url(text: &str) -> Result<Self, SourceError> {
        match text.split_once("://") {
            Some(("oci", _)) => return text.parse().map(Self::Oci),
            Some(("s3", _)) => return text.parse().map(Self::Object),
            Some(("hf", _)) => return text.parse().map(Self::Hub),
            Some(_) | None => {}
        }
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

impl FromStr for Source {
    type Err = SourceError;

    /// Reads what people type: any address of [`Source::url`], or `file:///path`, whose path is taken
    /// as it stands.
    fn from_str(text: &str) -> Result<Self, SourceError> {
        match text.strip_prefix("file://") {
            Some(path) if path.starts_with('/') => Ok(Self::File(PathBuf::from(path))),
            Some(_) => Err(SourceError::Scheme(text.to_owned())),
            None => Self::url(text),
        }
    }
}

/// Whether a relative path with `/` between its parts names something below where it starts, and
/// nothing that people or file systems would read otherwise.
fn stays_inside(path: &str) -> bool {
    path.split('/').all(|part| !matches!(part, "" | "." | ".."))
        && !path.contains(|c: char| c == '\\' || c.is_control())
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
    /// The address has another scheme than those known here.
    #[error("has {0:?} for an address")]
    Scheme(String),
    /// Not a registry's host, a repository, and a tag or digest.
    #[error(
        "has {0:?} instead of `oci://host/repository:tag` or `oci://host/repository@sha256:..`"
    )]
    Oci(String),
    /// Not a bucket and a key.
    #[error("has {0:?} instead of `s3://bucket/key`")]
    Object(String),
    /// Not a repository of a hub and a file in it.
    #[error("has {0:?} instead of `hf://owner/name@revision/path`")]
    Hub(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wheel(wheel) => {
                write!(f, "{} in the wheel of {}", wheel.path, wheel.requirement())
            }
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Url(url) => f.write_str(url),
            Self::Oci(reference) => write!(f, "{reference}"),
            Self::Object(object) => write!(f, "{object}"),
            Self::Hub(file) => write!(f, "{file}"),
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
            "oci://registry.example/a",
            "s3://abc",
            "hf://owner/name",
        ] {
            assert!(Source::url(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_people_type_reads_back() {
        for text in [
            "https://models.example/m.onnx",
            "oci://registry.example/team/m:1",
            "s3://models/m.onnx",
            "hf://owner/name@main/m.onnx",
        ] {
            assert_eq!(text.parse::<Source>().unwrap().to_string(), text);
        }
        let file: Source = "file:///srv/a model".parse().unwrap();
        assert_eq!(file, Source::File(PathBuf::from("/srv/a model")));
        for bad in ["file://srv/m", "model.onnx", "gopher://x/y"] {
            assert!(bad.parse::<Source>().is_err(), "{bad:?}");
        }
    }
}
