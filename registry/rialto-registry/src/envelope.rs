//! Signed envelopes as libp2p's RFC 0002 has them: a peer's key, what kind of payload, the payload and
//! a signature that holds in one domain only. Any libp2p library opens them.
//!
//! Not here: what payloads mean.

use prost::Message as _;

use crate::{PeerId, PeerKey};

/// A payload whose signature was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Who signed.
    pub signer: PeerId,
    /// What was signed.
    pub payload: Vec<u8>,
}

/// Why bytes are no envelope of this kind. Always the sender's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// No protobuf of an envelope.
    #[error("is no signed envelope")]
    Form,
    /// The key is no Ed25519 key.
    #[error("is signed by a key that is not Ed25519")]
    Key,
    /// The payload is of another kind.
    #[error("holds another kind of record")]
    Kind,
    /// The signature does not fit.
    #[error("has a signature that does not fit")]
    Signature,
}

/// Signs `payload` of kind `kind` in `domain`.
#[must_use]
pub fn seal(key: &PeerKey, domain: &str, kind: &[u8], payload: &[u8]) -> Vec<u8> {
    let signature = key.sign(&signed_bytes(domain, kind, payload));
    let public = PublicKey {
        kind: ED25519,
        data: key.peer().key().to_vec(),
    };
    Envelope {
        public_key: Some(public),
        payload_type: kind.to_vec(),
        payload: payload.to_vec(),
        signature: signature.to_vec(),
    }
    .encode_to_vec()
}

/// Opens an envelope of kind `kind` in `domain`. The caller has bounded the bytes.
///
/// # Errors
/// [`EnvelopeError`].
pub fn open(bytes: &[u8], domain: &str, kind: &[u8]) -> Result<Opened, EnvelopeError> {
    let envelope = Envelope::decode(bytes).map_err(|_| EnvelopeError::Form)?;
    let public = envelope.public_key.ok_or(EnvelopeError::Form)?;
    if public.kind != ED25519 {
        return Err(EnvelopeError::Key);
    }
    let key = <[u8; 32]>::try_from(public.data.as_slice()).map_err(|_| EnvelopeError::Key)?;
    if envelope.payload_type != kind {
        return Err(EnvelopeError::Kind);
    }
    let signature = <[u8; 64]>::try_from(envelope.signature.as_slice())
        .map_err(|_| EnvelopeError::Signature)?;
    let signer = PeerId::from_key(key);
    if !signer.has_signed(&signed_bytes(domain, kind, &envelope.payload), &signature) {
        return Err(EnvelopeError::Signature);
    }
    Ok(Opened {
        signer,
        payload: envelope.payload,
    })
}

/// Each part behind its length, so that no two records are signed by the same bytes.
fn signed_bytes(domain: &str, kind: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in [domain.as_bytes(), kind, payload] {
        prost::encoding::encode_varint(u64::try_from(part.len()).unwrap_or(u64::MAX), &mut bytes);
        bytes.extend_from_slice(part);
    }
    bytes
}

#[derive(prost::Message)]
struct PublicKey {
    #[prost(int32, tag = "1")]
    kind: i32,
    #[prost(bytes = "vec", tag = "2")]
    data: Vec<u8>,
}

#[derive(prost::Message)]
struct Envelope {
    #[prost(message, optional, tag = "1")]
    public_key: Option<PublicKey>,
    #[prost(bytes = "vec", tag = "2")]
    payload_type: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    payload: Vec<u8>,
    #[prost(bytes = "vec", tag = "5")]
    signature: Vec<u8>,
}

/// The number of Ed25519 among libp2p's kinds of keys.
const ED25519: i32 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_envelope_opens_in_its_domain_and_kind_alone() {
        let key = PeerKey::from_seed(&[3; 32]);
        let bytes = seal(&key, "a", b"/k", b"payload");
        let opened = open(&bytes, "a", b"/k").unwrap();
        assert_eq!(
            (opened.signer, opened.payload),
            (key.peer(), b"payload".to_vec())
        );
        assert_eq!(open(&bytes, "b", b"/k"), Err(EnvelopeError::Signature));
        assert_eq!(open(&bytes, "a", b"/l"), Err(EnvelopeError::Kind));
        assert_eq!(open(&[], "a", b"/k"), Err(EnvelopeError::Form));
        assert_eq!(open(b"\xff\xff", "a", b"/k"), Err(EnvelopeError::Form));
    }

    proptest! {
        #[test]
        fn a_changed_byte_never_opens_as_another_payload(at in 0_usize..110, bit in 0_u8..8) {
            let key = PeerKey::from_seed(&[3; 32]);
            let mut bytes = seal(&key, "a", b"/k", b"payload");
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            if let Ok(opened) = open(&bytes, "a", b"/k") {
                prop_assert_eq!(opened.payload, b"payload".to_vec());
                prop_assert_eq!(opened.signer, key.peer());
            }
        }

        #[test]
        fn never_panics(bytes: Vec<u8>) {
            let _ = open(&bytes, "a", b"/k");
        }
    }
}
