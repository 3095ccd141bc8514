//! Targets for what is signed: offers, manifests and the envelopes below them.
//!
//! A search cannot sign, so most inputs would end at the signature. Each target therefore also takes its
//! input as what stands below a signature, signs it with a known key, and holds the result to the same
//! properties.

use std::str;

use rialto_channels::SigningKey;

use crate::envelope::{self, EnvelopeError};
use crate::offer::{self, OFFER_BYTES_MAX, OFFER_SECS_MAX, OfferError};
use crate::signed_manifest::SignedManifestError;
use crate::{Digest, PeerKey, SignedManifest, SignedOffer};

/// An offer, signed or as a host would sign it: refused, or within its bounds and read back the same.
pub fn offer(data: &[u8]) {
    match SignedOffer::parse(data) {
        Ok(offer) => check_offer(&offer),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    let (Ok(mut unsigned), Some(host)) = (offer::read_unsigned(data), host()) else {
        return;
    };
    unsigned.payee.host = host.address();
    match SignedOffer::sign(unsigned.clone(), &peer(), &host) {
        Ok(signed) => {
            assert_eq!(signed.offer(), &unsigned);
            assert_eq!(signed.peer(), peer().peer());
            check_offer(&signed);
        }
        Err(OfferError::TooLong(bytes)) => assert!(bytes > OFFER_BYTES_MAX),
        Err(error) => panic!("what was read cannot be signed: {error}"),
    }
}

fn check_offer(signed: &SignedOffer) {
    assert!(signed.bytes().len() <= OFFER_BYTES_MAX);
    assert_eq!(SignedOffer::parse(signed.bytes()).as_ref(), Ok(signed));
    let offer = signed.offer();
    assert!(!offer.prices.is_empty() && offer.load <= 1_000);
    assert!(!offer.addresses.is_empty() || !offer.gateways.is_empty());
    let lasts = offer.expires.checked_sub(offer.issued);
    assert!(lasts.is_some_and(|secs| (1..=OFFER_SECS_MAX).contains(&secs)));
    assert!(signed.check_time(offer.issued).is_ok());
    assert!(signed.check_time(offer.expires).is_err());
}

/// A signed manifest, or a payload as its publisher would sign it: refused, or read back the same under
/// the same name.
pub fn signed_manifest(data: &[u8]) {
    match SignedManifest::parse(data) {
        Ok(manifest) => check_manifest(&manifest),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    let (Ok(payload), Some(key)) = (str::from_utf8(data), host()) else {
        return;
    };
    let Ok(to_sign) = SignedManifest::to_sign(payload) else {
        return;
    };
    match SignedManifest::check(payload.to_owned(), key.sign(to_sign.digest)) {
        Ok(manifest) => check_manifest(&manifest),
        Err(SignedManifestError::Signature { publisher }) => assert_ne!(publisher, key.address()),
        Err(error) => panic!("what can be signed is refused: {error}"),
    }
}

fn check_manifest(signed: &SignedManifest) {
    super::check(signed.manifest());
    let text = signed.to_text();
    assert_eq!(signed.digest(), Digest::of(text.as_bytes()));
    match SignedManifest::parse(text.as_bytes()) {
        Ok(again) => assert_eq!(again.digest(), signed.digest()),
        Err(error) => panic!("what was read cannot be read again: {error}"),
    }
}

/// An envelope as it came, and one with the input as its payload: it opens in its domain and kind alone,
/// and with a bit changed never as another's or with another payload.
pub fn sealed(data: &[u8]) {
    match envelope::open(data, DOMAIN, KIND) {
        Ok(opened) => assert!(opened.payload.len() <= data.len()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    let bytes = envelope::seal(&peer(), DOMAIN, KIND, data);
    let opens = |bytes: &[u8]| {
        envelope::open(bytes, DOMAIN, KIND)
            .is_ok_and(|opened| opened.payload == data && opened.signer == peer().peer())
    };
    assert!(opens(&bytes));
    let elsewhere = envelope::open(&bytes, "rialto-other", KIND);
    assert_eq!(elsewhere, Err(EnvelopeError::Signature));
    let otherwise = envelope::open(&bytes, DOMAIN, b"/rialto/other/1");
    assert_eq!(otherwise, Err(EnvelopeError::Kind));
    // The input says where, so that a search can try every bit.
    let Some([first, second, bit]) = data.first_chunk::<3>().copied() else {
        return;
    };
    let place = usize::from(u16::from_be_bytes([first, second])).checked_rem(bytes.len());
    let mut changed = bytes;
    if let Some(byte) = place.and_then(|place| changed.get_mut(place)) {
        *byte ^= 1 << (bit & 7);
    }
    assert!(envelope::open(&changed, DOMAIN, KIND).is_err() || opens(&changed));
}

fn peer() -> PeerKey {
    PeerKey::from_seed(&[8; 32])
}

fn host() -> Option<SigningKey> {
    SigningKey::from_bytes(&[7; 32]).ok()
}

const DOMAIN: &str = "rialto-fuzz";
const KIND: &[u8] = b"/rialto/fuzz/1";

#[cfg(test)]
mod tests {
    use super::super::replay;
    use super::*;

    #[test]
    fn offers_are_refused_or_read_back() {
        replay::seeds("offer", offer);
    }

    #[test]
    fn signed_manifests_are_refused_or_read_back() {
        replay::seeds("signed_manifest", signed_manifest);
    }

    #[test]
    fn envelopes_open_as_they_were_sealed() {
        replay::seeds("envelope", sealed);
    }
}
