//! SHA-256 digests: the names of artifacts.
//!
//! Non-goals: other hash functions, multihash or CID encodings.

use std::{fmt, str::FromStr};

use alloy_primitives::{B256, hex};
use sha2::Digest as _;

/// The SHA-256 of an artifact's bytes, which is also its name. Displays as 64 lowercase hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Wraps 32 bytes that are a digest already.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Computes the SHA-256 of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Why a text is no digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseDigestError {
    /// The text has another length than 64 characters.
    #[error("found {0} characters instead of 64 hex digits")]
    Length(usize),
    /// The text has a character that is no hex digit.
    #[error("found a character that is no hex digit")]
    NotHex,
}

impl FromStr for Digest {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Self, ParseDigestError> {
        if text.len() != 64 {
            return Err(ParseDigestError::Length(text.chars().count()));
        }
        let mut bytes = [0; 32];
        // The decoder skips a `0x` prefix, so a prefixed text is 31 bytes here and fails too.
        hex::decode_to_slice(text, &mut bytes).map_err(|_| ParseDigestError::NotHex)?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl From<Digest> for B256 {
    fn from(digest: Digest) -> Self {
        Self(digest.0)
    }
}

impl From<B256> for Digest {
    fn from(bytes: B256) -> Self {
        Self(bytes.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn of_abc_is_the_published_vector() {
        // FIPS 180-2, appendix B.1.
        assert_eq!(
            Digest::of(b"abc").to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn refuses_other_lengths_and_prefixes() {
        assert_eq!("ab".parse::<Digest>(), Err(ParseDigestError::Length(2)));
        let prefixed = format!("0x{}", "a".repeat(62));
        assert_eq!(prefixed.parse::<Digest>(), Err(ParseDigestError::NotHex));
        assert_eq!(
            "g".repeat(64).parse::<Digest>(),
            Err(ParseDigestError::NotHex)
        );
    }

    proptest! {
        #[test]
        fn text_round_trips(bytes: [u8; 32]) {
            let digest = Digest::new(bytes);
            prop_assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
            prop_assert_eq!(digest.to_string().to_uppercase().parse::<Digest>().unwrap(), digest);
        }

        #[test]
        fn never_panics(text in ".{0,80}") {
            let _ = text.parse::<Digest>();
        }
    }
}
