//! References to artifacts in OCI registries: `host/repository:tag` or `host/repository@sha256:...`.
//!
//! The grammar is the distribution specification's, less what an artifact's reference does not need:
//! a host must be named, for there is no registry that goes without saying. Not here: asking one.

use std::{fmt, str::FromStr};

use crate::{Digest, source::SourceError};

/// One manifest of one repository of one OCI registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OciReference {
    host: String,
    repository: String,
    version: OciVersion,
}

/// Which of a repository's manifests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OciVersion {
    /// The one that the tag points to at the time.
    Tag(String),
    /// The one whose bytes have this digest.
    Digest(Digest),
}

impl OciReference {
    /// The registry: a name or an address, with a port where it is not the usual one.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The repository's path in the registry, for example `team/filetype`.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Which manifest.
    #[must_use]
    pub const fn version(&self) -> &OciVersion {
        &self.version
    }
}

impl FromStr for OciReference {
    type Err = SourceError;

    /// Reads `host/repository:tag` or `host/repository@sha256:<64 hex digits>`, with `oci://` before
    /// it or without.
    fn from_str(text: &str) -> Result<Self, SourceError> {
        let wrong = || SourceError::Oci(text.to_owned());
        let rest = text.strip_prefix("oci://").unwrap_or(text);
        let (host, rest) = rest.split_once('/').ok_or_else(wrong)?;
        let (repository, version) = if let Some((repository, digest)) = rest.split_once('@') {
            let digest = digest.strip_prefix("sha256:").ok_or_else(wrong)?;
            let digest = digest.parse().map_err(|_| wrong())?;
            (repository, OciVersion::Digest(digest))
        } else {
            let (repository, tag) = rest.rsplit_once(':').ok_or_else(wrong)?;
            if !is_tag(tag) {
                return Err(wrong());
            }
            (repository, OciVersion::Tag(tag.to_owned()))
        };
        if !is_host(host) || !is_repository(repository) {
            return Err(wrong());
        }
        Ok(Self {
            host: host.to_owned(),
            repository: repository.to_owned(),
            version,
        })
    }
}

impl fmt::Display for OciReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "oci://{}/{}", self.host, self.repository)?;
        match &self.version {
            OciVersion::Tag(tag) => write!(f, ":{tag}"),
            OciVersion::Digest(digest) => write!(f, "@sha256:{digest}"),
        }
    }
}

impl fmt::Display for OciVersion {
    /// As the registry's addresses have it: the tag, or `sha256:<64 hex digits>`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => f.write_str(tag),
            Self::Digest(digest) => write!(f, "sha256:{digest}"),
        }
    }
}

/// A host and perhaps a port: what an address cannot smuggle a user, a path or a query into.
fn is_host(text: &str) -> bool {
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        Some(_) | None => (text, None),
    };
    let bracketed = name.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    let is_name = match bracketed {
        Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
            !name.is_empty() && name.chars().all(inner)
        }
    };
    let is_port =
        |port: &str| !port.starts_with('+') && port.parse::<u16>().is_ok_and(|number| number > 0);
    text.len() <= HOST_BYTES_MAX && is_name && port.is_none_or(is_port)
}

/// Parts of lowercase letters and digits, joined by `.`, `_`, `__` or hyphens, between slashes.
fn is_repository(text: &str) -> bool {
    let part = |part: &str| {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let joins =
            |run: &str| matches!(run, "" | "." | "_" | "__") || run.chars().all(|c| c == '-');
        part.starts_with(plain) && part.ends_with(plain) && part.split(plain).all(joins)
    };
    text.len() <= REPOSITORY_BYTES_MAX && text.split('/').all(part)
}

fn is_tag(text: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.len() <= TAG_BYTES_MAX
        && text.starts_with(word)
        && text.chars().all(|c| word(c) || matches!(c, '.' | '-'))
}

const HOST_BYTES_MAX: usize = 261;
const REPOSITORY_BYTES_MAX: usize = 255;
const TAG_BYTES_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_read_back() {
        let digest = Digest::of(b"x");
        for text in [
            "oci://registry.example/team/filetype:0.1.0".to_owned(),
            "oci://127.0.0.1:5000/a:latest".to_owned(),
            "oci://[::1]:5000/a__b/c-d.e:v1_2-3.4".to_owned(),
            format!("oci://registry.example:8443/team/filetype@sha256:{digest}"),
        ] {
            let reference: OciReference = text.parse().unwrap();
            assert_eq!(reference.to_string(), text);
            let bare: OciReference = text.strip_prefix("oci://").unwrap().parse().unwrap();
            assert_eq!(bare, reference);
        }
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        for bad in [
            "",
            "oci://",
            "filetype:1",
            "registry.example/filetype",
            "registry.example/filetype:",
            "registry.example/filetype:-1",
            "registry.example/:1",
            "registry.example/A:1",
            "registry.example/a..b:1",
            "registry.example/../b:1",
            "registry.example/a//b:1",
            "registry.example/a@sha256:12",
            "registry.example/a@md5:12",
            "user@registry.example/a:1",
            "registry.example?x/a:1",
            "registry.example:0/a:1",
            "registry.example:+80/a:1",
            "registry.example/a:1 ",
            "[::z]/a:1",
        ] {
            assert!(bad.parse::<OciReference>().is_err(), "{bad:?}");
        }
    }
}
