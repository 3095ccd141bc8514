//! Signing keys: session keys of payers, the host's own key.
//!
//! Where keys come from and how they are stored is not decided here.

use std::fmt;

use alloy_primitives::{Address, B256, hex};
use secp256k1::{Message, PublicKey, SECP256K1, SecretKey};

use crate::{Signature, signature::address_of};

/// A secp256k1 secret key. `Debug` shows the address only (M7: no key, prompt or whole voucher
/// in a log), and there is no way to print the secret.
#[derive(Clone)]
pub struct SigningKey {
    secret: SecretKey,
    address: Address,
}

impl SigningKey {
    /// Takes 32 big-endian bytes.
    ///
    /// # Errors
    /// [`KeyError::OutOfRange`] for zero or anything not below the group order.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        let secret = SecretKey::from_byte_array(*bytes).map_err(|_| KeyError::OutOfRange)?;
        let address = address_of(&PublicKey::from_secret_key(SECP256K1, &secret));
        Ok(Self { secret, address })
    }

    /// Takes 64 hexadecimal digits, with or without `0x`; surrounding white space is ignored.
    ///
    /// # Errors
    /// [`KeyError`] for anything else.
    pub fn from_hex(text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        let digits = text.strip_prefix("0x").unwrap_or(text);
        // The decoder would skip a second prefix.
        if digits.len() != HEX_DIGITS {
            return Err(KeyError::NotHex);
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| KeyError::NotHex)?;
        Self::from_bytes(&bytes)
    }

    /// The account of this key.
    #[must_use]
    pub fn address(&self) -> Address {
        self.address
    }

    /// Signs a 32-byte digest; deterministic (RFC 6979), s in the lower half.
    #[must_use]
    pub fn sign(&self, digest: B256) -> Signature {
        let message = Message::from_digest(digest.0);
        let signature = SECP256K1.sign_ecdsa_recoverable(message, &self.secret);
        Signature::from_recoverable(&signature)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// Why bytes are not a signing key. The bytes themselves are not repeated (M7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not 64 hexadecimal digits.
    #[error("key is not 64 hexadecimal digits")]
    NotHex,
    /// Zero, or not below the group order.
    #[error("key is zero or not below the group order")]
    OutOfRange,
}

const HEX_DIGITS: usize = 64;

#[cfg(test)]
mod tests {
    use alloy_primitives::address;

    use super::*;

    #[test]
    fn a_well_known_key_has_its_well_known_address() {
        let text = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";
        let key = SigningKey::from_hex(text).unwrap();
        assert_eq!(
            key.address(),
            address!("0x70997970C51812dc3A010C7d01b50e0d17dc79C8")
        );
        assert!(
            !format!("{key:?}").contains("59c6"),
            "the secret must not be printed"
        );
    }

    #[test]
    fn bad_keys_are_refused() {
        let check = |text: &str, error| assert_eq!(SigningKey::from_hex(text).unwrap_err(), error);
        check("", KeyError::NotHex);
        check("0x12", KeyError::NotHex);
        check(&"0".repeat(64), KeyError::OutOfRange);
        check(&"f".repeat(64), KeyError::OutOfRange);
        check(&"g".repeat(64), KeyError::NotHex);
        check(&format!("0x0x{}", "1".repeat(64)), KeyError::NotHex);
    }
}
