//! What a registry asks for with status 401 (RFC 9110's `WWW-Authenticate`, as registries use it).
//!
//! Not here: answering it.

/// How to say who one is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// By name and password.
    Basic,
    /// By a token of the server at `realm`, for `service` where that is named.
    Bearer {
        realm: String,
        service: Option<String>,
    },
}

impl Challenge {
    /// Reads a header's value; `None` for schemes that are not known here.
    pub(super) fn parse(header: &str) -> Option<Self> {
        let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let (mut realm, mut service) = (None, None);
        let mut rest = rest;
        while let Some((name, value, after)) = parameter(rest) {
            if name.eq_ignore_ascii_case("realm") {
                realm = Some(value);
            } else if name.eq_ignore_ascii_case("service") {
                service = Some(value);
            }
            rest = after;
        }
        Some(Self::Bearer {
            realm: realm?,
            service,
        })
    }
}

/// The first of `name="value", name=value`, and what follows it.
fn parameter(text: &str) -> Option<(&str, String, &str)> {
    let (name, rest) = text.trim_start_matches([' ', '\t', ',']).split_once('=')?;
    let Some(quoted) = rest.strip_prefix('"') else {
        let (value, after) = rest.split_once(',').unwrap_or((rest, ""));
        return Some((name.trim(), value.trim().to_owned(), after));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return Some((name.trim(), value, quoted.get(at + 1..)?)),
            '\\' => value.push(characters.next()?.1),
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_header_is_read_or_not(header in "(Bearer )?[ -~]{0,60}", odd in "\\PC{0,40}") {
            let _ = Challenge::parse(&header);
            let _ = Challenge::parse(&format!("Bearer realm=\"{odd}"));
        }
    }

    #[test]
    fn challenges() {
        let check = |header: &str, expected: Option<(&str, Option<&str>)>| {
            let expected = expected.map(|(realm, service)| Challenge::Bearer {
                realm: realm.to_owned(),
                service: service.map(str::to_owned),
            });
            assert_eq!(Challenge::parse(header), expected, "{header}");
        };
        let realm = "https://auth.example/token";
        check(
            &format!(
                r#"Bearer realm="{realm}",service="r.example",scope="repository:a:pull,push""#
            ),
            Some((realm, Some("r.example"))),
        );
        check(
            &format!(r#"bearer scope="a,b" , realm={realm}"#),
            Some((realm, None)),
        );
        check(r#"Bearer realm="a\"b""#, Some(("a\"b", None)));
        check(r#"Bearer realm="never ends"#, None);
        check(r#"Bearer service="r.example""#, None);
        check("Negotiate abc", None);
        check("", None);
        assert_eq!(
            Challenge::parse(r#"Basic realm="x""#),
            Some(Challenge::Basic)
        );
        assert_eq!(Challenge::parse("basic"), Some(Challenge::Basic));
    }
}
