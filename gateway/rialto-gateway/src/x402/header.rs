//! JSON in a header: standard base64, bounded.
//!
//! Not here: what the JSON means.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::HeaderValue;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What a paid route accepts, in a 402.
pub const PAYMENT_REQUIRED: &str = "payment-required";
/// The payment that a client sends.
pub const PAYMENT_SIGNATURE: &str = "payment-signature";
/// What came of the payment.
pub const PAYMENT_RESPONSE: &str = "payment-response";
/// As [`PAYMENT_SIGNATURE`], of version 1.
pub const X_PAYMENT: &str = "x-payment";
/// As [`PAYMENT_RESPONSE`], of version 1.
pub const X_PAYMENT_RESPONSE: &str = "x-payment-response";
/// The host's signed receipt of a paid call.
pub const RIALTO_RECEIPT: &str = "rialto-receipt";
/// The id of the receipt that there will be when a body that is still written is over.
pub const RIALTO_RECEIPT_ID: &str = "rialto-receipt-id";

/// Marks the stored answer of an earlier, identical payment.
pub const RIALTO_REPLAYED: &str = "rialto-replayed";

/// The longest header that is read or written, in bytes of base64.
pub const HEADER_BYTES_MAX: usize = 16 * 1024;

/// The longest header that every client is known to take, in bytes of base64.
pub const HEADER_BYTES_USUAL: usize = 8 * 1024;

/// Standard alphabet; padding may be missing, as some clients leave it out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Writes a value as base64 of its JSON.
///
/// # Errors
/// [`EncodeError`] when the value has no JSON or the header would exceed [`HEADER_BYTES_MAX`].
pub fn encode<T: Serialize>(value: &T) -> Result<HeaderValue, EncodeError> {
    let json = serde_json::to_vec(value)?;
    let text = BASE64.encode(json);
    if text.len() > HEADER_BYTES_MAX {
        return Err(EncodeError::TooLarge { bytes: text.len() });
    }
    HeaderValue::try_from(text).map_err(EncodeError::Header)
}

/// Reads a value from base64 of its JSON.
///
/// # Errors
/// [`DecodeError`], always the sender's fault.
pub fn decode<T: DeserializeOwned>(header: &[u8]) -> Result<T, DecodeError> {
    if header.len() > HEADER_BYTES_MAX {
        return Err(DecodeError::TooLarge {
            bytes: header.len(),
        });
    }
    let json = BASE64.decode(header.trim_ascii())?;
    Ok(serde_json::from_slice(&json)?)
}

/// Why a header could not be written.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The value has no JSON form.
    #[error("the value cannot be written as JSON")]
    Json(#[from] serde_json::Error),
    /// The header would be too long.
    #[error("the header would take {bytes} bytes; the limit is {HEADER_BYTES_MAX}")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// Base64 is always a valid header value; kept because the conversion can fail.
    #[error("the header is not valid text")]
    Header(#[source] http::header::InvalidHeaderValue),
}

/// Why a header could not be read.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Longer than [`HEADER_BYTES_MAX`].
    #[error("the header takes {bytes} bytes; the limit is {HEADER_BYTES_MAX}")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// Not the standard base64 alphabet.
    #[error("the header is not standard base64: {0}")]
    Base64(#[from] base64::DecodeError),
    /// Not JSON of the expected shape.
    #[error("the header's JSON does not fit: {0}")]
    Json(#[from] serde_json::Error),
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn round_trip_and_missing_padding() {
        let value = json!({"a": [1, 2, 3], "b": "c"});
        let header = encode(&value).unwrap();
        assert_eq!(decode::<Value>(header.as_bytes()).unwrap(), value);
        let bare = header.to_str().unwrap().trim_end_matches('=').to_owned();
        assert_eq!(decode::<Value>(bare.as_bytes()).unwrap(), value);
    }

    #[test]
    fn the_url_safe_alphabet_and_long_headers_are_refused() {
        // 0xfb 0xff: `+/8=` in the standard alphabet, `-_8=` in the other.
        assert!(matches!(
            decode::<Value>(b"-_8="),
            Err(DecodeError::Base64(_))
        ));
        let long = vec![b'A'; HEADER_BYTES_MAX + 1];
        assert!(matches!(
            decode::<Value>(&long),
            Err(DecodeError::TooLarge { .. })
        ));
        let value = "x".repeat(HEADER_BYTES_MAX);
        assert!(matches!(encode(&value), Err(EncodeError::TooLarge { .. })));
    }
}
