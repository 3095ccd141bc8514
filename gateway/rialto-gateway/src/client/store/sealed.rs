//! A line of text that says whether it is whole: what a power cut tore is not taken for something that was written.

use alloy_primitives::hex;
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

/// How each line begins.
const BEGINNING: &str = r#"{"number":"#;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    number: u64,
    digest: String,
    #[serde(borrow)]
    record: &'a RawValue,
}

/// A record of JSON under a number.
pub(in crate::client) fn seal(number: u64, json: &str) -> String {
    let digest = digest(number, json);
    format!(r#"{BEGINNING}{number},"digest":"{digest}","record":{json}}}"#)
}

/// The number and the record of a line, which white space may follow; none if it is not whole.
pub(in crate::client) fn unseal(line: &[u8]) -> Option<(u64, &str)> {
    let line: Line<'_> = serde_json::from_slice(line).ok()?;
    let json = line.record.get();
    (digest(line.number, json) == line.digest).then_some((line.number, json))
}

/// Whether bytes are what is left of a line.
pub(in crate::client) fn is_torn(bytes: &[u8]) -> bool {
    bytes.starts_with(BEGINNING.as_bytes())
}

fn digest(number: u64, json: &str) -> String {
    let whole = Sha256::new().chain_update(number.to_be_bytes());
    let whole = whole.chain_update(json).finalize();
    let (start, _) = whole.split_at(DIGEST_BYTES);
    hex::encode(start)
}

/// Enough against accidents.
const DIGEST_BYTES: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_whole_or_nothing() {
        let line = seal(7, r#"{"a":[1,2]}"#);
        assert_eq!(unseal(line.as_bytes()), Some((7, r#"{"a":[1,2]}"#)));
        let padded = format!("{line}   \n");
        assert_eq!(unseal(padded.as_bytes()), Some((7, r#"{"a":[1,2]}"#)));
        for torn in [
            line.replace('7', "8"),
            line.replace("[1,2]", "[1,3]"),
            line[..line.len() - 1].to_owned(),
            String::new(),
            format!("{line}{line}"),
        ] {
            assert_eq!(unseal(torn.as_bytes()), None, "{torn}");
        }
    }
}
