//! What a provider is known by on this machine: one key for listings and for reputation.
//!
//! Not here: whether the provider holds the key; whoever reads its signed records has checked that.

use std::fmt;

use alloy_primitives::hex;

/// A provider's key: the 32 bytes of the Ed25519 key that signs its offers. Displays as 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProviderKey([u8; 32]);

impl ProviderKey {
    /// The provider with this key.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for ProviderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for ProviderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProviderKey({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_all_its_bytes() {
        let key = ProviderKey::new([0xab; 32]);
        assert_eq!(key.to_string(), "ab".repeat(32));
        assert_eq!(
            format!("{key:?}"),
            format!("ProviderKey({})", "ab".repeat(32))
        );
        assert_eq!(key.as_bytes(), &[0xab; 32]);
    }
}
