//! Single values on the wire, each with the path to it in its error.

use alloy_primitives::{Address, B256, Bytes, U256, hex};
use rialto_channels::{Amount, Signature};
use serde::Deserialize;

use super::PaymentHeaderError;

/// The scheme's code for a signature that cannot be one.
pub(crate) const CODE_VOUCHER_SIGNATURE: &str = "invalid_batch_settlement_evm_voucher_signature";

/// The longest signature of a contract wallet, in bytes.
const SIGNATURE_BYTES_MAX: usize = 2048;

/// A number that clients write as a string of digits or as a JSON number.
#[derive(Debug, Clone, Deserialize, serde::Serialize)]
#[serde(untagged)]
pub(crate) enum Digits {
    /// The usual form.
    Text(String),
    /// Also seen.
    Number(u64),
}

impl From<u64> for Digits {
    fn from(value: u64) -> Self {
        Self::Text(value.to_string())
    }
}

pub(crate) fn malformed(path: &str, problem: impl Into<String>) -> PaymentHeaderError {
    PaymentHeaderError::Malformed {
        path: path.to_owned(),
        problem: problem.into(),
    }
}

pub(crate) fn amount(path: &str, text: &str) -> Result<Amount, PaymentHeaderError> {
    text.parse().map_err(|_| {
        malformed(
            path,
            "expected a string of decimal digits below 2^128 (token base units)",
        )
    })
}

pub(crate) fn seconds(path: &str, digits: &Digits) -> Result<u64, PaymentHeaderError> {
    match digits {
        Digits::Number(number) => Ok(*number),
        Digits::Text(text) => {
            let amount = amount(path, text)?;
            u64::try_from(amount.get()).map_err(|_| malformed(path, "expected seconds below 2^64"))
        }
    }
}

/// An address in any case: checksums are for people, and clients differ.
pub(crate) fn address(path: &str, text: &str) -> Result<Address, PaymentHeaderError> {
    let problem = || malformed(path, "expected 0x and 40 hexadecimal digits");
    let bytes = prefixed_hex(text).ok_or_else(problem)?;
    <[u8; 20]>::try_from(bytes.as_slice())
        .map(Address::from)
        .map_err(|_| problem())
}

pub(crate) fn word(path: &str, text: &str) -> Result<B256, PaymentHeaderError> {
    let problem = || malformed(path, "expected 0x and 64 hexadecimal digits");
    let bytes = prefixed_hex(text).ok_or_else(problem)?;
    <[u8; 32]>::try_from(bytes.as_slice())
        .map(B256::from)
        .map_err(|_| problem())
}

/// A salt: 0x and up to 64 digits, or decimal.
pub(crate) fn salt(path: &str, text: &str) -> Result<U256, PaymentHeaderError> {
    let problem = || malformed(path, "expected 0x and up to 64 hexadecimal digits");
    if text.len() > 78 || text.is_empty() {
        return Err(problem());
    }
    if let Some(digits) = text.strip_prefix("0x") {
        let is_hex = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
        return is_hex
            .then(|| U256::from_str_radix(digits, 16).ok())
            .flatten()
            .ok_or_else(problem);
    }
    let is_decimal = text.bytes().all(|b| b.is_ascii_digit());
    is_decimal
        .then(|| U256::from_str_radix(text, 10).ok())
        .flatten()
        .ok_or_else(problem)
}

/// A voucher's signature: always one of a plain key, so exactly 65 bytes and low-s.
pub(crate) fn key_signature(path: &str, text: &str) -> Result<Signature, PaymentHeaderError> {
    let bytes = prefixed_hex(text)
        .ok_or_else(|| malformed(path, "expected 0x and an even number of hexadecimal digits"))?;
    Signature::parse(&bytes).map_err(|error| PaymentHeaderError::Unacceptable {
        code: CODE_VOUCHER_SIGNATURE,
        message: format!("{path}: {error}"),
    })
}

/// A wallet's signature for the token: a contract wallet's may be long.
pub(crate) fn wallet_signature(path: &str, text: &str) -> Result<Bytes, PaymentHeaderError> {
    let bytes = prefixed_hex(text)
        .ok_or_else(|| malformed(path, "expected 0x and an even number of hexadecimal digits"))?;
    if bytes.is_empty() || bytes.len() > SIGNATURE_BYTES_MAX {
        return Err(malformed(
            path,
            format!("expected 1 to {SIGNATURE_BYTES_MAX} bytes"),
        ));
    }
    Ok(Bytes::from(bytes))
}

fn prefixed_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("0x")?;
    // `hex::decode` would take a second prefix.
    if digits.starts_with("0x") {
        return None;
    }
    hex::decode(digits).ok()
}
