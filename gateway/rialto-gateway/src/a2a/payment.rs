//! x402's extension to A2A: what a message and a task say of payment, in their metadata.
//!
//! Not here: whether a payment is good.

use serde_json::{Map, Value, json};

use super::{Error, Kind, numbers};

/// The extension, in the version whose keys these are.
pub(crate) const EXTENSION: &str =
    "https://github.com/google-agentic-commerce/a2a-x402/blob/main/spec/v0.2";
/// The one before it, which has the same keys.
pub(crate) const EXTENSION_BEFORE: &str = "https://github.com/google-a2a/a2a-x402/v0.1";

/// What a message says of payment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Said {
    /// Nothing.
    Nothing,
    /// It pays with this.
    Submitted(Value),
    /// It does not want to pay.
    Rejected,
}

/// Reads a message's metadata.
///
/// # Errors
/// [`Kind::Params`] for a payment without its payload.
pub(crate) fn said(metadata: &mut Map<String, Value>) -> Result<Said, Error> {
    let payload = metadata.remove(PAYLOAD).filter(|it| !it.is_null());
    let status = metadata.get(STATUS).and_then(Value::as_str);
    match (payload, status) {
        (_, Some("payment-rejected")) => Ok(Said::Rejected),
        (Some(mut payload), _) => {
            numbers::whole(&mut payload);
            Ok(Said::Submitted(payload))
        }
        (None, Some("payment-submitted")) => {
            let message = format!("the message says that it pays, but has no `{PAYLOAD}`");
            Err(Error::new(Kind::Params, message))
        }
        (None, _) => Ok(Said::Nothing),
    }
}

/// What a task waits for.
pub(crate) fn required(required: &Value) -> Map<String, Value> {
    fields(json!({ STATUS: "payment-required", REQUIRED: required }))
}

/// A payment that was not taken; another one is asked for.
pub(crate) fn refused(code: &str, required: &Value) -> Map<String, Value> {
    let mut metadata = failed(code);
    metadata.insert(REQUIRED.to_owned(), required.clone());
    metadata
}

/// A payment whose call failed.
pub(crate) fn failed(code: &str) -> Map<String, Value> {
    fields(json!({ STATUS: "payment-failed", ERROR: code }))
}

/// A payment that was taken.
pub(crate) fn completed() -> Map<String, Value> {
    fields(json!({ STATUS: "payment-completed" }))
}

/// The client does not want to pay.
pub(crate) fn rejected() -> Map<String, Value> {
    fields(json!({ STATUS: "payment-rejected" }))
}

/// Adds what came of all payments of a task to metadata that speak of payment.
pub(crate) fn put_receipts(metadata: &mut Map<String, Value>, receipts: &[Value]) {
    let is_asked = metadata
        .get(STATUS)
        .is_some_and(|it| it == "payment-required");
    if is_in(metadata) && (!is_asked || !receipts.is_empty()) {
        metadata.insert(RECEIPTS.to_owned(), receipts.into());
    }
}

/// Whether metadata speak of payment.
pub(crate) fn is_in(metadata: &Map<String, Value>) -> bool {
    metadata.contains_key(STATUS)
}

fn fields(value: Value) -> Map<String, Value> {
    let Value::Object(fields) = value else {
        return Map::new();
    };
    fields
}

const STATUS: &str = "x402.payment.status";
const REQUIRED: &str = "x402.payment.required";
const PAYLOAD: &str = "x402.payment.payload";
const RECEIPTS: &str = "x402.payment.receipts";
const ERROR: &str = "x402.payment.error";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_pays_refuses_or_says_nothing() {
        let read = |metadata: Value| said(&mut fields(metadata));
        assert_eq!(read(json!({"other": 1})), Ok(Said::Nothing));
        let paying = json!({STATUS: "payment-submitted", PAYLOAD: {"x402Version": 2.0}});
        let Ok(Said::Submitted(payload)) = read(paying) else {
            panic!("no payment");
        };
        assert_eq!(payload.to_string(), r#"{"x402Version":2}"#);
        assert_eq!(
            read(json!({STATUS: "payment-rejected"})),
            Ok(Said::Rejected)
        );
        assert!(read(json!({STATUS: "payment-submitted"})).is_err());
        let mut metadata = completed();
        put_receipts(&mut metadata, &[json!(1)]);
        assert_eq!(metadata[RECEIPTS], json!([1]));
        let (mut asked, mut none) = (required(&json!({})), Map::new());
        put_receipts(&mut asked, &[]);
        put_receipts(&mut none, &[json!(1)]);
        assert!(is_in(&asked) && !asked.contains_key(RECEIPTS) && none.is_empty());
    }
}
