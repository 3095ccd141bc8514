//! Peers: libp2p identities with Ed25519 keys, and what they sign.
//!
//! A peer's id is its public key in libp2p's own spelling (`12D3KooW…`): an identity multihash of the
//! key's protobuf, in base 58. Other kinds of keys are no peers of ours: their ids are hashes, from
//! which no signature can be checked.
//!
//! Not here: connections.

use std::{fmt, str::FromStr};

use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};

/// A libp2p peer with an Ed25519 key. Displays in base 58.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId([u8; 32]);

/// A peer's secret key. `Debug` shows the peer alone, and there is no way to print the secret.
#[derive(Clone)]
pub struct PeerKey(SigningKey);

/// Why a text or bytes are no peer's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PeerIdError {
    /// Not base 58.
    #[error("is not base 58")]
    Text,
    /// No Ed25519 key's identity multihash.
    #[error("is no Ed25519 peer, whose id starts with 12D3KooW")]
    Kind,
}

impl PeerId {
    /// The peer with this Ed25519 public key.
    #[must_use]
    pub const fn from_key(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// The peer's Ed25519 public key.
    #[must_use]
    pub const fn key(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads the binary form: an identity multihash.
    ///
    /// # Errors
    /// [`PeerIdError::Kind`] for every other multihash.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PeerIdError> {
        let key = bytes.strip_prefix(&PREFIX).ok_or(PeerIdError::Kind)?;
        Ok(Self(key.try_into().map_err(|_| PeerIdError::Kind)?))
    }

    /// The binary form: 38 bytes.
    #[must_use]
    pub fn to_bytes(self) -> Vec<u8> {
        [PREFIX.as_slice(), &self.0].concat()
    }

    /// Whether this peer signed `message`. Weak keys and signatures in a second form are refused.
    #[must_use]
    pub fn has_signed(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        VerifyingKey::from_bytes(&self.0)
            .is_ok_and(|key| key.verify_strict(message, &(*signature).into()).is_ok())
    }
}

impl PeerKey {
    /// The key of a 32-byte seed, which is what is kept of it.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// Whose key this is.
    #[must_use]
    pub fn peer(&self) -> PeerId {
        PeerId(self.0.verifying_key().to_bytes())
    }

    /// Signs; the same message gets the same signature (RFC 8032).
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }

    /// The seed, for the driver that speaks libp2p, and for the file that keeps it.
    #[must_use]
    pub fn seed(&self) -> [u8; 32] {
        self.0.to_bytes()
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&bs58::encode(self.to_bytes()).into_string())
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerId({self})")
    }
}

impl FromStr for PeerId {
    type Err = PeerIdError;

    fn from_str(text: &str) -> Result<Self, PeerIdError> {
        // Decoding takes time that grows with the square of the length.
        if text.len() > TEXT_LENGTH_MAX {
            return Err(PeerIdError::Kind);
        }
        let bytes = bs58::decode(text)
            .into_vec()
            .map_err(|_| PeerIdError::Text)?;
        Self::from_bytes(&bytes)
    }
}

impl fmt::Debug for PeerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PeerKey").field(&self.peer()).finish()
    }
}

/// Identity multihash (0x00) of 36 bytes: a protobuf with key type 1 (Ed25519) and 32 bytes of key.
const PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];
const TEXT_LENGTH_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_known_key_has_its_known_id() {
        // RFC 8032, section 7.1, test 1; its id as js-libp2p and rust-libp2p print it.
        let seed = hex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
        let key = PeerKey::from_seed(&seed);
        let public = hex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
        assert_eq!(key.peer().key(), &public);
        assert!(key.peer().to_string().starts_with("12D3KooW"));
        assert_eq!(key.seed(), seed);
        assert!(!format!("{key:?}").contains("9d61"), "no secret is printed");
    }

    #[test]
    fn other_ids_are_refused() {
        let check = |text: &str, error| assert_eq!(text.parse::<PeerId>(), Err(error), "{text}");
        check("", PeerIdError::Kind);
        check("0OIl", PeerIdError::Text);
        check(
            "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",
            PeerIdError::Kind,
        );
        check(&"1".repeat(1_000), PeerIdError::Kind);
        let peer = PeerKey::from_seed(&[1; 32]).peer();
        let mut long = peer.to_bytes();
        long.push(0);
        assert_eq!(PeerId::from_bytes(&long), Err(PeerIdError::Kind));
    }

    fn hex(text: &str) -> [u8; 32] {
        alloy_primitives::hex::decode(text)
            .unwrap()
            .try_into()
            .unwrap()
    }

    proptest! {
        #[test]
        fn only_the_signer_has_signed(seed: [u8; 32], message: Vec<u8>, other in 0_usize..64, bit in 0_u8..8) {
            let key = PeerKey::from_seed(&seed);
            let mut signature = key.sign(&message);
            prop_assert!(key.peer().has_signed(&message, &signature));
            prop_assert_eq!(key.peer().to_string().parse(), Ok(key.peer()));
            signature[other] ^= 1 << bit;
            prop_assert!(!key.peer().has_signed(&message, &signature));
            let longer = [message.as_slice(), &[0]].concat();
            prop_assert!(!key.peer().has_signed(&longer, &key.sign(&message)));
        }
    }
}
