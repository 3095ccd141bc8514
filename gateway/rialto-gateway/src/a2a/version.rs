//! Which version of A2A a request is in. One is spoken: 1.0.

use http::HeaderMap;

use super::{Error, Kind};

/// The version that is spoken.
pub(crate) const VERSION: &str = "1.0";

/// Refuses a request in another version. A request that says none is in 0.3, by the protocol's rule.
///
/// # Errors
/// [`Kind::Version`].
pub(crate) fn check(headers: &HeaderMap, query: Option<&str>) -> Result<(), Error> {
    let header = headers.get("a2a-version").and_then(|it| it.to_str().ok());
    let asked = header.or_else(|| {
        let pairs = query?.split('&').filter_map(|pair| pair.split_once('='));
        let mut named = pairs.filter(|(name, _)| name.eq_ignore_ascii_case("A2A-Version"));
        named.next().map(|(_, version)| version)
    });
    let asked = asked.map_or("", str::trim);
    let mut parts = asked.split('.');
    if (parts.next(), parts.next()) == (Some("1"), Some("0")) {
        return Ok(());
    }
    let said = match asked {
        "" => "0.3, which a request without the header A2A-Version is in,",
        version => version,
    };
    let message = format!("A2A {said} is not spoken here: send A2A-Version: {VERSION}");
    Err(Error::new(Kind::Version, message).detail("supportedVersions", VERSION))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn one_version_is_spoken_and_its_patches_do_not_count() {
        let is_taken = |version: &'static str, query: Option<&str>| {
            let mut headers = HeaderMap::new();
            if !version.is_empty() {
                headers.insert("a2a-version", HeaderValue::from_static(version));
            }
            check(&headers, query).is_ok()
        };
        for (version, query) in [
            ("1.0", None),
            ("1.0.3", None),
            (" 1.0 ", None),
            ("", Some("x=1&A2A-Version=1.0")),
        ] {
            assert!(is_taken(version, query), "{version} {query:?}");
        }
        for (version, query) in [
            ("", None),
            ("0.3", None),
            ("1", None),
            ("1.1", None),
            ("10.0", None),
            ("", Some("A2A-Version=")),
            ("2.0", Some("A2A-Version=1.0")),
        ] {
            assert!(!is_taken(version, query), "{version} {query:?}");
        }
    }
}
