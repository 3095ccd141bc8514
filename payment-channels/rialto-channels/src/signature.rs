//! ECDSA signatures over secp256k1 as the settlement contract accepts them, on libsecp256k1.
//!
//! Contract wallets (EIP-1271) are not supported: a channel names a non-zero payer authorizer.

use std::{fmt, str::FromStr};

use alloy_primitives::{Address, B256, U256, hex, keccak256};
use secp256k1::{
    Message,
    ecdsa::{RecoverableSignature, RecoveryId},
};

/// A signature of 65 bytes: r, s in the lower half of the group order, v of 27 or 28.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signature([u8; 65]);

impl Signature {
    /// Parses exactly 65 bytes.
    ///
    /// # Errors
    /// [`SignatureError`] for another length, another v, or an s in the upper half: the
    /// contract refuses all three, so they are refused before any work is done for them.
    pub fn parse(bytes: &[u8]) -> Result<Self, SignatureError> {
        let bytes: [u8; 65] = bytes.try_into().map_err(|_| SignatureError::Length)?;
        let (_, s, v) = split(&bytes);
        if v != V_EVEN && v != V_ODD {
            return Err(SignatureError::RecoveryId);
        }
        if U256::from_be_bytes(s) > HALF_ORDER {
            return Err(SignatureError::HighS);
        }
        Ok(Self(bytes))
    }

    /// The 65 bytes r, s, v.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 65] {
        self.0
    }

    /// `0x` and 130 hexadecimal digits. Spelled out as a method, not as `Display`, so that no
    /// log prints it by accident (M7: no key, prompt or whole voucher in a log).
    #[must_use]
    pub fn to_hex(self) -> String {
        hex::encode_prefixed(self.0)
    }

    pub(crate) fn from_recoverable(signature: &RecoverableSignature) -> Self {
        let (recovery, compact) = signature.serialize_compact();
        let v = if i32::from(recovery) == 0 {
            V_EVEN
        } else {
            V_ODD
        };
        let mut bytes = [v; 65];
        for (byte, value) in bytes.iter_mut().zip(compact) {
            *byte = value;
        }
        Self(bytes)
    }

    fn to_recoverable(self) -> Result<RecoverableSignature, SignatureError> {
        let (_, _, v) = split(&self.0);
        let recovery = if v == V_ODD {
            RecoveryId::One
        } else {
            RecoveryId::Zero
        };
        let (compact, _) = self.0.split_at(COMPACT_BYTES);
        RecoverableSignature::from_compact(compact, recovery)
            .map_err(|_| SignatureError::Unrecoverable)
    }
}

impl FromStr for Signature {
    type Err = SignatureError;

    /// Parses `0x` and 130 hexadecimal digits.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.strip_prefix("0x").ok_or(SignatureError::NotHex)?;
        if digits.len() != HEX_DIGITS {
            return Err(SignatureError::Length);
        }
        Self::parse(&hex::decode(digits).map_err(|_| SignatureError::NotHex)?)
    }
}

impl fmt::Debug for Signature {
    /// The first four bytes only (M7).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "Signature({a:02x}{b:02x}{c:02x}{d:02x}..)")
    }
}

/// Finds out whose key signed `digest`.
///
/// # Errors
/// [`SignatureError::Unrecoverable`] if no key could have made this signature.
pub fn recover(digest: B256, signature: &Signature) -> Result<Address, SignatureError> {
    let key = signature
        .to_recoverable()?
        .recover(Message::from_digest(digest.0))
        .map_err(|_| SignatureError::Unrecoverable)?;
    Ok(address_of(&key))
}

pub(crate) fn address_of(key: &secp256k1::PublicKey) -> Address {
    let [_tag, point @ ..] = key.serialize_uncompressed();
    let hash = keccak256(point);
    let (_, address) = hash.split_at(HASH_PREFIX_BYTES);
    Address::from_slice(address)
}

/// Why a signature is no good. Always the peer's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Not `0x` and hexadecimal digits.
    #[error("signature is not 0x and hexadecimal digits")]
    NotHex,
    /// Not 65 bytes.
    #[error("signature is not 65 bytes long")]
    Length,
    /// v is neither 27 nor 28.
    #[error("signature's last byte is neither 27 nor 28")]
    RecoveryId,
    /// s is in the upper half of the group order: the malleable twin of a good signature.
    #[error("signature's s is in the upper half of the group order")]
    HighS,
    /// No public key fits.
    #[error("no key can have made this signature")]
    Unrecoverable,
    /// A key fits, but another than the one required.
    #[error("signed by another key")]
    WrongSigner,
}

fn split(bytes: &[u8; 65]) -> ([u8; 32], [u8; 32], u8) {
    let (mut r, mut s) = ([0; 32], [0; 32]);
    for (to, from) in r.iter_mut().chain(s.iter_mut()).zip(bytes) {
        *to = *from;
    }
    let [.., v] = *bytes;
    (r, s, v)
}

const COMPACT_BYTES: usize = 64;
const HEX_DIGITS: usize = 130;
/// An address is the last 20 bytes of a 32-byte hash.
const HASH_PREFIX_BYTES: usize = 12;
const V_EVEN: u8 = 27;
const V_ODD: u8 = 28;
/// Half of secp256k1's group order, rounded down (EIP-2).
const HALF_ORDER: U256 = U256::from_limbs([
    0xdfe9_2f46_681b_20a0,
    0x5d57_6e73_57a4_501d,
    0xffff_ffff_ffff_ffff,
    0x7fff_ffff_ffff_ffff,
]);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SigningKey;

    const ORDER: U256 = U256::from_limbs([
        0xbfd2_5e8c_d036_4141,
        0xbaae_dce6_af48_a03b,
        0xffff_ffff_ffff_fffe,
        0xffff_ffff_ffff_ffff,
    ]);

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[7; 32]).unwrap()
    }

    #[test]
    fn a_signature_recovers_to_its_signer() {
        for n in 0..64_u8 {
            let digest = keccak256([n]);
            let signature = key().sign(digest);
            assert_eq!(recover(digest, &signature), Ok(key().address()));
            assert_ne!(recover(keccak256([n, 1]), &signature), Ok(key().address()));
            assert_eq!(Signature::parse(&signature.to_bytes()), Ok(signature));
            assert_eq!(signature.to_hex().parse(), Ok(signature));
        }
    }

    #[test]
    fn the_malleable_twin_is_refused() {
        let bytes = key().sign(keccak256("x")).to_bytes();
        let (_, s, v) = split(&bytes);
        let mut twin = bytes;
        twin[32..64].copy_from_slice(&(ORDER - U256::from_be_bytes(s)).to_be_bytes::<32>());
        twin[64] = if v == V_EVEN { V_ODD } else { V_EVEN };
        assert_eq!(Signature::parse(&twin), Err(SignatureError::HighS));
    }

    #[test]
    fn malformed_bytes_are_refused() {
        let good = key().sign(keccak256("x")).to_bytes();
        assert_eq!(Signature::parse(&good[..64]), Err(SignatureError::Length));
        assert_eq!(
            Signature::parse(&[&good[..], &[0]].concat()),
            Err(SignatureError::Length)
        );
        for v in [0, 1, 26, 29, 255] {
            let mut bad = good;
            bad[64] = v;
            assert_eq!(
                Signature::parse(&bad),
                Err(SignatureError::RecoveryId),
                "v {v}"
            );
        }
        let check = |text: &str, error| assert_eq!(text.parse::<Signature>(), Err(error));
        check("", SignatureError::NotHex);
        check("0x", SignatureError::Length);
        check(&hex::encode(good), SignatureError::NotHex);
        check(&format!("0x{}", "zz".repeat(65)), SignatureError::NotHex);
    }

    #[test]
    fn a_zero_signature_recovers_to_nobody() {
        let mut zero = [0; 65];
        zero[64] = V_EVEN;
        let signature = Signature::parse(&zero).unwrap();
        assert_eq!(
            recover(keccak256("x"), &signature),
            Err(SignatureError::Unrecoverable)
        );
    }

    #[test]
    fn debug_shows_four_bytes_only() {
        let signature = key().sign(keccak256("x"));
        assert_eq!(
            format!("{signature:?}").len(),
            "Signature(00000000..)".len()
        );
    }
}
