//! The `payment-identifier` extension: the payer names a payment, so that sending it twice is
//! answered once (M5).
//!
//! Not here: remembering which payments were answered (the ledger does).

use serde_json::{Map, Value, json};

/// The extension's key.
pub const KEY: &str = "payment-identifier";

const LENGTH_MIN: usize = 16;
const LENGTH_MAX: usize = 128;

/// What a 402 declares: an identifier is welcome and not required.
#[must_use]
pub fn declaration() -> Value {
    json!({"info": {"required": false}})
}

/// The extension that a payer sends with a payment.
#[must_use]
pub fn with_id(id: &str) -> Value {
    json!({"info": {"required": false, "id": id}})
}

/// The identifier among a payment's extensions.
///
/// # Errors
/// [`InvalidIdentifier`] when there is one that the extension does not allow; guessing what the
/// payer meant could run a call twice.
pub fn find(extensions: &Map<String, Value>) -> Result<Option<String>, InvalidIdentifier> {
    let Some(id) = extensions.get(KEY).and_then(|e| e.pointer("/info/id")) else {
        return Ok(None);
    };
    match id {
        Value::Null => Ok(None),
        Value::String(id) if is_valid(id) => Ok(Some(id.clone())),
        Value::String(_)
        | Value::Bool(_)
        | Value::Number(_)
        | Value::Array(_)
        | Value::Object(_) => Err(InvalidIdentifier),
    }
}

/// Whether an identifier is allowed: 16 to 128 characters of `[A-Za-z0-9_-]`.
#[must_use]
pub fn is_valid(id: &str) -> bool {
    (LENGTH_MIN..=LENGTH_MAX).contains(&id.len())
        && id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// An identifier that the extension does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a payment identifier is 16 to 128 characters of A-Z, a-z, 0-9, `_` and `-`")]
pub struct InvalidIdentifier;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn found_only_when_valid() {
        let find_in = |value: Value| {
            let mut extensions = Map::new();
            extensions.insert(KEY.to_owned(), value);
            find(&extensions)
        };
        assert_eq!(find(&Map::new()), Ok(None));
        assert_eq!(find_in(declaration()), Ok(None));
        let id = "pay_0123456789abcdef";
        assert_eq!(find_in(with_id(id)), Ok(Some(id.to_owned())));
        for bad in ["short", "has space has space", &"x".repeat(129)] {
            assert_eq!(find_in(with_id(bad)), Err(InvalidIdentifier), "{bad}");
        }
        assert_eq!(find_in(json!({"info": {"id": 7}})), Err(InvalidIdentifier));
        assert_eq!(find_in(json!("nonsense")), Ok(None));
    }
}
