//! Origins that a service may send requests to, as a manifest writes them.
//!
//! Non-goals: resolving names, and the host's policy about addresses.

use std::{fmt, str::FromStr};

/// Scheme, host and port: `https://example.com`, `http://example.com:8080`, or `https://*.example.com` for
/// all names below one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Whether by TLS.
    pub https: bool,
    /// The host in lower case: a name, or an address as URLs write it.
    pub host: String,
    /// Whether all names below `host` are meant, instead of itself.
    pub below: bool,
    /// The port.
    pub port: u16,
}

/// Why a text names no origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// It begins otherwise.
    #[error("does not begin with `https://` or `http://`")]
    Scheme,
    /// Something follows the port.
    #[error("has more than scheme, host and port")]
    More,
    /// The host is empty, or no name.
    #[error("{0:?} is no host")]
    Host(String),
    /// The port is no number from 1 to 65535.
    #[error("{0:?} is no port")]
    Port(String),
    /// So many names would be meant that it is no list any more.
    #[error("`*` needs a name of at least two parts behind it, such as `*.example.com`")]
    TooWide,
}

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        let (https, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return Err(OriginError::Scheme),
        };
        if rest.contains(['/', '?', '#', '@']) {
            return Err(OriginError::More);
        }
        // An address of version 6 has colons too, in brackets.
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, Some(port)),
            Some(_) | None => (rest, None),
        };
        let port = match port {
            None if https => 443,
            None => 80,
            Some(port) => port
                .parse()
                .ok()
                .filter(|number: &u16| *number > 0 && !port.starts_with('+'))
                .ok_or_else(|| OriginError::Port(port.to_owned()))?,
        };
        let (below, host) = match host.strip_prefix("*.") {
            Some(host) if host.contains('.') => (true, host),
            Some(_) => return Err(OriginError::TooWide),
            None => (false, host),
        };
        let host = host.to_ascii_lowercase();
        let is_single = !below && is_address(&host);
        if !is_name(&host) && !is_single {
            return Err(OriginError::Host(host));
        }
        Ok(Self {
            https,
            host,
            below,
            port,
        })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, usual) = if self.https {
            ("https", 443)
        } else {
            ("http", 80)
        };
        let below = if self.below { "*." } else { "" };
        write!(f, "{scheme}://{below}{}", self.host)?;
        if self.port == usual {
            return Ok(());
        }
        write!(f, ":{}", self.port)
    }
}

/// Letters, digits and hyphens in parts of at most 63 (RFC 1123); names of other scripts as `xn--`.
fn is_name(host: &str) -> bool {
    let part = |part: &str| {
        (1..=63).contains(&part.len())
            && !part.starts_with('-')
            && !part.ends_with('-')
            && part
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    host.len() <= 253 && host.split('.').all(part)
}

/// An IPv6 address in brackets; those of version 4 look like names.
fn is_address(host: &str) -> bool {
    let inner = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    inner.is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        for text in [
            "https://example.com",
            "http://example.com:8080",
            "https://*.example.com",
            "http://10.0.0.1",
            "https://[::1]:8443",
            "https://xn--bcher-kva.example",
        ] {
            assert_eq!(text.parse::<Origin>().unwrap().to_string(), text);
        }
        let usual: Origin = "https://EXAMPLE.com:443".parse().unwrap();
        assert_eq!(usual.to_string(), "https://example.com");
    }

    #[test]
    fn each_mistake_is_named() {
        let check = |text: &str, error: OriginError| {
            assert_eq!(text.parse::<Origin>(), Err(error), "{text}");
        };
        check("example.com", OriginError::Scheme);
        check("ftp://example.com", OriginError::Scheme);
        check("https://example.com/", OriginError::More);
        check("https://user@example.com", OriginError::More);
        check("https://", OriginError::Host(String::new()));
        check("https://a b", OriginError::Host("a b".to_owned()));
        check("https://*", OriginError::Host("*".to_owned()));
        check("https://*.com", OriginError::TooWide);
        check("https://a.com:0", OriginError::Port("0".to_owned()));
        check("https://a.com:+1", OriginError::Port("+1".to_owned()));
        check("https://a.com:x", OriginError::Port("x".to_owned()));
        check("https://*.[::1]", OriginError::TooWide);
    }
}
