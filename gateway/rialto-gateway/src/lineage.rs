//! For whom a call is made, in headers: what one host tells another when a service of its calls one over there.
//!
//! Nobody signs them. Whoever pays for a call says what it likes about itself, and only makes its own call shorter, or
//! its own receipt name another.

use std::time::Duration;

use alloy_primitives::B256;
use http::{HeaderMap, HeaderName, HeaderValue};
use rialto_node::Lineage;

use crate::problem::{ErrorCode, Problem};

/// The receipt of the call above.
const PARENT: HeaderName = HeaderName::from_static("rialto-parent");
/// The services above, the first caller's first, with commas between.
const ABOVE: HeaderName = HeaderName::from_static("rialto-above");
/// What is left of the time of the call above, in milliseconds.
const TIME: HeaderName = HeaderName::from_static("rialto-time-ms");

/// For whom the call is made, in the caller's own words: 32 bytes.
const FOR: HeaderName = HeaderName::from_static("rialto-for");

/// A lineage as headers.
pub(crate) fn headers(lineage: &Lineage) -> HeaderMap {
    let above: Vec<&str> = lineage
        .above
        .iter()
        .map(rialto_registry::Name::as_str)
        .collect();
    let time = lineage.time_max.map(|time| time.as_millis().to_string());
    let said = [
        (PARENT, lineage.parent.map(|id| id.to_string())),
        (ABOVE, (!above.is_empty()).then(|| above.join(","))),
        (TIME, time),
        (FOR, lineage.on_behalf.map(|whom| whom.to_string())),
    ];
    let said = said.into_iter().filter_map(|(name, text)| {
        // All of them are letters, digits and commas.
        let value = HeaderValue::try_from(text?).ok()?;
        Some((name, value))
    });
    said.collect()
}

/// The lineage that a request's headers say; nobody's where they say none.
///
/// # Errors
/// A header that cannot be read.
pub(crate) fn read(headers: &HeaderMap) -> Result<Lineage, Problem> {
    let text = |name: &HeaderName| match headers.get(name) {
        Some(value) => value.to_str().map(Some).map_err(|_| bad(name)),
        None => Ok(None),
    };
    let word = |name: &HeaderName| {
        let parsed = text(name)?.map(|text| text.parse::<B256>().map_err(|_| bad(name)));
        parsed.transpose()
    };
    let above = text(&ABOVE)?.unwrap_or_default();
    let names = above
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty());
    let above = names
        .take(ABOVE_MAX + 1)
        .map(|name| name.parse().map_err(|_| bad(&ABOVE)));
    let above: Vec<_> = above.collect::<Result<_, _>>()?;
    if above.len() > ABOVE_MAX {
        let message = format!("more than {ABOVE_MAX} services call each other");
        return Err(Problem::new(ErrorCode::ArgumentsInvalid, message)
            .hint("let the first of them call this one itself"));
    }
    let time = text(&TIME)?.map(|text| text.parse().map_err(|_| bad(&TIME)));
    Ok(Lineage {
        parent: word(&PARENT)?,
        above,
        time_max: time.transpose()?.map(Duration::from_millis),
        on_behalf: word(&FOR)?,
    })
}

fn bad(name: &HeaderName) -> Problem {
    let message = format!("the header `{name}` is not what a host sends there");
    Problem::new(ErrorCode::ArgumentsInvalid, message).hint("leave it out: docs/calls.md")
}

/// Services that call each other in a row: hosts let no more.
const ABOVE_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_understood_and_nonsense_is_refused() {
        let whole = Lineage {
            parent: Some(B256::repeat_byte(3)),
            above: vec!["report".parse().unwrap(), "embed".parse().unwrap()],
            time_max: Some(Duration::from_millis(1_500)),
            on_behalf: Some(B256::repeat_byte(4)),
        };
        for lineage in [whole, Lineage::default()] {
            assert_eq!(read(&headers(&lineage)).unwrap(), lineage);
        }
        let long = ["a"; 17].join(",");
        for (name, text) in [
            (PARENT, "0x12"),
            (FOR, "me"),
            (ABOVE, "Not a name"),
            (ABOVE, &long),
            (TIME, "-1"),
            (TIME, "soon"),
        ] {
            let headers = HeaderMap::from_iter([(name, HeaderValue::from_str(text).unwrap())]);
            let code = read(&headers).unwrap_err().code();
            assert_eq!(code, ErrorCode::ArgumentsInvalid, "{text}");
        }
    }
}
